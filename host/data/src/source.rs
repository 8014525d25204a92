//! Where a run's rows come from: files, whole or in part, mixed by share.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use crate::random;
use rand::seq::index;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::error::{Error, Result};
use super::hub;
use super::input::Input;
use super::notices::{BadRows, FileNotices, Notices, Read};
use super::origin::Origin;
use super::rows::{self, Prompt, Row};

/// A file, or the files of a data set of the Hub, and how much of it a run takes. In a configuration either a path or a
/// table:
///
/// ```toml
/// data = ["task.jsonl", { path = "attack.jsonl", share = 0.1 }]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataSource {
    pub path: PathBuf,
    /// Share of this file's rows in the whole mix, above 0 and at most 1. Sources
    /// without a share are taken whole and fill what the shares leave; if every
    /// source has one, they must add up to 1 and the mix is as large as the
    /// smallest file allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Take at most this many rows, drawn with the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Use rows more than once where the share asks for more than the file has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
    pub origin: Origin,
}

impl DataSource {
    /// The whole of a file, as task data.
    pub fn whole(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    fn wrong(&self, what: String) -> Error {
        Error::Source { file: self.path.clone(), what }
    }

    fn check(&self) -> Result<()> {
        match (self.share, self.limit) {
            (Some(share), _) if !(share > 0.0 && share <= 1.0) => {
                Err(self.wrong(format!("has the share {share}; a share is above 0 and at most 1")))
            }
            (_, Some(0)) => Err(self.wrong("has the limit 0; leave it out or raise it".into())),
            _ => Ok(()),
        }
    }
}

/// Reads training rows from the sources and mixes them; see [`rows::parse_rows`]
/// and [`mix`].
pub fn read_rows(sources: &[DataSource], seed: u64, bad: &BadRows) -> Result<Read<Row>> {
    read_with(sources, seed, |input| rows::training_rows(input, bad))
}

/// As [`read_rows`], for rows that are read and not learned.
pub fn read_answers(sources: &[DataSource], seed: u64, bad: &BadRows) -> Result<Read<Row>> {
    read_with(sources, seed, |input| rows::answered_rows(input, bad))
}

/// Reads prompts from the sources and mixes them; see [`rows::parse_prompts`] and
/// [`mix`].
pub fn read_prompts(sources: &[DataSource], seed: u64, bad: &BadRows) -> Result<Read<Prompt>> {
    read_with(sources, seed, |input| rows::prompts(input, bad))
}

/// What `parse` makes of every file of the sources, mixed.
pub(super) fn read_with<T: Mixable>(
    sources: &[DataSource],
    seed: u64,
    mut parse: impl FnMut(Input<'static>) -> Result<(Vec<T>, FileNotices)>,
) -> Result<Read<T>> {
    let mut notices = Notices::default();
    let part = |source: &DataSource| {
        let mut rows = Vec::new();
        for file in hub::locate(&source.path)? {
            let (found, of_file) = parse(Input::open(&file)?)?;
            notices.add(of_file);
            extend(&mut rows, found);
        }
        Ok((source.clone(), rows))
    };
    let rows = mix(sources.iter().map(part).collect::<Result<_>>()?, seed)?;
    Ok(Read { rows, notices })
}

/// Without copying the first.
fn extend<T>(rows: &mut Vec<T>, more: Vec<T>) {
    if rows.is_empty() { *rows = more } else { rows.extend(more) }
}

/// What can be drawn from several sources.
pub trait Mixable: Clone {
    /// Tells the row which data it comes from.
    fn set_origin(&mut self, origin: Origin);
}

impl Mixable for Row {
    fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }
}

/// A prompt is asked, not learned: its origin doesn't matter.
impl Mixable for Prompt {
    fn set_origin(&mut self, _: Origin) {}
}

/// Mixes rows that were read from `sources`, in the order of the sources and of
/// their rows. Which rows a limit or a share leaves in depends only on the seed
/// and the source's position.
///
/// # Errors
/// [`Error::Source`] and [`Error::Mix`] for limits and shares that can't be met.
pub fn mix<T: Mixable>(parts: Vec<(DataSource, Vec<T>)>, seed: u64) -> Result<Vec<T>> {
    let mut parts = parts;
    for (position, (source, rows)) in parts.iter_mut().enumerate() {
        source.check()?;
        rows.iter_mut().for_each(|row| row.set_origin(source.origin));
        if let Some(limit) = source.limit.filter(|limit| *limit < rows.len()) {
            *rows = draw(rows, limit, seed, "limit", position);
        }
    }
    let total = mixed_size(&parts)?;
    let mut mixed = Vec::new();
    for (position, (source, rows)) in parts.into_iter().enumerate() {
        let Some(share) = source.share else {
            extend(&mut mixed, rows);
            continue;
        };
        let wanted = ((total * share).round() as usize).max(1);
        if wanted > rows.len() && !source.repeat {
            return Err(source.wrong(format!(
                "has {} rows, but the share {share} needs {wanted}; lower the share, add rows or set `repeat = true`",
                rows.len()
            )));
        }
        mixed.extend(draw(&rows, wanted, seed, "share", position));
    }
    Ok(mixed)
}

/// How many rows the whole mix has, before rounding.
fn mixed_size<T>(parts: &[(DataSource, Vec<T>)]) -> Result<f64> {
    let shares: f64 = parts.iter().filter_map(|(source, _)| source.share).sum();
    let whole: usize =
        parts.iter().filter(|(source, _)| source.share.is_none()).map(|(_, rows)| rows.len()).sum();
    if !parts.is_empty() && parts.iter().all(|(source, _)| source.share.is_some()) {
        if (shares - 1.0).abs() > 1e-6 {
            let what = format!(
                "have shares that add up to {shares}; where every source has one they must add up to 1"
            );
            return Err(Error::Mix { what });
        }
        let most =
            |(source, rows): &(DataSource, Vec<T>)| rows.len() as f64 / source.share.unwrap_or(1.0);
        let bounded = parts.iter().filter(|(source, _)| !source.repeat).map(most).reduce(f64::min);
        return Ok(bounded.or_else(|| parts.iter().map(most).reduce(f64::max)).unwrap_or(0.0));
    }
    if shares >= 1.0 {
        let what = format!(
            "have shares that add up to {shares}; that leaves nothing for the sources without one"
        );
        return Err(Error::Mix { what });
    }
    Ok(whole as f64 / (1.0 - shares))
}

/// `count` of the rows in their order: each as often as all of them fit, and of
/// the remainder a draw without repeats.
fn draw<T: Clone>(rows: &[T], count: usize, seed: u64, name: &str, position: usize) -> Vec<T> {
    let mut drawn = Vec::with_capacity(count);
    for _ in 0..count / rows.len() {
        drawn.extend_from_slice(rows);
    }
    let mut random = random::stream(seed, name, position as u64);
    let mut rest = index::sample(&mut random, rows.len(), count % rows.len()).into_vec();
    rest.sort_unstable();
    drawn.extend(rest.into_iter().map(|at| rows[at].clone()));
    drawn
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    path: PathBuf,
    /// Share of this file's rows in the whole mix, above 0 and at most 1.
    share: Option<f64>,
    /// At most this many rows, drawn with the run's seed.
    limit: Option<usize>,
    /// Use rows more than once where the share asks for more than the file has.
    #[serde(default)]
    repeat: bool,
    #[serde(default)]
    origin: Origin,
}

impl From<Table> for DataSource {
    fn from(Table { path, share, limit, repeat, origin }: Table) -> Self {
        Self { path, share, limit, repeat, origin }
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = DataSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path or a table {path, share, limit, repeat, origin}")
    }

    fn visit_str<E>(self, path: &str) -> std::result::Result<DataSource, E> {
        Ok(DataSource::whole(path))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<DataSource, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(map)).map(DataSource::from)
    }
}

impl<'de> Deserialize<'de> for DataSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

/// For `#[serde(deserialize_with)]`: one source, or a list of them.
pub fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<DataSource>, D::Error> {
    struct Many;
    impl<'de> Visitor<'de> for Many {
        type Value = Vec<DataSource>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path, a table {path, share, limit, repeat, origin}, or a list of these")
        }

        fn visit_str<E>(self, path: &str) -> std::result::Result<Self::Value, E> {
            Ok(vec![DataSource::whole(path)])
        }

        fn visit_map<A: MapAccess<'de>>(
            self,
            map: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            SourceVisitor.visit_map(map).map(|source| vec![source])
        }

        fn visit_seq<A: SeqAccess<'de>>(
            self,
            mut list: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            let mut sources = Vec::new();
            while let Some(source) = list.next_element()? {
                sources.push(source);
            }
            Ok(sources)
        }
    }
    deserializer.deserialize_any(Many)
}

impl JsonSchema for DataSource {
    fn schema_name() -> Cow<'static, str> {
        "DataSource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A path, or a table",
            "anyOf": [{ "type": "string" }, Table::json_schema(generator)],
        })
    }
}

/// One of them, or a list, as a schema tells of it.
pub struct OneOrMany<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [generator.subschema_for::<T>(), generator.subschema_for::<Vec<T>>()],
        })
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
