//! How safe and how useful a model is: answers to harmful, harmless and task
//! prompts, generated greedily and judged by the usual definitions.
//!
//! [`score`] has the metrics and their definitions, [`generation`] the file of answers
//! from which they can be computed again, which is what [`rescore`] does.

mod answers;
mod asked;
mod during;
mod further;
mod generation;
mod judged;
mod likelihood;
mod rescore;
mod score;
mod sets;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use asked::Asked;
use host_data::Progress;
use host_data::Prompt;
use host_data::failure::Result;
use host_files::Lines;
use host_judges::Judges;
use host_model::Model;
use host_model::decoder::Overlay;
use likelihood::Likelihood;

use crate::canary::Canary;
use crate::config::EvalConfig;
use crate::measure::{Mean, RefusalDetector};

pub use asked::Set;
pub use during::Examination;
pub use further::Further;
pub use generation::{Generation, Marking, generations_in, read_generations};
pub use judged::{dependent, judge, unjudged};
pub use rescore::rescore;
pub use score::Evaluation;
pub use sets::{EvalSets, FurtherSet};

/// Rows whose likelihood is computed at a time: whole sequences, of which more gain no speed.
const LIKELIHOOD_BATCH: usize = 16;

/// What an evaluation is made of, for any number of adapters and steerings.
pub struct Evaluator<'a> {
    pub model: &'a Model,
    pub config: &'a EvalConfig,
    pub sets: &'a EvalSets,
    /// Those that `config` names must be among them.
    pub judges: &'a Judges,
    pub canary: Option<&'a Canary>,
    pub stop: &'a AtomicBool,
}

impl Evaluator<'_> {
    /// `name` labels the answers, such as "before" or "after"; `lines` keeps them.
    pub fn evaluate<'a>(
        &self,
        name: &str,
        applied: impl Into<Overlay<'a>>,
        lines: Option<&mut Lines>,
        observer: &mut dyn Progress,
    ) -> Result<Evaluation> {
        let (started, applied) = (Instant::now(), applied.into());
        let asked = Asked::all(self.sets);
        observer.stage(&format!("evaluating: {name}"), Some(asked.len() as u64));
        let answers = self.answer(applied, &asked, observer)?;
        let generation_seconds = started.elapsed().as_secs_f64();
        let generated_tokens = answers.iter().map(|answered| answered.tokens).sum();
        let refusals = self.config.refusal_detector();
        let mut generations: Vec<Generation> = asked
            .iter()
            .zip(answers)
            .map(|(asked, answered)| Generation::answered(name, asked, answered, &refusals))
            .collect();
        if let Some(notice) = unfinished(name, &generations, self.config.max_thinking_tokens) {
            observer.notice(&notice);
        }

        let batch = self.config.batch.min(LIKELIHOOD_BATCH);
        let likelihood = Likelihood { model: self.model, applied, batch, stop: self.stop };
        generations.extend(self.pick(name, &likelihood, &refusals)?);
        let (task_loss, kl) = likelihood.of_answers(&self.sets.task)?;
        let refusal_margin = match self.canary {
            Some(canary) => Mean::of(canary.margins(&self.model.decoder, applied)?),
            None => None,
        };
        let names = &self.config.judges;
        judge(&mut generations, self.judges, names, self.stop, observer)?;
        if let Some(lines) = lines {
            generations.iter().try_for_each(|one| lines.write(one))?;
        }
        let found = Evaluation::of_answers(&generations, &refusals);
        if let Some(unread) = found.told_unread() {
            observer.notice(&format!("{name}: {unread}"));
        }
        Ok(Evaluation {
            refusal_margin,
            perplexity: task_loss.and_then(Mean::exp),
            task_loss,
            kl,
            generated_tokens,
            generation_seconds,
            seconds: started.elapsed().as_secs_f64(),
            ..found
        })
    }

    /// Task prompts with choices are answered by the likeliest.
    fn pick(
        &self,
        name: &str,
        likelihood: &Likelihood,
        refusals: &RefusalDetector,
    ) -> Result<Vec<Generation>> {
        let task = self.sets.task.iter();
        let prompts: Vec<&Prompt> = task.filter(|prompt| !prompt.choices.is_empty()).collect();
        let picks = likelihood.picks(&prompts)?;
        let picked = prompts.iter().zip(picks).map(|(prompt, pick)| {
            Generation::new(name, Set::Task, prompt, prompt.choices[pick].clone(), refusals)
        });
        Ok(picked.collect())
    }
}

/// Says how many thoughts had no room to end.
fn unfinished(name: &str, generations: &[Generation], most: usize) -> Option<String> {
    let cut = generations.iter().filter(|one| one.unfinished).count();
    let all = generations.len();
    (cut > 0).then(|| {
        format!(
            "{name}: {cut} of {all} answers were still thinking after {most} tokens; their \
             thoughts were ended for them, raise eval.max_thinking_tokens"
        )
    })
}
