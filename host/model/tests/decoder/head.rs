//! The loss head against its definition.

use candle_core::{Device, Tensor, Var};
use host_model::{Decoder, HeadLoss, HeadRows, Kernels};

use crate::random::{self, Dice, flat, relative};

const ROWS: usize = 37;

struct Case {
    hidden: Var,
    reference: Tensor,
    labels: Vec<u32>,
    task: Vec<f32>,
    kl: Vec<f32>,
}

fn case() -> Case {
    let config = random::llama();
    let mut dice = Dice::new(31);
    let shape = [ROWS, config.hidden_size];
    Case {
        hidden: Var::from_tensor(&dice.tensor(&shape, 1.0)).unwrap(),
        reference: dice.tensor(&shape, 1.0),
        labels: dice.tokens(ROWS, config.vocab_size),
        task: dice.values(ROWS, 1.0).iter().map(|x| x.abs()).collect(),
        kl: dice.values(ROWS, 1.0).iter().map(|x| x.abs()).collect(),
    }
}

impl Case {
    fn run(&self, decoder: &Decoder, reference: bool) -> HeadLoss {
        let rows = HeadRows {
            hidden: self.hidden.as_tensor(),
            reference: reference.then_some(&self.reference),
            labels: &self.labels,
            task_weights: &self.task,
            kl_weights: &self.kl,
            subset: None,
        };
        decoder.head_loss(rows).unwrap()
    }

    /// CE and KL per row, and their weighted sum, in candle operations.
    fn defined(&self, decoder: &Decoder) -> (Tensor, Tensor, Tensor) {
        let head = decoder.weights.head_matrix().tensor().unwrap().t().unwrap();
        let log_probs = |hidden: &Tensor| {
            let logits = hidden.matmul(&head).unwrap();
            let total = logits.exp().unwrap().sum_keepdim(1).unwrap().log().unwrap();
            logits.broadcast_sub(&total).unwrap()
        };
        let current = log_probs(self.hidden.as_tensor());
        let reference = log_probs(&self.reference);
        let labels = Tensor::new(self.labels.as_slice(), &Device::Cpu).unwrap();
        let picked = current.gather(&labels.unsqueeze(1).unwrap(), 1).unwrap();
        let task = picked.squeeze(1).unwrap().neg().unwrap();
        let gap = (&reference - &current).unwrap();
        let kl = (reference.exp().unwrap() * gap).unwrap().sum(1).unwrap();
        let weights = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let loss = ((&task * weights(&self.task)).unwrap().sum_all().unwrap()
            + (&kl * weights(&self.kl)).unwrap().sum_all().unwrap())
        .unwrap();
        (loss, task, kl)
    }
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

#[test]
fn loss_rows_and_gradient_follow_the_definition() {
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let decoder = random::decoder(&random::llama(), kernels);
        let mut case = case();
        // Rows without task, without KL and without either.
        case.task[3] = 0.0;
        case.kl[4] = 0.0;
        (case.task[5], case.kl[5]) = (0.0, 0.0);
        let found = case.run(&decoder, true);
        let (loss, task, kl) = case.defined(&decoder);
        assert!(relative(&found.loss, &loss) < 1e-6, "{kernels:?}");
        assert!(relative(&vector(&found.task), &task) < 1e-5, "{kernels:?}");
        assert!(relative(&vector(&found.kl), &kl) < 1e-5, "{kernels:?}");
        let gradient = found.loss.backward().unwrap().remove(&case.hidden).unwrap();
        let expected = loss.backward().unwrap().remove(&case.hidden).unwrap();
        assert!(relative(&gradient, &expected) < 1e-5, "{kernels:?}");
        let silent = flat(&gradient.get(5).unwrap());
        assert!(silent.iter().all(|x| *x == 0.0));
    }
}

/// The objective is a * CE + b * KL per row with the weights given, no more.
#[test]
fn the_loss_is_the_weighted_sum_of_its_rows() {
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let decoder = random::decoder(&random::llama(), kernels);
        let case = case();
        let found = case.run(&decoder, true);
        let sum: f64 = (0..ROWS)
            .map(|row| {
                f64::from(case.task[row]) * f64::from(found.task[row])
                    + f64::from(case.kl[row]) * f64::from(found.kl[row])
            })
            .sum();
        let loss = flat(&found.loss)[0];
        assert!((loss - sum).abs() < 1e-5 * sum, "{loss} {sum}");
        assert!(found.kl.iter().all(|kl| *kl > 0.0));
    }
}

#[test]
fn without_a_reference_there_is_no_divergence() {
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let decoder = random::decoder(&random::llama(), kernels);
        let mut case = case();
        let found = case.run(&decoder, false);
        assert!(found.kl.iter().all(|kl| *kl == 0.0));
        let gradient = found.loss.backward().unwrap().remove(&case.hidden).unwrap();
        case.kl.fill(0.0);
        let held = case.run(&decoder, true);
        assert!(held.kl.iter().all(|kl| *kl > 0.0));
        let same = held.loss.backward().unwrap().remove(&case.hidden).unwrap();
        assert!(relative(&gradient, &same) < 1e-6);
    }
}

/// The reference against itself costs nothing and pulls nowhere.
#[test]
fn the_same_rows_have_no_divergence() {
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let decoder = random::decoder(&random::llama(), kernels);
        let mut case = case();
        case.reference = case.hidden.as_detached_tensor();
        case.task.fill(0.0);
        let found = case.run(&decoder, true);
        assert!(found.kl.iter().all(|kl| *kl == 0.0));
        let gradient = found.loss.backward().unwrap().remove(&case.hidden).unwrap();
        assert!(flat(&gradient).iter().all(|x| x.abs() < 1e-6));
    }
}

#[test]
fn label_log_probs_are_minus_the_task_loss() {
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let decoder = random::decoder(&random::llama(), kernels);
        let case = case();
        let task = case.run(&decoder, false).task;
        let found = decoder.label_log_probs(case.hidden.as_tensor(), &case.labels).unwrap();
        let gaps = found.iter().zip(&task).map(|(a, b)| (a + b).abs());
        assert!(gaps.fold(0.0, f32::max) < 1e-5);
    }
}

/// Few rows are streamed, many are packed: one result.
#[test]
fn logits_of_few_rows_equal_those_of_many() {
    let (fused, plain) = (
        random::decoder(&random::llama(), Kernels::Fused),
        random::decoder(&random::llama(), Kernels::Plain),
    );
    let case = case();
    for rows in [1, 3, 16, 17, ROWS] {
        let hidden = case.hidden.narrow(0, 0, rows).unwrap();
        let (a, b) = (fused.logits(&hidden).unwrap(), plain.logits(&hidden).unwrap());
        assert_eq!(a.dims(), [rows, 97]);
        assert!(relative(&a, &b) < 1e-5);
    }
}
