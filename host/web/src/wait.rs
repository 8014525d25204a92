//! Answers after which a request is worth making again, and when.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode, header};

/// Whether another request may come to something else: the server is broken, busy, or was too slow.
pub fn passes(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status)
}

/// For how long `Retry-After` asks the client to wait: seconds, or a date.
pub fn told(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.or_else(|| {
        let until = httpdate::parse_http_date(text).ok()?;
        Some(until.duration_since(SystemTime::now()).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_rest_is_seconds_or_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            told(&headers)
        };
        assert_eq!(of("2"), Some(Duration::from_secs(2)));
        assert_eq!(of(" 1.5 "), Some(Duration::from_millis(1500)));
        assert_eq!(of("Mon, 02 Jan 2006 15:04:05 GMT"), Some(Duration::ZERO));
        let late = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(of(&late).unwrap() > Duration::from_secs(90));
        for odd in ["soon", "-1", "NaN", "1e400"] {
            assert_eq!(of(odd), None, "{odd}");
        }
        assert_eq!(told(&HeaderMap::new()), None);
    }

    #[test]
    fn what_passes_is_a_broken_or_a_busy_server() {
        for (status, is_passing) in
            [(429, true), (503, true), (408, true), (404, false), (401, false), (302, false)]
        {
            assert_eq!(passes(StatusCode::from_u16(status).unwrap()), is_passing, "{status}");
        }
    }
}
