//! Evaluations between the steps, on one rank and on several.

use host_data::{Plan, Sample};
use host_eval::config::{DuringConfig, EvalConfig};
use host_eval::evaluation::{EvalSets, Examination};
use host_eval::selection::{BestRule, Choice};
use host_model::lora::{Lora, LoraConfig, Target};

use super::tests::{model, samples};
use super::*;
use crate::config::{OnFault, TrainConfig, TrainingNoise};
use crate::parameters::Layout;
use crate::ranks::{Ranks, threads};
use crate::records::observer::Silent;
use crate::step::context::RunContext;
use crate::step::evaluations::Evaluations;

/// What a rank is left with.
struct Left {
    totals: Totals,
    best: Option<Vec<f32>>,
    parameters: Vec<f32>,
}

/// Eight steps of two samples, evaluated every other one; the root alone is asked to stop.
fn train(ranks: Ranks, rule: BestRule, patience: Option<u64>, stops: bool) -> Result<Left> {
    let model = model();
    let rows = samples(&model, &["one", "two", "three", "four"]);
    let held_out: Vec<Sample> = samples(&model, &["five", "six"]);
    let during = DuringConfig { every: Some(2), ..DuringConfig::default() };
    let asked = EvalConfig { during, ..EvalConfig::default() };
    let examination = Examination::new(&asked, &EvalSets::default(), held_out, &model, 1)?;
    let shape = LoraConfig::new(2, 4.0, &[Target::Q, Target::Down]);
    let adapter = Lora::new(&model.config, shape, 3, model.decoder.device()).expect("fits");
    let context = RunContext::new(model, Plan::new(rows, 2, 4.0, None, 5).expect("planned"));
    let config = TrainConfig { batch: 2, micro_batch: Some(1), ..TrainConfig::default() };
    let spec = TrainingSpec {
        context: &context,
        config: &config,
        noise: TrainingNoise::default(),
        adapter: &adapter,
        needs: &[],
        policies: &[],
        on_fault: OnFault::Stop,
        require: host_contract::Guardrails::none(),
        ranks: &ranks,
        evaluations: Some(Evaluations {
            every: 2,
            choice: Choice { rule, tolerance: 0.0 },
            keeps_best: true,
            patience,
            examination: ranks.is_root().then_some(&examination),
        }),
    };
    let stop = AtomicBool::new(stops && ranks.is_root());
    let ended = run(&spec, None, None, &mut Silent, &stop);
    let parameters = Layout::new(&adapter).read()?;
    ranks.end(ended).map(|Ended { totals, best }| Left {
        totals,
        best: best.map(|best| best.parameters),
        parameters,
    })
}

#[test]
fn all_ranks_end_where_the_root_lost_its_patience_and_the_root_has_the_best() {
    // Without a canary no evaluation is better than the first.
    let tired = |ranks| train(ranks, BestRule::Margin, Some(2), false).expect("ended");
    let alone = tired(Ranks::alone());
    assert_eq!((alone.totals.ending, alone.totals.steps), (Ending::EarlyStop, 6));
    let selection = alone.totals.evaluations.expect("evaluated");
    assert_eq!((selection.evaluations, selection.without_improvement), (4, 2));
    assert_eq!(selection.best.map(|best| best.step), Some(2));
    assert!(alone.best.as_ref().is_some_and(|best| *best != alone.parameters));
    for (rank, left) in threads::run(2, tired).into_iter().enumerate() {
        assert_eq!((left.totals.ending, left.totals.steps), (Ending::EarlyStop, 6));
        assert_eq!(left.parameters, alone.parameters);
        assert_eq!(left.best, alone.best.clone().filter(|_| rank == 0));
    }
}

#[test]
fn the_best_is_what_was_trained_when_it_was_evaluated() {
    let left = train(Ranks::alone(), BestRule::Loss, None, false).expect("ended");
    assert_eq!((left.totals.ending, left.totals.steps), (Ending::Finished, 8));
    let selection = left.totals.evaluations.expect("evaluated");
    assert_eq!((selection.evaluations, selection.reached()), (5, Some(8)));
    assert_eq!(selection.reference.map(|record| record.step), Some(0));
    let ended_best = selection.best.is_some_and(|best| best.step == 8);
    assert_eq!(left.best.is_some_and(|best| best == left.parameters), ended_best);
}

#[test]
fn an_evaluation_that_is_interrupted_ends_all_ranks() {
    for error in threads::run(2, |ranks| train(ranks, BestRule::Loss, None, true).err()) {
        let error = error.expect("interrupted").to_string();
        assert!(error.contains("interrupted"), "{error}");
    }
}
