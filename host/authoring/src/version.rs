//! The versions of the interface that a project can be written for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of the interface `risk:policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Version {
    V0_1,
    V0_2,
}

impl Version {
    pub const ALL: [Self; 2] = [Self::V0_1, Self::V0_2];
    /// The version that new projects and the policies of this repository are written for.
    pub const NEWEST: Self = Self::V0_2;

    /// The interface that a component of this version exports.
    pub fn interface(self) -> &'static str {
        match self {
            Self::V0_1 => "risk:policy/assessor@0.1.0",
            Self::V0_2 => "risk:policy/assessor@0.2.0",
        }
    }
}

/// As it is written in a manifest.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
        })
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|version| version.to_string() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(|version| format!("{:?}", version.to_string()));
            format!("wit is {text:?}, this host builds policies for {}", known.join(" and "))
        })
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}
