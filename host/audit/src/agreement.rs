//! Whether two answers agree, and where they don't.

use serde_json::{Map, Value};

/// Two builds of a policy by different compilers agree this closely (absolutely for
/// numbers below 1, else relatively): `exp` and its kin are not the same everywhere.
pub const TOLERANCE: f64 = 1e-6;

/// Where two answers differ, and what stands there in each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer differs at `{at}`: expected {expected}, got {got}")]
pub struct Differs {
    /// Such as `.assessment.risk[3]`.
    pub at: String,
    /// As JSON.
    pub expected: String,
    /// As JSON.
    pub got: String,
}

/// Compares numbers within `tolerance` and everything else exactly; `at` is where.
pub(crate) fn agree(
    expected: &Value,
    got: &Value,
    tolerance: f64,
    at: String,
) -> Result<(), Differs> {
    let differs = |at: &str| {
        Err(Differs { at: at.to_string(), expected: expected.to_string(), got: got.to_string() })
    };
    match (expected, got) {
        (Value::Number(e), Value::Number(g)) => match (e.as_f64(), g.as_f64()) {
            (Some(e), Some(g)) if (e - g).abs() <= tolerance * e.abs().max(1.0) => Ok(()),
            _ => differs(&at),
        },
        (Value::Array(e), Value::Array(g)) if e.len() == g.len() => {
            let mut pairs = e.iter().zip(g).enumerate();
            pairs.try_for_each(|(i, (e, g))| agree(e, g, tolerance, format!("{at}[{i}]")))
        }
        (Value::Object(e), Value::Object(g)) => {
            let of =
                |fields: &Map<String, Value>, key| fields.get(key).cloned().unwrap_or_default();
            let new = g.keys().filter(|key| !e.contains_key(*key));
            let mut keys = e.keys().chain(new);
            keys.try_for_each(|key| match (e.get(key), g.get(key)) {
                (Some(one), None) | (None, Some(one)) if is_absent(one) => Ok(()),
                (Some(e), Some(g)) => agree(e, g, tolerance, format!("{at}.{key}")),
                _ => Err(Differs {
                    at: format!("{at}.{key}"),
                    expected: of(e, key).to_string(),
                    got: of(g, key).to_string(),
                }),
            })
        }
        _ if expected == got => Ok(()),
        _ => differs(&at),
    }
}

/// A field of this value and one that is not named say the same: the contract gains fields,
/// and what was recorded before does not name them.
fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// `got`, with every number that is close enough to the expected one replaced by it, so
/// that a diff of the two shows what differs and not how numbers are rounded.
pub fn settled(expected: &Value, got: &Value, tolerance: f64) -> Value {
    match (expected, got) {
        (Value::Number(_), Value::Number(_))
            if agree(expected, got, tolerance, String::new()).is_ok() =>
        {
            expected.clone()
        }
        (Value::Array(e), Value::Array(g)) => {
            let known = e.iter().map(Some).chain(std::iter::repeat(None));
            let pairs = g.iter().zip(known);
            let settle = |(g, e): (&Value, Option<&Value>)| match e {
                Some(e) => settled(e, g, tolerance),
                None => g.clone(),
            };
            pairs.map(settle).collect()
        }
        (Value::Object(e), Value::Object(g)) => {
            let settle = |(key, g): (&String, &Value)| {
                let value = e.get(key).map_or_else(|| g.clone(), |e| settled(e, g, tolerance));
                (key.clone(), value)
            };
            g.iter().map(settle).collect()
        }
        _ => got.clone(),
    }
}

/// Where two values first differ, and what stands there in each.
pub(crate) fn first_difference(expected: &Value, got: &Value) -> (String, String, String) {
    match agree(expected, got, 0.0, String::new()) {
        Err(Differs { at, expected, got }) => {
            (at.trim_start_matches('.').to_owned(), expected, got)
        }
        _ => ("the text".into(), expected.to_string(), got.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::TOLERANCE;
    use super::*;
    use serde_json::json;

    fn difference(expected: Value, got: Value) -> Option<String> {
        agree(&expected, &got, TOLERANCE, String::new()).err().map(|error| error.to_string())
    }

    #[test]
    fn numbers_agree_within_the_tolerance_and_all_else_exactly() {
        assert_eq!(difference(json!({"a": [1.0, "x"]}), json!({"a": [1.0000005, "x"]})), None);
        assert_eq!(difference(json!(1), json!(1.0)), None);
        assert_eq!(difference(json!(1e9), json!(1.0000000005e9)), None);
        let error = difference(json!({"a": [0.1, 0.2]}), json!({"a": [0.1, 0.3]}));
        assert_eq!(error.as_deref(), Some("the answer differs at `.a[1]`: expected 0.2, got 0.3"));
        assert!(difference(json!("x"), json!("y")).is_some());
        assert!(difference(json!([1]), json!([1, 2])).is_some());
        assert!(difference(json!({"a": 1}), json!({"a": 1, "b": 2})).is_some());
        assert!(difference(json!({"a": 1}), json!({"b": 1})).is_some());
        assert!(difference(json!(null), json!(0)).is_some());
    }

    #[test]
    fn a_field_that_is_empty_need_not_be_named() {
        let empty = json!({"a": 1, "b": null, "c": false, "d": []});
        assert_eq!(difference(json!({"a": 1}), empty.clone()), None);
        assert_eq!(difference(empty, json!({"a": 1})), None);
        for other in [json!({"a": 1, "b": true}), json!({"a": 1, "b": [0]}), json!({"b": null})] {
            assert!(difference(json!({"a": 1}), other).is_some());
        }
    }

    #[test]
    fn settled_answers_differ_only_where_the_answers_do() {
        let expected = json!({"a": [0.5, 0.25], "b": "x"});
        let got = json!({"a": [0.5000001, 0.3, 1.0], "b": "y", "c": 1});
        let settled = settled(&expected, &got, TOLERANCE);
        assert_eq!(settled, json!({"a": [0.5, 0.3, 1.0], "b": "y", "c": 1}));
    }
}
