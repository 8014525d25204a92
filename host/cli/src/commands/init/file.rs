//! The file that is written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use host_trainer::config::RunConfig;
use toml::Value;

use super::Arguments;

/// Fewer rows than these are seen three times.
const FEW: usize = 2000;
/// Prompts of each kind that an evaluation asks, of the embedded ones.
const PROMPTS: usize = 20;

/// What was said by flags and answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub model: Option<String>,
    pub data: Vec<String>,
    pub policies: Vec<String>,
    pub labelled: Vec<String>,
    pub alignment: Vec<String>,
    pub harmful: Vec<String>,
    pub harmless: Vec<String>,
    pub task: Vec<String>,
    /// Of the training data, where that is known.
    pub rows: Option<usize>,
}

impl Answers {
    pub fn from_flags(flags: &Arguments) -> Self {
        let list = |paths: &[PathBuf]| -> Vec<String> {
            paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()
        };
        Self {
            model: flags.model.clone(),
            data: list(&flags.data),
            policies: flags.policies.clone(),
            labelled: list(&flags.labelled),
            alignment: list(&flags.alignment),
            harmful: list(&flags.harmful),
            harmless: list(&flags.harmless),
            task: list(&flags.task),
            rows: None,
        }
    }

    /// Evaluation and calibration files must be there; models and training data may be of the Hub.
    /// No policy is none beside another.
    pub fn check(&self) -> anyhow::Result<()> {
        let lists = [&self.labelled, &self.alignment, &self.harmful, &self.harmless, &self.task];
        for file in lists.into_iter().flatten() {
            let found = file.starts_with("demo:") || Path::new(file).exists();
            ensure!(found, "there is no file {file}; check the path");
        }
        let alone = self.policies.len() == 1 || !self.policies.iter().any(|name| name == "none");
        ensure!(alone, "--policy none goes with no other --policy; leave one of them out");
        Ok(())
    }

    pub fn toml(&self) -> String {
        let mut text = String::from(
            "# A training: host train --config FILE. Flags and --set KEY=VALUE override what is here.\n\
             # `host config example` prints every key with its meaning, `host config check FILE` checks a file.\n\n\
             seed = 17\n# output = \"runs/mine\"          # must not exist; default runs/POLICY-N\n",
        );
        self.model_section(&mut text);
        self.policy_sections(&mut text);
        self.data_sections(&mut text);
        self.training_sections(&mut text);
        text
    }

    fn model_section(&self, text: &mut String) {
        *text += "\n[model]\n";
        match &self.model {
            Some(model) => {
                let _ = writeln!(text, "source = {}", quoted(model));
            }
            None => text.push_str("# source = \"org/name\"         # folder, .gguf file or Hub id; now: the embedded demo model\n"),
        }
        *text += "# dtype = \"bf16\"              # half the memory, less exact\n";
    }

    fn policy_sections(&self, text: &mut String) {
        let named: Vec<&String> = self.policies.iter().filter(|name| *name != "none").collect();
        if self.policies.is_empty() {
            *text += "\n[[policy]]\npath = \"builtin:anchored\"     # `host policy list` has the others\n";
        }
        for path in named {
            let _ = writeln!(text, "\n[[policy]]\npath = {}", quoted(path));
            *text += "# settings = { }              # `host policy inspect` lists them\n";
        }
        if !self.labelled.is_empty() {
            let _ = writeln!(text, "\n[calibration]\ndata = {}", list(&self.labelled));
        }
    }

    fn data_sections(&self, text: &mut String) {
        if self.data.is_empty() {
            self.demo_sections(text);
            return;
        }
        let _ = writeln!(text, "\n[data]\ntrain = {}", list(&self.data));
        if self.alignment.is_empty() {
            *text += "# alignment = [\"refusals.jsonl\"] # for policies that mix them in\n";
        } else {
            let _ = writeln!(text, "alignment = {}", list(&self.alignment));
        }
        *text += "\n# What is measured before and after.\n[eval]\n";
        let own = !self.harmful.is_empty() || !self.harmless.is_empty();
        let requests = |files: &[String], embedded: &str| match (files.is_empty(), own) {
            (true, false) => format!("[{}]", quoted(embedded)),
            _ => list(files),
        };
        let harmful = requests(&self.harmful, "demo:eval_harmful.jsonl");
        let harmless = requests(&self.harmless, "demo:eval_harmless.jsonl");
        let _ = writeln!(text, "harmful = {harmful} # refused, if the model is safe");
        let _ = writeln!(text, "harmless = {harmless} # answered, if it is of use");
        if self.task.is_empty() {
            *text += "# task = [\"heldout.jsonl\"]    # rows like those of training that are not among them\n";
        } else {
            let _ = writeln!(text, "task = {}", list(&self.task));
        }
        if !own {
            let _ = writeln!(
                text,
                "limit = {PROMPTS}                    # prompts of each kind; 0 for all"
            );
        }
    }

    /// Beside the demo data stands what was named of the rest.
    fn demo_sections(&self, text: &mut String) {
        *text += "\n[data]\n# train = [\"rows.jsonl\"]      # now: the embedded demo data, with its own evaluation\n";
        if !self.alignment.is_empty() {
            let _ = writeln!(text, "alignment = {}", list(&self.alignment));
        }
        let sets = [("harmful", &self.harmful), ("harmless", &self.harmless), ("task", &self.task)];
        let named: Vec<_> = sets.iter().filter(|(_, files)| !files.is_empty()).collect();
        if !named.is_empty() {
            *text += "\n[eval]\n";
        }
        for (key, files) in named {
            let _ = writeln!(text, "{key} = {}", list(files));
        }
    }

    fn training_sections(&self, text: &mut String) {
        let usual = RunConfig::default();
        if self.model.is_none() {
            *text += "\n# [train]                     # now: settings that suit the demo model\n# epochs = 1.0\n# learning_rate = 3e-3\n";
            return;
        }
        let batch = usual.train.batch;
        let epochs = if self.rows.is_some_and(|rows| rows < FEW) { 3.0 } else { 1.0 };
        let _ = writeln!(text, "\n[train]\nepochs = {epochs:?}");
        if let Some(rows) = self.rows {
            let steps = (rows as f64 * epochs / batch as f64).ceil();
            let _ = writeln!(text, "# {rows} rows: {steps} steps");
        }
        let _ = writeln!(
            text,
            "batch = {batch}\nlearning_rate = {:e}          # raise it if the loss hardly falls\n\
             # baseline = true             # also train without the policy, and compare\n\n\
             [lora]\nrank = {}\nalpha = {:?}",
            usual.train.learning_rate, usual.lora.rank, usual.lora.alpha
        );
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn list(files: &[String]) -> String {
    let files: Vec<String> = files.iter().map(|file| quoted(file)).collect();
    format!("[{}]", files.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use host_trainer::config::Layers;

    fn resolved(answers: &Answers) -> RunConfig {
        let mut layers = Layers::default();
        layers.add_text(&answers.toml(), "host.toml").unwrap();
        crate::flags::with_defaults(layers).unwrap()
    }

    #[test]
    fn what_is_written_is_what_was_said() {
        let config = resolved(&Answers::default());
        assert_eq!(config.policies[0].path.to_str(), Some("builtin:anchored"));
        assert!(config.model.source.is_none() && config.train.learning_rate > 1e-3);

        let named = Answers {
            model: Some("models/a \"b\"".into()),
            data: vec!["rows.jsonl".into()],
            policies: vec!["builtin:probe".into(), "mine.wasm".into()],
            labelled: vec!["labelled.jsonl".into()],
            task: vec!["heldout.jsonl".into()],
            rows: Some(200),
            ..Answers::default()
        };
        let config = resolved(&named);
        assert_eq!(config.model.source.as_deref(), Some("models/a \"b\""));
        assert_eq!((config.policies.len(), config.train.epochs), (2, 3.0));
        assert_eq!((config.eval.harmful.len(), config.eval.task.len()), (1, 1));
        assert!(named.toml().contains("# 200 rows: 75 steps"), "{}", named.toml());

        let plain = Answers { policies: vec!["none".into()], ..Answers::default() };
        assert!(resolved(&plain).policies.is_empty());
    }

    #[test]
    fn what_was_named_beside_the_demo_data_is_kept() {
        let one = |name: &str| vec![format!("{name}.jsonl")];
        let named = Answers {
            alignment: one("alignment"),
            harmful: one("harmful"),
            harmless: one("harmless"),
            task: one("task"),
            labelled: one("labelled"),
            ..Answers::default()
        };
        let config = resolved(&named);
        let (data, eval) = (&config.data, &config.eval);
        let sets =
            [&data.alignment, &eval.harmful, &eval.harmless, &eval.task, &config.calibration.data];
        let names = ["alignment", "harmful", "harmless", "task", "labelled"];
        for (set, name) in sets.into_iter().zip(names) {
            assert_eq!(set[0].path.to_str(), Some(&*format!("{name}.jsonl")));
        }
        let both =
            Answers { policies: vec!["none".into(), "builtin:sft".into()], ..Answers::default() };
        assert!(both.check().is_err());
    }
}
