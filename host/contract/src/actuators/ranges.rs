//! Lengths and ranges of numbers in an assessment, and how to say what is wrong with them.

use crate::invalid::Invalid;

/// The first field that is wrong.
pub(crate) type Check = Result<(), Invalid>;

/// One value per sample, each from 0 to `most`.
pub(crate) fn per_sample(field: &str, values: &[f64], samples: usize, most: f64) -> Check {
    length(field, values.len(), samples, "one per sample")?;
    let wrong = values.iter().position(|value| !(0.0..=most).contains(value));
    match wrong {
        Some(i) => within(&format!("{field}[{i}]"), values[i], 0.0, most),
        None => Ok(()),
    }
}

/// One value per answer token, each from 0 to 10, if there are any.
pub(super) fn per_token(field: &str, values: Option<&[f32]>, tokens: usize) -> Check {
    let Some(values) = values else { return Ok(()) };
    length(field, values.len(), tokens, "one per answer token of the step")?;
    let wrong = values.iter().position(|value| !(0.0..=10.0).contains(value));
    match wrong {
        Some(i) => within(&format!("{field}[{i}]"), values[i].into(), 0.0, 10.0),
        None => Ok(()),
    }
}

/// As many values as there must be.
pub(super) fn length(field: &str, found: usize, expected: usize, why: &str) -> Check {
    if found == expected {
        Ok(())
    } else {
        Err(Invalid::new(field, format!("has {found} values; it must have {expected}, {why}")))
    }
}

/// A finite number in a range; `f64::MAX` means no bound.
pub(super) fn within(field: &str, value: f64, least: f64, most: f64) -> Check {
    if value.is_finite() && (least..=most).contains(&value) {
        return Ok(());
    }
    let range = match (least > -f64::MAX, most < f64::MAX) {
        (true, true) => format!("a number from {least} to {most}"),
        (true, false) => format!("a finite number of at least {least}"),
        _ => "a finite number".to_owned(),
    };
    Err(out_of_range(field, value, &range))
}

/// A number that is not in the range that these words give.
pub(super) fn out_of_range(field: &str, value: f64, range: &str) -> Invalid {
    Invalid::new(field, format!("is {value}; it must be {range}"))
}
