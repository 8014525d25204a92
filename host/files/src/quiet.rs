//! Panics of libraries that answer some damaged files with one.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// Runs a step of a library. A panic becomes an error with its words, and prints nothing.
///
/// # Errors
/// The words of the panic.
pub fn catch<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    SILENCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(step));
    QUIET.set(before);
    outcome.map_err(|payload| {
        let words = payload.downcast_ref::<String>().map(String::as_str);
        words.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

static SILENCE: Once = Once::new();

thread_local! {
    /// Whether this thread is inside of such a step.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(catch(|| panic!("number {}", 7)), Err::<(), _>("number 7".into()));
        assert_eq!(catch(|| panic!("plain")), Err::<(), _>("plain".into()));
    }
}
