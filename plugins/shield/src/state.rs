//! What the policy remembers from step to step.

use risk_policy::bytes::{Reader, Writer};

use crate::experience::Experience;
use crate::settings::Settings;

const KIND: [u8; 4] = *b"SHLD";
const VERSION: u16 = 1;

/// The decision that is in force, and what led to it.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyState {
    /// The mean margin of the first measurement.
    pub first: f64,
    pub bin: usize,
    pub rung: usize,
    /// Fraction of what lies above its bound that each successor may spend.
    pub fraction: f64,
    /// Probability of reaching unsafe under the decision.
    pub risk: f64,
    pub experience: Experience,
}

impl PolicyState {
    /// None before the first measurement.
    pub fn read(state: &[u8], settings: &Settings) -> Result<Option<Self>, String> {
        if state.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
        let (first, fraction, risk) = (reader.f64()?, reader.f64()?, reader.f64()?);
        let (bin, rung) = (reader.u32()? as usize, reader.u32()? as usize);
        let counts = (0..Experience::size(settings)).map(|_| reader.u32());
        let counts = counts.collect::<Result<_, _>>()?;
        reader.finish()?;
        let chances = [fraction, risk].iter().all(|p| (0.0..=1.0).contains(p));
        if !chances || bin > settings.unsafe_bin() || rung >= settings.weights.len() {
            return Err("the state bytes hold a decision that these settings don't have".into());
        }
        Ok(Some(Self { first, bin, rung, fraction, risk, experience: Experience { counts } }))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Writer::new(KIND, VERSION)
            .f64(self.first)
            .f64(self.fraction)
            .f64(self.risk)
            .u32(self.bin as u32)
            .u32(self.rung as u32);
        let counts = self.experience.counts.iter();
        counts.fold(head, |writer, count| writer.u32(*count)).finish()
    }
}
