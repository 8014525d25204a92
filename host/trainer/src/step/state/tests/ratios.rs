//! The clipped ratio of the model to the reference as the objective.

use super::*;

#[test]
fn at_the_reference_a_ratio_has_the_gradient_of_its_direction() {
    let gradient = |ask: &dyn Fn(&[&Sample]) -> Regularization| {
        Bench::new(4, clips()).alone(|mut state| {
            let (_, record) = descend(&mut state, 0, ask);
            (state.gradient.clone(), record.loss)
        })
    };
    let (plain, _) = gradient(&|samples| plain(samples.len()));
    let (towards, loss) = gradient(&clipped(1.0, 10.0));
    let (away, _) = gradient(&clipped(-1.0, 10.0));
    assert!(distance(&plain, &towards) < 1e-5 * norm(&plain));
    assert!((loss + 1.0).abs() < 1e-5, "-f of ratios that are 1, not {loss}");
    let opposite: Vec<f32> = away.iter().map(|value| -value).collect();
    assert!(distance(&plain, &opposite) < 1e-5 * norm(&plain));
}

#[test]
fn beyond_the_clip_nothing_is_learned() {
    let bench = Bench::new(4, clips());
    let learned = |high: f64| {
        bench.alone(|mut state| {
            for number in 0..30 {
                step(&mut state, number, clipped(1.0, high));
            }
            let (_, record) = descend(&mut state, 30, clipped(1.0, high));
            -record.loss
        })
    };
    // The mean of min(x, high): the narrow one is held where it is.
    let (narrow, wide) = (learned(1.5), learned(1e6));
    assert!(narrow <= 1.5 && narrow > 1.0, "{narrow}");
    assert!(wide > 10.0, "{wide}");
}

#[test]
fn a_variance_penalty_is_one_of_the_whole_step() {
    let penalised = |micro_batch: usize| {
        let mut bench = Bench::new(4, clips());
        bench.config.micro_batch = Some(micro_batch);
        bench.alone(|mut state| {
            let (_, record) = descend(&mut state, 0, |samples| {
                let mut asked = clipped(1.0, 10.0)(samples);
                let clips = asked.ratio_clip.iter_mut().flatten();
                clips.for_each(|clip| clip.variance_penalty = 0.5);
                asked
            });
            (state.gradient.clone(), record.loss, record.answer_tokens)
        })
    };
    let (whole, loss, tokens) = penalised(4);
    // All ratios are 1: 0.5 sqrt(1 / n).
    let expected = -1.0 + 0.5 / (tokens as f64).sqrt();
    assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
    let (parts, of_parts, _) = penalised(1);
    assert!((loss - of_parts).abs() < 1e-6);
    assert!(distance(&whole, &parts) < 1e-4 * norm(&whole));
}
