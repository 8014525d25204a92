//! `--track`: which trackers are told of a run.

use host_trainer::Error;
use host_trainer::config::Layers;
use toml::{Table, Value};

use super::table::{Flag, FlagGroup, flags, key};

flags! {
    /// Trackers of a run; none changes what it learns.
    pub struct TrackFlags {
        /// Tell a tracker of the run while it goes on: tensorboard[=DIR], mlflow=URL, otlp=URL,
        /// webhook=URL or webhook=env:NAME (an environment variable with the address), or none of
        /// those that the configuration names. Can be repeated.
        #[arg(long = "track", value_name = "TRACKER", value_parser = named)]
        trackers: Vec<Named> => [trackers, on resume, by set_trackers],
    }
}

/// A tracker as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Nothing is told to anybody.
    None,
    TensorBoard(Option<String>),
    /// The key that holds an address, with it.
    Server(&'static str, &'static str, String),
}

/// `NAME` or `NAME=VALUE`.
fn named(text: &str) -> Result<Named, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned()).filter(|value| !value.is_empty())),
        None => (text, None),
    };
    match (name, value) {
        ("none", None) => Ok(Named::None),
        ("tensorboard", dir) => Ok(Named::TensorBoard(dir)),
        ("mlflow", Some(url)) => Ok(Named::Server("mlflow", "url", url)),
        ("otlp", Some(url)) => Ok(Named::Server("otlp", "url", url)),
        ("webhook", Some(url)) => Ok(match url.strip_prefix("env:") {
            Some(variable) => Named::Server("webhook", "url_variable", variable.into()),
            None => Named::Server("webhook", "url", url),
        }),
        ("mlflow" | "otlp" | "webhook", None) => Err(format!("name its address: {name}=URL")),
        _ => Err("use tensorboard[=DIR], mlflow=URL, otlp=URL, webhook=URL or none".into()),
    }
}

fn set_trackers(layers: &mut Layers, trackers: &[Named]) -> Result<(), Error> {
    if trackers.contains(&Named::None) {
        if trackers.len() > 1 {
            return Err(Error::config("--track none", "goes with no other --track"));
        }
        return layers.set(key!(trackers), Table::new());
    }
    trackers.iter().try_for_each(|tracker| match tracker {
        Named::None => Ok(()),
        Named::TensorBoard(dir) => {
            let dir = dir.as_deref().map(|dir| ("dir", Value::from(dir)));
            set_table(layers, key!(trackers.tensorboard), dir)
        }
        Named::Server(kind, key, url) => {
            set_table(layers, &format!("trackers.{kind}"), Some((key, url.as_str().into())))
        }
    })
}

/// Sets a value of a table, which is there then, even if it is empty.
fn set_table(layers: &mut Layers, key: &str, value: Option<(&str, Value)>) -> Result<(), Error> {
    match value {
        Some((name, value)) => layers.set(&format!("{key}.{name}"), value),
        None if layers.has(key) => Ok(()),
        None => layers.set(key, Table::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(words: &[&str]) -> Result<Layers, Error> {
        let trackers = words.iter().map(|word| named(word).expect(word)).collect::<Vec<_>>();
        let mut layers = Layers::default();
        layers
            .add_text("[trackers]\nname = \"a\"\n[trackers.tensorboard]\ndir = \"b\"", "a.toml")?;
        set_trackers(&mut layers, &trackers)?;
        Ok(layers)
    }

    #[test]
    fn a_tracker_is_named_with_or_without_a_place() {
        let dir = |words: &[&str]| {
            let config = layers(words).and_then(|layers| layers.resolve()).expect("good");
            config.trackers.tensorboard.map(|one| one.dir.unwrap_or_default().display().to_string())
        };
        assert_eq!(dir(&["tensorboard=c"]).as_deref(), Some("c"));
        // What the file says of it stays.
        assert_eq!(dir(&["tensorboard"]).as_deref(), Some("b"));
        assert_eq!(dir(&["none"]), None);
        assert!(layers(&["none", "tensorboard"]).is_err());
        let config = layers(&["mlflow=http://127.0.0.1:1", "webhook=env:HOOK"]).expect("good");
        let trackers = config.resolve().expect("good").trackers;
        let mlflow = trackers.mlflow.expect("named");
        assert_eq!((mlflow.url.as_str(), mlflow.agreed), ("http://127.0.0.1:1", true));
        assert_eq!(trackers.webhook.expect("named").url_variable.as_deref(), Some("HOOK"));
        for wrong in ["none=1", "wandb", "mlflow", "otlp=", "webhook", "", "=x", "tensorboards"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
