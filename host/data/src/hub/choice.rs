//! Which files of a data set a split is: as its card says, else as their names say. Nothing is guessed: where several
//! are possible, the error names them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{named, pattern};
use crate::extension::{EXTENSIONS, extension};

/// A split that nobody names.
const USUAL: &str = "train";
/// What writers leave beside the rows.
const BESIDE: &[&str] =
    &["dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"];
/// Words in names of files and folders that say which split they are.
const WORDS: &[(&str, &[&str])] = &[
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "val", "dev"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];
/// Patterns of one configuration.
const MOST_PATTERNS: usize = 64;
/// Files with rows that are looked at.
const MOST_FILES: usize = 5000;

/// What is asked for.
#[derive(Debug, PartialEq)]
pub enum Wanted {
    File(String),
    Split { config: Option<String>, split: String },
}

type Result<T> = std::result::Result<T, String>;

impl Wanted {
    /// What stands behind the `:` of a name.
    pub fn parse(what: Option<&str>, files: &[&str]) -> Self {
        let split = |config: Option<&str>, split: &str| Self::Split {
            config: config.map(str::to_owned),
            split: split.to_owned(),
        };
        match what {
            None => split(None, USUAL),
            Some(file) if files.contains(&file) || is_of_rows(file) => Self::File(file.to_owned()),
            Some(what) => match what.rsplit_once('/') {
                Some((config, "")) => split(Some(config), USUAL),
                Some((config, one)) => split(Some(config), one),
                None => split(None, what),
            },
        }
    }
}

/// The files of what is wanted, in order; the error is what is wrong with the data set, and what to do.
pub fn choose(files: &[&str], configs: &Value, wanted: &Wanted) -> Result<Vec<String>> {
    let mut rows: Vec<&str> = files.iter().copied().filter(|file| is_of_rows(file)).collect();
    rows.sort_unstable();
    let (config, split) = match wanted {
        Wanted::File(file) if files.contains(&file.as_str()) => return Ok(vec![file.clone()]),
        Wanted::File(file) => {
            let there = named(&rows);
            return Err(format!("has no file {}; it has {there}", host_files::text::name(file)));
        }
        Wanted::Split { config, split } => (config.as_deref(), split.as_str()),
    };
    if rows.is_empty() {
        return Err(
            "has no files that are read (JSON Lines, JSON, CSV, TSV, Parquet); name another one"
                .into(),
        );
    }
    if rows.len() > MOST_FILES {
        return Err(format!("has more than {MOST_FILES} files of rows; name one with NAME:FILE"));
    }
    let chosen = match configs.as_array().filter(|configs| !configs.is_empty()) {
        Some(configs) => by_card(&rows, configs, config, split)?,
        None => by_name(&rows, config, split)?,
    };
    let formats: BTreeSet<String> = chosen.iter().map(|file| extension(file.as_ref())).collect();
    if formats.len() > 1 {
        let choices = named(&chosen);
        return Err(format!(
            "has the split {split} in several formats; name one with NAME:FILE ({choices})"
        ));
    }
    whole(&chosen)?;
    Ok(chosen.into_iter().map(str::to_owned).collect())
}

fn is_of_rows(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    !BESIDE.contains(&name) && EXTENSIONS.contains(&extension(file.as_ref()).as_str())
}

/// By the `configs` of a data set's card.
fn by_card<'f>(
    rows: &[&'f str],
    configs: &[Value],
    wanted: Option<&str>,
    split: &str,
) -> Result<Vec<&'f str>> {
    let name = |config: &Value| config["config_name"].as_str().unwrap_or("default").to_owned();
    let names: Vec<String> = configs.iter().map(name).collect();
    let is_chosen = |at: &usize| match wanted {
        Some(wanted) => names[*at] == wanted,
        None => configs.len() == 1 || configs[*at]["default"] == true || names[*at] == "default",
    };
    let Some(at) = (0..configs.len()).find(is_chosen) else {
        let choices = named(&names);
        return Err(match wanted {
            Some(wanted) => {
                let wanted = host_files::text::name(wanted);
                format!("has no configuration {wanted}; it has {choices}")
            }
            None => {
                format!("has several configurations; name one with NAME:CONFIG/{split} ({choices})")
            }
        });
    };
    let config = &configs[at];
    let folder = config["data_dir"].as_str().map(|folder| folder.trim_matches('/'));
    let within = |file: &&&str| {
        folder.is_none_or(|folder| {
            file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    if config["data_files"].is_null() {
        let rows: Vec<&str> = rows.iter().filter(within).copied().collect();
        return by_name(&rows, None, split);
    }
    let splits = patterns(&config["data_files"])
        .ok_or("has a card whose data_files aren't understood; name a file with NAME:FILE")?;
    let Some(patterns) = splits.get(split) else {
        let there: Vec<&String> = splits.keys().collect();
        let split = host_files::text::name(split);
        return Err(format!("has no split {split}; it has {}", named(&there)));
    };
    let fits = |file: &&&str| {
        let inner = folder.and_then(|folder| file.strip_prefix(folder)?.strip_prefix('/'));
        patterns.iter().any(|one| {
            pattern::fits(one, file) || inner.is_some_and(|inner| pattern::fits(one, inner))
        })
    };
    let chosen: Vec<&str> = rows.iter().filter(fits).copied().collect();
    if chosen.is_empty() {
        let patterns = named(patterns);
        return Err(format!(
            "has no file of rows that its card means by the split {split} ({patterns}); name a file with NAME:FILE"
        ));
    }
    Ok(chosen)
}

/// The patterns of each split in `data_files` of a card.
fn patterns(value: &Value) -> Option<BTreeMap<String, Vec<String>>> {
    let texts = |value: &Value| match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|it| it.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let mut splits: BTreeMap<String, Vec<String>> = BTreeMap::new();
    match value {
        Value::Object(map) => {
            for (split, value) in map {
                splits.insert(split.clone(), texts(value)?);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for one in list {
                let split = one["split"].as_str().unwrap_or(USUAL).to_owned();
                splits.entry(split).or_default().extend(texts(&one["path"])?);
            }
        }
        value => {
            splits.insert(USUAL.into(), texts(value)?);
        }
    }
    (splits.values().map(Vec::len).sum::<usize>() <= MOST_PATTERNS).then_some(splits)
}

/// By the names of files and folders; a configuration is a folder.
fn by_name<'f>(rows: &[&'f str], config: Option<&str>, split: &str) -> Result<Vec<&'f str>> {
    let inside = |file: &&&str| {
        config.is_none_or(|config| file.strip_prefix(config).is_some_and(|it| it.starts_with('/')))
    };
    let rows: Vec<&str> = rows.iter().filter(inside).copied().collect();
    if let (Some(config), true) = (config, rows.is_empty()) {
        let config = host_files::text::name(config);
        return Err(format!(
            "has no configuration and no folder {config}; name a file with NAME:FILE"
        ));
    }
    let mut splits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut without = Vec::new();
    for file in rows {
        match split_of(file) {
            Some(split) => splits.entry(split).or_default().push(file),
            None => without.push(file),
        }
    }
    let chosen = match splits.remove(split) {
        Some(chosen) => chosen,
        None if splits.is_empty() && split == USUAL => without,
        None => {
            let there: Vec<&str> = splits.keys().copied().collect();
            let split = host_files::text::name(split);
            let there = if there.is_empty() { "no splits".to_owned() } else { named(&there) };
            return Err(format!("has no split {split} by the names of its files; it has {there}"));
        }
    };
    let stems: BTreeSet<String> = chosen.iter().map(|file| stem(file)).collect();
    let formats: BTreeSet<String> = chosen.iter().map(|file| extension(file.as_ref())).collect();
    if stems.len() > 1 && formats.len() == 1 {
        let choices = named(&chosen);
        return Err(format!(
            "has several files that may be the split {split}; name one with NAME:FILE ({choices})"
        ));
    }
    Ok(chosen)
}

/// The split that a file is of: what stands before `-00000-of-00005`, else a word of its name, else of its folders.
fn split_of(file: &str) -> Option<&str> {
    let (folders, name) = file.rsplit_once('/').unwrap_or(("", file));
    if let Some((split, ..)) = shard(name) {
        return Some(split);
    }
    let by_word = |text: &str| {
        let text = text.to_lowercase();
        let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        words.find_map(|word| WORDS.iter().find(|(_, words)| words.contains(&word)))
    };
    by_word(name).or_else(|| by_word(folders)).map(|(split, _)| *split)
}

/// What the parts of one file have in common: their path without the numbers.
fn stem(file: &str) -> String {
    let (path, _) = crate::packed::Packing::of_name(file);
    path.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// `train-00002-of-00005.parquet`: what stands before, which part, and of how many.
fn shard(name: &str) -> Option<(&str, usize, usize)> {
    let (before, rest) = name.split_once("-of-")?;
    let (stem, number) = before.rsplit_once('-')?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    if number.len() != 5 || end != 5 {
        return None;
    }
    Some((stem, number.parse().ok()?, rest[..end].parse().ok()?))
}

/// Refuses numbered parts of which some are missing.
fn whole(files: &[&str]) -> Result<()> {
    let mut parts: BTreeMap<(&str, &str, usize), BTreeSet<usize>> = BTreeMap::new();
    for file in files {
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
        if let Some((stem, number, of)) = shard(name) {
            parts.entry((folder, stem, of)).or_default().insert(number);
        }
    }
    match parts.iter().find(|((.., of), numbers)| numbers.len() != *of) {
        None => Ok(()),
        Some(((_, stem, of), numbers)) => {
            let (stem, there) = (host_files::text::name(stem), numbers.len());
            Err(format!(
                "has {there} of {of} parts of {stem}; name another revision, or files with NAME:FILE"
            ))
        }
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
