//! Detached signatures (Ed25519) in minisign's format, so that keys and signatures
//! work with its tools as well: a signature of `x.wasm` is `x.wasm.minisig`.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use host_files::{atomic, own, private};
use minisign::{KeyPair, PublicKeyBox, SecretKeyBox, SignatureBox};

use crate::error::{Error, Result};
use host_files::text::clean;

/// The lines of a signature that are base64, their lengths and how they end: algorithm,
/// key number and signature (74 bytes), and the signature with the comment (64 bytes).
const SIGNATURE_LINES: [(usize, usize, &str); 2] = [(1, 100, "="), (3, 88, "==")];

/// How a public key begins.
const ALGORITHM: &[u8] = b"Ed";

/// Most bytes of a file with a key or a signature; real ones have a few hundred.
pub(crate) const FILE_BYTES: u64 = 16 << 10;

/// What a signature is of. Each kind begins in its own way, and a key signs and verifies nothing
/// that does not: so a signature of one kind never passes for one of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// A policy: the bytes of a WebAssembly file.
    Policy,
    /// Where a journal stands.
    Journal,
    /// A checkpoint of a run.
    Checkpoint,
    /// What a run has behind it, and the files it left.
    Run,
}

impl Statement {
    fn begins(self) -> &'static str {
        match self {
            Self::Policy => "\0asm",
            Self::Journal => "risk-journal ",
            Self::Checkpoint => "risk-checkpoint ",
            Self::Run => "risk-run ",
        }
    }

    fn is(self, bytes: &[u8]) -> bool {
        bytes.starts_with(self.begins().as_bytes())
    }
}

/// A secret key that signs policies and journals.
pub struct Signer {
    secret: minisign::SecretKey,
    public: PublicKey,
}

/// The key that checks what a [`Signer`] signed.
#[derive(Debug, Clone)]
pub struct PublicKey(minisign::PublicKey);

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bytes() == other.0.to_bytes()
    }
}

impl Eq for PublicKey {}

/// Where the signature of a file lies.
pub fn signature_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

impl Signer {
    /// Reads a secret key file. One that is protected by a password asks for it on
    /// the terminal.
    ///
    /// # Errors
    /// A file that can't be read, that others can read, or that is no secret key.
    pub fn open(path: &Path) -> Result<Self> {
        let problem = |problem: String| Error::Key { key: path.display().to_string(), problem };
        private::secret(path).map_err(|e| problem(e.to_string()))?;
        let text = own::read_text(path, FILE_BYTES).map_err(|e| problem(e.to_string()))?;
        let not_a_key = |e: minisign::PError| {
            problem(format!(
                "it is no secret key ({e}); make one with host policy sign --new-key, or minisign -G"
            ))
        };
        let parse = || SecretKeyBox::from_string(&text).map_err(not_a_key);
        let secret = match parse()?.into_unencrypted_secret_key() {
            Ok(secret) => secret,
            Err(_) => parse()?.into_secret_key(None).map_err(not_a_key)?,
        };
        Self::new(secret)
    }

    /// Reads the key, or makes one if there is none. True if it was made.
    ///
    /// # Errors
    /// As for [`Signer::open`], and files that can't be written.
    pub fn open_or_create(path: &Path) -> Result<(Self, bool)> {
        if path.exists() {
            return Ok((Self::open(path)?, false));
        }
        match Self::create(path)? {
            Some(signer) => Ok((signer, true)),
            // Another host made it in this moment.
            None => Ok((Self::open(path)?, false)),
        }
    }

    /// Makes a key without a password; its public half then lies beside it, with the ending
    /// `.pub`. None if there is a file already.
    ///
    /// # Errors
    /// Files that can't be written.
    pub fn create(path: &Path) -> Result<Option<Self>> {
        let problem = |problem: String| Error::Key { key: path.display().to_string(), problem };
        let broken = |e: minisign::PError| problem(e.to_string());
        let pair = KeyPair::generate_unencrypted_keypair().map_err(broken)?;
        let secret = pair.sk.to_box(None).map_err(broken)?.into_string();
        let public = pair.pk.to_box().map_err(broken)?.into_string();
        let written = || {
            if let Some(parent) = path.parent() {
                private::create(parent)?;
            }
            atomic::write_secret(path, secret.as_bytes())?;
            fs::write(public_path(path), public)
        };
        match written() {
            Ok(()) => Ok(Some(Self::new(pair.sk)?)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(problem(format!("it can't be made: {e}"))),
        }
    }

    fn new(secret: minisign::SecretKey) -> Result<Self> {
        let public = minisign::PublicKey::from_secret_key(&secret)
            .map_err(|e| Error::Key { key: "secret key".into(), problem: e.to_string() })?;
        Ok(Self { secret, public: PublicKey(public) })
    }

    /// The half that verifies what this key has signed.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The text of a signature; the comment is signed as well.
    ///
    /// # Errors
    /// Bytes that are no such statement, and a system without random numbers.
    pub fn sign(&self, what: Statement, bytes: &[u8], comment: &str) -> Result<String> {
        if !what.is(bytes) {
            return Err(Error::Key {
                key: self.public.id(),
                problem: format!("it does not sign this: it is no {what:?}"),
            });
        }
        let made = minisign::sign(
            None,
            &self.secret,
            Cursor::new(bytes),
            Some(comment),
            Some("signature by host"),
        );
        let signature = made.map_err(|e| Error::Key {
            key: self.public.id(),
            problem: format!("it can't sign: {e}"),
        })?;
        Ok(signature.into_string())
    }
}

impl std::fmt::Debug for Signer {
    /// Never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.public.id())
    }
}

impl PublicKey {
    /// Reads a public key: a file of minisign's format, or the key itself (the line in
    /// base64 that such a file holds).
    ///
    /// # Errors
    /// If it is neither.
    pub fn read(file_or_key: &str) -> Result<Self> {
        let text = match own::read_text(file_or_key.as_ref(), FILE_BYTES) {
            Ok(text) => text,
            Err(_) => file_or_key.to_owned(),
        };
        let is_pem = text.trim_start().starts_with("-----BEGIN ");
        Self::parse(&text).ok_or_else(|| Error::Key {
            key: clean(file_or_key, 200),
            problem: if is_pem {
                "it is one of cosign's form, which signs policies in registries and nothing else; \
                 name the .pub file that belongs to the secret key"
            } else {
                "it is neither a public key nor a file with one; \
                 name the .pub file that belongs to the secret key"
            }
            .into(),
        })
    }

    /// Reads the text of a public key, with or without its comment.
    pub fn parse(text: &str) -> Option<Self> {
        let boxed = || PublicKeyBox::from_string(text).ok()?.into_public_key().ok();
        let key = minisign::PublicKey::from_base64(text.trim()).ok();
        let key = key.or_else(boxed).map(Self)?;
        // The crate takes keys of other algorithms for its own.
        let base64 = key.to_base64();
        let genuine = key.0.to_bytes().starts_with(ALGORITHM)
            && text.lines().any(|line| line.trim() == base64);
        genuine.then_some(key)
    }

    /// The number that minisign shows for a key.
    pub fn id(&self) -> String {
        number(self.0.keynum())
    }

    /// The key in base64, one line.
    pub fn to_base64(&self) -> String {
        self.0.to_base64()
    }

    /// Checks the text of a signature and returns its signed comment.
    ///
    /// # Errors
    /// A text that is no signature, one by another key, and one of other bytes or of another
    /// kind of statement; in words that continue "the signature ...".
    pub fn verify(
        &self,
        what: Statement,
        bytes: &[u8],
        signature: &str,
    ) -> std::result::Result<String, String> {
        if !what.is(bytes) {
            return Err(format!("is of something that is no {what:?}"));
        }
        let signature = parse(signature).ok_or("is not in minisign's format")?;
        if signature.keynum() != self.0.keynum() {
            let by = number(signature.keynum());
            return Err(format!("is by key {by}, not by {}", self.id()));
        }
        minisign::verify(&self.0, &signature, Cursor::new(bytes), true, false, false)
            .map_err(|_| "does not fit: something was changed after it was signed".to_owned())?;
        signature.trusted_comment().map_err(|_| "has no signed comment".to_owned())
    }
}

/// The text of a signature, of no more bytes than one has.
///
/// # Errors
/// A file that can't be read, or that is larger.
pub fn read_signature(path: &Path) -> std::io::Result<String> {
    own::read_text(path, FILE_BYTES)
}

/// The key that a signature says it is by, which proves nothing until it is verified.
pub fn claimed_key(signature: &str) -> Option<String> {
    Some(number(parse(signature)?.keynum()))
}

/// Reads a signature, and only as minisign itself writes it: the crate takes unused
/// bits at the end of base64, and panics later on signatures of too few bytes.
fn parse(text: &str) -> Option<SignatureBox> {
    let signature = SignatureBox::from_string(text).ok()?;
    let rewritten = signature.to_string();
    let line = |text: &str, number| text.lines().nth(number).map(|line| line.trim().to_owned());
    let strict = SIGNATURE_LINES.into_iter().all(|(number, length, end)| {
        let written = line(text, number);
        written == line(&rewritten, number)
            && written.is_some_and(|text| text.len() == length && text.ends_with(end))
    });
    strict.then_some(signature)
}

fn number(bytes: &[u8]) -> String {
    let digits = bytes.iter().rev().map(|byte| format!("{byte:02X}"));
    digits.collect()
}

/// Where the public half of a key lies: `team.key` has `team.pub`.
pub fn public_path(secret: &Path) -> PathBuf {
    secret.with_extension("pub")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    const BYTES: &[u8] = b"risk-journal x";

    fn signer(folder: &tempfile::TempDir) -> Signer {
        Signer::open_or_create(&folder.path().join("keys/a.key")).unwrap().0
    }

    #[test]
    fn a_key_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/a.key");
        let (first, made) = Signer::open_or_create(&path).unwrap();
        assert!(made);
        let (second, made) = Signer::open_or_create(&path).unwrap();
        assert!(!made && first.public() == second.public());
        let public = PublicKey::read(public_path(&path).to_str().unwrap()).unwrap();
        assert_eq!(&public, first.public());
        assert_eq!(PublicKey::read(&public.to_base64()).unwrap(), public);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_was_signed_verifies_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let signer = signer(&folder);
        let signature = signer.sign(Statement::Journal, BYTES, "count 3").unwrap();
        let verify = |bytes, text: &str| signer.public().verify(Statement::Journal, bytes, text);
        assert_eq!(verify(BYTES, &signature).unwrap(), "count 3");
        assert!(verify(b"risk-journal y", &signature).unwrap_err().contains("does not fit"));
        let forged = signature.replace("count 3", "count 2");
        assert!(verify(BYTES, &forged).unwrap_err().contains("does not fit"));
        assert!(verify(BYTES, "x").unwrap_err().contains("format"));
        let short = &signature[..signature.trim_end().len() - 16];
        assert!(verify(BYTES, short).unwrap_err().contains("format"));

        let other = tempfile::tempdir().unwrap();
        let other = self::signer(&other);
        let error = other.public().verify(Statement::Journal, BYTES, &signature).unwrap_err();
        assert!(error.contains(&signer.public().id()), "{error}");
    }

    #[test]
    fn a_signature_of_one_kind_is_none_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let signer = signer(&folder);
        let kinds = [Statement::Policy, Statement::Journal, Statement::Checkpoint, Statement::Run];
        for kind in kinds {
            let bytes = format!("{}and more", kind.begins());
            let signature = signer.sign(kind, bytes.as_bytes(), "c").unwrap();
            for other in kinds {
                let verified = signer.public().verify(other, bytes.as_bytes(), &signature);
                assert_eq!(verified.is_ok(), other == kind, "{kind:?} as {other:?}");
                let signed = signer.sign(other, bytes.as_bytes(), "c");
                assert_eq!(signed.is_ok(), other == kind, "{kind:?} as {other:?}");
            }
        }
        assert!(signer.sign(Statement::Policy, b"any text", "c").is_err());
    }

    #[test]
    fn a_file_of_any_size_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.minisig");
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert!(read_signature(&path).unwrap_err().to_string().contains("larger"));
        assert!(PublicKey::read(path.to_str().unwrap()).is_err());
    }

    #[test]
    fn keys_that_are_none_or_open_to_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/a.key");
        signer(&folder);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Signer::open(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        let wrong = folder.path().join("wrong.key");
        fs::write(&wrong, "no key").unwrap();
        fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Signer::open(&wrong).unwrap_err().to_string();
        assert!(error.contains("no secret key"), "{error}");
        let error = PublicKey::read("nobody.pub").unwrap_err().to_string();
        assert!(error.contains("nobody.pub"), "{error}");
        assert!(Signer::open(&folder.path().join("none")).is_err());
    }
}
