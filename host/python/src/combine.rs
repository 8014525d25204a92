//! What several policies amount to.

use std::sync::{Mutex, PoisonError};

use host_contract::{Expected, Needs, Sample, check_together, validate_assessment};
use pyo3::prelude::*;

use crate::assessment::Assessment;
use crate::configured::Configured;
use crate::errors::{SignalError, UnmetNeed};
use crate::records;

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
pub struct Combiner {
    policies: Vec<Configured>,
    combiner: Mutex<host_contract::Combiner>,
}

#[pymethods]
impl Combiner {
    #[new]
    #[pyo3(signature = (policies, *, standing = None))]
    fn new(
        policies: Vec<Bound<'_, Configured>>,
        standing: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let standing = match standing {
            Some(given) => records::read(given, "standing").map_err(SignalError::new_err)?,
            None => Vec::new(),
        };
        let policies: Vec<Configured> = policies.iter().map(|one| one.get().clone()).collect();
        let needs: Vec<&Needs> = policies.iter().map(|one| &one.0.needs).collect();
        check_together(&needs).map_err(|found| {
            UnmetNeed::new_err(format!(
                "policy {} may use {}, which {}, so no other policy can work beside it; run it as \
                 the only policy, or leave it out",
                policies[found.policy].0.policy.policy, found.actuator, found.why
            ))
        })?;
        let combiner = Mutex::new(host_contract::Combiner { standing });
        Ok(Self { policies, combiner })
    }

    fn combine(
        &self,
        assessments: Vec<Bound<'_, Assessment>>,
        samples: &Bound<'_, PyAny>,
    ) -> PyResult<Assessment> {
        let refuse = SignalError::new_err;
        let samples: Vec<Sample> = records::read(samples, "samples").map_err(refuse)?;
        if assessments.len() != self.policies.len() {
            let (found, must) = (assessments.len(), self.policies.len());
            return Err(refuse(format!("there are {found} assessments and {must} policies")));
        }
        let assessments: Vec<_> = assessments.iter().map(|one| &one.get().assessment).collect();
        for (i, (one, policy)) in assessments.iter().zip(&self.policies).enumerate() {
            let (needs, layers) = (&policy.0.needs, policy.0.run.layers);
            let expected = Expected { samples: &samples, needs, layers };
            validate_assessment(one, expected).map_err(|invalid| {
                refuse(format!(
                    "assessments[{i}]: {invalid}; give those of this step, in the order of the policies"
                ))
            })?;
        }
        let names: Vec<&str> = self.policies.iter().map(|one| one.0.policy.policy.name()).collect();
        let mut combiner = self.combiner.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(combiner.combine(&names, &assessments, &samples).into())
    }

    #[getter]
    fn standing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let combiner = self.combiner.lock().unwrap_or_else(PoisonError::into_inner);
        records::to_python(py, &combiner.standing)
    }
}

/// Of one step by itself.
#[pyfunction]
pub fn combine(
    policies: Vec<Bound<'_, Configured>>,
    assessments: Vec<Bound<'_, Assessment>>,
    samples: &Bound<'_, PyAny>,
) -> PyResult<Assessment> {
    Combiner::new(policies, None)?.combine(assessments, samples)
}
