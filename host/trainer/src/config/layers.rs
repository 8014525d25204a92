//! Puts a configuration together: defaults, then the file, then `--set` and flags.

use std::path::Path;

use host_data::Failure;
use toml::{Table, Value};

use super::consent::Said;
use super::run_folder::{CONFIG, check_run};
use super::{RunConfig, neighbours, policies};
use crate::error::{Error, Result};

/// A configuration while it is being put together. Later layers win, key by key.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    table: Table,
    said: Said,
}

impl Layers {
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let text = host_files::capped::read_text(path, 4 << 20)
            .map_err(|source| Error::read(path, source))?;
        self.add_text(&text, &path.display().to_string())
    }

    /// Adds the configuration of a run, which may be anybody's.
    pub fn add_run(&mut self, folder: &Path) -> Result<()> {
        check_run(folder)?;
        self.mark_as_of_run();
        self.add_file(&folder.join(CONFIG))
    }

    /// From here on no endpoint is asked that the command line doesn't agree to.
    pub(super) fn mark_as_of_run(&mut self) {
        self.said.of_run = true;
    }

    /// Agrees to endpoints, as [`EndpointConfig::word`](super::EndpointConfig::word) writes each.
    pub fn allow_endpoints(&mut self, words: &[String]) {
        self.said.words.extend_from_slice(words);
    }

    /// `origin` names the text in errors.
    pub fn add_text(&mut self, text: &str, origin: &str) -> Result<()> {
        let mut table: Table = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            Error::config(format!("{origin} line {line}"), error.message().replace('\n', " "))
        })?;
        policies::number(&mut table);
        // Checked on its own first, so that the message names the file.
        resolve(&table).map_err(|error| match error {
            Error::Failure(Failure::Config { key, problem }) => {
                Error::config(format!("{origin}: {key}"), problem)
            }
            other => other,
        })?;
        merge(&mut self.table, table);
        Ok(())
    }

    /// Puts other layers on top.
    pub fn add(&mut self, over: Layers) {
        merge(&mut self.table, over.table);
        merge(&mut self.said.keys, over.said.keys);
        self.said.words.extend(over.said.words);
        self.said.of_run |= over.said.of_run;
    }

    /// `key.path=value`; the value is TOML, and a bare word is a string.
    pub fn add_assignment(&mut self, assignment: &str) -> Result<()> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(Error::config(
                format!("--set {assignment}"),
                "write it as key=value, such as train.batch=4",
            ));
        };
        let value = value.trim();
        let parsed = toml::from_str::<Table>(&format!("value = {value}"))
            .ok()
            .and_then(|mut table| table.remove("value"));
        self.set(key.trim(), parsed.unwrap_or_else(|| Value::String(value.to_owned())))
    }

    /// Sets a dotted key, as the command line says.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<()> {
        let key = &policies::numbered_key(key);
        let value = value.into();
        set(&mut self.said.keys, key, value.clone())?;
        set(&mut self.table, key, value)
    }

    /// Names the policy files, in order; policies beyond them are dropped.
    pub fn set_policies(&mut self, paths: &[String]) {
        policies::set_paths(&mut self.table, paths);
    }

    /// Whether a dotted key has been given by any layer.
    pub fn has(&self, key: &str) -> bool {
        let key = policies::numbered_key(key);
        let mut parts = key.split('.');
        let first = parts.next().and_then(|part| self.table.get(part));
        parts.try_fold(first, |value, part| Some(value?.as_table()?.get(part))).flatten().is_some()
    }

    /// Drops a dotted key whose value is an empty list, as if nobody had given it.
    pub fn drop_empty_list(&mut self, key: &str) {
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut table = Some(&mut self.table);
        for part in parts {
            table = table.and_then(|table| table.get_mut(part)?.as_table_mut());
        }
        if let Some(table) = table
            && table.get(last).and_then(Value::as_array).is_some_and(Vec::is_empty)
        {
            table.remove(last);
        }
    }

    /// The resolved and validated configuration.
    pub fn resolve(&self) -> Result<RunConfig> {
        let mut config = resolve(&self.table)?;
        config.check()?;
        self.said.mark(&mut config)?;
        Ok(config)
    }
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<()> {
    let mut table = table;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    if last.is_empty() || parts.iter().any(|part| part.is_empty()) {
        return Err(Error::config(key, "is not a key; keys look like train.batch"));
    }
    for part in parts {
        let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
        table = entry
            .as_table_mut()
            .ok_or_else(|| Error::config(key, format!("{part} is a value, not a table")))?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

fn resolve(table: &Table) -> Result<RunConfig> {
    let table = policies::list(table)?;
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().message().to_owned();
        let (key, problem) = explain(&path, &message);
        Error::config(key, problem)
    })
}

/// serde's words on an unknown key, with the nearest known one.
fn explain(path: &str, message: &str) -> (String, String) {
    let message = match message.lines().next().unwrap_or(message) {
        // What serde says of a number, true or a list where a word belongs.
        "invalid type: unit variant, expected string only" => {
            "must be a word in quotes; docs/reference/configuration.md has those that it takes"
                .into()
        }
        line => line.to_owned(),
    };
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return (if path == "." { "file".into() } else { path.into() }, message);
    };
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let key = match path.strip_suffix(unknown) {
        Some(_) => path.to_owned(),
        None if path == "." => unknown.to_owned(),
        None => format!("{path}.{unknown}"),
    };
    let problem = match (neighbours::here(unknown), nearest) {
        (Some(here), _) => format!("no such key; here it is called {here}"),
        (_, Some((_, name))) => format!("no such key; did you mean {name}?"),
        (_, None) => format!("no such key; known here: {}", known.join(", ")),
    };
    (key, problem)
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(build: impl FnOnce(&mut Layers) -> Result<()>) -> String {
        let mut layers = Layers::default();
        match build(&mut layers).and_then(|()| layers.resolve().map(|_| ())) {
            Ok(()) => "no error".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn later_layers_win_key_by_key() {
        let mut layers = Layers::default();
        layers.add_text("seed = 3\n[train]\nbatch = 4\nepochs = 2", "a.toml").expect("good");
        layers.add_assignment("train.batch=6").expect("good");
        let config = layers.resolve().expect("good");
        assert_eq!((config.seed.0, config.train.batch, config.train.epochs), (3, 6, 2.0));
        assert!(layers.has("train.batch") && !layers.has("train.floor") && !layers.has("seed.x"));
    }

    #[test]
    fn an_assignment_is_toml_or_a_bare_word() {
        let mut layers = Layers::default();
        layers.add_assignment("model.source=./models/a").expect("good");
        layers.add_assignment("lora.targets=[\"q_proj\"]").expect("good");
        layers.add_assignment("policy.path=a.wasm").expect("good");
        layers.add_assignment("policy.settings.b_max=0.8").expect("good");
        let config = layers.resolve().expect("good");
        assert_eq!(config.model.source.as_deref(), Some("./models/a"));
        assert_eq!(config.lora.targets, host_model::Names::List(vec!["q_proj".into()]));
        assert_eq!(config.policies[0].settings["b_max"].as_float(), Some(0.8));
    }

    #[test]
    fn policies_are_one_or_several_and_reached_by_number() {
        let mut layers = Layers::default();
        layers
            .add_text("[[policy]]\npath = \"a\"\n[[policy]]\npath = \"b\"", "two.toml")
            .expect("good");
        layers.add_assignment("policy.1.settings.x=2").expect("good");
        let config = layers.resolve().expect("good");
        assert_eq!(config.policies.len(), 2);
        assert_eq!(config.policies[1].settings["x"].as_integer(), Some(2));
        // What a run writes down reads back as the same.
        let text = toml::to_string(&config).expect("toml");
        let mut again = Layers::default();
        again.add_text(&text, "config.toml").expect("good");
        assert_eq!(again.resolve().expect("good"), config);

        // Files named on the command line replace those of the file, by position.
        layers.set_policies(&["c".into()]);
        let config = resolved(&layers);
        assert_eq!(config.policies.len(), 1);
        assert_eq!(config.policies[0].path.to_str(), Some("c"));
        layers.set_policies(&["c".into(), "d".into(), "e".into()]);
        assert_eq!(resolved(&layers).policies.len(), 3);
    }

    fn resolved(layers: &Layers) -> RunConfig {
        layers.resolve().expect("good")
    }

    #[test]
    fn a_policy_number_without_its_forerunners_is_an_error() {
        assert_eq!(
            message(|layers| layers.add_assignment("policy.1.path=a.wasm")),
            "configuration: policy.1: there is no policy 0; policies are numbered from 0"
        );
    }

    #[test]
    fn a_number_where_a_word_belongs_is_told_in_words() {
        for assignment in ["lora.init=5", "data.overlong=true", "trust.on_fault=[1]"] {
            let (key, _) = assignment.split_once('=').expect("an assignment");
            let text = message(|layers| layers.add_assignment(assignment));
            assert!(text.starts_with(&format!("configuration: {key}: must be a word")), "{text}");
        }
    }

    #[test]
    fn unknown_keys_get_a_suggestion() {
        assert_eq!(
            message(|layers| layers.add_text("[train]\nlearning_rat = 1e-3", "run.toml")),
            "configuration: run.toml: train.learning_rat: no such key; did you mean learning_rate?"
        );
        assert_eq!(
            message(|layers| layers.add_assignment("trian.batch=2")),
            "configuration: trian: no such key; did you mean train?"
        );
        assert_eq!(
            message(|layers| layers.add_text("[train]\nnum_train_epochs = 3", "run.toml")),
            "configuration: run.toml: train.num_train_epochs: no such key; here it is called \
             train.epochs"
        );
        assert_eq!(
            message(|layers| layers.add_assignment("lora_r=8")),
            "configuration: lora_r: no such key; here it is called lora.rank"
        );
    }

    #[test]
    fn wrong_types_name_the_key() {
        let text = message(|layers| layers.add_assignment("train.batch=many"));
        assert!(
            text.starts_with("configuration: train.batch: invalid type: string \"many\""),
            "{text}"
        );
    }

    #[test]
    fn broken_toml_names_file_and_line() {
        let text = message(|layers| layers.add_text("seed = 1\n[train\n", "run.toml"));
        assert!(text.starts_with("configuration: run.toml line 2"), "{text}");
    }
}
