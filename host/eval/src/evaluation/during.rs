//! A small evaluation between the steps of a training: of some prompts and held-out rows, which
//! are drawn once. It changes nothing of the model and draws nothing at random.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use host_data::failure::Result;
use host_data::{Overlong, Prompt, Row, Sample, Silent, encode_chats, random};
use host_judges::Judges;
use host_model::Model;
use host_model::decoder::Overlay;
use rand::seq::index;

use super::asked::{Asked, Set};
use super::generation::Generation;
use super::likelihood::Likelihood;
use super::score::Evaluation;
use super::sets::EvalSets;
use super::{Evaluator, LIKELIHOOD_BATCH};
use crate::canary::Canary;
use crate::config::EvalConfig;
use crate::measure::Mean;
use crate::selection::EvaluationRecord;

/// What is asked each time.
#[derive(Debug)]
pub struct Examination {
    config: EvalConfig,
    sets: EvalSets,
    held_out: Vec<Sample>,
    /// What the drawn ones are drawn from.
    of: [usize; 3],
    is_validation: bool,
}

impl Examination {
    /// Draws by the seed what the configuration asks for. `validation` are rows that were taken
    /// out of the training data; without any the loss is that of rows of `eval.task`.
    ///
    /// # Errors
    /// If a row can't be encoded.
    pub fn new(
        config: &EvalConfig,
        sets: &EvalSets,
        validation: Vec<Sample>,
        model: &Model,
        seed: u64,
    ) -> Result<Self> {
        let during = &config.during;
        let draw = |prompts: &[Prompt], most: usize, kind: u64| -> Vec<Prompt> {
            if prompts.len() <= most {
                return prompts.to_vec();
            }
            let mut random = random::stream(seed, "evaluation during training", kind);
            let mut places = index::sample(&mut random, prompts.len(), most).into_vec();
            places.sort_unstable();
            places.into_iter().map(|place| prompts[place].clone()).collect()
        };
        let is_validation = !validation.is_empty();
        let (rows, held_out) = if is_validation {
            (validation.len(), validation)
        } else {
            let drawn = draw(&sets.task, during.rows, 2);
            let rows: Vec<Row> = drawn.iter().filter_map(Prompt::to_row).collect();
            let encoded = if rows.is_empty() {
                Vec::new()
            } else {
                encode_chats(&rows, usize::MAX, Overlong::Error, &model.tokenizer)?.samples
            };
            (sets.task.len(), encoded)
        };
        Ok(Self {
            config: EvalConfig {
                max_new_tokens: during.max_new_tokens,
                judges: Vec::new(),
                ..config.clone()
            },
            sets: EvalSets {
                harmful: draw(&sets.harmful, during.harmful, 0),
                harmless: draw(&sets.harmless, during.harmless, 1),
                ..EvalSets::default()
            },
            held_out,
            of: [sets.harmful.len(), sets.harmless.len(), rows],
            is_validation,
        })
    }

    /// What is asked, for a person.
    pub fn about(&self, canary: bool) -> String {
        let [harmful, harmless, rows] = self.of;
        let kind = if self.is_validation { "validation rows" } else { "rows of eval.task" };
        let mut parts = vec![
            (self.held_out.len(), rows, kind),
            (self.sets.harmful.len(), harmful, "harmful prompts"),
            (self.sets.harmless.len(), harmless, "harmless prompts"),
        ];
        parts.retain(|(count, ..)| *count > 0);
        let mut told: Vec<String> =
            parts.iter().map(|(count, of, what)| format!("{count} of {of} {what}")).collect();
        if canary {
            told.push("the canary's margin".into());
        }
        told.join(", ")
    }

    /// Measures a model as it is now; all but its step, digest and rank among others is known
    /// then.
    ///
    /// # Errors
    /// If it says what is no number, or `stop` was asked for.
    pub fn examine<'a>(
        &self,
        model: &Model,
        canary: Option<&Canary>,
        applied: impl Into<Overlay<'a>>,
        stop: &AtomicBool,
    ) -> Result<EvaluationRecord> {
        let (started, applied) = (Instant::now(), applied.into());
        let evaluator = Evaluator {
            model,
            config: &self.config,
            sets: &self.sets,
            judges: &Judges::default(),
            canary,
            stop,
        };
        let asked = Asked::all(&self.sets);
        // The bar on the screen counts steps.
        let answers = evaluator.answer(applied, &asked, &mut Silent)?;
        let refusals = self.config.refusal_detector();
        let marked = asked
            .iter()
            .zip(answers)
            .map(|(asked, answered)| Generation::answered("during", asked, answered, &refusals));
        let marked: Vec<Generation> = marked.collect();
        let found = Evaluation::of_answers(&marked, &refusals);
        let batch = self.config.batch.min(LIKELIHOOD_BATCH);
        let likelihood = Likelihood { model, applied, batch, stop };
        let refusal_margin = match canary {
            Some(canary) => Mean::of(canary.margins(&model.decoder, applied)?),
            None => None,
        };
        Ok(EvaluationRecord {
            task_loss: likelihood.loss_of(&self.held_out)?,
            refusal_margin,
            refusal: found.refusal,
            over_refusal: found.over_refusal,
            seconds: started.elapsed().as_secs_f64(),
            ..EvaluationRecord::default()
        })
    }

    /// Answers that are generated each time, and rows that are read.
    pub fn len(&self) -> usize {
        self.sets.harmful.len() + self.sets.harmless.len() + self.held_out.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which kinds there are.
    pub fn sets(&self) -> [bool; 3] {
        let has = |set: Set| match set {
            Set::Harmful => !self.sets.harmful.is_empty(),
            Set::Harmless => !self.sets.harmless.is_empty(),
            Set::Task => !self.held_out.is_empty(),
        };
        [Set::Harmful, Set::Harmless, Set::Task].map(has)
    }
}
