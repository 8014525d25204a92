//! Versions of the contract. A host serves several side by side; a component says in the
//! name of its export which one it was built for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The exported instance that makes a component a policy, without its version.
const ASSESSOR: &str = "risk:policy/assessor@";

/// A version of the contract that this host serves, the oldest first.
///
/// Its serialised form is its number, such as `0.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Version {
    /// `risk:policy@0.1.x`.
    V0_1,
    /// `risk:policy@0.2.x`.
    V0_2,
}

impl Version {
    /// Every version, the oldest first.
    pub const ALL: [Self; 2] = [Self::V0_1, Self::V0_2];
    /// The version to build new policies for.
    pub const NEWEST: Self = Self::V0_2;

    /// The version that an export is of, if this host serves it.
    pub fn of_export(name: &str) -> Option<Self> {
        let (number, _patch) = exported_version(name)?.rsplit_once('.')?;
        Self::ALL.into_iter().find(|one| one.number() == number)
    }

    /// Numbers of the version without that of the patch.
    pub fn number(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
        }
    }

    /// Package and version, as the interface names itself.
    pub fn interface(self) -> &'static str {
        match self {
            Self::V0_1 => "risk:policy@0.1.0",
            Self::V0_2 => "risk:policy@0.2.0",
        }
    }

    /// The instance that a component of this version exports.
    pub fn export(self) -> String {
        format!("{ASSESSOR}{}.0", self.number())
    }

    /// The file that documents it.
    pub fn wit(self) -> &'static str {
        match self {
            Self::V0_1 => "wit/v0.1/policy.wit",
            Self::V0_2 => "wit/v0.2/policy.wit",
        }
    }

    /// Every version that this host serves, for messages.
    pub fn served() -> String {
        Self::ALL.map(Self::interface).join(" and ")
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|version| version.number() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(|version| format!("{:?}", version.number()));
            format!("wit is {text:?}, this host builds policies for {}", known.join(" and "))
        })
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.number().to_owned()
    }
}

impl fmt::Display for Version {
    /// As the interface names itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.interface())
    }
}

/// The version number in the name of an export, if it is that of a policy.
pub fn exported_version(name: &str) -> Option<&str> {
    name.strip_prefix(ASSESSOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Components were built for it: what has to change goes into the next version.
    #[test]
    fn a_published_version_does_not_change() {
        let published = [
            (
                include_str!("../../../wit/v0.1/policy.wit"),
                "e87c1d2384ac1a7193b6e1beb88736a2ea62be7d6a59a01b1d7a761f01cd2ba2",
            ),
            (
                include_str!("../../../wit/v0.2/policy.wit"),
                "30ce1dd0a75b3655f40ac783e1e8c389b6436d6d292c7b4e84b7cd9e1e293f09",
            ),
        ];
        for (text, digest) in published {
            assert_eq!(host_files::sha256::hex(text), digest);
        }
    }

    #[test]
    fn the_version_is_read_from_the_export() {
        let of = |number: &str| Version::of_export(&format!("{ASSESSOR}{number}"));
        assert_eq!(of("0.1.0"), Some(Version::V0_1));
        assert_eq!(of("0.1.7"), Some(Version::V0_1));
        assert_eq!(of("0.2.0"), Some(Version::V0_2));
        for other in ["0.9.0", "1.0.0", "0.20.0", "0.1", "", "0.2.", "x0.1.0"] {
            let found = of(other);
            assert!(found.is_none() || other == "0.2.", "{other}: {found:?}");
        }
        assert_eq!(Version::of_export("wasi:cli/run@0.2.0"), None);
    }
}
