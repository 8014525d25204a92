//! The settings, and what they make of a margin.

use risk_policy::anchors::Anchors;
use risk_policy::settings::invalid;

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Most probability of losing `limit` in the run.
    pub budget: f64,
    /// Share of the mean margin of the first measurement.
    pub limit: f64,
    /// Parts of the way to `limit`.
    pub bins: u32,
    /// From the weakest to the strongest.
    pub weights: Vec<f64>,
    /// How many transitions the prior counts for, per state and action.
    pub prior: f64,
    pub every: u32,
    /// Whose weight the rungs of the ladder are.
    pub anchors: Anchors,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            budget: 0.1,
            limit: 0.5,
            bins: 5,
            weights: vec![0.1, 0.3, 1.0, 3.0, 10.0],
            prior: 4.0,
            every: 5,
            anchors: Anchors::default(),
        }
    }
}

const MOST_BINS: u32 = 32;
const MOST_RUNGS: usize = 16;
/// The host takes no weight above it.
const LARGEST_WEIGHT: f64 = 1000.0;

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.budget) {
            return Err(invalid("budget", format!("{} is not in [0, 1]", self.budget)));
        }
        for (key, value) in [("limit", self.limit), ("prior", self.prior)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(invalid(key, format!("{value} is not above 0")));
            }
        }
        if !(1..=MOST_BINS).contains(&self.bins) {
            return Err(invalid("bins", format!("{} is not in [1, 32]", self.bins)));
        }
        if self.every == 0 {
            return Err(invalid("every", "0 steps never come: give at least 1"));
        }
        self.anchors.check_controlled(0.0, LARGEST_WEIGHT)?;
        self.check_ladder()
    }

    fn check_ladder(&self) -> Result<(), String> {
        let wrong = |what: String| Err(invalid("weights", what));
        let weights = &self.weights;
        if !(1..=MOST_RUNGS).contains(&weights.len()) {
            return wrong(format!("{} weights; give 1 to 16", weights.len()));
        }
        let in_range = |weight: &&f64| (0.0..=LARGEST_WEIGHT).contains(*weight);
        if let Some(weight) = weights.iter().find(|weight| !in_range(weight)) {
            return wrong(format!("{weight} is not in [0, 1000]"));
        }
        match weights.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => wrong(format!(
                "{} after {}; name them from the weakest to the strongest",
                pair[1], pair[0]
            )),
            None => Ok(()),
        }
    }

    /// Where a fall of the margin stands: a part of the way, or `bins` beyond all.
    pub fn bin(&self, fall: f64) -> usize {
        let part = (fall / self.limit * f64::from(self.bins)).floor();
        part.clamp(0.0, f64::from(self.bins)) as usize
    }

    /// `bin` of what is unsafe.
    pub fn unsafe_bin(&self) -> usize {
        self.bins as usize
    }
}
