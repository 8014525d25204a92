//! Who says where conversations, keys and files go: the command line, and never a file alone.
//!
//! A configuration may come with a run folder or a repository of somebody else. An endpoint that
//! such a file names gets what it asks for only if the command line says the same, with `--set` or
//! with `--allow-endpoint`. Without that word the judge can't be loaded; whatever needs no judge
//! works.

use host_files::shell::{self, quoted};
use std::path::Path;

use host_judges::{Consent, EndpointConfig, JudgeConfig};
use toml::{Table, Value};

use super::RunConfig;
use crate::error::{Error, Result};

/// What the command line said, and what the files may say alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// Keys that it set itself.
    pub keys: Table,
    /// Endpoints that it agreed to, as [`EndpointConfig::word`] writes them.
    pub words: Vec<String>,
    /// Whether a file of a run is among the layers: it may be anybody's, and says nothing alone.
    pub of_run: bool,
}

impl Said {
    /// Marks the endpoints that may be asked, and a key that nobody but the run names.
    ///
    /// # Errors
    /// A word that agrees to no endpoint that there is.
    pub fn mark(&self, config: &mut RunConfig) -> Result<()> {
        let said = self.keys.get("journal").and_then(|journal| journal.get("key"));
        let key = config.journal.key.as_deref().and_then(Path::to_str);
        config.journal.key_is_of_run =
            self.of_run && config.journal.key.is_some() && said.and_then(Value::as_str) != key;
        self.mark_folder(config);
        let endpoints = config.judges.iter_mut().filter_map(|(name, judge)| match judge {
            JudgeConfig::Endpoint(endpoint) => Some((name, endpoint)),
            _ => None,
        });
        let mut words = Vec::new();
        for (name, endpoint) in endpoints {
            let word = endpoint.word();
            let agreed = self.words.contains(&word)
                || self.set(name, endpoint)
                || (!self.of_run && endpoint.stays_here());
            endpoint.consent = if agreed { Consent::Given } else { Consent::Missing };
            words.push(word);
        }
        for asked in config.trackers.asked() {
            *asked.agreed = self.words.contains(&asked.word)
                || asked
                    .keys
                    .iter()
                    .all(|(key, value)| self.tracker(asked.kind, key) == Some(value.as_str()))
                || (!self.of_run && asked.stays_here);
            words.push(asked.word);
        }
        match self.words.iter().find(|word| !words.contains(word)) {
            None => Ok(()),
            Some(word) => {
                let there = match words.as_slice() {
                    [] => "has no endpoint".to_owned(),
                    words => format!("has {}", words.join(" and ")),
                };
                let problem = format!("the configuration {there}, and not {word}");
                Err(Error::config("--allow-endpoint", problem))
            }
        }
    }

    /// Event files go where a run's folder says only if the command line says so, too.
    fn mark_folder(&self, config: &mut RunConfig) {
        let said = self.tracker("tensorboard", "dir");
        if let Some(tensorboard) = &mut config.trackers.tensorboard {
            let dir = tensorboard.dir.as_deref().and_then(Path::to_str);
            tensorboard.dir_is_of_run = self.of_run && tensorboard.dir.is_some() && said != dir;
        }
    }

    /// What the command line set of a tracker.
    fn tracker(&self, kind: &str, key: &str) -> Option<&str> {
        self.keys.get("trackers")?.get(kind)?.get(key)?.as_str()
    }

    /// Whether the command line set all that says what goes where.
    fn set(&self, name: &str, endpoint: &EndpointConfig) -> bool {
        let path = |part: Option<&Value>, key: &str| part?.as_table()?.get(key).cloned();
        let judge = path(self.keys.get("judges"), name);
        let said = path(judge.as_ref(), "endpoint");
        let said = |field: &str| path(said.as_ref(), field);
        let is_said = |field: &str, value: Option<&str>| {
            value.is_none_or(|value| said(field).as_ref().and_then(Value::as_str) == Some(value))
        };
        let file = |file: &Option<std::path::PathBuf>| {
            file.as_ref().map(|file| file.to_string_lossy().into_owned())
        };
        is_said("url", Some(&endpoint.url))
            && is_said("key_variable", endpoint.key_variable.as_deref())
            && is_said("rubric", file(&endpoint.rubric).as_deref())
            && is_said("certificates", file(&endpoint.certificates).as_deref())
    }
}

impl RunConfig {
    /// The command that goes on with a run of this configuration, agreeing to what was agreed to.
    pub fn resume_command(&self, folder: &Path) -> String {
        let flags = self.judges.values().filter_map(|judge| match judge {
            JudgeConfig::Endpoint(endpoint) if endpoint.consent == Consent::Given => {
                Some(format!(" {}", endpoint.flag()))
            }
            _ => None,
        });
        let mut trackers = self.trackers.clone();
        // The address of a webhook is not written down, so nobody need agree to it again.
        let trackers = trackers.asked().into_iter().filter(|asked| {
            *asked.agreed
                && !(asked.kind == "webhook" && asked.keys.iter().any(|(key, _)| *key == "url"))
        });
        let trackers = trackers.map(|asked| format!(" --allow-endpoint {}", quoted(&asked.word)));
        let dir = self.trackers.tensorboard.iter().filter_map(|one| one.dir.as_ref());
        let dir = dir
            .map(|dir| format!(" --track {}", quoted(&format!("tensorboard={}", dir.display()))));
        let trackers: Vec<String> = trackers.chain(dir).collect();
        let key = self.journal.key.iter();
        let key = key.map(|key| format!(" --key {}", shell::path(key)));
        let flags: String = flags.chain(trackers).chain(key).collect();
        format!("host train --resume {}{flags}", shell::path(folder))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Consent, JudgeConfig, Layers};

    const ELSEWHERE: &str = "[judges.a.endpoint]\nmodel = \"m\"\nurl = \"https://x.org/v1\"";

    fn consent(build: impl FnOnce(&mut Layers)) -> Result<Consent, String> {
        let mut layers = Layers::default();
        build(&mut layers);
        let config = layers.resolve().map_err(|error| error.to_string())?;
        match &config.judges["a"] {
            JudgeConfig::Endpoint(endpoint) => Ok(endpoint.consent),
            other => Err(format!("{other:?}")),
        }
    }

    fn add(layers: &mut Layers, text: &str) {
        layers.add_text(text, "a.toml").expect("good");
    }

    fn set(layers: &mut Layers, assignment: &str) {
        layers.add_assignment(assignment).expect("good");
    }

    #[test]
    fn a_file_alone_sends_nothing_to_another_machine() {
        assert_eq!(consent(|layers| add(layers, ELSEWHERE)), Ok(Consent::Missing));
        // Nothing that a file can hold is the word.
        let mut layers = Layers::default();
        let text = format!("{ELSEWHERE}\nconsent = \"Given\"");
        assert!(layers.add_text(&text, "a.toml").is_err());
    }

    #[test]
    fn the_word_is_for_what_it_names_and_no_more() {
        let allow = |word: &str| {
            let word = word.to_owned();
            move |layers: &mut Layers| {
                add(layers, ELSEWHERE);
                layers.allow_endpoints(&[word]);
            }
        };
        assert_eq!(consent(allow("https://x.org/v1")), Ok(Consent::Given));
        let other = consent(allow("https://x.org/v1 key=A")).expect_err("refused");
        assert!(other.contains("has https://x.org/v1, and not https://x.org/v1 key=A"), "{other}");
        let more = |layers: &mut Layers| {
            add(layers, &format!("{ELSEWHERE}\nkey_variable = \"AWS_SECRET\""));
            layers.allow_endpoints(&["https://x.org/v1".into()]);
        };
        assert!(consent(more).is_err());
    }

    #[test]
    fn what_the_command_line_sets_needs_no_other_word() {
        let url = "judges.a.endpoint.url=https://y.org";
        let model = "judges.a.endpoint.model=m";
        let said = |layers: &mut Layers| {
            set(layers, url);
            set(layers, model);
        };
        assert_eq!(consent(said), Ok(Consent::Given));
        for more in ["key_variable", "rubric", "certificates"] {
            let mixed = |layers: &mut Layers| {
                add(layers, &format!("{ELSEWHERE}\n{more} = \"B\""));
                set(layers, url);
            };
            assert_eq!(consent(mixed), Ok(Consent::Missing), "{more}");
        }
    }

    #[test]
    fn an_own_file_may_name_a_server_on_this_machine_and_a_run_may_not() {
        let here = |url: &str, more: &str| {
            format!("[judges.a.endpoint]\nmodel = \"m\"\nurl = \"{url}\"\n{more}")
        };
        for url in ["http://localhost:8000/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"] {
            assert_eq!(consent(|layers| add(layers, &here(url, ""))), Ok(Consent::Given), "{url}");
            let of_run = |layers: &mut Layers| {
                add(layers, &here(url, ""));
                layers.mark_as_of_run();
            };
            assert_eq!(consent(of_run), Ok(Consent::Missing), "{url}");
            let keyed = here(url, "key_variable = \"A\"");
            assert_eq!(consent(|layers| add(layers, &keyed)), Ok(Consent::Missing), "{url}");
        }
        for url in
            ["http://127.0.0.1.x.org", "http://localhost.x.org", "http://0.0.0.0", "http://a@b"]
        {
            assert_eq!(
                consent(|layers| add(layers, &here(url, ""))),
                Ok(Consent::Missing),
                "{url}"
            );
        }
    }
}
