//! The policies that come with the program: those of plugins/SHA256SUMS.

use host_sandbox::Builtin;

/// In the order of their names.
pub static POLICIES: &[Builtin] = &include!(concat!(env!("OUT_DIR"), "/builtin.rs"));
