//! Addresses that a request may go to.

use std::net::IpAddr;

use ureq::http::{HeaderMap, Uri, header};

use crate::failure::{Failure, Result};

/// A URL.
///
/// # Errors
/// [`Failure::Untrusted`] for a text that is none.
pub fn address(text: &str) -> Result<Uri> {
    text.parse()
        .map_err(|error| Failure::Untrusted(format!("has an address that is no URL ({error})")))
}

/// https; plain http only on this machine, for a server that is on it (`local`).
///
/// # Errors
/// [`Failure::Untrusted`] for every other address, and for one with a password in it.
pub fn allowed(at: &Uri, local: bool) -> Result<()> {
    let host = at.host().unwrap_or_default();
    let here = is_loopback(host) && local;
    let is_safe = match at.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => here,
        _ => false,
    };
    if at.authority().is_some_and(|it| it.as_str().contains('@')) {
        let problem = format!("has an address with a password in it ({})", shown(at));
        Err(Failure::Untrusted(problem))
    } else if is_safe {
        Ok(())
    } else {
        Err(Failure::Untrusted(format!("is not reached by https ({})", shown(at))))
    }
}

/// Whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Scheme, host and port, for a message: the rest may hold a signature or a password.
pub fn shown(at: &Uri) -> String {
    let port = at.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", at.scheme_str().unwrap_or("?"), at.host().unwrap_or_default())
}

/// What a token belongs to: scheme, host and port.
pub fn origin(at: &Uri) -> (Option<&str>, Option<String>, Option<u16>) {
    let port = at.port_u16().or(match at.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    (at.scheme_str(), at.host().map(str::to_ascii_lowercase), port)
}

/// Where a redirect leads.
///
/// # Errors
/// [`Failure::Untrusted`] if it names no address.
pub fn target(at: &Uri, headers: &HeaderMap) -> Result<Uri> {
    let untrusted = |problem: &str| Failure::Untrusted(format!("redirects {problem}"));
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.map(str::trim).ok_or_else(|| untrusted("without an address"))?;
    let scheme = at.scheme_str().unwrap_or("https");
    let authority = at.authority().map_or("", |it| it.as_str());
    let whole = match location {
        there if there.starts_with("//") => format!("{scheme}:{there}"),
        path if path.starts_with('/') => format!("{scheme}://{authority}{path}"),
        whole => whole.to_owned(),
    };
    whole.parse().map_err(|_| untrusted("to what is no URL"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn is_allowed(url: &str, local: bool) -> bool {
        allowed(&url.parse().unwrap(), local).is_ok()
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for url in
            ["https://hub.example", "http://127.0.0.1:1", "http://localhost", "http://[::1]:80"]
        {
            assert!(is_allowed(url, true), "{url}");
        }
        for url in [
            "http://hub.example",
            "http://127.0.0.1.example",
            "http://0x7f.1",
            "ftp://localhost",
            "https://name:secret@hub.example",
            "https://localhost@hub.example",
            "http://127.0.0.1@hub.example",
            "/path",
        ] {
            assert!(!is_allowed(url, true), "{url}");
        }
        assert!(!is_allowed("http://127.0.0.1:1", false), "from a Hub that isn't here");
    }

    #[test]
    fn redirects_are_read_relative_to_where_they_are_given() {
        let at: Uri = "https://hub.example:8443/a/b".parse().unwrap();
        let to = |location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            target(&at, &headers).map(|uri| uri.to_string()).map_err(|_| ())
        };
        assert_eq!(to("/c").unwrap(), "https://hub.example:8443/c");
        assert_eq!(to("//store.example/c").unwrap(), "https://store.example/c");
        assert_eq!(to("https://store.example/c?sig=1").unwrap(), "https://store.example/c?sig=1");
        assert!(to("a b").is_err());
        assert!(target(&at, &HeaderMap::new()).is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origins = |one: &str, other: &str| {
            origin(&one.parse().unwrap()) == origin(&other.parse().unwrap())
        };
        assert!(origins("https://Hub.example/a", "https://hub.example:443/b"));
        for other in ["http://hub.example", "https://hub.example:444", "https://hub.example.org"] {
            assert!(!origins("https://hub.example", other), "{other}");
        }
    }
}
