//! A finite Markov decision process, and the least probability of reaching its unsafe
//! state.

/// States are counted from 0; the two absorbing ones come after them: unsafe, then over.
pub struct Mdp {
    /// Per state and action, the probability of every successor: the states, unsafe, over.
    pub transitions: Vec<Vec<Vec<f64>>>,
}

/// Bounds closer than this are one number.
const TOLERANCE: f64 = 1e-9;
const MOST_ROUNDS: usize = 10_000;

impl Mdp {
    /// An upper bound of the least probability of reaching unsafe, per state, then 1 for
    /// unsafe and 0 for over. Interval iteration: one bound rises from 0, the other falls
    /// from 1, until they meet. What is left of the falling one is inductive,
    /// beta(s) >= min over a of sum P(s'|s,a) beta(s'), wherever it was stopped.
    pub fn bound(&self) -> Vec<f64> {
        let states = self.transitions.len();
        let ends = [1.0, 0.0];
        let mut lower: Vec<f64> = [vec![0.0; states], ends.to_vec()].concat();
        let mut upper: Vec<f64> = [vec![1.0; states], ends.to_vec()].concat();
        for _ in 0..MOST_ROUNDS {
            lower = self.improve(&lower);
            upper = self.improve(&upper);
            let apart = |(low, high): (&f64, &f64)| high - low > TOLERANCE;
            if !lower.iter().zip(&upper).any(apart) {
                break;
            }
        }
        upper
    }

    fn improve(&self, bound: &[f64]) -> Vec<f64> {
        let states = 0..self.transitions.len();
        let best = states.map(|state| {
            let risks = self.risks(state, bound).into_iter();
            risks.fold(1.0, f64::min)
        });
        best.chain([1.0, 0.0]).collect()
    }

    /// Per action, the probability of reaching unsafe if what follows has this one:
    /// sum P(s'|s,a) beta(s').
    pub fn risks(&self, state: usize, bound: &[f64]) -> Vec<f64> {
        let actions = self.transitions[state].iter();
        actions.map(|successors| expected(successors, bound)).collect()
    }
}

fn expected(probabilities: &[f64], values: &[f64]) -> f64 {
    let products = probabilities.iter().zip(values).map(|(p, v)| p * v);
    products.sum()
}

/// What a successor may spend: its own bound and a fraction of all that lies above it,
/// q' = beta' + (1 - beta') fraction.
pub fn successor_budget(bound: f64, fraction: f64) -> f64 {
    bound + (1.0 - bound) * fraction
}

/// The fraction that spends a budget: sum P(s') q' = budget, with `risk` = sum P(s') beta(s').
pub fn fraction(budget: f64, risk: f64) -> f64 {
    if risk < 1.0 { ((budget - risk) / (1.0 - risk)).clamp(0.0, 1.0) } else { 0.0 }
}
