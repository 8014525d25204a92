//! The names of `host-contract`, `host-sandbox` and `host-audit` in one place.

pub use host_audit::{audit, cases, inspect, journal, synthetic};
pub use host_contract as wit;
pub use host_contract::*;
pub use host_sandbox::*;
