//! What each actuator lets a policy do to a run, for the person who allows it.

use host_contract::{Actuators, actuator_names};

pub(super) fn in_words(actuators: Actuators) -> Vec<String> {
    let names = actuator_names(actuators);
    names.into_iter().map(|name| format!("{name}: {}", meaning(name))).collect()
}

fn meaning(name: &str) -> &'static str {
    match name {
        "token-weights" => "weighs single answer tokens, so it can silence part of an answer",
        "label-divergence" => {
            "may hold the model on the label token alone, which is weaker than on \
             the whole vocabulary"
        }
        "learning-rate" => "scales the learning rate of a step, from 0 to 10 times",
        "gradient-clip" => "replaces the run's largest gradient norm",
        "ema" => "averages the parameters over steps, and may put the average back into training",
        "anchor" => "pulls the parameters back towards the reference or an earlier point",
        "alignment-share" => "chooses how many samples of a step come from the alignment data",
        "ratio-clip" => {
            "replaces the task loss of a sample by a clipped ratio, whose sign it chooses"
        }
        "gradient-projection" => {
            "removes from the task gradient what opposes the alignment gradient"
        }
        "adapter-projection" => "projects adapted matrices onto the alignment subspace",
        "roll-back" => "undoes the update of the step before",
        _ => "unknown to this host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actuator_has_a_meaning() {
        let all = in_words(Actuators::all());
        assert_eq!(all.len(), actuator_names(Actuators::all()).len());
        for line in all {
            assert!(!line.ends_with("unknown to this host"), "{line}");
        }
    }
}
