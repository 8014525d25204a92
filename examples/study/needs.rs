//! What a policy asks of a run, as `host policy inspect` tells it.

use serde::Deserialize;

use crate::arm::Choice;
use crate::program::Program;

#[derive(Deserialize)]
pub struct Needs {
    needs: Vec<String>,
    actuators: Vec<String>,
}

impl Needs {
    pub fn of(program: &Program, choice: &Choice) -> anyhow::Result<Self> {
        let file = choice.policy.display().to_string();
        let mut arguments = vec!["policy".to_owned(), "inspect".into(), file, "--json".into()];
        for (key, value) in &choice.settings {
            arguments.extend(["--settings".to_owned(), format!("{key}={value}")]);
        }
        program.json(&arguments)
    }

    /// It fits itself before the first step.
    pub fn calibration(&self) -> bool {
        self.tell("calibration")
    }

    /// It mixes in alignment data, or compares with their gradient.
    pub fn alignment(&self) -> bool {
        self.tell("alignment")
    }

    /// It projects onto what alignment changed in the base model.
    pub fn base(&self) -> bool {
        self.tell("adapter-projection")
    }

    pub fn judge(&self) -> bool {
        self.tell("scores of the judge")
    }

    /// It steers by a vector, one of the host's or a configured one.
    pub fn steering(&self) -> bool {
        self.tell("steering by")
    }

    fn tell(&self, what: &str) -> bool {
        let mut lines = self.needs.iter().chain(&self.actuators);
        lines.any(|line| line.contains(what))
    }
}
