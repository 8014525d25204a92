//! Dates and lengths of time, for people.

use chrono::{DateTime, Datelike as _};

/// Seconds since 1970 as "2026-11-29 19:36 UTC".
pub fn date(seconds: u64) -> String {
    let date = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    // Beyond the year 9999 a number says as much.
    match date.filter(|date| date.year() <= 9999) {
        Some(date) => date.format("%Y-%m-%d %H:%M UTC").to_string(),
        None => format!("{seconds} s since 1970"),
    }
}

/// A length of time as "5 s", "12 min" or "3 h 5 min".
pub fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (seconds, found) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_980_974, "2026-11-29 19:36 UTC"),
            (253_402_300_799, "9999-12-31 23:59 UTC"),
        ] {
            assert_eq!(date(seconds), found);
        }
        assert!(date(u64::MAX).contains("since 1970"));
    }
}
