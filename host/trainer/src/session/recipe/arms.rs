//! The trainings of a run.

use host_eval::evaluation::Evaluation;
use host_eval::report::{Report, Trained};

use super::Prepared;
use crate::config::Keep;
use crate::error::Result;
use crate::policies::ActivePolicy;
use crate::records::observer::Observer;
use crate::records::run_dir::RunDir;
use crate::session::training::Training;

/// One training and what is measured after it.
pub(super) struct Arm<'a> {
    /// Labels the answers.
    pub name: &'static str,
    pub title: String,
    pub policies: &'a [ActivePolicy],
    pub folder: RunDir,
    /// Where its results go.
    pub place: fn(&mut Report) -> (&mut Option<Trained>, &mut Option<Evaluation>),
}

impl Prepared<'_> {
    /// The trainings of the run, in order.
    pub(super) fn arms<'a>(&'a self, folder: &RunDir) -> Result<Vec<Arm<'a>>> {
        let mut arms = Vec::new();
        if self.with_baseline() {
            arms.push(Arm {
                name: "plain",
                title: "plain fine-tuning, no policy".into(),
                policies: &[],
                folder: folder.child("baseline")?,
                place: |report| (&mut report.baseline, &mut report.baseline_after),
            });
        }
        arms.push(Arm {
            name: "after",
            title: match self.names() {
                Some(names) => format!("fine-tuning under {names}"),
                None => "fine-tuning, no policy".into(),
            },
            policies: &self.policies,
            folder: folder.child("")?,
            place: |report| (&mut report.trained, &mut report.after),
        });
        Ok(arms)
    }

    pub(super) fn training<'a>(
        &'a self,
        arm: &'a str,
        policies: &'a [ActivePolicy],
        folder: &'a RunDir,
    ) -> Training<'a> {
        Training {
            config: &self.config,
            context: &self.context,
            policies,
            notary: self.notary(),
            identity: &self.identity,
            arm,
            folder,
            ranks: self.ranks,
            examination: self.examination.as_ref(),
        }
    }

    pub(super) fn with_baseline(&self) -> bool {
        !self.policies.is_empty() && self.config.train.baseline.unwrap_or(false)
    }

    /// Says what is asked between the steps, and what follows from it.
    pub(super) fn announce_evaluations(&self, observer: &mut dyn Observer) {
        let (Some(examination), Some(every)) = (&self.examination, self.config.eval.during.every)
        else {
            return;
        };
        let mut line = format!(
            "evaluated every {every} steps: {}",
            examination.about(self.context.canary.is_some())
        );
        if let Ok(Some(choice)) = self.config.choice() {
            let kept = match self.config.train.keep {
                Keep::Last => "the last adapter is kept",
                Keep::Best => "the best adapter is kept",
            };
            line += &format!("; the best is found by {}, {kept}", choice.rule.name());
        }
        if let Some(most) = self.config.train.patience {
            line += &format!("; {most} without an improvement end the training");
        }
        observer.notice(&line);
    }
}
