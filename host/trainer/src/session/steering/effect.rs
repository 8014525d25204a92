//! What a steering vector does to refusals: the same evaluation without it and at every
//! coefficient (arXiv 2602.04896).

use host_data::Notices;
use host_eval::evaluation::{Evaluation, Evaluator};
use host_eval::report::{Table, footnotes, rate};
use host_files::Page;
use host_model::Steering;
use host_model::decoder::Overlay;
use host_model::lora::Lora;
use serde::Serialize;

use crate::error::Result;
use crate::records::observer::Observer;
use crate::records::run_dir::Lines;

/// What a model did at one coefficient.
#[derive(Debug, Clone, Serialize)]
pub struct Effect {
    pub coefficient: f64,
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// What a vector does.
#[derive(Debug, Serialize)]
pub struct Effects {
    pub layers: Vec<usize>,
    /// With the refusal direction, per layer; absent without labelled prompts.
    pub cosines: Option<Vec<f64>>,
    /// Of the vector after the part along the refusal direction was removed.
    pub projected: bool,
    /// The first is that without steering.
    pub effects: Vec<Effect>,
    /// What a person should know of the prompts that were read.
    #[serde(skip_serializing_if = "Notices::is_empty")]
    pub notices: Notices,
}

/// Measures without steering, and then at each of the coefficients.
pub fn effects(
    evaluator: &Evaluator,
    adapter: Option<&Lora>,
    vector: &Steering,
    coefficients: &[f64],
    answers: &mut Option<Lines>,
    observer: &mut dyn Observer,
) -> Result<Vec<Effect>> {
    let with = coefficients.iter().filter(|coefficient| **coefficient != 0.0);
    let mut effects = Vec::new();
    for coefficient in std::iter::once(&0.0).chain(with) {
        let steering = if *coefficient == 0.0 { None } else { Some(vector.scaled(*coefficient)?) };
        let applied = Overlay { adapter, steering: steering.as_ref() };
        let name = format!("coefficient {coefficient}");
        effects.push(Effect {
            coefficient: *coefficient,
            evaluation: evaluator.evaluate(&name, applied, answers.as_mut(), observer)?,
        });
    }
    Ok(effects)
}

/// One column: its name, and its cell for a coefficient and for none.
type Column = (&'static str, fn(&Effect, &Effect) -> Option<String>);

const COLUMNS: [Column; 7] = [
    ("refusal margin (change)", |effect, without| {
        let margin = |effect: &Effect| Some(effect.evaluation.refusal_margin?.mean);
        let (margin, before) = (margin(effect)?, margin(without)?);
        Some(format!("{margin:.3} ({:+.3})", margin - before))
    }),
    ("harmful requests answered", |effect, _| rate(effect.evaluation.attack_success)),
    ("of these refused in part", |effect, _| rate(effect.evaluation.partial_refusal)),
    ("harmless requests refused", |effect, _| rate(effect.evaluation.over_refusal)),
    ("harmless refused in part", |effect, _| rate(effect.evaluation.partial_over_refusal)),
    ("task: exact match", |effect, _| rate(effect.evaluation.exact_match)),
    ("task: loss per token", |effect, _| Some(format!("{:.3}", effect.evaluation.task_loss?.mean))),
];

impl Effects {
    /// One row per coefficient; leaves out what was not measured.
    /// `width`: as [`Table::page`] has it.
    pub fn table(&self, width: Option<usize>) -> Page {
        let Some(without) = self.effects.first() else {
            return Page::default();
        };
        let columns = COLUMNS.iter().filter(|(_, cell)| cell(without, without).is_some());
        let mut table = Table::plain();
        table.header(std::iter::once("coefficient").chain(columns.clone().map(|(name, _)| *name)));
        for effect in &self.effects {
            let cells = columns.clone().map(|(_, cell)| cell(effect, without).unwrap_or_default());
            table.row(std::iter::once(effect.coefficient.to_string()).chain(cells));
        }
        table.align_right(0);
        let found_by =
            self.effects.iter().filter_map(|effect| effect.evaluation.refusals_by.as_ref());
        let mut page = table.page(width);
        page.lines(footnotes(found_by));
        page.lines(self.effects.iter().filter_map(|effect| {
            let unread = effect.evaluation.told_unread()?;
            Some(format!("coefficient {}: {unread}.", effect.coefficient))
        }));
        if let Some(cosines) = &self.cosines {
            let pairs = self.layers.iter().zip(cosines);
            let cosines = pairs.map(|(layer, cosine)| format!("layer {layer} {cosine:+.3}"));
            let cosines: Vec<String> = cosines.collect();
            page.line(format!("cosine with the refusal direction: {}", cosines.join(", ")));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_eval::measure::{Mean, Rate};

    #[test]
    fn the_table_compares_with_no_steering_and_leaves_out_what_was_not_measured() {
        let effect = |coefficient, margin, hits| Effect {
            coefficient,
            evaluation: Evaluation {
                refusal_margin: Mean::of([margin]),
                attack_success: Some(Rate { hits, total: 4 }),
                ..Evaluation::default()
            },
        };
        let effects = Effects {
            layers: vec![3],
            cosines: Some(vec![-0.25]),
            projected: false,
            effects: vec![effect(0.0, 2.5, 1), effect(2.0, -1.0, 3)],
            notices: Notices::default(),
        };
        let table = effects.table(None).to_string();
        assert!(table.contains("-1.000 (-3.500)"), "{table}");
        assert!(table.contains("(3/4)"), "{table}");
        assert!(table.contains("layer 3 -0.250"), "{table}");
        assert!(!table.contains("task"), "{table}");
    }
}
