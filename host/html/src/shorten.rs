//! Long texts, cut with a count of what is left out.

use serde::Serialize;

/// A text as far as a page shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its start.
    pub text: String,
    /// Characters that are left out; 0 for the whole text.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The first `most` characters of a text.
pub fn shown(text: &str, most: usize) -> Shown {
    match text.char_indices().nth(most) {
        None => Shown { text: text.to_owned(), more: 0 },
        Some((end, _)) => Shown { text: text[..end].to_owned(), more: text[end..].chars().count() },
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!((&*shown("äöü", 2).text, shown("äöü", 2).more), ("äö", 1));
        assert_eq!(shown("äöü", 3).more, 0);
    }
}
