//! Which adapter to use.

use std::path::{Path, PathBuf};

use clap::Args;
use host_data::Progress;
use host_files::capped;
use host_files::text::clean;
use host_model::Model;
use host_model::lora::Lora;
use host_trainer::Error;
use serde_json::Value;

use crate::screen::Screen;

/// Of files beside an adapter.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
pub struct AdapterFlags {
    /// Folder of a run: takes its configuration and its adapter.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Folder with an adapter in peft's format.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
}

impl AdapterFlags {
    /// The adapter's folder, if one is named.
    fn folder(&self) -> Option<PathBuf> {
        self.adapter.clone().or_else(|| self.run.as_ref().map(|run| run.join("adapter")))
    }

    /// The adapter, if one is named. Tells if it names another base than the model.
    pub fn load(&self, model: &Model, screen: &mut Screen) -> Result<Option<Lora>, Error> {
        let Some(folder) = self.folder() else {
            return Ok(None);
        };
        let lora = Lora::load_peft(&folder, &model.config, model.decoder.device())?;
        other_base(&folder, [model.base(), &model.name])
            .iter()
            .for_each(|line| screen.notice(line));
        let template = own_template(&folder, model.tokenizer.chat_template());
        template.iter().for_each(|line| screen.notice(line));
        let run = self.run.as_ref().filter(|_| self.adapter.is_none());
        run.and_then(|run| other_model(run, model)).iter().for_each(|line| screen.notice(line));
        Ok(Some(lora))
    }
}

/// Shapes alone can't tell two models of one family apart, but their names do.
fn other_base(folder: &Path, names: [&str; 2]) -> Option<String> {
    let path = folder.join("adapter_config.json");
    let settings: Value = serde_json::from_str(&capped::read_text(&path, MOST_BYTES).ok()?).ok()?;
    let base = settings["base_model_name_or_path"].as_str()?;
    let last = |name: &str| {
        let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        name.split('@').next().unwrap_or_default().to_lowercase()
    };
    (!base.is_empty() && names.iter().all(|name| last(base) != last(name))).then(|| {
        format!(
            "{}: the adapter was made for {}, and the model is {}; on another base than its own it means \
             something else",
            path.display(),
            clean(base, 200),
            clean(names[0], 200)
        )
    })
}

/// What lies under the model's name may be another one by now.
fn other_model(run: &Path, model: &Model) -> Option<String> {
    let path = run.join("manifest.json");
    let manifest: Value = serde_json::from_str(&capped::read_text(&path, MOST_BYTES).ok()?).ok()?;
    let trained = manifest["model"]["sha256"].as_str()?;
    (trained != model.digest).then(|| {
        format!(
            "{}: the run was trained on a model with another digest ({:.12}) than {} has now \
             ({:.12}); its adapter means something else here",
            path.display(),
            clean(trained, 64),
            clean(&model.name, 200),
            model.digest
        )
    })
}

/// Trainers save the template that they trained with beside the adapter.
fn own_template(folder: &Path, model: Option<&str>) -> Option<String> {
    let path = folder.join("chat_template.jinja");
    let own = capped::read_text(&path, MOST_BYTES).ok()?;
    (model.map(str::trim_end) != Some(own.trim_end())).then(|| {
        format!(
            "{}: the adapter was saved with a chat template that differs from the model's, which is used; \
             --chat-template {} takes the adapter's",
            path.display(),
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_base_is_told() {
        let folder = tempfile::tempdir().expect("there");
        let told = |base: Value, model: &str| {
            let settings = serde_json::json!({"base_model_name_or_path": base});
            std::fs::write(folder.path().join("adapter_config.json"), settings.to_string())
                .expect("there");
            other_base(folder.path(), [model, "file.gguf"])
        };
        assert_eq!(told("org/Tiny".into(), "tiny"), None);
        assert_eq!(told("org/tiny".into(), "org/tiny@main"), None);
        assert_eq!(told("/models/tiny/".into(), "tiny"), None);
        assert_eq!(told("file.gguf".into(), "org/tiny"), None);
        assert_eq!(told(Value::Null, "tiny"), None);
        let line = told("org/tiny\u{1b}[2J".into(), "small").expect("there");
        assert!(line.contains("made for org/tiny") && line.contains("is small"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn a_template_of_the_adapters_own_is_told_if_it_differs() {
        let folder = tempfile::tempdir().expect("there");
        assert_eq!(own_template(folder.path(), None), None);
        let path = folder.path().join("chat_template.jinja");
        std::fs::write(&path, "{{ messages }}\n").expect("written");
        assert_eq!(own_template(folder.path(), Some("{{ messages }}")), None);
        for model in [None, Some("{{ other }}")] {
            let line = own_template(folder.path(), model).expect("told");
            assert!(line.contains(&format!("--chat-template {}", path.display())), "{line}");
        }
    }
}
