//! The targets under libFuzzer: `HOST_FUZZ_TARGET` names one, the arguments are libFuzzer's.
//! `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use host_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

/// The target; what catches a panic, as some readers do of their libraries, may.
fn choose() {
    let name = std::env::var("HOST_FUZZ_TARGET").unwrap_or_default();
    let target = host_fuzz::target(&name);
    let target = target.unwrap_or_else(|| panic!("HOST_FUZZ_TARGET={name} is no target"));
    let _ = TARGET.set(target);
    drop(std::panic::take_hook());
}

fuzz_target!(init: choose(), |input: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.read)(input);
    }
});
