//! Signals of one step: checked against what the policy asked for.

use std::sync::Arc;

use host_contract::{Activations, Needs, RunInfo, SIGNALS, Tap, TokenNeeds, TokenSignals};
use host_contract::{JudgeScores, signals_bytes};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use serde_json::{Map, Value, json};

use crate::arrays;
use crate::errors::SignalError;
use crate::records::{self, Problem};

/// Measured at every step if they are asked for.
const ALWAYS: [&str; 5] = ["activations", "judges", "prefixes", "tokens", "sample-loss"];

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
#[derive(Clone)]
pub struct Signals(pub Arc<host_contract::Signals>);

impl Signals {
    pub fn new(signals: host_contract::Signals) -> Self {
        Self(Arc::new(signals))
    }
}

#[pymethods]
impl Signals {
    #[getter]
    fn step(&self) -> u64 {
        self.0.step
    }

    #[getter]
    fn samples<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.0.samples)
    }

    #[getter]
    fn bytes(&self) -> usize {
        signals_bytes(&self.0)
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &*self.0)
    }

    #[staticmethod]
    fn from_dict(signals: &Bound<'_, PyAny>) -> PyResult<Self> {
        records::read(signals, "signals").map(Self::new).map_err(SignalError::new_err)
    }

    fn __repr__(&self) -> String {
        let names = SIGNALS.iter().filter(|one| one.given(&self.0)).map(|one| one.name());
        let names = names.collect::<Vec<_>>().join(", ");
        format!("Signals(step {}, {} samples: {names})", self.0.step, self.0.samples.len())
    }
}

/// Keyword arguments by their names.
type Fields<'py> = [(String, Bound<'py, PyAny>)];

/// Signals of these fields.
///
/// # Errors
/// What was not asked for, what is missing, and what has another length than it must have.
pub fn measured(
    needs: &Needs,
    run: &RunInfo,
    fields: &Fields<'_>,
) -> PyResult<host_contract::Signals> {
    let refuse = SignalError::new_err;
    let (mut small, mut activations, mut tokens) = (Map::new(), None, None);
    for (name, given) in fields {
        let known = ["step", "learning_rate", "samples"].contains(&name.as_str())
            || SIGNALS.iter().any(|one| field(one.name()) == *name);
        match name.as_str() {
            _ if !known => {
                let problem = format!("signals() got an unexpected keyword argument '{name}'");
                return Err(PyTypeError::new_err(problem));
            }
            "activations" => activations = Some(given),
            "tokens" => tokens = Some(given),
            _ => {
                let value = records::value(given, &format!("signals.{name}")).map_err(refuse)?;
                small.insert(name.clone(), value);
            }
        }
    }
    for name in ["step", "learning_rate", "samples"] {
        if !small.contains_key(name) {
            return Err(refuse(format!("signals.{name} is missing")));
        }
    }
    let mut signals: host_contract::Signals =
        records::from_value(Value::Object(small), "signals").map_err(refuse)?;
    if signals.samples.is_empty() {
        return Err(refuse(
            "signals.samples is empty; a step without samples isn't assessed".into(),
        ));
    }
    let samples = signals.samples.len();
    signals.activations = self::activations(
        activations,
        &needs.taps,
        (samples, "samples"),
        run,
        "signals.activations",
    )?;
    signals.tokens =
        tokens.map(|given| self::tokens(given, needs, &signals.samples)).transpose()?;
    asked(&signals, needs).and_then(|()| lengths(&signals, needs)).map_err(refuse)?;
    Ok(signals)
}

/// As Python writes the name of a field of the interface.
fn field(name: &str) -> String {
    name.replace('-', "_")
}

/// Per tap one array (rows, layers of the tap, hidden).
///
/// # Errors
/// Another number of arrays, and arrays that are anything else.
pub fn activations(
    given: Option<&Bound<'_, PyAny>>,
    taps: &[Tap],
    rows: arrays::Axis,
    run: &RunInfo,
    place: &str,
) -> PyResult<Vec<Activations>> {
    let arrays = match given {
        None => Vec::new(),
        Some(given) => given.try_iter()?.collect::<PyResult<Vec<_>>>()?,
    };
    if arrays.len() != taps.len() {
        let asked = taps.iter().map(|tap| json!(tap).to_string()).collect::<Vec<_>>().join(", ");
        return Err(SignalError::new_err(format!(
            "{place} has {} arrays; the policy asked for {}: [{asked}]",
            arrays.len(),
            taps.len()
        )));
    }
    let read = arrays.iter().zip(taps).enumerate().map(|(i, (array, tap))| {
        let axes = [rows, (tap.layers.len(), "layers of the tap"), (run.hidden as usize, "hidden")];
        Ok(Activations {
            tap: tap.clone(),
            samples: length(rows.0, place)?,
            layers: length(tap.layers.len(), place)?,
            hidden: run.hidden,
            values: arrays::floats(array, &format!("{place}[{i}]"), &axes)?,
        })
    });
    read.collect()
}

fn length(found: usize, place: &str) -> PyResult<u32> {
    u32::try_from(found).map_err(|_| SignalError::new_err(format!("{place} has too many rows")))
}

/// Log-probabilities of the answer tokens, cut into samples by their offsets.
fn tokens(
    given: &Bound<'_, PyAny>,
    needs: &Needs,
    samples: &[host_contract::Sample],
) -> PyResult<TokenSignals> {
    let refuse = SignalError::new_err;
    let item = |key: &str| -> PyResult<Option<Bound<'_, PyAny>>> {
        if !given.contains(key)? {
            return Ok(None);
        }
        Ok(Some(given.get_item(key)?).filter(|item| !item.is_none()))
    };
    let Some(offsets) = item("offsets")? else {
        return Err(refuse("signals.tokens.offsets is missing".into()));
    };
    let offsets: Vec<u32> = records::read(&offsets, "signals.tokens.offsets").map_err(refuse)?;
    let mut expected = vec![0u32];
    for sample in samples {
        let end = expected.last().and_then(|end| end.checked_add(sample.answer_tokens));
        expected.push(end.ok_or_else(|| refuse("signals.samples has too many tokens".into()))?);
    }
    if offsets != expected {
        let at = offsets.iter().zip(&expected).position(|(found, must)| found != must);
        return Err(refuse(match at {
            Some(at) => format!(
                "signals.tokens.offsets[{at}] is {}, and the samples' answer_tokens before it are {}",
                offsets[at], expected[at]
            ),
            None => format!(
                "signals.tokens.offsets has {} entries; {} samples need {}",
                offsets.len(),
                samples.len(),
                expected.len()
            ),
        }));
    }
    let count = expected.last().copied().unwrap_or_default() as usize;
    let list = |key: &str, flag: TokenNeeds| -> PyResult<Vec<f32>> {
        let place = format!("signals.tokens.{key}");
        match (item(key)?, needs.tokens.contains(flag)) {
            (Some(array), true) => arrays::floats(&array, &place, &[(count, "answer tokens")]),
            (None, false) => Ok(Vec::new()),
            (None, true) => Err(refuse(format!("{place} is missing; the policy asked for it"))),
            (Some(_), false) => Err(unasked(&place, "needs.tokens")),
        }
    };
    Ok(TokenSignals {
        current: list("current", TokenNeeds::CURRENT)?,
        reference: list("reference", TokenNeeds::REFERENCE)?,
        offsets,
    })
}

fn unasked(place: &str, need: &str) -> PyErr {
    SignalError::new_err(format!("{place} is given, and the policy didn't ask for it ({need})"))
}

/// All that was asked for is there, and nothing else is.
fn asked(signals: &host_contract::Signals, needs: &Needs) -> Result<(), Problem> {
    for signal in SIGNALS {
        let place = format!("signals.{}", field(signal.name()));
        match (signal.asked(needs), signal.given(signals)) {
            (false, true) => {
                let need = signal.need().unwrap_or("needs");
                return Err(format!(
                    "{place} is given, and the policy didn't ask for it ({need}); leave it out"
                ));
            }
            (true, false) if ALWAYS.contains(&signal.name()) => {
                let what = signal.summary(needs).join(" and ");
                return Err(format!("{place} is missing; the policy asked for {what}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Lists have the lengths that a policy may rely on.
fn lengths(signals: &host_contract::Signals, needs: &Needs) -> Result<(), Problem> {
    let samples = signals.samples.len();
    judged(&signals.judges, needs, samples, "signals.judges")?;
    let per_sample = [
        ("sample_loss", &signals.sample_loss),
        ("gradient_agreement", &signals.gradient_agreement),
    ];
    for (name, list) in per_sample {
        if let Some(list) = list.as_ref().filter(|list| list.len() != samples) {
            return Err(counted(&format!("signals.{name}"), list.len(), samples, "samples"));
        }
    }
    let cut = needs.judges.iter().filter(|need| need.prefix_words.is_some());
    let names: Vec<&str> = cut.map(|need| need.judge.as_str()).collect();
    if !signals.prefixes.iter().map(|one| one.judge.as_str()).eq(names.iter().copied()) {
        return Err(format!("signals.prefixes must be of the judges {names:?}, in this order"));
    }
    for (i, one) in signals.prefixes.iter().enumerate() {
        let ascends = one.offsets.first() == Some(&0) && one.offsets.is_sorted();
        let last = one.offsets.last().map(|last| *last as usize);
        let fits = one.offsets.len() == samples + 1 && last == Some(one.ends.len());
        if !ascends || !fits || one.judgements.len() != one.ends.len() {
            return Err(format!(
                "signals.prefixes[{i}]: offsets must cut ends and judgements into {samples} samples"
            ));
        }
    }
    if !signals.trials.is_empty()
        && !signals.trials.iter().map(|trial| trial.scale).eq(needs.trial_scales.iter().copied())
    {
        let scales = &needs.trial_scales;
        return Err(format!("signals.trials must be of the scales {scales:?}, in this order"));
    }
    if let Some(one) = signals.anchors.as_ref()
        && one.harmful.len() != one.divergence.len()
    {
        let (found, must) = (one.divergence.len(), one.harmful.len());
        return Err(counted("signals.anchors.divergence", found, must, "entries of harmful"));
    }
    if let (Some(given), Some(need)) = (&signals.steering, &needs.steering)
        && given.cosines.len() != need.layers.len()
    {
        let (found, must) = (given.cosines.len(), need.layers.len());
        return Err(counted("signals.steering.cosines", found, must, "layers of needs.steering"));
    }
    Ok(())
}

/// Lists have the lengths that their own fields say: a journal cuts them by sample.
///
/// # Errors
/// Lists of others, which only signals from a dict can have.
pub fn whole(signals: &host_contract::Signals) -> Result<(), Problem> {
    let samples = signals.samples.len();
    for (i, one) in signals.activations.iter().enumerate() {
        let count = [one.samples, one.layers, one.hidden].map(u64::from);
        let count = count.iter().try_fold(1u64, |count, length| count.checked_mul(*length));
        if count != Some(one.values.len() as u64) || one.samples as usize != samples {
            return Err(format!(
                "signals.activations[{i}].values aren't those of {samples} samples, {} layers and {} \
                 units",
                one.layers, one.hidden
            ));
        }
    }
    let Some(tokens) = &signals.tokens else { return Ok(()) };
    let ascends = tokens.offsets.first() == Some(&0) && tokens.offsets.is_sorted();
    let end = tokens.offsets.last().map_or(0, |end| *end as usize);
    let fits = |list: &[f32]| list.is_empty() || list.len() == end;
    if tokens.offsets.len() != samples + 1
        || !ascends
        || !fits(&tokens.current)
        || !fits(&tokens.reference)
    {
        return Err(format!("signals.tokens.offsets don't cut its lists into {samples} samples"));
    }
    Ok(())
}

fn counted(place: &str, found: usize, must: usize, of: &str) -> Problem {
    format!("{place} has {found} entries, and there are {must} {of}")
}

/// Scores of every judge that was asked for, per row.
///
/// # Errors
/// Other judges, and other numbers of scores.
pub fn judged(
    scores: &[JudgeScores],
    needs: &Needs,
    rows: usize,
    place: &str,
) -> Result<(), Problem> {
    let names: Vec<&str> = needs.judges.iter().map(|need| need.judge.as_str()).collect();
    if !scores.iter().map(|one| one.judge.as_str()).eq(names.iter().copied()) {
        return Err(format!("{place} must be of the judges {names:?}, in this order"));
    }
    let wrong = scores.iter().position(|one| one.judgements.len() != rows);
    match wrong {
        Some(i) => {
            let found = scores[i].judgements.len();
            Err(counted(&format!("{place}[{i}].judgements"), found, rows, "rows"))
        }
        None => Ok(()),
    }
}
