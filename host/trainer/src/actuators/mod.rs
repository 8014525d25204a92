//! What policies may steer, a file for each actuator that takes more than a number.

pub mod adapter_projection;
mod anchor;
mod ema;
pub mod gradient_projection;
pub mod objective;
pub mod ratio_clip;
mod roll_back;
pub mod steering;
pub mod vectors;

use host_contract::{self as wit, Needs};

use crate::parameters::optimizer::AdamW;

/// State of the actuators over a run. Empty until a policy uses one.
#[derive(Debug, Default)]
pub struct Actuators {
    /// avg <- d * avg + (1 - d) * theta (arXiv 2508.12531).
    pub average: Option<Vec<f32>>,
    /// Parameters and optimizer before the last update, kept if a policy may
    /// roll back.
    pub before: Option<(Vec<f32>, AdamW)>,
    /// The parameters when the alignment share last changed, at first those that the run
    /// began with; kept if a policy may pull towards them.
    pub switch: Option<Vec<f32>>,
}

/// Whether any policy may use this.
pub fn any_may(needs: &[Needs], actuator: wit::Actuators) -> bool {
    needs.iter().any(|needs| needs.actuators.contains(actuator))
}

impl Actuators {
    pub fn new(needs: &[Needs], parameters: &[f32]) -> Self {
        let anchored = any_may(needs, wit::Actuators::ANCHOR);
        Self { switch: anchored.then(|| parameters.to_vec()), ..Self::default() }
    }

    /// Vectors as long as the parameters that it comes to hold, if policies use all they
    /// may: what was before an update is kept until its successor is copied.
    pub fn vectors(needs: &[Needs]) -> usize {
        let may = |actuator| usize::from(any_may(needs, actuator));
        may(wit::Actuators::EMA)
            + may(wit::Actuators::ANCHOR)
            + 2 * may(wit::Actuators::ROLL_BACK) * (1 + AdamW::MOMENTS)
    }
}
