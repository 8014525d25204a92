//! Timestamps of runs by an authority that the operator doesn't control (RFC 3161): what is asked
//! of it, and whether its answer is of this run. Nothing here needs the network.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerInfo};
use der::asn1::{AnyRef, ObjectIdentifier, OctetString};
use der::{Decode as _, Encode as _, Reader as _, Tag, Tagged as _};
use ring::digest;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use serde::Serialize;
use webpki::{EndEntityCert, KeyUsage, ring as algorithms};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TIMESTAMP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
/// The use of a certificate that a timestamp takes, 1.3.6.1.5.5.7.3.8, as in its DER.
const TIMESTAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];
/// A query up to its SHA-256, and what follows: version 1, and the wish for certificates.
const QUERY: [u8; 24] = [
    0x30, 0x39, 2, 1, 1, 0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0,
    4, 0x20,
];
const QUERY_END: [u8; 3] = [1, 1, 0xff];

/// What an authority says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timestamp {
    /// When it saw the content, in UTC: `2026-11-28T18:22:32Z`.
    pub time: String,
    /// Whom its certificate names.
    pub authority: String,
}

/// What is sent to an authority (`Content-Type: application/timestamp-query`) for a timestamp of
/// `content`, of which it learns the SHA-256 alone.
pub fn query(content: &[u8]) -> Vec<u8> {
    [&QUERY, digest::digest(&digest::SHA256, content).as_ref(), &QUERY_END].concat()
}

/// Checks that `answer`, a response or the token in one, is a timestamp of `content` by an authority
/// whose certificate leads to one of `roots`, valid at that time. Certificates between the two come
/// with the answer; revocation isn't looked up.
///
/// # Errors
/// One line on what doesn't fit.
pub fn check(
    answer: &[u8],
    content: &[u8],
    roots: &[CertificateDer<'_>],
) -> Result<Timestamp, String> {
    let signed = token(answer)?;
    let info = match &signed.encap_content_info.econtent {
        Some(info) if signed.encap_content_info.econtent_type == TIMESTAMP => info,
        _ => return Err("holds no timestamp".into()),
    };
    let info = OctetString::from_der(&encoded(info)?).map_err(|_| malformed("content"))?;
    let [signer] = signed.signer_infos.0.as_slice() else {
        return Err("has not one signer but several, or none".into());
    };
    let hash = algorithm(signer.digest_alg.oid)?;
    let attributes = signer.signed_attrs.as_ref().ok_or("signs nothing but its content")?;
    let attribute = |oid| value(signer, oid);
    if attribute(CONTENT_TYPE)?.and_then(|found| found.decode_as().ok()) != Some(TIMESTAMP) {
        return Err("is signed as something else".into());
    }
    let said = attribute(MESSAGE_DIGEST)?.and_then(|found| found.decode_as::<OctetString>().ok());
    if said.is_none_or(|said| said.as_bytes() != digest::digest(hash, info.as_bytes()).as_ref()) {
        return Err("was changed after it was signed".into());
    }
    let (certificates, theirs) = certificates(&signed, signer)?;
    let certificate = CertificateDer::from(certificates[theirs].as_slice());
    let certificate =
        EndEntityCert::try_from(&certificate).map_err(|why| format!("its certificate: {why}"))?;
    let text = attributes.to_der().map_err(|_| malformed("attributes"))?;
    let signature = signer.signature.as_bytes();
    let fits = |with: &&dyn SignatureVerificationAlgorithm| {
        certificate.verify_signature(*with, &text, signature).is_ok()
    };
    if !signatures(hash).iter().any(fits) {
        return Err("carries a signature that does not fit".into());
    }
    let (time, imprint) = said_of(info.as_bytes()).ok_or_else(|| malformed("content"))?;
    let (oid, stamped) = imprint;
    if digest::digest(algorithm(oid)?, content).as_ref() != stamped {
        return Err("is of other content: the run went on or was changed after it".into());
    }
    let anchors: Vec<_> =
        roots.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
    let between: Vec<_> = certificates.iter().map(|one| CertificateDer::from(&**one)).collect();
    let seconds = u64::try_from(time.timestamp()).map_err(|_| malformed("time"))?;
    certificate
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::required(TIMESTAMPING),
            None,
            None,
        )
        .map_err(|why| format!("is by nobody whom the named certificates vouch for ({why})"))?;
    let authority = x509(&certificates[theirs])?.tbs_certificate.subject.to_string();
    Ok(Timestamp { time: time.format("%Y-%m-%dT%H:%M:%SZ").to_string(), authority })
}

fn malformed(what: &str) -> String {
    format!("is no RFC 3161 timestamp: its {what} can't be read")
}

fn encoded(value: &impl der::Encode) -> Result<Vec<u8>, String> {
    value.to_der().map_err(|_| malformed("content"))
}

/// The signed data in a response, or in a token alone.
fn token(answer: &[u8]) -> Result<SignedData, String> {
    let content = match ContentInfo::from_der(answer) {
        Ok(token) => token,
        Err(_) => response(answer)?,
    };
    if content.content_type != SIGNED_DATA {
        return Err(malformed("token"));
    }
    SignedData::from_der(&encoded(&content.content)?).map_err(|_| malformed("token"))
}

fn response(answer: &[u8]) -> Result<ContentInfo, String> {
    let parsed = AnyRef::from_der(answer).and_then(|answer| {
        answer.sequence(|reader| {
            let status = AnyRef::decode(reader)?.sequence(|reader| {
                let status = u32::decode(reader)?;
                while !reader.is_finished() {
                    AnyRef::decode(reader)?;
                }
                Ok(status)
            })?;
            Ok((status, Option::<ContentInfo>::decode(reader)?))
        })
    });
    match parsed.map_err(|_| malformed("response"))? {
        // Granted, with or without changes.
        (0 | 1, Some(token)) => Ok(token),
        (status, _) => Err(format!("is a refusal of the authority (status {status})")),
    }
}

/// The only value of a signed attribute.
fn value(signer: &SignerInfo, oid: ObjectIdentifier) -> Result<Option<&der::Any>, String> {
    let attributes = signer.signed_attrs.iter().flat_map(|all| all.iter());
    let mut found = attributes.filter(|one| one.oid == oid);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(one), None) if one.values.len() == 1 => Ok(one.values.get(0)),
        _ => Err(malformed("attributes")),
    }
}

/// All certificates that came with it, and which of them the signer says is its own.
fn certificates(signed: &SignedData, signer: &SignerInfo) -> Result<(Vec<Vec<u8>>, usize), String> {
    let mut certificates = Vec::new();
    for one in signed.certificates.iter().flat_map(|all| all.0.iter()) {
        if let CertificateChoices::Certificate(one) = one {
            certificates.push(encoded(one)?);
        }
    }
    if certificates.is_empty() {
        return Err("comes without certificates; ask the authority for them (certReq)".into());
    }
    let (hash, theirs) = own_certificate(signer)?.ok_or_else(|| malformed("signer"))?;
    let is = |one: &Vec<u8>| digest::digest(hash, one).as_ref() == theirs;
    let place = certificates.iter().position(is);
    let place = place.ok_or("comes without the certificate of its signer")?;
    Ok((certificates, place))
}

/// Digest of the signer's certificate: RFC 5035, and RFC 2634 for older authorities.
fn own_certificate(
    signer: &SignerInfo,
) -> Result<Option<(&'static digest::Algorithm, Vec<u8>)>, String> {
    let (found, old) = match value(signer, SIGNING_CERTIFICATE_2)? {
        Some(found) => (found, false),
        None => match value(signer, SIGNING_CERTIFICATE)? {
            Some(found) => (found, true),
            None => return Ok(None),
        },
    };
    let parsed =
        first_of_sequence(found.into()).and_then(first_of_sequence).and_then(|certificate| {
            certificate.sequence(|reader| {
                let mut oid = SHA256;
                let mut found = AnyRef::decode(reader)?;
                if found.tag() == Tag::Sequence {
                    oid = first_of_sequence(found)?.decode_as()?;
                    found = AnyRef::decode(reader)?;
                }
                while !reader.is_finished() {
                    AnyRef::decode(reader)?;
                }
                Ok((oid, found.decode_as::<OctetString>()?.into_bytes()))
            })
        });
    let (oid, digest) = parsed.map_err(|_| malformed("signer"))?;
    let hash = if old { &digest::SHA1_FOR_LEGACY_USE_ONLY } else { algorithm(oid)? };
    Ok(Some((hash, digest)))
}

/// The first element; what follows is left aside.
fn first_of_sequence(value: AnyRef<'_>) -> der::Result<AnyRef<'_>> {
    let mut reader = der::SliceReader::new(value.value())?;
    AnyRef::decode(&mut reader)
}

fn algorithm(oid: ObjectIdentifier) -> Result<&'static digest::Algorithm, String> {
    match oid {
        SHA256 => Ok(&digest::SHA256),
        SHA384 => Ok(&digest::SHA384),
        SHA512 => Ok(&digest::SHA512),
        other => Err(format!("uses a digest that isn't SHA-2 ({other}); ask for another one")),
    }
}

fn signatures(hash: &digest::Algorithm) -> [&'static dyn SignatureVerificationAlgorithm; 3] {
    if *hash == digest::SHA384 {
        [
            algorithms::RSA_PKCS1_2048_8192_SHA384,
            algorithms::ECDSA_P256_SHA384,
            algorithms::ECDSA_P384_SHA384,
        ]
    } else if *hash == digest::SHA512 {
        [
            algorithms::RSA_PKCS1_2048_8192_SHA512,
            algorithms::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
            algorithms::ED25519,
        ]
    } else {
        [
            algorithms::RSA_PKCS1_2048_8192_SHA256,
            algorithms::ECDSA_P256_SHA256,
            algorithms::ECDSA_P384_SHA256,
        ]
    }
}

type Imprint<'a> = (ObjectIdentifier, &'a [u8]);

/// Time and imprint of a timestamp's content: version, policy, imprint, serial number, time, and
/// what else there may be.
fn said_of(info: &[u8]) -> Option<(DateTime<Utc>, Imprint<'_>)> {
    let mut reader = der::SliceReader::new(AnyRef::from_der(info).ok()?.value()).ok()?;
    let version = u32::decode(&mut reader).ok()?;
    let _policy = AnyRef::decode(&mut reader).ok()?;
    let imprint = AnyRef::decode(&mut reader).ok()?;
    let _serial = AnyRef::decode(&mut reader).ok()?;
    let time = AnyRef::decode(&mut reader).ok()?;
    if version != 1 || time.tag() != Tag::GeneralizedTime {
        return None;
    }
    let mut parts = der::SliceReader::new(imprint.value()).ok()?;
    let oid = first_of_sequence(AnyRef::decode(&mut parts).ok()?).ok()?.decode_as().ok()?;
    let stamped = AnyRef::decode(&mut parts).ok()?;
    // Parts of a second are allowed, and left out.
    let text = std::str::from_utf8(time.value()).ok()?.strip_suffix('Z')?;
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let time = NaiveDateTime::parse_from_str(whole, "%Y%m%d%H%M%S").ok()?.and_utc();
    Some((time, (oid, stamped.value())))
}

fn x509(certificate: &[u8]) -> Result<cms::cert::x509::Certificate, String> {
    cms::cert::x509::Certificate::from_der(certificate).map_err(|_| malformed("certificate"))
}
