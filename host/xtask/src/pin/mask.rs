//! What may differ between two runs of the same program: one rule for each reason.

use std::sync::LazyLock;

use regex::Regex;

/// What differs, how it is found, and what stands in its place.
type Rule = (&'static str, &'static str, &'static str);

/// Numbers that a clock or the allocator has measured, in JSON.
const MEASURED: Rule = (
    "times and memory in JSON",
    concat!(
        r#""((?:\w+_)?seconds|tokens_per_second|policy_milliseconds|\w+_ms|started|ended"#,
        r#"|peak_memory|loaded|peak|available|plain_step|first_held_step|later_held_step|total"#,
        r#")": ?\d[0-9.e-]*"#
    ),
    r#""$1":1.0"#,
);

const RULES: &[Rule] = &[
    MEASURED,
    ("length of files that hold times", r#""metrics_bytes": ?\d+"#, r#""metrics_bytes":~"#),
    (
        "digest of a checkpoint's state, which holds times",
        r#""state.json": \{\s+"bytes": \d+,\s+"sha256": "\w+""#,
        r#""state.json": {"bytes": ~"#,
    ),
    ("speed of a step, on the screen", r"\d+ tok/s", "~ tok/s"),
    (
        "times in the table of a run",
        r"(?m)^\| (seconds per step|of it signals, policy, journal) +\|.*$",
        "| $1 | ~",
    ),
    (
        "times and memory in the table of a dry run",
        r"(?m)^\| (memory: all that is loaded|memory at its highest|time[: ][\w ,]+?) +\|.*$",
        "| $1 | ~",
    ),
    ("duration of a replay", r"same bytes \((\d+%)\), [0-9.]+ s", "same bytes ($1), ~ s"),
    ("duration of an audit", r"not applicable, in [0-9.]+ s", "not applicable, in ~ s"),
    ("duration of a call", r"[0-9.]+ ms", "~ ms"),
    (
        "durations in the table of a benchmark",
        r"(?m)^( +\d+) +[0-9.]+ +[0-9.]+ +[0-9.]+( +\d+ +\d+)$",
        "$1 ~$2",
    ),
    // Which are checked by the commands that verify them.
    ("signatures, which hold random numbers", r"(?m)^[A-Za-z0-9+/]{86,}={0,2}$", "~"),
];

static COMPILED: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    RULES.iter().filter_map(|(_, find, put)| Some((Regex::new(find).ok()?, *put))).collect()
});

/// A text in which everything that a rule names is replaced.
pub fn masked(text: &str) -> String {
    apply(text, &COMPILED)
}

/// A text in which measured numbers are 1, so that what is computed from them is the same.
pub fn stilled(text: &str) -> String {
    apply(text, &COMPILED[..1])
}

fn apply(text: &str, rules: &[(Regex, &'static str)]) -> String {
    let replace =
        |text: String, (rule, put): &(Regex, &str)| rule.replace_all(&text, *put).into_owned();
    rules.iter().fold(text.to_owned(), replace)
}

/// Header and tensors of a safetensors file. The order of its metadata is that of a hash
/// map, which differs from process to process.
pub fn safetensors(bytes: &[u8]) -> Option<(serde_json::Value, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (header, tensors) = rest.split_at_checked(length)?;
    let mut header: serde_json::Value = serde_json::from_slice(header).ok()?;
    header.get_mut("__metadata__")?.sort_all_objects();
    Some((header, tensors))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_rule_is_a_pattern() {
        assert_eq!(COMPILED.len(), RULES.len());
        assert_eq!(stilled("{\"seconds\": 0.5}"), "{\"seconds\":1.0}");
    }

    #[test]
    fn measured_numbers_are_masked_and_others_are_not() {
        for (text, want) in [
            (r#"{"loss":1.5,"seconds":0.25}"#, r#"{"loss":1.5,"seconds":1.0}"#),
            (
                "  step 1/2 loss 4.658 lr 3.0e-3 1938 tok/s",
                "  step 1/2 loss 4.658 lr 3.0e-3 ~ tok/s",
            ),
            ("| seconds per step |  0.02 |", "| seconds per step | ~"),
            ("| time: a held step, first epoch | 0.03 s |", "| time: a held step, first epoch | ~"),
            ("| memory: activations | 7 MiB |", "| memory: activations | 7 MiB |"),
            (
                "       2      0.040      0.049      0.049    37407   1152",
                "       2 ~    37407   1152",
            ),
            ("97e66728157a3be1760b21f845381c5265d60e78a8fc85f28b8b5f51cfb73bc4", ""),
        ] {
            let want = if want.is_empty() { text } else { want };
            assert_eq!(masked(text), want);
        }
    }

    #[test]
    fn metadata_have_no_order() {
        let file = |header: &str, tensors: &str| {
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), tensors.as_bytes()]
                .concat()
        };
        let one = file(r#"{"__metadata__":{"a":"1","b":"2"},"t":{}}"#, "x");
        let other = file(r#"{"__metadata__":{"b":"2","a":"1"},"t":{}}"#, "x");
        let (one, other) = (safetensors(&one).unwrap(), safetensors(&other).unwrap());
        assert_eq!(one.0.to_string(), other.0.to_string());
        assert!(safetensors(b"short").is_none());
    }
}
