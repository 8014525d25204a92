//! How much steering is allowed, and of what.

use risk_policy::bytes::{Reader, Writer};

use crate::settings::Settings;

const KIND: [u8; 4] = *b"STGD";
const VERSION: u16 = 1;
/// A cap rises by at most this factor from one measurement to the next: what is known of a
/// coefficient says little of a much larger one.
const RISE: f64 = 2.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The coefficient of the configuration.
    pub wanted: f64,
    /// The one that is allowed: at most as large, of the same sign.
    pub coefficient: f64,
    pub project: bool,
}

impl Verdict {
    /// `in_force` is what counts as wanted before the first verdict.
    pub fn resume(state: &[u8], in_force: f64) -> Result<Self, String> {
        if state.is_empty() {
            return Ok(Self { wanted: in_force, coefficient: in_force, project: false });
        }
        let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
        let (wanted, coefficient) = (reader.f64()?, reader.f64()?);
        let project = reader.u8()? != 0;
        reader.finish()?;
        if coefficient.abs() > wanted.abs() || coefficient * wanted < 0.0 {
            return Err(format!(
                "the state bytes hold a coefficient of {coefficient} where {wanted} was wanted"
            ));
        }
        Ok(Self { wanted, coefficient, project })
    }

    pub fn state(self) -> Vec<u8> {
        Writer::new(KIND, VERSION)
            .f64(self.wanted)
            .f64(self.coefficient)
            .u8(u8::from(self.project))
            .finish()
    }

    /// Takes in how far the margin has fallen at the coefficient `in_force`, as if that
    /// were in proportion; gives the reasons for what is not allowed as it is.
    pub fn judge(
        &mut self,
        settings: &Settings,
        opposition: f64,
        in_force: f64,
        fall: f64,
    ) -> Vec<(&'static str, String)> {
        let mut reasons = Vec::new();
        if opposition > settings.allowed_opposition {
            self.project = true;
            let message = format!(
                "the vector opposes the refusal direction with a cosine of {opposition:.3}: its \
                 part along it is removed"
            );
            reasons.push(("projected", message));
        }
        let size = in_force.abs();
        let cap = if fall > 0.0 { size * settings.allowed_fall / fall } else { f64::INFINITY };
        let allowed = self.wanted.abs().min(cap).min(size * RISE);
        self.coefficient = allowed * self.wanted.signum();
        if allowed < self.wanted.abs() {
            let message = format!(
                "at a coefficient of {in_force:.4} the margin falls by {fall:.3}: {:.4} is allowed",
                self.coefficient
            );
            reasons.push(("capped", message));
        }
        reasons
    }
}
