//! The projections of a model by name, and numbers that patterns of names give them.

use std::collections::BTreeMap;

use regex::Regex;

use super::modules::{ends, pattern};
use crate::config::{Config, Module, Target};
use crate::error::{Error, Result};

/// A projection under all its names.
pub(super) struct Named {
    pub layer: usize,
    pub target: Target,
    own: String,
    /// Of the module that it is stored in with others.
    stacked: Option<String>,
}

impl Named {
    pub fn names(&self) -> Vec<&str> {
        std::iter::once(self.own.as_str()).chain(self.stacked.as_deref()).collect()
    }

    pub fn is(&self, name: &str) -> bool {
        self.names().iter().any(|own| ends(own, name))
    }
}

/// Every projection of the model, by layer.
pub(super) fn modules(model: &Config) -> impl Iterator<Item = Named> {
    let of_layer = |layer: usize, module: &'static Module| {
        module.parts.iter().map(move |target| Named {
            layer,
            target: *target,
            own: format!("model.layers.{layer}.{}.{}", target.part(), target.name()),
            stacked: (!module.is_separate())
                .then(|| format!("model.layers.{layer}.{}", module.path)),
        })
    };
    (0..model.num_layers)
        .flat_map(move |layer| model.modules(layer).flat_map(move |module| of_layer(layer, module)))
}

/// Numbers for modules whose names end as an expression says.
pub(super) struct Numbers<N> {
    key: &'static str,
    /// With whether any module matched.
    entries: Vec<(String, Regex, N, bool)>,
}

impl<N: Copy + PartialEq + std::fmt::Display> Numbers<N> {
    pub fn new(key: &'static str, numbers: &BTreeMap<String, N>) -> Result<Self> {
        let entry = |(text, number): (&String, &N)| {
            let expression = pattern(text).map_err(|error| unreadable(key, text, &error))?;
            Ok((text.clone(), expression, *number, false))
        };
        Ok(Self { key, entries: numbers.iter().map(entry).collect::<Result<_>>()? })
    }

    /// The keys of a table have no order, so several that fit must agree.
    pub fn of(&mut self, module: &Named) -> Result<Option<N>> {
        let mut found: Option<(&str, N)> = None;
        for (text, expression, number, used) in &mut self.entries {
            if !module.names().iter().any(|name| expression.is_match(name)) {
                continue;
            }
            *used = true;
            match found {
                Some((first, other)) if other != *number => {
                    return Err(Error::adapter(
                        format!(
                            "{}: {first:?} gives {} {other}, and {text:?} gives it {number}",
                            self.key, module.own
                        ),
                        "change the patterns so that one fits",
                    ));
                }
                _ => found = Some((text, *number)),
            }
        }
        Ok(found.map(|(_, number)| number))
    }

    pub fn refuse_unused(&self) -> Result<()> {
        match self.entries.iter().find(|(.., used)| !used) {
            None => Ok(()),
            Some((text, ..)) => Err(Error::adapter(
                format!("{}: {text:?} fits no adapted module", self.key),
                "a pattern must match the end of a name after a point, such as q_proj or layers\\.0\\..*",
            )),
        }
    }
}

pub(super) fn unreadable(key: &str, text: &str, error: &regex::Error) -> Error {
    let error = error.to_string();
    let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Error::adapter(
        format!("{key}: {text:?} is no regular expression ({last})"),
        "correct it; look-around and back-references aren't known here",
    )
}
