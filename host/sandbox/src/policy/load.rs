//! From a file to a policy: read, checked, compiled, linked, and asked who it is.

use super::{Policy, describe};
use crate::{
    builtin::Builtin,
    call_site::{CallSite, Function},
    component,
    endorsement::{Endorsement, Revocations},
    engine::Engine,
    error::{Error, FileProblem, Result},
    policy_key::{Endorsed, PolicyKey},
    registry::{Claim, Signatures},
    runner::Runner,
    signature::{PublicKey, Statement, claimed_key, read_signature, signature_path},
};
use host_files::text::clean;
use std::{fs, io::Read as _, path::Path, time::Instant};

/// What makes a policy file acceptable; nothing is asked by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: Option<&'a str>,
    /// Whose signature lies beside it, as `FILE.minisig`, or refers to it in its registry.
    pub signed_by: Option<&'a PolicyKey>,
    /// What is refused whoever signed it.
    pub revoked: Option<&'a Revocations>,
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
        if let Some(revoked) = trust.revoked {
            check_revoked(revoked, &file, &digest(&bytes), trust.signed_by)?;
        }
        let endorsed = match trust.signed_by {
            Some(key) => Some((key, check_signature(engine, path, &bytes, key)?)),
            None => None,
        };
        let policy = Self::from_bytes(engine, &file, &bytes)?;
        if let Some((key, endorsed)) = endorsed {
            let named = endorsed.names(policy.name(), &policy.descriptor().version);
            named.map_err(|why| unsigned(path, &why, key))?;
        }
        Ok(policy)
    }

    /// Loads a policy from memory; `file` is what messages call it.
    pub fn from_bytes(engine: &Engine, file: &str, bytes: &[u8]) -> Result<Self> {
        let file = clean(file, 1000);
        let refuse = |problem| Error::File { file: file.clone(), problem };
        let features = engine.wasm.get_wasm_features();
        let assessor = component::inspect(bytes, features, &engine.limits).map_err(refuse)?;
        let started = Instant::now();
        let digest = digest(bytes);
        let runner = Runner::new(engine, bytes, &digest, &file, &assessor)?;
        let at =
            CallSite { policy: None, file: file.clone(), function: Function::Describe, step: None };
        let (descriptor, _) = describe(&runner, engine, &at)?;
        tracing::debug!(
            file,
            name = descriptor.name,
            milliseconds = started.elapsed().as_millis() as u64,
            "policy loaded"
        );
        Ok(Self { engine: engine.clone(), file, digest, descriptor, runner })
    }
}

/// Reads a policy file, but no more of it than a policy may have; or one that comes with the
/// program, or one of a registry.
pub fn read(engine: &Engine, path: &Path) -> Result<Vec<u8>> {
    if let Some(name) = Builtin::named(path) {
        let bytes = Builtin::bytes(engine.builtin, name).map_err(|problem| Error::File {
            file: clean(&path.display().to_string(), 1000),
            problem,
        })?;
        return Ok(bytes.to_vec());
    }
    if let Some(bytes) = engine.registry.open(path, engine.limits.component_bytes) {
        let bytes = bytes.map_err(|problem| of_file(path, problem))?;
        let size = bytes.len() as u64;
        component::check_size(size, &engine.limits).map_err(|problem| of_file(path, problem))?;
        return Ok(bytes);
    }
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.len();
    let refuse = |problem| Error::File { file: path.display().to_string(), problem };
    component::check_size(found, &engine.limits).map_err(refuse)?;
    let mut bytes = Vec::new();
    file.take(engine.limits.component_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Checks the signature that lies beside a policy file, or those that a registry has of it, and what it says.
/// Whether the policy calls itself so is known only once it was loaded.
///
/// # Errors
/// If there is none, if it is by another key or of other bytes, or if it no longer holds.
pub fn check_signature(
    engine: &Engine,
    path: &Path,
    bytes: &[u8],
    key: &PolicyKey,
) -> Result<Endorsed> {
    let without = |problem: String| unsigned_by(path, problem, key);
    if Builtin::named(path).is_some() {
        let problem = "it comes with the program, and no signature lies beside it; host policy \
                       list --output DIR writes its file";
        return Err(without(problem.into()));
    }
    let Some(known) = engine.registry.signatures(path, false) else {
        return beside(path, bytes, key);
    };
    let first = match verified(&known.map_err(|problem| of_file(path, problem))?, bytes, key) {
        Ok(said) => return Ok(said),
        Err(why) => why,
    };
    // It may have been signed since, by this key.
    let again = engine.registry.signatures(path, true).and_then(Result::ok).unwrap_or_default();
    verified(&again, bytes, key).map_err(|why| match why.or(first) {
        Some(why) => unsigned(path, &why, key),
        None if key.minisign().is_some() => without("the registry has no signature of it".into()),
        None => without("the registry has no signature of cosign's of it".into()),
    })
}

/// Checks the signature that lies beside a file.
fn beside(path: &Path, bytes: &[u8], key: &PolicyKey) -> Result<Endorsed> {
    let without = |problem: String| unsigned_by(path, problem, key);
    let PolicyKey::Minisign(minisign) = key else {
        return Err(Error::Unsigned {
            file: path.display().to_string(),
            problem: format!(
                "the key {} is cosign's, which signs policies in registries, and this is a file; name \
                 it as oci://REGISTRY/NAME:TAG",
                key.id()
            ),
            by: "host policy sign, by another key",
        });
    };
    let signature = signature_path(path);
    let text = read_signature(&signature).map_err(|e| {
        without(format!("its signature {} can't be read ({e})", signature.display()))
    })?;
    endorsed(minisign, bytes, &text).map_err(|why| unsigned(path, &why, key))
}

/// What the first signature by a key that holds says; else why none does, if there are any.
fn verified(
    found: &Signatures,
    bytes: &[u8],
    key: &PolicyKey,
) -> std::result::Result<Endorsed, Option<String>> {
    let key = match key {
        PolicyKey::Minisign(key) => key,
        PolicyKey::Cosign(_) if found.cosign.is_empty() => return Err(None),
        PolicyKey::Cosign(key) => {
            let digest = key.verify(bytes, &found.manifest, &found.cosign).map_err(Some)?;
            return Ok(Endorsed::Manifest { digest, sha256: self::digest(bytes) });
        }
    };
    let mut failed = None;
    for text in &found.minisign {
        match endorsed(key, bytes, text) {
            Ok(said) => return Ok(said),
            // One by that key says more than those by others.
            Err(why) if claimed_key(text).is_some_and(|by| by == key.id()) => failed = Some(why),
            Err(why) => failed = failed.or(Some(why)),
        }
    }
    Err(failed)
}

fn endorsed(key: &PublicKey, bytes: &[u8], text: &str) -> std::result::Result<Endorsed, String> {
    let comment = key.verify(Statement::Policy, bytes, text)?;
    Endorsement::of(&comment, &digest(bytes)).map(Endorsed::Policy)
}

/// What the signature that lies beside a policy file, or the first that a registry has of it, says of itself.
pub fn claimed(engine: &Engine, path: &Path) -> Option<Claim> {
    match engine.registry.signatures(path, false) {
        Some(found) => found.ok()?.claim(),
        None => read_signature(&signature_path(path)).ok().map(|text| Claim::of(&text)),
    }
}

fn of_file(path: &Path, problem: FileProblem) -> Error {
    Error::File { file: clean(&path.display().to_string(), 1000), problem }
}

fn unsigned(path: &Path, why: &str, key: &PolicyKey) -> Error {
    unsigned_by(path, format!("its signature {why}"), key)
}

/// A policy without the signature by a key.
fn unsigned_by(path: &Path, problem: String, key: &PolicyKey) -> Error {
    let by = match key {
        PolicyKey::Minisign(_) => "host policy sign",
        PolicyKey::Cosign(_) => "cosign sign --key",
    };
    Error::Unsigned { file: path.display().to_string(), problem, by }
}

/// Refuses a policy file that is revoked, or whose signer's key is.
///
/// # Errors
/// [`Error::Revoked`]
pub fn check_revoked(
    revoked: &Revocations,
    file: &str,
    digest: &str,
    key: Option<&PolicyKey>,
) -> Result<()> {
    let of_file = revoked.reason(digest).map(|why| ("this file".to_owned(), why));
    let of_key =
        key.and_then(|key| Some((format!("the key {}", key.id()), revoked.reason(&key.id())?)));
    match of_file.or(of_key) {
        Some((what, why)) => {
            Err(Error::Revoked { file: file.to_owned(), what, why: why.to_owned() })
        }
        None => Ok(()),
    }
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    host_files::sha256::hex(bytes)
}
