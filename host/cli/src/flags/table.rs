//! How a flag is declared: once, with the key of the configuration that it sets.
//!
//! ```text
//! /// Its help.
//! #[arg(long, value_name = "N")]
//! pub batch: Option<usize> => [train.batch],
//! ```
//!
//! The key is a path into [`RunConfig`](host_trainer::config::RunConfig): a wrong one does
//! not compile. `[KEY, on resume]` says that the flag may be used with --resume, since it
//! changes how a run is computed and not what comes out; the others are refused there.
//! `[KEY, by FUNCTION]` sets more than that one value, and `[KEY, on resume, by FUNCTION]` is both. A flag without a key is the
//! command's own.

use std::path::{Path, PathBuf};

use host_trainer::Error;
use host_trainer::config::Layers;
use toml::Value;

/// A flag of a group.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// clap's name of it.
    pub id: &'static str,
    /// The dotted key that it sets.
    pub key: Option<&'static str>,
    /// Whether a run that goes on honours it.
    pub on_resume: bool,
}

/// Flags that commands take together.
pub trait FlagGroup: clap::Args {
    const FLAGS: &'static [Flag];

    /// Sets the key of each flag that was given.
    fn apply(&self, layers: &mut Layers) -> Result<(), Error>;
}

/// What a flag holds; nothing where it was not given.
pub trait FlagValue {
    fn value(&self) -> Option<Value>;
}

impl FlagValue for bool {
    fn value(&self) -> Option<Value> {
        self.then_some(Value::Boolean(true))
    }
}

impl<T: ToValue> FlagValue for Option<T> {
    fn value(&self) -> Option<Value> {
        self.as_ref().map(T::to_value)
    }
}

impl<T: ToValue> FlagValue for Vec<T> {
    fn value(&self) -> Option<Value> {
        (!self.is_empty()).then(|| self.iter().map(T::to_value).collect::<Vec<_>>().into())
    }
}

/// A number or text as TOML has it.
pub trait ToValue {
    fn to_value(&self) -> Value;
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        self.as_str().into()
    }
}

impl ToValue for PathBuf {
    fn to_value(&self) -> Value {
        text(self).into()
    }
}

impl ToValue for f64 {
    fn to_value(&self) -> Value {
        (*self).into()
    }
}

impl ToValue for u32 {
    fn to_value(&self) -> Value {
        (*self).into()
    }
}

impl ToValue for u64 {
    fn to_value(&self) -> Value {
        (*self as i64).into()
    }
}

impl ToValue for usize {
    fn to_value(&self) -> Value {
        (*self as i64).into()
    }
}

/// Sets a key, if its flag was given.
pub fn set(layers: &mut Layers, key: &str, flag: &impl FlagValue) -> Result<(), Error> {
    match flag.value() {
        Some(value) => layers.set(key, value),
        None => Ok(()),
    }
}

pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The dotted key of a path into the configuration.
macro_rules! key {
    (policy . $field:ident $(, $($rule:tt)*)?) => {{
        let _: fn(&host_trainer::config::PolicyConfig) = |policy| {
            let _ = &policy.$field;
        };
        concat!("policy.", stringify!($field))
    }};
    ($first:ident $(. $rest:ident)* $(, $($rule:tt)*)?) => {{
        let _: fn(&host_trainer::config::RunConfig) = |config| {
            let _ = &config.$first $(. $rest)*;
        };
        concat!(stringify!($first) $(, ".", stringify!($rest))*)
    }};
}

/// A group of flags, as clap reads it, and as a [`FlagGroup`].
macro_rules! flags {
    ($(#[$about:meta])* $visibility:vis struct $name:ident {
        $($(#[$attribute:meta])* $field:ident: $type:ty $(=> $key:tt)?,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, clap::Args)]
        $visibility struct $name {
            $($(#[$attribute])* pub $field: $type,)*
        }

        impl FlagGroup for $name {
            const FLAGS: &'static [Flag] = &[$(flags!(@flag $field $($key)?),)*];

            fn apply(&self, layers: &mut Layers) -> Result<(), Error> {
                $($(flags!(@set layers, &self.$field, $key);)?)*
                Ok(())
            }
        }
    };
    (@flag $field:ident) => {
        Flag { id: stringify!($field), key: None, on_resume: false }
    };
    (@flag $field:ident $key:tt) => {
        Flag {
            id: stringify!($field),
            key: Some(key! $key),
            on_resume: flags!(@on_resume $key),
        }
    };
    (@on_resume [$($path:ident).+, on resume $($rule:tt)*]) => { true };
    (@on_resume $key:tt) => { false };
    (@set $layers:ident, $value:expr, [$($path:ident).+, by $function:path]) => {
        $function($layers, $value)?
    };
    (@set $layers:ident, $value:expr, [$($path:ident).+, on resume, by $function:path]) => {
        $function($layers, $value)?
    };
    (@set $layers:ident, $value:expr, $key:tt) => {
        set($layers, key! $key, $value)?
    };
}

pub(super) use {flags, key};
