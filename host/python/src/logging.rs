//! What the host says beside its answers, such as that a cache was changed by someone else, goes to
//! the logger `risk_policy` of Python.

use std::fmt::{self, Write as _};
use std::sync::Once;

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// From now on; once per process.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A process with a subscriber of its own keeps it.
        let _ = tracing::subscriber::set_global_default(ToPython);
    });
}

struct ToPython;

impl Subscriber for ToPython {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        let ours = ["host", env!("CARGO_CRATE_NAME")];
        *about.level() <= Level::WARN && ours.iter().any(|name| about.target().starts_with(name))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        let level = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
        // An interpreter that is ending has nobody to tell.
        let _ = Python::try_attach(|py| {
            let logger = py.import("logging")?.call_method1("getLogger", ("risk_policy",))?;
            logger.call_method1(level, ("%s", words.0)).map(drop)
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message, and other fields behind it.
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
