//! What policies ask of a run, as `host policy inspect` tells it.

use std::collections::BTreeMap;

use host_contract::Actuators;
use serde::Deserialize;
use serde_json::Value;

use crate::arm::Choice;
use crate::program::Program;
use crate::settings::Settings;

/// Of every policy of a study, by its name with its settings.
pub struct AllNeeds(BTreeMap<String, Needs>);

/// Of one policy, with its settings.
#[derive(Deserialize)]
pub struct Needs {
    pub asks: host_contract::Needs,
    pub sha256: String,
    settings: Vec<Setting>,
}

#[derive(Deserialize)]
struct Setting {
    name: String,
    default: Option<Value>,
}

impl AllNeeds {
    /// Asks each policy; so one that doesn't exist, or a setting that it doesn't have, is found
    /// before anything is made.
    pub fn of(program: &Program, settings: &Settings) -> anyhow::Result<Self> {
        let log = std::env::temp_dir().join(format!("host-study-{}.log", std::process::id()));
        let mut all = BTreeMap::new();
        for choice in Settings::choices(&settings.cells()?) {
            let needs = Needs::of(program, &choice, &log);
            let needs = needs.inspect_err(|_| drop(std::fs::remove_file(&log)))?;
            all.insert(choice.name, needs);
        }
        let _ = std::fs::remove_file(&log);
        Ok(Self(all))
    }

    /// # Panics
    /// Never: every policy of every cell was asked.
    pub fn get(&self, choice: &Choice) -> &Needs {
        &self.0[&choice.name]
    }

    /// Steps in which a run of these policies sees as many task rows as `plain` steps without
    /// alignment rows have. `in_data` is the share of alignment rows among all rows of such a run.
    pub fn steps(&self, policies: &[Choice], plain: u64, in_data: f64) -> u64 {
        let mixes = |choice: &&Choice| self.get(choice).mixes();
        let steps = policies.iter().map(|choice| self.get(choice).steps(choice, plain)).max();
        let steps = steps.unwrap_or(plain);
        // Beside a policy that doesn't mix, no share is below that of the data.
        match policies.iter().filter(mixes).count() {
            mixing if mixing > 0 && mixing < policies.len() => steps.max(mixed(plain, in_data)),
            _ => steps,
        }
    }
}

/// Steps of which all but the first have a share of alignment rows.
fn mixed(plain: u64, share: f64) -> u64 {
    if plain > 1 { 1 + ((plain - 1) as f64 / (1.0 - share)).ceil() as u64 } else { plain }
}

impl Needs {
    fn of(program: &Program, choice: &Choice, log: &std::path::Path) -> anyhow::Result<Self> {
        let settings = serde_json::to_string(&choice.settings)?;
        let arguments = ["policy", "inspect", &choice.path(), "--json", "--settings", &settings];
        let arguments = arguments.map(str::to_owned);
        program.json(&arguments, log).map_err(|error| {
            // The file of what it said is gone by the time that anyone reads this.
            let text = error.to_string();
            match text.split_once(" (all of it: ") {
                Some((problem, _)) => anyhow::anyhow!("{problem}"),
                None => error,
            }
        })
    }

    /// It sets the share of alignment rows in a step.
    fn mixes(&self) -> bool {
        self.asks.actuators.contains(Actuators::ALIGNMENT_SHARE)
    }

    /// A setting as the arm has it, else its default.
    fn number(&self, choice: &Choice, name: &str) -> Option<f64> {
        let given = choice.settings.get(name).and_then(|value| {
            value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
        });
        let setting = self.settings.iter().find(|setting| setting.name == name)?;
        given.or_else(|| setting.default.as_ref()?.as_f64())
    }

    /// As [`AllNeeds::steps`], of one policy: a share of each step but the first (`share`), or
    /// turns (`task_steps`, then `alignment_steps`). Samples in addition to the batch take nothing.
    fn steps(&self, choice: &Choice, plain: u64) -> u64 {
        let turns = |name| self.number(choice, name).filter(|steps| *steps >= 1.0);
        if let (Some(task), Some(alignment)) = (turns("task_steps"), turns("alignment_steps")) {
            let (task, alignment) = (task as u64, alignment as u64);
            return plain + plain.saturating_sub(1) / task * alignment;
        }
        let share = self.number(choice, "share").filter(|share| {
            self.mixes() && (0.0..1.0).contains(share) && !choice.settings.contains_key("extra")
        });
        share.map_or(plain, |share| mixed(plain, share))
    }
}
