//! The types of `risk:policy@0.2.0`, as generated from `wit/v0.2/policy.wit`,
//! which documents every one of them.

pub use generated::exports::risk::policy::assessor::*;

#[doc(hidden)]
#[allow(clippy::all, clippy::unwrap_used)]
pub mod generated {
    wit_bindgen::generate!({
        path: "../../wit/v0.2",
        world: "policy",
        pub_export_macro: true,
        additional_derives: [Clone, PartialEq],
        // A field that an author doesn't name is absent, so a new one changes no policy.
        additional_type_attributes: {
            "risk:policy/assessor@0.2.0/needs": [#[derive(Default)]],
            "risk:policy/assessor@0.2.0/signals": [#[derive(Default)]],
        },
    });
}

impl Default for TokenNeeds {
    fn default() -> Self {
        Self::empty()
    }
}

impl Default for Actuators {
    fn default() -> Self {
        Self::empty()
    }
}
