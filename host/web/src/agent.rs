//! Agents: the settings that all clients share.

use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::AgentScope;

/// Most bytes of a file with certificates.
const LARGEST_PEM: u64 = 1 << 20;

/// What every client has: an error status is an answer, redirects are the client's own, and what is for this machine
/// (`local`) goes through no proxy.
pub fn builder(roots: RootCerts, local: bool) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(if local { None } else { ureq::Proxy::try_from_env() })
        .user_agent(concat!("host/", env!("CARGO_PKG_VERSION")))
}

/// The same, with a longest wait for a connection, for the head of an answer, and for more of its body.
pub fn patient(roots: RootCerts, local: bool, patience: Duration) -> Agent {
    builder(roots, local)
        .timeout_resolve(Some(patience))
        .timeout_connect(Some(patience))
        .timeout_send_request(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .timeout_per_write(Some(patience))
        .build()
        .into()
}

/// The authorities of a PEM file; the public ones without a file.
///
/// # Errors
/// A file that can't be read, in the system's words, and one without a certificate or with something damaged
/// ([`std::io::ErrorKind::InvalidData`]).
pub fn authorities(file: Option<&Path>) -> std::io::Result<RootCerts> {
    let Some(path) = file else { return Ok(RootCerts::WebPki) };
    let wrong = |problem: String| std::io::Error::new(std::io::ErrorKind::InvalidData, problem);
    let pem = host_files::capped::read(path, LARGEST_PEM)?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        let item = item.map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        if let PemItem::Certificate(certificate) = item {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(wrong(format!("{} holds no certificate in PEM", path.display())));
    }
    Ok(certificates.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_without_certificates_is_no_authority() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("ca.pem");
        assert!(authorities(None).is_ok());
        assert_eq!(authorities(Some(&path)).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        std::fs::write(&path, "none").unwrap();
        let error = authorities(Some(&path)).unwrap_err();
        assert!(error.to_string().ends_with("ca.pem holds no certificate in PEM"), "{error}");
    }
}
