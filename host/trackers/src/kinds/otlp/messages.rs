//! `ExportMetricsServiceRequest` and `ExportTraceServiceRequest`: field names in lowerCamelCase,
//! identifiers in hexadecimal, numbers of 64 bits as texts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::event::{About, Arm, Event};

/// `SPAN_KIND_INTERNAL`, `STATUS_CODE_OK` and `STATUS_CODE_ERROR`.
const INTERNAL: u32 = 1;
const OK: u32 = 1;
const ERROR: u32 = 2;

/// Who tells.
pub struct Resource(Value);

/// A stage, or the whole run.
pub struct Span {
    pub id: u64,
    pub parent: Option<u64>,
    pub name: String,
    pub from: SystemTime,
    pub until: SystemTime,
    pub failed: bool,
}

impl Resource {
    /// Named as the semantic conventions have it where they have a name.
    pub fn new(about: &About) -> Self {
        let own = [("service.name", "host"), ("host.run", about.name.as_str())];
        let tags = about.tags.iter().map(|(key, value)| match key.as_str() {
            "host.version" => ("service.version", value.as_str()),
            key => (key, value.as_str()),
        });
        Self(json!({"attributes": own.into_iter().chain(tags).map(attribute).collect::<Vec<_>>()}))
    }

    /// A gauge for each number, and one for the step that they are of: as an attribute it would
    /// make every step a series of its own. None where there are no numbers.
    pub fn metrics(&self, events: &[Arc<Event>]) -> Option<Value> {
        let mut gauges: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for event in events {
            let Event::Scalars { arm, step, at, values } = event.as_ref() else { continue };
            let of_step = ("train/step".to_owned(), *step as f64);
            for (name, value) in values.iter().chain([&of_step]) {
                let name = format!("host.{}", name.replace('/', "."));
                gauges.entry(name).or_default().push(point(*arm, *at, *value));
            }
        }
        if gauges.is_empty() {
            return None;
        }
        let metric = |(name, points): (String, Vec<Value>)| json!({"name": name, "gauge": {"dataPoints": points}});
        let metrics: Vec<Value> = gauges.into_iter().map(metric).collect();
        let scope = json!({"scope": scope(), "metrics": metrics});
        Some(json!({"resourceMetrics": [{"resource": self.0, "scopeMetrics": [scope]}]}))
    }

    pub fn trace(&self, trace: u128, spans: &[Span]) -> Value {
        let span = |span: &Span| {
            let mut value = json!({
                "traceId": format!("{trace:032x}"),
                "spanId": format!("{:016x}", span.id),
                "name": span.name,
                "kind": INTERNAL,
                "startTimeUnixNano": nanoseconds(span.from),
                "endTimeUnixNano": nanoseconds(span.until),
                "status": {"code": if span.failed { ERROR } else { OK }},
            });
            if let Some(parent) = span.parent {
                value["parentSpanId"] = format!("{parent:016x}").into();
            }
            value
        };
        let spans: Vec<Value> = spans.iter().map(span).collect();
        let scope = json!({"scope": scope(), "spans": spans});
        json!({"resourceSpans": [{"resource": self.0, "scopeSpans": [scope]}]})
    }
}

fn scope() -> Value {
    json!({"name": "host", "version": env!("CARGO_PKG_VERSION")})
}

fn point(arm: Arm, at: SystemTime, value: f64) -> Value {
    json!({
        "timeUnixNano": nanoseconds(at),
        "asDouble": value,
        "attributes": [attribute(("host.arm", arm.name()))],
    })
}

fn attribute((key, value): (&str, &str)) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn nanoseconds(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos()).to_string()
}
