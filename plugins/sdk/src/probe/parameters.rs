//! What calibration hands to assessment: the fitted probe as bytes.
//!
//! Little-endian: "PROB", version (u16), method (u8), hidden (u32), share and usual risk (f64),
//! number of readings (u8); of each reading its position (u8), layer (u32), Platt slope and offset
//! (f64), means and scales (f32 x hidden) and the classifier (f32: weights and bias; for the MLP
//! hidden x 16 weights, 16 biases, 16 output weights and a bias); then a checksum (u64).

use crate::bindings::{Activations, Position, RunInfo};
use crate::bytes::{Reader, Writer};
use crate::hinge::Shape;
use crate::platt::Platt;
use crate::standardizer::Standardizer;

use super::classifier::Classifier;
use super::reading::{Reading, Risk, name};
use super::settings::{Method, Settings};

const KIND: [u8; 4] = *b"PROB";
const VERSION: u16 = 3;

/// In the order of their bytes.
const POSITIONS: [Position; 2] = [Position::LastPromptToken, Position::PromptMean];

/// The classifiers with all they need to turn activations into risk.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub method: Method,
    /// One for each position of the settings.
    pub readings: Vec<Reading>,
    /// Share of harmful examples that the probabilities hold for.
    pub share: f64,
    /// Risk up to which the rows of the run count as usual; 0 if none were seen.
    pub usual: f64,
}

impl Fitted {
    /// The risk of each of so many samples, on its own: the largest of its readings.
    ///
    /// # Errors
    /// As [`Reading::risk`].
    pub fn risks(&self, activations: &[Activations], samples: usize) -> Result<Vec<Risk>, String> {
        let delivered = self.readings.iter().map(|reading| reading.delivered(activations));
        let delivered = delivered.collect::<Result<Vec<_>, String>>()?;
        let risk = |sample| {
            let risks = self.readings.iter().zip(&delivered);
            let risks = risks.map(|(reading, delivered)| reading.risk(*delivered, sample));
            let risks = risks.collect::<Result<Vec<_>, String>>()?;
            let largest = risks.into_iter().max_by(|a, b| a.probability.total_cmp(&b.probability));
            largest.ok_or_else(|| "the probe reads no position".to_owned())
        };
        (0..samples).map(risk).collect()
    }

    /// The risks that count.
    pub fn shaped(&self, risks: &[Risk], shape: &Shape) -> Vec<f64> {
        let own: Vec<f64> = risks.iter().map(|risk| risk.probability).collect();
        shape.apply(&own, self.share, self.usual)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let method = Method::ALL.iter().position(|m| *m == self.method).unwrap_or_default();
        let hidden = self.readings.first().map_or(0, Reading::hidden);
        let mut writer = Writer::new(KIND, VERSION)
            .u8(method as u8)
            .u32(hidden as u32)
            .f64(self.share)
            .f64(self.usual)
            .u8(self.readings.len() as u8);
        for reading in &self.readings {
            let position = POSITIONS.iter().position(|at| *at == reading.position);
            writer = writer
                .u8(position.unwrap_or_default() as u8)
                .u32(reading.layer)
                .f64(reading.platt.slope)
                .f64(reading.platt.offset)
                .f32s(&reading.standardizer.mean)
                .f32s(&reading.standardizer.scale);
            writer = reading.classifier.write(writer);
        }
        writer.finish()
    }

    /// Reads the bytes and checks that they fit the run and the settings.
    ///
    /// # Errors
    /// One line that says what does not fit and what to do.
    pub fn from_bytes(bytes: &[u8], run: &RunInfo, settings: &Settings) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("the probe has no parameters: calibrate it first".to_string());
        }
        let mut reader = Reader::open(bytes, KIND, VERSION, "parameters of the probe")?;
        let method = usize::from(reader.u8()?);
        let method = *Method::ALL
            .get(method)
            .ok_or_else(|| format!("the parameters of the probe name no method ({method})"))?;
        let hidden = reader.u32()?;
        if hidden != run.hidden {
            let was = format!("activations of width {hidden}, this model has {}", run.hidden);
            return Err(calibrate_again(&was));
        }
        let (share, usual) = (reader.f64()?, reader.f64()?);
        if !(share > 0.0 && share < 1.0 && (0.0..1.0).contains(&usual)) {
            return Err(format!(
                "the parameters of the probe hold a share of {share} and a usual risk of {usual}"
            ));
        }
        let count = reader.u8()?;
        let readings = (0..count)
            .map(|_| read(&mut reader, method, hidden as usize))
            .collect::<Result<Vec<_>, String>>()?;
        reader.finish()?;
        let fitted = Self { method, readings, share, usual };
        fitted.fits(run, settings)?;
        Ok(fitted)
    }

    fn fits(&self, run: &RunInfo, settings: &Settings) -> Result<(), String> {
        let (was, is) = (self.method.name(), settings.method.name());
        if was != is {
            return Err(calibrate_again(&format!("method {was}, the settings say {is}")));
        }
        let positions: Vec<_> = self.readings.iter().map(|reading| reading.position).collect();
        let asked = settings.position.positions();
        if positions != asked {
            let (was, is) = (names(&positions), names(asked));
            return Err(calibrate_again(&format!("position {was}, the settings say {is}")));
        }
        let layers = settings.layers(run)?;
        match self.readings.iter().map(|reading| reading.layer).find(|l| !layers.contains(l)) {
            None => Ok(()),
            Some(layer) if layer > run.layers => Err(calibrate_again(&format!(
                "layer {layer}, this model has layers 0 to {}",
                run.layers
            ))),
            Some(layer) => Err(calibrate_again(&format!(
                "layer {layer}, which is not among the layers of the settings"
            ))),
        }
    }
}

fn read(reader: &mut Reader<'_>, method: Method, hidden: usize) -> Result<Reading, String> {
    let position = usize::from(reader.u8()?);
    let position = *POSITIONS
        .get(position)
        .ok_or_else(|| format!("the parameters of the probe name no position ({position})"))?;
    let layer = reader.u32()?;
    let platt = Platt { slope: reader.f64()?, offset: reader.f64()? };
    let standardizer = Standardizer { mean: reader.f32s(hidden)?, scale: reader.f32s(hidden)? };
    let classifier = Classifier::read(reader, method, hidden)?;
    Ok(Reading { position, layer, standardizer, classifier, platt })
}

fn names(positions: &[Position]) -> String {
    let names: Vec<_> = positions.iter().map(|position| name(*position)).collect();
    names.join(" and ")
}

fn calibrate_again(was: &str) -> String {
    format!("the probe was calibrated for {was}: calibrate it again")
}
