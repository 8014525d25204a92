//! Labelled examples to calibrate on.

use std::sync::Arc;

use host_contract::{Example, Needs, RunInfo, Source, Split};
use pyo3::prelude::*;

use crate::errors::{SignalError, UnmetNeed};
use crate::records;
use crate::signals::{activations, judged};

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
#[derive(Clone)]
pub struct Examples(pub Arc<host_contract::Examples>);

impl Examples {
    pub fn new(examples: host_contract::Examples) -> Self {
        Self(Arc::new(examples))
    }
}

#[pymethods]
impl Examples {
    fn __len__(&self) -> usize {
        self.0.examples.len()
    }

    #[staticmethod]
    fn from_dict(examples: &Bound<'_, PyAny>) -> PyResult<Self> {
        records::read(examples, "examples").map(Self::new).map_err(SignalError::new_err)
    }
}

/// Arguments of `Configured.examples`.
pub struct Given<'a, 'py> {
    pub harmful: &'a Bound<'py, PyAny>,
    pub split: &'a Bound<'py, PyAny>,
    pub activations: Option<&'a Bound<'py, PyAny>>,
    pub judges: Option<&'a Bound<'py, PyAny>>,
    pub row_activations: Option<&'a Bound<'py, PyAny>>,
    pub row_judges: Option<&'a Bound<'py, PyAny>>,
}

/// Examples of what was measured.
///
/// # Errors
/// Lists of different lengths, and arrays and judges that were not asked for.
pub fn measured(
    needs: &Needs,
    run: &RunInfo,
    given: &Given<'_, '_>,
) -> PyResult<host_contract::Examples> {
    let refuse = SignalError::new_err;
    if needs.taps.iter().any(|tap| tap.source == Source::Current) {
        return Err(UnmetNeed::new_err(
            "current activations for calibration can't be given: examples are measured on the \
             reference; choose a tap on it",
        ));
    }
    let harmful: Vec<bool> = records::read(given.harmful, "harmful").map_err(refuse)?;
    let split: Vec<Split> = records::read(given.split, "split").map_err(refuse)?;
    if harmful.len() != split.len() {
        let (labels, parts) = (harmful.len(), split.len());
        return Err(refuse(format!("harmful has {labels} entries and split {parts}")));
    }
    let count = harmful.len();
    let pairs = harmful.into_iter().zip(split);
    let scores = |given: Option<&Bound<'_, PyAny>>, place: &str| match given {
        Some(given) => records::read(given, place).map_err(refuse),
        None => Ok(Vec::new()),
    };
    let judges = scores(given.judges, "judges")?;
    judged(&judges, needs, count, "judges").map_err(refuse)?;
    let rows = match (given.row_activations, given.row_judges) {
        (None, None) => None,
        (arrays, judges) => Some(rows(arrays, judges)?),
    };
    let (row_activations, row_judges) = match rows {
        None => (Vec::new(), Vec::new()),
        Some(rows) if rows > needs.calibration_rows as usize => {
            let most = needs.calibration_rows;
            return Err(refuse(format!(
                "row_activations and row_judges are of {rows} rows; the policy asked for {most} \
                 (needs.calibration_rows)"
            )));
        }
        Some(rows) => {
            let axis = (rows, "rows of the run");
            let arrays =
                activations(given.row_activations, &needs.taps, axis, run, "row_activations")?;
            let row_judges = scores(given.row_judges, "row_judges")?;
            judged(&row_judges, needs, rows, "row_judges").map_err(refuse)?;
            (arrays, row_judges)
        }
    };
    Ok(host_contract::Examples {
        examples: pairs.map(|(harmful, split)| Example { harmful, split }).collect(),
        activations: activations(
            given.activations,
            &needs.taps,
            (count, "examples"),
            run,
            "activations",
        )?,
        judges,
        row_activations,
        row_judges,
    })
}

/// How many rows of the run there are, by the first array or the first judge.
fn rows(arrays: Option<&Bound<'_, PyAny>>, judges: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
    if let Some(arrays) = arrays
        && arrays.len()? > 0
    {
        return arrays.get_item(0)?.len();
    }
    match judges {
        Some(judges) if judges.len()? > 0 => judges.get_item(0)?.get_item("judgements")?.len(),
        _ => Ok(0),
    }
}
