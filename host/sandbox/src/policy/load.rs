//! From a file to a policy: read, checked, compiled, linked, and asked who it is.

use super::{Policy, describe};
use crate::{
    call_site::{CallSite, Function},
    component::{self, Assessor},
    descriptor,
    engine::Engine,
    error::{Error, FileProblem, REBUILD, Result},
    quota::Quota,
    sandbox,
    signature::{PublicKey, signature_path},
};
use host_contract::Exports;
use host_files::text::clean;
use std::{fs, io::Read as _, path::Path, time::Instant};
use wasmtime::component::{Component, InstancePre, Linker};

/// What makes a policy file acceptable; nothing is asked by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: Option<&'a str>,
    /// Whose signature lies beside it, as `FILE.minisig`.
    pub signed_by: Option<&'a PublicKey>,
}

impl Policy {
    /// Loads a policy file.
    ///
    /// # Errors
    /// A file that can't be read, is no component, imports anything, or has other
    /// functions than the interface says; and a fault in `describe`.
    pub fn load(engine: &Engine, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(engine, &path.display().to_string(), &read(engine, path)?)
    }

    /// Like [`Policy::load`], and refuses any file that is not the one, or not by the
    /// one, that is trusted, before looking further at it.
    ///
    /// # Errors
    /// Also a wrong digest, and a signature that is missing or not by that key.
    pub fn load_trusted(
        engine: &Engine,
        path: impl AsRef<Path>,
        trust: &Trust<'_>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let file = path.display().to_string();
        let bytes = read(engine, path)?;
        if let Some(sha256) = trust.sha256 {
            let actual = digest(&bytes);
            if !actual.eq_ignore_ascii_case(sha256.trim()) {
                let expected = clean(sha256, 64);
                return Err(Error::Digest { file, expected, actual });
            }
        }
        if let Some(key) = trust.signed_by {
            check_signature(path, &bytes, key)?;
        }
        Self::from_bytes(engine, &file, &bytes)
    }

    /// Loads a policy from memory; `file` is what messages call it.
    pub fn from_bytes(engine: &Engine, file: &str, bytes: &[u8]) -> Result<Self> {
        let file = clean(file, 1000);
        let refuse = |problem| Error::File { file: file.clone(), problem };
        let features = engine.wasm.get_wasm_features();
        let assessor = component::inspect(bytes, features, &engine.limits).map_err(refuse)?;
        let started = Instant::now();
        let digest = digest(bytes);
        let component = engine.compile(bytes, &digest, &file)?;
        let (component, exports) = link(engine, &component, &assessor).map_err(refuse)?;
        let at =
            CallSite { policy: None, file: file.clone(), function: Function::Describe, step: None };
        let (descriptor, _) = sandbox::call(engine, &component, &exports, &at, describe)?;
        let descriptor = descriptor::checked(descriptor, engine, &at)?;
        tracing::debug!(
            file,
            name = descriptor.name,
            milliseconds = started.elapsed().as_millis() as u64,
            "policy loaded"
        );
        Ok(Self { engine: engine.clone(), file, digest, descriptor, component, exports })
    }
}

/// Reads a policy file, but no more of it than a policy may have.
pub fn read(engine: &Engine, path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.len();
    let refuse = |problem| Error::File { file: path.display().to_string(), problem };
    component::check_size(found, &engine.limits).map_err(refuse)?;
    let mut bytes = Vec::new();
    file.take(engine.limits.component_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Checks the signature that lies beside a policy file.
///
/// # Errors
/// If there is none, or if it is by another key or of other bytes.
pub fn check_signature(path: &Path, bytes: &[u8], key: &PublicKey) -> Result<String> {
    let unsigned = |problem: String| Error::Unsigned { file: path.display().to_string(), problem };
    let signature = signature_path(path);
    let text = fs::read_to_string(&signature).map_err(|e| {
        unsigned(format!("its signature {} can't be read ({e})", signature.display()))
    })?;
    key.verify(bytes, &text).map_err(|why| unsigned(format!("its signature {why}")))
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    host_files::sha256::hex(bytes)
}

fn link(
    engine: &Engine,
    component: &Component,
    assessor: &Assessor,
) -> std::result::Result<(InstancePre<Quota>, Exports), FileProblem> {
    let problem = |what: &str, e: wasmtime::Error| {
        FileProblem::new(format!("{what}: {}", clean(&format!("{e:#}"), 300)), REBUILD)
    };
    let linker: Linker<Quota> = Linker::new(&engine.wasm);
    let component =
        linker.instantiate_pre(component).map_err(|e| problem("it can't be linked", e))?;
    let exports = Exports::find(&component, &assessor.name, assessor.version)
        .map_err(|e| problem("it lacks a function of the interface", e))?;
    Ok((component, exports))
}
