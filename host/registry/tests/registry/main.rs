//! Registries that are honest, and registries that lie, on this machine.
#![allow(clippy::unwrap_used)]

mod cosign;
mod damage;
mod honest;
mod known;
mod lies;
mod logins;
mod real;

use std::path::Path;
use std::time::Duration;

use host_registry::{Artifact, Reference, Registry};

/// Larger than any policy of these tests.
const MOST: u64 = 1 << 20;

/// Bytes that nobody looks into.
fn artifact(bytes: &[u8]) -> Artifact {
    Artifact { component: bytes.to_vec(), exports: vec!["x".into()], ..Artifact::default() }
}

/// A client without logins.
fn client(cache: Option<&Path>) -> Registry {
    let patience = Duration::from_millis(700);
    Registry::new(cache, false).with_logins(Vec::new()).with_patience(patience)
}

fn offline(cache: &Path) -> Registry {
    Registry::new(Some(cache), true).with_logins(Vec::new())
}

fn reference(registry: &hostile::Registry, rest: &str) -> Reference {
    format!("oci://{}/{rest}", registry.host()).parse().unwrap()
}

/// The error's one line.
fn problem<T>(result: host_registry::Result<T>) -> String {
    let line = result.err().unwrap().to_string();
    assert!(!line.contains('\n') && line.contains("; "), "{line}");
    line
}
