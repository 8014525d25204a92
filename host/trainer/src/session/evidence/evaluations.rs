//! The evaluations of a run must lead to what it kept.

use std::path::Path;

use host_audit::seal::Seal;
use host_eval::selection::{EvaluationRecord, Selection};
use serde_json::Value;

use super::{ADAPTER, Evidence, lines};
use crate::config::{Keep, RunConfig};
use crate::session::training::{EVALUATIONS, LAST_ADAPTER};

impl Evidence {
    /// Goes through the evaluations again, by the rule of the configuration. `trained` is what
    /// the report says of the training.
    pub(super) fn evaluations(
        &mut self,
        run: &Path,
        config: &RunConfig,
        seal: &Seal,
        trained: &Value,
    ) {
        let (Some(every), Ok(Some(choice))) = (config.eval.during.every, config.choice()) else {
            return;
        };
        let found = lines(&run.join(EVALUATIONS)).and_then(|lines| {
            let records = lines.into_iter().map(serde_json::from_value);
            records.collect::<Result<Vec<EvaluationRecord>, _>>().map_err(|why| why.to_string())
        });
        let records = match found {
            Ok(records) => records,
            Err(problem) => return self.find(format!("{EVALUATIONS} {problem}")),
        };
        let (steps, ending) =
            (trained["steps"].as_u64().unwrap_or(0), trained["ending"].as_str().unwrap_or(""));
        let over = ["finished", "stopped", "early-stop"].contains(&ending);
        let mut due: Vec<u64> = (0..=steps).step_by(every.max(1) as usize).collect();
        if over && due.last() != Some(&steps) {
            due.push(steps);
        }
        let seen: Vec<u64> = records.iter().map(|record| record.step).collect();
        // The last one of a run that was interrupted may still be due.
        let whole = if over { seen == due } else { due.starts_with(&seen) };
        if !whole {
            return self.find(format!("{EVALUATIONS} is not of the steps that were due"));
        }
        let mut selection = Selection::new(choice);
        for mut record in records.clone() {
            let told = record.best;
            selection.add(&mut record);
            if record.best != told {
                let step = record.step;
                let rule = choice.rule.name();
                return self.find(format!(
                    "{EVALUATIONS}, step {step}: is marked otherwise than the rule {rule} says"
                ));
            }
        }
        if over {
            selection.keep(steps, config.train.keep == Keep::Best && selection.best.is_some());
        }
        let told = serde_json::from_value::<Option<Selection>>(trained["evaluations"].clone());
        if told.ok().flatten() != (!records.is_empty()).then(|| selection.clone()) {
            return self
                .find(format!("report.json says otherwise than {EVALUATIONS} what was best"));
        }
        let of_step = |step: u64| records.iter().find(|record| record.step == step && step > 0);
        let kept = selection.kept.as_ref().and_then(|kept| of_step(kept.step));
        let last = format!("{LAST_ADAPTER}/adapter_model.safetensors");
        for (name, record) in [(ADAPTER, kept), (&last, of_step(steps))] {
            let expected = record.and_then(|record| record.adapter_sha256.as_ref());
            let left = seal.files.get(name).map(|content| &content.sha256);
            if let (Some(expected), Some(left)) = (expected, left)
                && expected != left
            {
                self.find(format!("{name} is not the adapter that was evaluated"));
            }
        }
    }
}
