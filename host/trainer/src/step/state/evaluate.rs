//! Looks at the model between two steps.

use std::sync::atomic::AtomicBool;

use host_data::Failure;
use host_eval::selection::Selection;

use super::State;
use crate::error::Result;
use crate::records::observer::Observer;
use crate::records::{Ending, RunRecorder, Totals};
use crate::step::evaluations::{Best, Evaluated, Evaluations};

impl State<'_> {
    /// Evaluates the model as it is, if that is due at this step and was not done.
    pub fn evaluate(
        &mut self,
        totals: &mut Totals,
        recorder: &mut Option<RunRecorder>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Evaluated> {
        let Some(evaluations) = self.spec.evaluations else {
            return Ok(Evaluated::NotDue);
        };
        let step = totals.steps;
        let over =
            totals.ending != Ending::Finished || step == self.spec.context.plan.total_steps();
        let due = over || step.is_multiple_of(evaluations.every);
        if !due || self.evaluated == Some(step) {
            return Ok(Evaluated::NotDue);
        }
        let ranks = self.spec.ranks;
        let evaluated = ranks
            .from_root(|| self.examine(evaluations, totals, recorder.as_mut(), observer, stop))?;
        if evaluated != Evaluated::Interrupted {
            self.evaluated = Some(step);
        }
        Ok(evaluated)
    }

    fn examine(
        &mut self,
        evaluations: Evaluations<'_>,
        totals: &mut Totals,
        recorder: Option<&mut RunRecorder>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Evaluated> {
        let Some(examination) = evaluations.examination else {
            return Ok(Evaluated::Done);
        };
        let context = self.spec.context;
        let adapter = (totals.steps > 0).then_some(self.spec.adapter);
        let exported = self.exported().map(<[f32]>::to_vec);
        if let Some(exported) = &exported {
            self.layout.write(exported)?;
        }
        let found = examination.examine(&context.model, context.canary.as_ref(), adapter, stop);
        let weights = adapter.map(|adapter| adapter.peft_sha256(&context.model.config));
        // What is trained is another one, if an average is exported.
        if exported.is_some() {
            self.layout.write(&self.parameters)?;
        }
        let mut record = match found {
            Err(Failure::Interrupted) => return Ok(Evaluated::Interrupted),
            found => found?,
        };
        record.step = totals.steps;
        record.adapter_sha256 = weights.transpose()?;
        let selection =
            totals.evaluations.get_or_insert_with(|| Selection::new(evaluations.choice));
        selection.add(&mut record);
        let tired = evaluations.patience.is_some_and(|most| selection.without_improvement >= most);
        if record.best && evaluations.keeps_best {
            let parameters = exported.unwrap_or_else(|| self.parameters.clone());
            self.best = Some(Best { parameters, steering: totals.steering });
        }
        if let Some(recorder) = recorder {
            recorder.records.evaluated(&record)?;
        }
        observer.evaluated(&record);
        Ok(if tired { Evaluated::OutOfPatience } else { Evaluated::Done })
    }
}
