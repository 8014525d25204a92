//! Judges what training will come to, while it trains, in the order of its steps.
//!
//! Only the first round through the data is judged ahead: after it everything has been
//! judged. Training waits where it has caught up, and for nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use host_contract::{JudgeNeed, Needs};
use host_data::Plan;
use host_model::ChatTokenizer;

use super::{Judges, Progress};

/// Steps to be ahead. More would be judged in vain when a run ends early.
const STEPS: u64 = 16;

/// What is judged ahead, and for whom.
pub struct JudgePrefetcher<'a> {
    pub judges: &'a Judges,
    pub needs: &'a [Needs],
    pub plan: &'a Plan,
    pub tokenizer: &'a ChatTokenizer,
}

impl JudgePrefetcher<'_> {
    /// Does the `work`, which begins at step `first`, with a thread that judges ahead of
    /// it.
    pub fn of<T>(&self, first: u64, work: impl FnOnce() -> T) -> T {
        let needs: Vec<&JudgeNeed> = self.needs.iter().flat_map(|needs| &needs.judges).collect();
        if needs.is_empty() {
            return work();
        }
        self.judges.progress.come_to(first);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.run(&needs, first, &over));
            // Whatever the work comes to, the other thread ends.
            let _over = StopGuard(&over, &self.judges.progress);
            work()
        })
    }

    fn run(&self, needs: &[&JudgeNeed], first: u64, over: &AtomicBool) {
        let rounds_end = self.plan.steps_per_epoch() as u64;
        // The first step is training's own to ask about.
        for step in first + 1..self.plan.total_steps().min(rounds_end) {
            if !self.judges.progress.wait_until(step.saturating_sub(STEPS), over) {
                return;
            }
            let Ok(samples) = self.plan.samples().read_all(&self.plan.step(step)) else {
                return;
            };
            let samples = host_data::borrowed(&samples);
            let needs = needs.iter().copied();
            // Training asks again, and says what is wrong.
            if let Err(error) = (self.judges).ask_ahead(needs, &samples, self.tokenizer, over) {
                if !over.load(Ordering::Relaxed) {
                    tracing::debug!("step {step}, ahead: {error}");
                }
                return;
            }
        }
    }
}

/// Ends the thread that judges ahead.
struct StopGuard<'a>(&'a AtomicBool, &'a Progress);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.1.end(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use host_contract::{Judgement, JudgementStatus};

    use super::*;
    use crate::cached::CachedJudge;
    use crate::{Judge, Pair};
    use host_data::demo;
    use host_data::failure::Result;
    use host_data::{Overlong, Sample, encode_chats, parse_rows};

    /// Writes down what it is asked about.
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Judge for Arc<Notes> {
        fn judge(&self, pairs: &[Pair<'_>], _stop: &AtomicBool) -> Result<Vec<Judgement>> {
            let asked = pairs.iter().map(|pair| pair.answer.to_owned());
            self.0.lock().expect("notes").extend(asked);
            let two = Judgement { status: JudgementStatus::Scored, score: 2.0 };
            Ok(vec![two; pairs.len()])
        }

        fn identity(&self) -> String {
            "notes".into()
        }

        fn remedy(&self, _name: &str) -> String {
            "note again".into()
        }
    }

    impl Notes {
        fn asked(&self) -> usize {
            self.0.lock().expect("notes").len()
        }
    }

    fn samples(count: usize, tokenizer: &ChatTokenizer) -> Vec<Sample> {
        let row =
            |number| format!("{{\"prompt\": \"Say it.\", \"answer\": \"Number {number}\"}}\n");
        let rows: String = (0..count).map(row).collect();
        let rows = parse_rows("rows.jsonl".as_ref(), rows.into_bytes()).expect("rows");
        let encoded = encode_chats(&rows, 100, Overlong::Error, tokenizer);
        encoded.expect("encoded").samples
    }

    fn needs() -> [Needs; 1] {
        [Needs {
            judges: vec![JudgeNeed { judge: "mine".into(), prefix_words: None }],
            ..Needs::new()
        }]
    }

    #[test]
    fn samples_are_judged_once_and_not_too_far_ahead() {
        let (notes, model) = (Arc::new(Notes::default()), demo::model());
        let judge = CachedJudge::new("mine", Box::new(notes.clone()), None);
        let judges =
            Judges { by_name: BTreeMap::from([("mine".into(), judge)]), ..Judges::default() };
        let plan = Plan::new(samples(60, &model.tokenizer), 2, 2.0, None, 5).expect("planned");
        let needs = needs();
        let ahead = JudgePrefetcher {
            judges: &judges,
            needs: &needs,
            plan: &plan,
            tokenizer: &model.tokenizer,
        };
        ahead.of(0, || {
            for step in 0..plan.total_steps() {
                judges.come_to(step);
                let samples = plan.samples().read_all(&plan.step(step)).expect("read");
                let samples = host_data::borrowed(&samples);
                let asked = judges.of_step(needs[0].judges.iter(), &samples, &model.tokenizer);
                assert_eq!(asked.expect("judged")[0].scores.judgements.len(), 2);
                if step == 3 {
                    std::thread::sleep(Duration::from_millis(300));
                    // Steps 0 to 3, and as many as may be judged ahead.
                    assert_eq!(notes.asked() as u64, 2 * (4 + STEPS));
                }
            }
        });
        assert_eq!(notes.asked(), 60);

        // What ends at once waits for nothing.
        ahead.of(1, || ());
    }
}
