//! One thing that an audit looked at.

use serde::Serialize;

use host_sandbox::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Pass,
    /// Not wrong, but to be known before signing.
    Note,
    Fail,
    /// Says nothing about this policy.
    NotApplicable,
}

/// What a finding is about, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    File,
    Purity,
    Behaviour,
    Recorded,
    Damage,
    State,
    Settings,
    Cost,
}

impl Group {
    /// For a person.
    pub fn title(self) -> &'static str {
        match self {
            Self::File => "The file",
            Self::Purity => "Same arguments, same answer",
            Self::Behaviour => "What it does with risk",
            Self::Recorded => "What it does on recorded runs",
            Self::Damage => "Broken signals",
            Self::State => "State from step to step",
            Self::Settings => "Settings",
            Self::Cost => "Cost",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Stable, for programs.
    pub id: &'static str,
    pub group: Group,
    pub title: &'static str,
    pub verdict: Verdict,
    /// What was seen.
    pub measured: String,
    /// What that means for whoever signs the policy off.
    pub meaning: String,
}

/// What is looked at; with a verdict it becomes a [`Finding`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    id: &'static str,
    group: Group,
    title: &'static str,
}

impl Check {
    pub(super) const fn new(id: &'static str, group: Group, title: &'static str) -> Self {
        Self { id, group, title }
    }

    pub(super) fn pass(self, measured: impl Into<String>, meaning: &str) -> Finding {
        self.finding(Verdict::Pass, measured.into(), meaning)
    }

    pub(super) fn note(self, measured: impl Into<String>, meaning: &str) -> Finding {
        self.finding(Verdict::Note, measured.into(), meaning)
    }

    pub(super) fn fail(self, measured: impl Into<String>, meaning: &str) -> Finding {
        self.finding(Verdict::Fail, measured.into(), meaning)
    }

    pub(super) fn not_applicable(self, measured: impl Into<String>, meaning: &str) -> Finding {
        self.finding(Verdict::NotApplicable, measured.into(), meaning)
    }

    /// A call with ordinary arguments that ended in an error.
    pub(super) fn broken(self, error: &Error) -> Finding {
        self.fail(
            error.to_string(),
            "A call with ordinary arguments failed; a run would end there, before the update.",
        )
    }

    fn finding(self, verdict: Verdict, measured: String, meaning: &str) -> Finding {
        Finding {
            id: self.id,
            group: self.group,
            title: self.title,
            verdict,
            measured,
            meaning: meaning.to_owned(),
        }
    }
}
