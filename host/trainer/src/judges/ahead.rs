//! Judges what training will come to, while it trains, in the order of its steps.
//!
//! Only the first round through the data is judged ahead: after it everything has been
//! judged. Training waits where it has caught up, and for nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use host_model::ChatTokenizer;
use host_policy::wit::{JudgeNeed, Needs};

use super::{Judges, Progress};
use crate::data::Plan;

/// Steps to be ahead. More would be judged in vain when a run ends early.
const STEPS: u64 = 16;

/// What is judged ahead, and for whom.
pub struct Ahead<'a> {
    pub judges: &'a Judges,
    pub needs: &'a [Needs],
    pub plan: &'a Plan,
    pub tokenizer: &'a ChatTokenizer,
}

impl Ahead<'_> {
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
            let _over = Over(&over, &self.judges.progress);
            work()
        })
    }

    fn run(&self, needs: &[&JudgeNeed], first: u64, over: &AtomicBool) {
        let rounds_end = self.plan.steps_per_epoch() as u64;
        // The first step is training's own to ask about.
        for step in first + 1..self.plan.total_steps().min(rounds_end) {
            if !self
                .judges
                .progress
                .wait_until(step.saturating_sub(STEPS), over)
            {
                return;
            }
            let samples = self.plan.step(step);
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
struct Over<'a>(&'a AtomicBool, &'a Progress);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.1.end(self.0);
    }
}
