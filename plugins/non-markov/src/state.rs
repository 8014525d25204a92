//! What the policy remembers from step to step.

use risk_policy::bytes::{Reader, Writer};

use crate::credit::{Credit, FEATURES, Labelled, PARAMETERS, Step};
use crate::settings::Settings;

const KIND: [u8; 4] = *b"NMKV";
const VERSION: u16 = 2;
/// Trajectories to learn from; the oldest goes when another comes.
pub const KEPT: usize = 16;

#[derive(Debug, Clone, PartialEq)]
pub struct PolicyState {
    /// The multiplier.
    pub lambda: f64,
    /// The mean margin of the first measurement.
    pub first: Option<f64>,
    pub credit: Credit,
    /// The oldest first.
    pub trajectories: Vec<Labelled>,
    /// Since the last measurement.
    pub current: Vec<Step>,
    /// Largest and mean loss of the rows of the step that is about to be taken.
    pub rows: [f64; 2],
}

impl PolicyState {
    pub fn read(state: &[u8], settings: &Settings, seed: u64) -> Result<Self, String> {
        let window = settings.every as usize;
        if state.is_empty() {
            return Ok(Self {
                lambda: settings.anchors.weight,
                first: None,
                credit: Credit::new(seed, window),
                trajectories: Vec::new(),
                current: Vec::new(),
                rows: [0.0; 2],
            });
        }
        let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
        let lambda = reader.f64()?;
        let first = match reader.u8()? {
            0 => None,
            _ => Some(reader.f64()?),
        };
        let parameters = (0..PARAMETERS).map(|_| reader.f64());
        let parameters = parameters.collect::<Result<_, _>>()?;
        let count = reader.u8()?;
        let trajectories = (0..count).map(|_| {
            let safe = reader.u8()? != 0;
            let steps = steps(&mut reader)?;
            Ok(Labelled { steps, safe })
        });
        let trajectories: Vec<Labelled> = trajectories.collect::<Result<_, String>>()?;
        let current = steps(&mut reader)?;
        let rows = [reader.f64()?, reader.f64()?];
        reader.finish()?;
        let lengths = trajectories.iter().map(|one| one.steps.len());
        let longest = lengths.chain([current.len()]).max().unwrap_or_default();
        if lambda < 0.0 || trajectories.len() > KEPT || longest > window {
            return Err("the state bytes hold what these settings can't lead to".into());
        }
        Ok(Self { lambda, first, credit: Credit { parameters }, trajectories, current, rows })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let writer = Writer::new(KIND, VERSION).f64(self.lambda);
        let writer = match self.first {
            None => writer.u8(0),
            Some(first) => writer.u8(1).f64(first),
        };
        let parameters = self.credit.parameters.iter();
        let writer = parameters.fold(writer, |writer, value| writer.f64(*value));
        let trajectories = self.trajectories.iter();
        let writer = trajectories.fold(writer.u8(self.trajectories.len() as u8), |writer, one| {
            write_steps(writer.u8(u8::from(one.safe)), &one.steps)
        });
        let [largest, mean] = self.rows;
        write_steps(writer, &self.current).f64(largest).f64(mean).finish()
    }
}

fn steps(reader: &mut Reader) -> Result<Vec<Step>, String> {
    let count = reader.u8()?;
    let step = |_| {
        let mut step = [0.0; FEATURES];
        for value in &mut step {
            *value = reader.f64()?;
        }
        Ok(step)
    };
    (0..count).map(step).collect()
}

fn write_steps(writer: Writer, steps: &[Step]) -> Writer {
    let values = steps.iter().flatten();
    values.fold(writer.u8(steps.len() as u8), |writer, value| writer.f64(*value))
}
