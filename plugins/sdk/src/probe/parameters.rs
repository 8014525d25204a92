//! What calibration hands to assessment: the fitted probe as bytes.
//!
//! Little-endian: "PROB", version (u16), method (u8), position (u8), layer (u32),
//! hidden (u32), Platt slope and offset, share and usual risk (f64), means and scales (f32 x hidden),
//! then the classifier (f32: weights and bias; for the MLP hidden x 16 weights, 16
//! biases, 16 output weights and a bias), then a checksum (u64).

use crate::bindings::{Activations, RunInfo, Signals};
use crate::bytes::{Reader, Writer};
use crate::platt::Platt;
use crate::standardizer::Standardizer;

use super::classifier::Classifier;
use super::settings::{Method, Place, Settings};

const KIND: [u8; 4] = *b"PROB";
const VERSION: u16 = 2;

/// The largest standardised feature that is believed, in standard deviations.
///
/// A linear classifier is the surer the farther it extrapolates, so it would call an
/// activation of -1e30 harmless beyond any doubt. Real ones stay below 1e3 even on
/// text unlike the calibration's.
const FARTHEST: f32 = 1e6;

/// A classifier on one layer, with all it needs to turn an activation into risk.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub method: Method,
    pub place: Place,
    pub layer: u32,
    pub standardizer: Standardizer,
    pub classifier: Classifier,
    pub platt: Platt,
    /// Share of harmful examples that the probabilities hold for.
    pub share: f64,
    /// Risk up to which the rows of the run count as usual; 0 if none were seen.
    pub usual: f64,
}

impl Fitted {
    /// P(harmful) of every sample of a step, on its own.
    ///
    /// # Errors
    /// As [`Fitted::risk`].
    pub fn risks(&self, signals: &Signals) -> Result<Vec<f64>, String> {
        let activations = signals
            .activations
            .first()
            .ok_or("the probe needs the activations of the reference, there are none")?;
        if activations.hidden as usize != self.standardizer.mean.len() {
            return Err(format!(
                "the activations have width {}, the probe was calibrated for {}: calibrate it again",
                activations.hidden,
                self.standardizer.mean.len()
            ));
        }
        let index = activations.layer_index(self.layer)?;
        (0..signals.samples.len()).map(|sample| self.risk(activations, sample, index)).collect()
    }

    /// P(harmful) of one sample.
    ///
    /// # Errors
    /// If the activation is absent, not finite, or far beyond all that calibration saw.
    pub fn risk(
        &self,
        activations: &Activations,
        sample: usize,
        layer_index: usize,
    ) -> Result<f64, String> {
        let mut row = activations.row(sample, layer_index)?.to_vec();
        self.standardizer.apply(&mut row);
        let near = row.iter().all(|feature| feature.abs() <= FARTHEST);
        let risk = self.platt.probability(self.classifier.logit(&row));
        if near && risk.is_finite() {
            Ok(risk)
        } else {
            Err(format!(
                "the activation of sample {sample} at layer {} is too large for the probe",
                self.layer
            ))
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let method = Method::ALL.iter().position(|m| *m == self.method).unwrap_or_default();
        let writer = Writer::new(KIND, VERSION)
            .u8(method as u8)
            .u8(u8::from(self.place == Place::PromptMean))
            .u32(self.layer)
            .u32(self.standardizer.mean.len() as u32)
            .f64(self.platt.slope)
            .f64(self.platt.offset)
            .f64(self.share)
            .f64(self.usual)
            .f32s(&self.standardizer.mean)
            .f32s(&self.standardizer.scale);
        self.classifier.write(writer).finish()
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
        let place = match reader.u8()? {
            0 => Place::LastPromptToken,
            1 => Place::PromptMean,
            other => {
                return Err(format!("the parameters of the probe name no position ({other})"));
            }
        };
        let layer = reader.u32()?;
        let hidden = reader.u32()?;
        fits(run, settings, method, place, layer, hidden)?;
        let platt = Platt { slope: reader.f64()?, offset: reader.f64()? };
        let (share, usual) = (reader.f64()?, reader.f64()?);
        if !(share > 0.0 && share < 1.0 && (0.0..1.0).contains(&usual)) {
            return Err(format!(
                "the parameters of the probe hold a share of {share} and a usual risk of {usual}"
            ));
        }
        let hidden = hidden as usize;
        let standardizer = Standardizer { mean: reader.f32s(hidden)?, scale: reader.f32s(hidden)? };
        let classifier = Classifier::read(&mut reader, method, hidden)?;
        reader.finish()?;
        Ok(Self { method, place, layer, standardizer, classifier, platt, share, usual })
    }
}

fn fits(
    run: &RunInfo,
    settings: &Settings,
    method: Method,
    place: Place,
    layer: u32,
    hidden: u32,
) -> Result<(), String> {
    let was = if hidden != run.hidden {
        format!("activations of width {hidden}, this model has {}", run.hidden)
    } else if layer > run.layers {
        format!("layer {layer}, this model has layers 0 to {}", run.layers)
    } else if !settings.layers(run)?.contains(&layer) {
        format!("layer {layer}, which is not among the layers of the settings")
    } else if method != settings.method {
        let (was, is) = (method.name(), settings.method.name());
        format!("method {was}, the settings say {is}")
    } else if place != settings.position {
        format!("position {}, the settings say {}", place.name(), settings.position.name())
    } else {
        return Ok(());
    };
    Err(format!("the probe was calibrated for {was}: calibrate it again"))
}
