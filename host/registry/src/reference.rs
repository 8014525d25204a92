//! `oci://REGISTRY/REPOSITORY[:TAG][@sha256:DIGEST]`

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use host_files::sha256;
use host_files::text::name;
use host_web::is_loopback;

const PREFIX: &str = "oci://";
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;
/// What people call Docker's registry, and where it is.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A SHA-256, written `sha256:` and 64 digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256::hex(bytes))
    }

    /// Its 64 digits.
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// Its first digits, for a message.
    pub fn short(&self) -> String {
        format!("sha256:{:.12}", self.0)
    }
}

impl FromStr for Digest {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix("sha256:").ok_or(())?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_whole = digits.len() == 64 && digits.bytes().all(is_digit);
        is_whole.then(|| Self(digits.to_owned())).ok_or(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// The name of a policy in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host, and port if it isn't the usual one.
    pub registry: String,
    /// Path in the registry.
    pub repository: String,
    /// A name that may come to mean something else.
    pub tag: Option<String>,
    /// Of the manifest: always the same bytes.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The reference that is given in place of a file, if it is one.
    ///
    /// # Errors
    /// One line on what is wrong with it.
    pub fn named(path: &Path) -> Option<Result<Self, String>> {
        path.to_str().filter(|text| text.starts_with(PREFIX)).map(str::parse)
    }

    /// The same, of exactly this manifest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// What the repository is called, without tag and digest.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Address of the repository: https, but on this machine.
    pub(crate) fn address(&self) -> String {
        let scheme = if self.is_local() { "http" } else { "https" };
        let host = if self.registry == DOCKER.0 { DOCKER.1 } else { &self.registry };
        format!("{scheme}://{host}/v2/{}", self.repository)
    }

    /// Whether the registry is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => self.registry.split(':').next(),
        };
        host.is_some_and(is_loopback)
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            Err(format!(
                "{} {what}; write oci://REGISTRY/NAME:TAG or oci://REGISTRY/NAME@sha256:DIGEST",
                name(text)
            ))
        };
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return wrong("is no name in a registry");
        };
        let Some((registry, rest)) = rest.split_once('/') else {
            return wrong("names no repository");
        };
        if !is_registry(registry) {
            return wrong("names no registry that can be: a host, and a port if it needs one");
        }
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((rest, digest)) => match digest.parse() {
                Ok(digest) => (rest, Some(digest)),
                Err(()) => {
                    return wrong("has a digest that isn't sha256: and 64 digits (0-9, a-f)");
                }
            },
        };
        let (repository, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((rest, tag)) if is_tag(tag) => (rest, Some(tag.to_owned())),
            Some(_) => return wrong("has a tag that can't be one"),
        };
        if !is_repository(repository) {
            return wrong(
                "names a repository that can't be: lower-case words, joined by / . _ or -",
            );
        }
        let repository = if registry == DOCKER.0 && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.place())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => return host.parse::<std::net::Ipv6Addr>().is_ok(),
        Some((host, port)) => {
            let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
            return is_address && port.strip_prefix(':').is_some_and(is_port);
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        letters && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label) && host.len() <= 253 && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_repository(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let ends = |byte: Option<u8>| byte.is_some_and(is_word);
        let letters = part.bytes().all(|byte| is_word(byte) || b"._-".contains(&byte));
        letters && ends(part.bytes().next()) && ends(part.bytes().last()) && !part.contains("..")
    };
    text.len() <= LONGEST_REPOSITORY && text.split('/').all(is_part)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reference_is_read_and_written_alike() {
        let digest = "ab".repeat(32);
        for text in [
            "oci://localhost:5000/probe:1.0".to_owned(),
            "oci://registry.example/team/risk-probe:v1_2".to_owned(),
            format!("oci://registry.example:443/probe@sha256:{digest}"),
            format!("oci://[::1]:5000/probe:1@sha256:{digest}"),
        ] {
            let read: Reference = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(Reference::named(text.as_ref()).unwrap().unwrap(), read);
        }
        let read: Reference = "oci://docker.io/probe:1".parse().unwrap();
        assert_eq!(read.address(), "https://registry-1.docker.io/v2/library/probe");
        assert!(Reference::named("plugins/probe.wasm".as_ref()).is_none());
    }

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        let address = |text: &str| text.parse::<Reference>().unwrap().address();
        for local in ["localhost:5000", "127.0.0.1", "[::1]:5000"] {
            assert!(address(&format!("oci://{local}/a:1")).starts_with("http://"), "{local}");
        }
        for other in ["localhost.example", "10.0.0.1:5000", "registry.example"] {
            assert!(address(&format!("oci://{other}/a:1")).starts_with("https://"), "{other}");
        }
    }

    #[test]
    fn what_is_no_reference_says_what_one_looks_like() {
        for wrong in [
            "probe:1",
            "oci://",
            "oci://registry.example",
            "oci:///probe:1",
            "oci://user:secret@registry.example/probe:1",
            "oci://registry.example:0/probe:1",
            "oci://registry.example:99999/probe:1",
            "oci://registry.example/Probe:1",
            "oci://registry.example/../probe:1",
            "oci://registry.example/a//b:1",
            "oci://registry.example/probe:",
            "oci://registry.example/probe:a/b",
            "oci://registry.example/probe:1@sha256:abc",
            "oci://registry.example/probe@sha512:00",
            "oci://registry.example/probe?x=1",
            "oci://regi stry/probe:1",
            "oci://[::1/probe:1",
        ] {
            let error = wrong.parse::<Reference>().unwrap_err();
            assert!(error.contains("write oci://REGISTRY/NAME:TAG"), "{wrong}: {error}");
            assert!(!error.contains('\n'));
        }
        let upper = format!("oci://registry.example/probe@sha256:{}", "AB".repeat(32));
        assert!(upper.parse::<Reference>().is_err());
    }
}
