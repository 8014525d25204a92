//! Checks an assessment against the interface before anyone acts on it.

use crate::{
    invalid::Invalid,
    text::is_word,
    wit::{
        Action, Actuators, Assessment, Divergence, Metric, Needs, RatioClip, Regularization, Sample,
    },
};

/// What an assessment is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The samples of the step, in the order of the signals.
    pub samples: &'a [Sample],
    /// What the policy declared: an actuator that is not in it must not be used.
    pub needs: &'a Needs,
}

type Check = Result<(), Invalid>;

/// Checks every length, range and declared actuator of an assessment.
///
/// Text is not checked here, and neither are the limits on counts and sizes.
///
/// # Errors
/// The first field that is wrong, with its value and what it must be.
pub fn validate_assessment(assessment: &Assessment, expected: Expected<'_>) -> Check {
    let samples = expected.samples.len();
    per_sample("risk", &assessment.risk, samples, 1.0)?;
    regularization(&assessment.regularization, expected)?;
    for (i, reason) in assessment.reasons.iter().enumerate() {
        if let Some(sample) = reason.sample.filter(|sample| *sample as usize >= samples) {
            let problem =
                format!("is {sample}, and the step has {samples} samples (0 is the first)");
            return Err(Invalid::new(format!("reasons[{i}].sample"), problem));
        }
        if !is_word(&reason.code, "-_.", 64)
            || reason.code.contains(|c: char| c.is_ascii_uppercase())
        {
            let problem = format!(
                "is {:?}; it must be 1 to 64 characters of a-z, 0-9, '-', '_' and '.'",
                short(&reason.code)
            );
            return Err(Invalid::new(format!("reasons[{i}].code"), problem));
        }
    }
    check_metrics("metrics", &assessment.metrics)
}

fn regularization(r: &Regularization, expected: Expected<'_>) -> Check {
    let samples = expected.samples.len();
    let tokens = expected.samples.iter().map(|sample| sample.answer_tokens as usize).sum();
    per_sample("regularization.task-weight", &r.task_weight, samples, 10.0)?;
    per_sample("regularization.kl-weight", &r.kl_weight, samples, 10.0)?;
    per_token("regularization.token-task-weight", r.token_task_weight.as_deref(), tokens)?;
    per_token("regularization.token-kl-weight", r.token_kl_weight.as_deref(), tokens)?;
    within("regularization.learning-rate-scale", r.learning_rate_scale, 0.0, 10.0)?;
    if let Some(clip) = r.gradient_clip
        && !(clip.is_finite() && clip > 0.0)
    {
        return Err(out_of_range("regularization.gradient-clip", clip, "above 0"));
    }
    if let Some(ema) = &r.ema
        && !(0.0..1.0).contains(&ema.decay)
    {
        return Err(out_of_range("regularization.ema.decay", ema.decay, "at least 0 and below 1"));
    }
    if let Some(anchor) = &r.anchor {
        within("regularization.anchor.strength", anchor.strength, 0.0, f64::MAX)?;
    }
    if let Some(share) = r.alignment_share {
        within("regularization.alignment-share", share, 0.0, 1.0)?;
    }
    if let Some(clips) = &r.ratio_clip {
        length("regularization.ratio-clip", clips.len(), samples, "one per sample")?;
        clips.iter().enumerate().try_for_each(|(i, clip)| ratio_clip(i, clip))?;
    }
    if let Some(cosine) = r.adapter_projection {
        within("regularization.adapter-projection", cosine, -1.0, 1.0)?;
    }
    if let Some(steering) = &r.steering {
        within("regularization.steering.coefficient", steering.coefficient, -f64::MAX, f64::MAX)?;
    }
    declared(r, expected.needs)
}

fn ratio_clip(i: usize, clip: &RatioClip) -> Check {
    let field = |name: &str| format!("regularization.ratio-clip[{i}].{name}");
    within(&field("low"), clip.low, 0.0, f64::MAX)?;
    within(&field("high"), clip.high, clip.low, f64::MAX)?;
    within(&field("direction"), clip.direction, -f64::MAX, f64::MAX)?;
    within(&field("variance-penalty"), clip.variance_penalty, 0.0, f64::MAX)
}

/// Finds a part of the assessment that is used without having been declared.
fn declared(r: &Regularization, needs: &Needs) -> Check {
    let used = [
        (
            "token-task-weight",
            r.token_task_weight.is_some(),
            "token-weights",
            Actuators::TOKEN_WEIGHTS,
        ),
        ("token-kl-weight", r.token_kl_weight.is_some(), "token-weights", Actuators::TOKEN_WEIGHTS),
        (
            "divergence",
            r.divergence != Divergence::ForwardKl,
            "label-divergence",
            Actuators::LABEL_DIVERGENCE,
        ),
        (
            "learning-rate-scale",
            r.learning_rate_scale != 1.0,
            "learning-rate",
            Actuators::LEARNING_RATE,
        ),
        ("gradient-clip", r.gradient_clip.is_some(), "gradient-clip", Actuators::GRADIENT_CLIP),
        ("ema", r.ema.is_some(), "ema", Actuators::EMA),
        ("anchor", r.anchor.is_some(), "anchor", Actuators::ANCHOR),
        (
            "alignment-share",
            r.alignment_share.is_some(),
            "alignment-share",
            Actuators::ALIGNMENT_SHARE,
        ),
        ("ratio-clip", r.ratio_clip.is_some(), "ratio-clip", Actuators::RATIO_CLIP),
        (
            "gradient-projection",
            r.gradient_projection,
            "gradient-projection",
            Actuators::GRADIENT_PROJECTION,
        ),
        (
            "adapter-projection",
            r.adapter_projection.is_some(),
            "adapter-projection",
            Actuators::ADAPTER_PROJECTION,
        ),
        ("action", r.action == Action::RollBack, "roll-back", Actuators::ROLL_BACK),
    ];
    for (field, used, name, actuator) in used {
        if used && !needs.actuators.contains(actuator) {
            let problem = format!("is used, but needs.actuators does not declare {name}");
            return Err(Invalid::new(format!("regularization.{field}"), problem));
        }
    }
    if r.steering.is_some() && needs.steering.is_none() {
        let problem = "is used, but needs.steering does not declare it";
        return Err(Invalid::new("regularization.steering", problem));
    }
    Ok(())
}

/// Metrics: names are words, no name comes twice, every value is finite.
pub fn check_metrics(field: &str, metrics: &[Metric]) -> Check {
    for (i, metric) in metrics.iter().enumerate() {
        let name = short(&metric.name);
        if !is_word(&metric.name, "-_./@", 64) {
            let problem = format!(
                "is {name:?}; it must be 1 to 64 letters, digits, '-', '_', '.', '/' and '@'"
            );
            return Err(Invalid::new(format!("{field}[{i}].name"), problem));
        }
        if metrics[..i].iter().any(|earlier| earlier.name == metric.name) {
            return Err(Invalid::new(format!("{field}[{i}].name"), format!("repeats {name:?}")));
        }
        if !metric.value.is_finite() {
            let problem = format!(
                "({name}) is {}; it must be a finite number, so leave out what is undefined",
                metric.value
            );
            return Err(Invalid::new(format!("{field}[{i}].value"), problem));
        }
    }
    Ok(())
}

fn per_sample(field: &str, values: &[f64], samples: usize, most: f64) -> Check {
    length(field, values.len(), samples, "one per sample")?;
    let wrong = values.iter().position(|value| !(0.0..=most).contains(value));
    match wrong {
        Some(i) => within(&format!("{field}[{i}]"), values[i], 0.0, most),
        None => Ok(()),
    }
}

fn per_token(field: &str, values: Option<&[f32]>, tokens: usize) -> Check {
    let Some(values) = values else { return Ok(()) };
    length(field, values.len(), tokens, "one per answer token of the step")?;
    let wrong = values.iter().position(|value| !(0.0..=10.0).contains(value));
    match wrong {
        Some(i) => within(&format!("{field}[{i}]"), values[i].into(), 0.0, 10.0),
        None => Ok(()),
    }
}

fn length(field: &str, found: usize, expected: usize, why: &str) -> Check {
    match found == expected {
        true => Ok(()),
        false => {
            Err(Invalid::new(field, format!("has {found} values; it must have {expected}, {why}")))
        }
    }
}

fn within(field: &str, value: f64, least: f64, most: f64) -> Check {
    if value.is_finite() && (least..=most).contains(&value) {
        return Ok(());
    }
    let range = match (least > -f64::MAX, most < f64::MAX) {
        (true, true) => format!("a number from {least} to {most}"),
        (true, false) => format!("a finite number of at least {least}"),
        _ => "a finite number".to_owned(),
    };
    Err(out_of_range(field, value, &range))
}

fn out_of_range(field: &str, value: f64, range: &str) -> Invalid {
    Invalid::new(field, format!("is {value}; it must be {range}"))
}

fn short(text: &str) -> String {
    crate::text::clean(text, 64)
}
