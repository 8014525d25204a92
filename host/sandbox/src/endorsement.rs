//! What a signature says of a policy besides its bytes, and what was taken back since.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{Days, NaiveDate, Utc};
use host_files::own;
use host_files::text::clean;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the signed comment begins.
const TAG: &str = "host-policy 1 ";
/// How long a signature holds unless its signer says otherwise.
const DAYS: u64 = 365;
/// Most bytes of a list of revocations.
const LIST_BYTES: u64 = 4 << 20;

/// The signed comment of a policy's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endorsement {
    /// What the policy calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The last day on which the signature holds, such as `2027-11-28`; absent if it always does.
    pub expires: Option<String>,
}

impl Endorsement {
    /// Reads a day such as `2027-11-28`, or `never`; without a text it is a year from now.
    ///
    /// # Errors
    /// One line on what a day looks like, or that this one is over.
    pub fn expiry(text: Option<&str>) -> Result<Option<String>, String> {
        match text {
            None => Ok(today().checked_add_days(Days::new(DAYS)).map(|day| day.to_string())),
            Some("never") => Ok(None),
            Some(text) => match day(text) {
                Some(day) if day >= today() => Ok(Some(day.to_string())),
                Some(_) => Err("is over already".into()),
                None => Err("is no day; write 2027-11-28, or never".into()),
            },
        }
    }

    /// The signed comment that says all this.
    ///
    /// # Errors
    /// None for what was read from a policy.
    pub fn comment(&self) -> serde_json::Result<String> {
        Ok(TAG.to_owned() + &serde_json::to_string(self)?)
    }

    /// Reads a signed comment, and checks it against the file and the day.
    pub(crate) fn of(comment: &str, sha256: &str) -> Result<Self, String> {
        let said = comment.strip_prefix(TAG).and_then(|text| serde_json::from_str(text).ok());
        let said: Self = said.ok_or(
            "names neither the policy's name and version nor how long it holds, as those of \
             earlier versions and of other tools",
        )?;
        if said.sha256 != sha256 {
            return Err(format!("is of a file with another digest, {}", clean(&said.sha256, 64)));
        }
        match said.expires.as_deref().map(day) {
            Some(Some(last)) if last < today() => Err(format!("held until {last}")),
            Some(None) => Err("expires on a day that is none".into()),
            _ => Ok(said),
        }
    }

    /// Whether it is of a policy that calls itself so.
    pub(crate) fn names(&self, name: &str, version: &str) -> Result<(), String> {
        if (self.name.as_str(), self.version.as_str()) == (name, version) {
            return Ok(());
        }
        Err(format!(
            "is of {} {}, and the policy calls itself {name} {version}",
            clean(&self.name, 60),
            clean(&self.version, 60)
        ))
    }
}

impl std::fmt::Display for Endorsement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, version) = (clean(&self.name, 60), clean(&self.version, 60));
        write!(f, "{name} {version}, {:.8}, ", self.sha256)?;
        match &self.expires {
            Some(last) => write!(f, "holds until {last}"),
            None => f.write_str("does not expire"),
        }
    }
}

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

fn today() -> NaiveDate {
    Utc::now().date_naive()
}

/// Policies and keys that are no longer trusted, whoever signed them: a file of lines
/// `policy SHA256 WHY` and `key ID WHY`.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    /// Reasons by digest and by number of a key, in lower case.
    reasons: BTreeMap<String, String>,
}

impl Revocations {
    /// Reads such a file. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// A file that can't be read, and a line that is none of the two: a misspelt one would
    /// let through what it was to stop.
    pub fn read(path: &Path) -> Result<Self> {
        let problem = |problem: String| Error::Revocations { path: path.to_owned(), problem };
        let text = own::read_text(path, LIST_BYTES).map_err(|e| problem(e.to_string()))?;
        let mut reasons = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.splitn(3, char::is_whitespace);
            let digits = match words.next() {
                Some("policy") => 64,
                Some("key") => 16,
                _ => usize::MAX,
            };
            let named = words.next().unwrap_or_default().to_ascii_lowercase();
            if named.len() != digits || !named.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(problem(format!(
                    "line {number} is neither `policy` with a SHA-256 of 64 digits nor `key` with \
                     a number of 16"
                )));
            }
            let why = words.next().unwrap_or("no reason is given").trim();
            reasons.insert(named, clean(why, 200));
        }
        Ok(Self { reasons })
    }

    /// Why a policy file, or a key by its number, is no longer trusted.
    pub fn reason(&self, named: &str) -> Option<&str> {
        self.reasons.get(&named.to_ascii_lowercase()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_comment_binds_name_version_digest_and_day() {
        let sha256 = "ab".repeat(32);
        let said = |expires| Endorsement {
            name: "probe".into(),
            version: "1.0.0".into(),
            sha256: sha256.clone(),
            expires,
        };
        let comment = said(None).comment().unwrap();
        let read = Endorsement::of(&comment, &sha256).unwrap();
        read.names("probe", "1.0.0").unwrap();
        assert!(read.names("probe", "0.9.0").unwrap_err().contains("calls itself probe 0.9.0"));
        assert!(read.names("other", "1.0.0").is_err());
        assert!(
            Endorsement::of(&comment, &"cd".repeat(32)).unwrap_err().contains("another digest")
        );
        let today = today();
        for (days, holds) in [(-1, false), (0, true), (1, true)] {
            let last = today + chrono::Duration::days(days);
            let comment = said(Some(last.to_string())).comment().unwrap();
            assert_eq!(Endorsement::of(&comment, &sha256).is_ok(), holds, "{days}");
        }
        for other in ["policy x.wasm, 9 bytes", "", "host-policy 1 {}", "host-policy 2 {}"] {
            assert!(Endorsement::of(other, &sha256).unwrap_err().contains("names neither"));
        }
        assert_eq!(Endorsement::expiry(Some("never")).unwrap(), None);
        assert!(Endorsement::expiry(Some("2001-01-01")).unwrap_err().contains("over"));
        assert!(Endorsement::expiry(Some("soon")).unwrap_err().contains("2027-11-28"));
        assert!(Endorsement::expiry(None).unwrap().unwrap() > today.to_string());
        let never = said(Some("9999-99-99".into())).comment().unwrap();
        assert!(Endorsement::of(&never, &sha256).is_err());
    }

    #[test]
    fn a_list_of_revocations_is_read_strictly() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("revoked.txt");
        let digest = "AB".repeat(32);
        std::fs::write(&path, format!("# ours\n\npolicy {digest} lets go\nkey 0123456789abcdef\n"))
            .unwrap();
        let list = Revocations::read(&path).unwrap();
        assert_eq!(list.reason(&"ab".repeat(32)), Some("lets go"));
        assert_eq!(list.reason("0123456789ABCDEF"), Some("no reason is given"));
        assert_eq!(list.reason(&"cd".repeat(32)), None);
        for wrong in ["policy abcd", "policies", &format!("key {digest}"), "polizy x"] {
            std::fs::write(&path, wrong).unwrap();
            let error = Revocations::read(&path).unwrap_err().to_string();
            assert!(error.contains("line 1"), "{error}");
        }
    }
}
