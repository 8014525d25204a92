//! The names of `host-contract`, `host-sandbox` and `host-audit` in one place.

pub use host_audit::checks as audit;
pub use host_audit::{cases, inspect, journal, synthetic};
pub use host_contract as wit;
pub use host_contract::*;
pub use host_sandbox::*;
