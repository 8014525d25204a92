//! What a policy asks for: whether it makes sense, whether this run has it, and how
//! to say it to a person.

use crate::{
    invalid::Invalid,
    text::clean,
    wit::{Flags, Needs, Position, RunInfo, Source, SteeringVector, Tap},
};

/// Taps, judges and trials beyond this are a mistake: each costs a measurement.
const MOST: usize = 64;

/// Checks needs against the interface and against the run.
///
/// # Errors
/// The first field that is wrong. `Invalid::unmet` tells needs that are well-formed
/// and only too much for this run from ones that break the interface's rules.
pub fn validate_needs(needs: &Needs, run: &RunInfo) -> Result<(), Invalid> {
    let counts = [
        ("needs.taps", needs.taps.len()),
        ("needs.judges", needs.judges.len()),
        ("needs.trial-scales", needs.trial_scales.len()),
    ];
    for (field, count) in counts {
        if count > MOST {
            return Err(Invalid::new(
                field,
                format!("has {count} entries; at most {MOST} are allowed"),
            ));
        }
    }
    for (i, tap) in needs.taps.iter().enumerate() {
        layers(&format!("needs.taps[{i}].layers"), &tap.layers, run)?;
    }
    judges(needs, run)?;
    trial_scales(needs)?;
    if needs.canary_every == Some(0) {
        return Err(Invalid::new("needs.canary-every", "is 0; it must be at least 1, or absent"));
    }
    match &needs.steering {
        Some(steering) => layers("needs.steering.layers", &steering.layers, run),
        None => Ok(()),
    }
}

fn layers(field: &str, layers: &[u32], run: &RunInfo) -> Result<(), Invalid> {
    if layers.is_empty() {
        return Err(Invalid::new(field, "is empty; name at least one layer"));
    }
    if let Some(pair) = layers.windows(2).find(|pair| pair[0] >= pair[1]) {
        let problem =
            format!("has {} after {}; layers must be ascending without repeats", pair[1], pair[0]);
        return Err(Invalid::new(field, problem));
    }
    match layers.iter().find(|layer| **layer > run.layers) {
        Some(layer) => {
            let problem =
                format!("has layer {layer}, and the model has layers 0 to {}", run.layers);
            Err(Invalid::unmet(field, problem))
        }
        None => Ok(()),
    }
}

fn judges(needs: &Needs, run: &RunInfo) -> Result<(), Invalid> {
    for (i, need) in needs.judges.iter().enumerate() {
        let field = format!("needs.judges[{i}]");
        if need.prefix_words == Some(0) {
            return Err(Invalid::new(
                field + ".prefix-words",
                "is 0; it must be at least 1, or absent",
            ));
        }
        let name = clean(&need.judge, 64);
        if needs.judges[..i].iter().any(|earlier| earlier.judge == need.judge) {
            return Err(Invalid::new(field, format!("names the judge `{name}` a second time")));
        }
        if !run.judges.contains(&need.judge) {
            let known = match run.judges.is_empty() {
                true => "and this run has none".to_owned(),
                false => format!("and this run has {}", run.judges.join(", ")),
            };
            let problem = format!(
                "asks for the judge `{name}`, {known}; configure it, or change the policy's settings"
            );
            return Err(Invalid::unmet(field, problem));
        }
    }
    Ok(())
}

fn trial_scales(needs: &Needs) -> Result<(), Invalid> {
    for (i, scale) in needs.trial_scales.iter().enumerate() {
        let field = format!("needs.trial-scales[{i}]");
        if !(*scale > 0.0 && *scale <= 10.0) {
            return Err(Invalid::new(
                field,
                format!("is {scale}; it must be above 0 and at most 10"),
            ));
        }
        if needs.trial_scales[..i].contains(scale) {
            return Err(Invalid::new(field, format!("repeats {scale}")));
        }
    }
    Ok(())
}

/// The first thing that `narrow` asks for and `wide` does not; none if `narrow` is at
/// most `wide`. Calibrated needs must be at most the configured ones, since the host
/// has prepared for those.
pub fn exceeds(narrow: &Needs, wide: &Needs) -> Option<Invalid> {
    let beyond = |field: String| Some(Invalid::new(field, "goes beyond what configure asked for"));
    for (i, tap) in narrow.taps.iter().enumerate() {
        if !wide.taps.iter().any(|other| covers(other, tap)) {
            return beyond(format!("needs.taps[{i}]"));
        }
    }
    for (i, judge) in narrow.judges.iter().enumerate() {
        if !wide.judges.contains(judge) {
            return beyond(format!("needs.judges[{i}]"));
        }
    }
    for (i, scale) in narrow.trial_scales.iter().enumerate() {
        if !wide.trial_scales.contains(scale) {
            return beyond(format!("needs.trial-scales[{i}]"));
        }
    }
    let canary = match (narrow.canary_every, wide.canary_every) {
        (Some(every), Some(configured)) => every < configured,
        (every, _) => every.is_some(),
    };
    let steering = match (&narrow.steering, &wide.steering) {
        (Some(a), Some(b)) => {
            a.vector != b.vector || !a.layers.iter().all(|l| b.layers.contains(l))
        }
        (need, _) => need.is_some(),
    };
    let rest = [
        ("needs.tokens", !wide.tokens.contains(narrow.tokens)),
        ("needs.canary-every", canary),
        ("needs.gradient-conflict", narrow.gradient_conflict && !wide.gradient_conflict),
        ("needs.drift", narrow.drift && !wide.drift),
        ("needs.steering", steering),
        ("needs.calibration", narrow.calibration && !wide.calibration),
        ("needs.actuators", !wide.actuators.contains(narrow.actuators)),
    ];
    let (field, _) = rest.into_iter().find(|(_, exceeded)| *exceeded)?;
    beyond(field.to_owned())
}

fn covers(wide: &Tap, narrow: &Tap) -> bool {
    let layers = narrow.layers.iter().all(|layer| wide.layers.contains(layer));
    wide.source == narrow.source && wide.position == narrow.position && layers
}

/// Needs in words, one line each; empty if the policy asks for nothing.
pub fn needs_summary(needs: &Needs) -> Vec<String> {
    let mut lines: Vec<String> = needs.taps.iter().map(tap_summary).collect();
    for need in &needs.judges {
        let name = clean(&need.judge, 64);
        lines.push(match need.prefix_words {
            Some(words) => format!("scores of the judge {name}, also after every {words} words"),
            None => format!("scores of the judge {name}"),
        });
    }
    let tokens = needs.tokens.names();
    if !tokens.is_empty() {
        lines.push(format!("log-probabilities of the answer tokens: {}", tokens.join(" and ")));
    }
    if let Some(every) = needs.canary_every {
        lines.push(format!("the canary margin before every {every} steps"));
    }
    if !needs.trial_scales.is_empty() {
        let scales: Vec<String> = needs.trial_scales.iter().map(f64::to_string).collect();
        lines.push(format!("trial updates at {} of the learning rate", scales.join(", ")));
    }
    if needs.gradient_conflict {
        lines.push("the conflict of task and alignment gradient".into());
    }
    if needs.drift {
        lines.push("the distance from the reference".into());
    }
    if let Some(steering) = &needs.steering {
        let vector = match steering.vector {
            SteeringVector::SafetyInstruction => "the safety instruction",
            SteeringVector::RefusalDirection => "the refusal direction",
            SteeringVector::Configured => "a configured vector",
        };
        lines.push(format!("steering by {vector} at {}", list(&steering.layers)));
    }
    if needs.calibration {
        lines.push("parameters from calibration".into());
    }
    let actuators = needs.actuators.names();
    if !actuators.is_empty() {
        lines.push(format!("may use {}", actuators.join(", ")));
    }
    lines
}

fn tap_summary(tap: &Tap) -> String {
    let source = match tap.source {
        Source::Reference => "reference",
        Source::Current => "current model",
    };
    let position = match tap.position {
        Position::LastPromptToken => "at the last prompt token",
        Position::PromptMean => "averaged over the prompt",
        Position::AnswerMean => "averaged over the answer",
    };
    format!("activations of the {source} {position}, {}", list(&tap.layers))
}

/// Ascending layers in words, with runs as `1-4`.
fn list(layers: &[u32]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = layers;
    while let [first, ..] = rest {
        let run = rest.iter().zip(*first..).take_while(|(layer, want)| **layer == *want).count();
        let last = rest[run - 1];
        match run {
            1 => parts.push(first.to_string()),
            2 => parts.extend([first.to_string(), last.to_string()]),
            _ => parts.push(format!("{first}-{last}")),
        }
        rest = &rest[run..];
    }
    let word = if layers.len() == 1 { "layer" } else { "layers" };
    format!("{word} {}", parts.join(", "))
}
