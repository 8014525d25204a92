//! What a person is told of a run before its first step, and the judges that are tried out.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use host_contract::{Actuators, Needs};
use host_eval::evaluation;

use super::Prepared;
use crate::actuators::any_may;
use crate::error::Result;
use crate::policies::ActivePolicy;
use crate::records::observer::Observer;
use crate::step::state::tells_apart;

impl Prepared<'_> {
    /// Those that the policies ask, and those that evaluate.
    pub(super) fn try_judges(&self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<()> {
        let mut names = self.asked_judges();
        names.extend(self.config.eval.judges.iter().map(String::as_str));
        let unchecked = &self.config.trust.unchecked_judges;
        let notices = self.context.judges.try_out(names, unchecked, stop)?;
        notices.iter().for_each(|notice| observer.notice(notice));
        Ok(())
    }

    /// Those that the policies ask.
    fn asked_judges(&self) -> BTreeSet<&str> {
        let needs = self.policies.iter().flat_map(|one| &one.needs.judges);
        needs.map(|need| need.judge.as_str()).collect()
    }

    /// The policies for tables: anyone can give a file a name, and nobody a digest.
    pub(super) fn names(&self) -> Option<String> {
        let name = |one: &ActivePolicy| format!("{} {:.8}", one.policy.name(), one.policy.digest());
        let names: Vec<String> = self.policies.iter().map(name).collect();
        (!names.is_empty()).then(|| names.join(" + "))
    }

    pub(super) fn announce(&self, observer: &mut dyn Observer) {
        if self.ranks.size() > 1 {
            observer.notice(&format!(
                "{} processes train together, each on its share of every step",
                self.ranks.size()
            ));
        }
        for active in &self.policies {
            let needs = host_contract::needs_summary(&active.needs);
            let text = if needs.is_empty() {
                "nothing; it steers the loss weights alone".to_owned()
            } else {
                needs.join("\n")
            };
            observer.show(&format!("{} asks for", active.policy.name()), &text);
        }
        self.announce_evaluations(observer);
        let judges = &self.config.eval.judges;
        if let Some(notice) = evaluation::dependent(&self.asked_judges(), judges) {
            observer.notice(&notice);
        }
        let reads_current =
            |active: &ActivePolicy| crate::signals::sensors::reads_current(&active.needs);
        let (micro, batch) = (self.config.train.micro_batch(), self.config.train.batch);
        let needs: Vec<Needs> = self.policies.iter().map(|one| one.needs.clone()).collect();
        let divided = micro < batch.div_ceil(self.ranks.size())
            || tells_apart(&needs)
            || any_may(&needs, Actuators::ALIGNMENT_EXTRA);
        if divided && self.policies.iter().any(reads_current) {
            observer.notice("a policy reads the current model and a step has several micro-batches: each step takes one more forward");
        }
    }
}
