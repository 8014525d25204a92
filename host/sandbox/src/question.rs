//! What a policy can be asked, and what it answers, whichever process it runs in.

use std::borrow::Cow;

use host_contract::{
    AssessArguments, Assessment, Calibration, Descriptor, Examples, Functions, Needs, RunInfo,
    Signals,
};
use serde::{Deserialize, Deserializer, Serialize};
use wasmtime::Store;

use crate::call_site::Function;

/// One call with its arguments.
#[derive(Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one at a time is made, and soon dropped")]
pub(crate) enum Question<'a> {
    Describe,
    Configure {
        settings: Cow<'a, str>,
        run: Cow<'a, RunInfo>,
    },
    Calibrate {
        settings: Cow<'a, str>,
        run: Cow<'a, RunInfo>,
        examples: Cow<'a, Examples>,
    },
    Assess {
        settings: Cow<'a, str>,
        run: Cow<'a, RunInfo>,
        #[serde(serialize_with = "serde_bytes::serialize", deserialize_with = "owned")]
        parameters: Cow<'a, [u8]>,
        #[serde(serialize_with = "serde_bytes::serialize", deserialize_with = "owned")]
        state: Cow<'a, [u8]>,
        signals: Cow<'a, Signals>,
    },
}

/// The answer to one call; in the inner result the policy's own refusal.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Descriptor(Descriptor),
    Needs(Result<Needs, String>),
    Calibration(Result<Calibration, String>),
    Assessment(Box<Result<Assessment, String>>),
}

/// Bytes that outlive the frame they came in.
fn owned<'a, 'de, D: Deserializer<'de>>(input: D) -> Result<Cow<'a, [u8]>, D::Error> {
    serde_bytes::ByteBuf::deserialize(input).map(|bytes| Cow::Owned(bytes.into_vec()))
}

impl Question<'_> {
    pub(crate) fn function(&self) -> Function {
        match self {
            Self::Describe => Function::Describe,
            Self::Configure { .. } => Function::Configure,
            Self::Calibrate { .. } => Function::Calibrate,
            Self::Assess { .. } => Function::Assess,
        }
    }

    /// Asks the functions of an instance.
    pub(crate) fn ask<T: 'static>(
        &self,
        store: &mut Store<T>,
        policy: &Functions,
    ) -> wasmtime::Result<Answer> {
        match self {
            Self::Describe => policy.describe(store).map(Answer::Descriptor),
            Self::Configure { settings, run } => {
                policy.configure(store, settings, run).map(Answer::Needs)
            }
            Self::Calibrate { settings, run, examples } => {
                policy.calibrate(store, settings, run, examples).map(Answer::Calibration)
            }
            Self::Assess { settings, run, parameters, state, signals } => {
                let arguments = AssessArguments { settings, run, parameters, state };
                let answer = policy.assess(store, arguments, signals)?;
                Ok(Answer::Assessment(Box::new(answer)))
            }
        }
    }
}
