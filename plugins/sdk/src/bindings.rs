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
    });
}
