//! Timestamps that `openssl ts` made with keys of its own, and what must not pass for one.

use host_audit::timestamp::{Timestamp, check, query};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const CONTENT: &[u8] = b"{\"what\":\"a run left\"}\n";
const EC: &[u8] = include_bytes!("timestamp/ec.tsr");
const RSA: &[u8] = include_bytes!("timestamp/rsa512.tsr");

fn root(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap()
}

fn ec_root() -> Vec<CertificateDer<'static>> {
    root(include_bytes!("timestamp/ec-ca.pem"))
}

fn rsa_root() -> Vec<CertificateDer<'static>> {
    root(include_bytes!("timestamp/rsa-ca.pem"))
}

#[test]
fn a_timestamp_says_who_saw_the_content_and_when() {
    let both = [ec_root(), rsa_root()].concat();
    for (answer, roots) in [(EC, ec_root()), (RSA, rsa_root()), (EC, both)] {
        let found = check(answer, CONTENT, &roots).unwrap();
        let Timestamp { time, authority } = found;
        assert!(time.starts_with("2026-11-28T18:2") && time.ends_with('Z'), "{time}");
        assert_eq!(authority, "CN=Test authority");
    }
    // The token alone, as some tools keep it: behind the status of the response.
    let token = &EC[9..];
    check(token, CONTENT, &ec_root()).unwrap();
}

#[test]
fn nothing_else_passes_for_a_timestamp() {
    let refused = |answer: &[u8], content: &[u8], roots: &[CertificateDer<'_>], part: &str| {
        let problem = check(answer, content, roots).unwrap_err();
        assert!(problem.contains(part), "{part:?} in {problem:?}");
    };
    refused(EC, b"{\"what\":\"a run Left\"}\n", &ec_root(), "other content");
    refused(EC, CONTENT, &rsa_root(), "nobody whom the named certificates vouch for");
    refused(EC, CONTENT, &[], "nobody whom");
    let without = include_bytes!("timestamp/nocert.tsr");
    refused(without, CONTENT, &ec_root(), "comes without certificates");
    let no = include_bytes!("timestamp/refused.tsr");
    refused(no, CONTENT, &ec_root(), "a refusal of the authority");
    refused(b"", CONTENT, &ec_root(), "is no RFC 3161 timestamp");
    refused(CONTENT, CONTENT, &ec_root(), "is no RFC 3161 timestamp");
    refused(&query(CONTENT), CONTENT, &ec_root(), "");
}

/// No byte of the answer can be another one, but for those that say nothing: the status, the
/// numbers of the formats, and what isn't signed.
#[test]
fn a_changed_timestamp_says_nothing_else() {
    let roots = ec_root();
    let genuine = check(EC, CONTENT, &roots).unwrap();
    let mut held = 0;
    for place in 0..EC.len() {
        for bit in 0..8 {
            let mut changed = EC.to_vec();
            changed[place] ^= 1 << bit;
            match check(&changed, CONTENT, &roots) {
                Ok(found) => assert_eq!(found, genuine, "byte {place}"),
                Err(_) => held += 1,
            }
        }
        let _ = check(&EC[..place], CONTENT, &roots).unwrap_err();
    }
    assert!(held > 7 * EC.len(), "{held} of {}", 8 * EC.len());
}

#[test]
fn a_query_asks_for_the_digest_and_for_certificates() {
    let query = query(CONTENT);
    assert_eq!(query.len(), 59);
    // 30 39 0201 01 3031 300d 0609 ... 0500 0420 DIGEST 0101ff: as `openssl ts -query -cert
    // -no_nonce` writes it.
    assert_eq!(query, include_bytes!("timestamp/query.tsq"));
}
