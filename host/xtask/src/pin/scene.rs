//! The commands, as `scenes.toml` lists them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

const SCENES: &str = include_str!("scenes.toml");

#[derive(Deserialize)]
struct File {
    /// Text that stands for `{name}` in the steps.
    names: BTreeMap<String, String>,
    scene: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    about: String,
    #[serde(default)]
    mpi: bool,
    #[serde(default)]
    files: BTreeMap<String, String>,
    steps: String,
}

/// Commands that run one after the other in a folder of their own.
pub struct Scene {
    pub name: String,
    pub about: String,
    /// It needs a build with the feature `mpi`.
    pub mpi: bool,
    /// Files to write before the first step: path and text.
    pub files: BTreeMap<String, String>,
    pub steps: Vec<Step>,
}

/// One line of a scene.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Run the program.
    Host(Vec<String>),
    /// Run the build whose behaviour counts, whichever is being recorded.
    Older(Vec<String>),
    /// Run several processes of the program.
    Ranks(usize, Vec<String>),
    Remove(Vec<String>),
    Copy(String, String),
    /// Replace the first occurrence of a text in a file.
    Replace {
        path: String,
        from: String,
        to: String,
    },
    /// Set all measured times in a file to 1, so that tables made of them are the same.
    Still(String),
    /// Change one byte in the middle of a file.
    Damage(String),
}

/// # Errors
/// A list that can't be read.
pub fn all() -> Result<Vec<Scene>> {
    let file: File = toml::from_str(SCENES).context("scenes.toml")?;
    let names = &file.names;
    file.scene.into_iter().map(|raw| scene(raw, names)).collect()
}

fn scene(raw: Raw, names: &BTreeMap<String, String>) -> Result<Scene> {
    let lines = raw.steps.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let steps = lines.map(|line| {
        let mut text = line.to_owned();
        for (name, meaning) in names {
            text = text.replace(&format!("{{{name}}}"), meaning);
        }
        step(&text).with_context(|| format!("scenes.toml: {}: {line}", raw.name))
    });
    let steps = steps.collect::<Result<_>>()?;
    Ok(Scene { name: raw.name, about: raw.about, mpi: raw.mpi, files: raw.files, steps })
}

fn step(line: &str) -> Result<Step> {
    let mut words = words(line)?.into_iter();
    let verb = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    Ok(match (verb.as_str(), rest.as_slice()) {
        ("host", _) => Step::Host(rest),
        ("older", _) => Step::Older(rest),
        ("ranks", [count, arguments @ ..]) => Step::Ranks(count.parse()?, arguments.to_vec()),
        ("remove", [_, ..]) => Step::Remove(rest),
        ("copy", [from, to]) => Step::Copy(from.clone(), to.clone()),
        ("replace", [path, from, to]) => {
            Step::Replace { path: path.clone(), from: from.clone(), to: to.clone() }
        }
        ("still", [path]) => Step::Still(path.clone()),
        ("damage", [path]) => Step::Damage(path.clone()),
        _ => bail!("a step is host, older, ranks, remove, copy, replace, still or damage"),
    })
}

/// Splits at spaces, except between single or double quotes, which may begin inside a word.
fn words(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut open = None;
    for letter in line.chars() {
        match open {
            Some(quote) if letter == quote => open = None,
            None if letter == '\'' || letter == '"' => {
                open = Some(letter);
                word.get_or_insert_default();
            }
            None if letter == ' ' => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    ensure!(open.is_none(), "a quote is not closed");
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_list_is_whole_and_names_are_unique() {
        let scenes = all().unwrap();
        let mut names: Vec<_> = scenes.iter().map(|scene| &scene.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), scenes.len());
        assert!(scenes.iter().all(|scene| !scene.steps.is_empty()));
    }

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(words("a  'b c' d=\"e f\" ''").unwrap(), ["a", "b c", "d=e f", ""]);
        assert!(words("a 'b").is_err());
        assert!(step("dance").is_err());
    }
}
