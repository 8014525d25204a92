//! Detached signatures (Ed25519) in minisign's format, so that keys and signatures
//! work with its tools as well: a signature of `x.wasm` is `x.wasm.minisig`.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use host_files::{atomic, private};
use minisign::{KeyPair, PublicKeyBox, SecretKeyBox, SignatureBox};

use crate::error::{Error, Result};
use host_files::text::clean;

/// The lines of a signature that are base64, their lengths and how they end: algorithm,
/// key number and signature (74 bytes), and the signature with the comment (64 bytes).
const SIGNATURE_LINES: [(usize, usize, &str); 2] = [(1, 100, "="), (3, 88, "==")];

/// How a public key begins.
const ALGORITHM: &[u8] = b"Ed";

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
        let text = fs::read_to_string(path).map_err(|e| problem(e.to_string()))?;
        let not_a_key = |e: minisign::PError| {
            problem(format!(
                "it is no secret key ({e}); make one with host policy sign, or minisign -G"
            ))
        };
        let parse = || SecretKeyBox::from_string(&text).map_err(not_a_key);
        let secret = match parse()?.into_unencrypted_secret_key() {
            Ok(secret) => secret,
            Err(_) => parse()?.into_secret_key(None).map_err(not_a_key)?,
        };
        Self::new(secret)
    }

    /// Reads the key, or makes one without a password if there is none; its public
    /// half then lies beside it, with the ending `.pub`. True if it was made.
    ///
    /// # Errors
    /// As for [`Signer::open`], and files that can't be written.
    pub fn open_or_create(path: &Path) -> Result<(Self, bool)> {
        if path.exists() {
            return Ok((Self::open(path)?, false));
        }
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
            Ok(()) => Ok((Self::new(pair.sk)?, true)),
            // Another host made it in this moment.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                Ok((Self::open(path)?, false))
            }
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
    /// If the system has no random numbers.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> Result<String> {
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
        let text = match fs::read_to_string(file_or_key) {
            Ok(text) => text,
            Err(_) => file_or_key.to_owned(),
        };
        Self::parse(&text).ok_or_else(|| Error::Key {
            key: clean(file_or_key, 200),
            problem: "it is neither a public key nor a file with one; \
                      name the .pub file that belongs to the secret key"
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
    /// A text that is no signature, one by another key, and one of other bytes; in
    /// words that continue "the signature ...".
    pub fn verify(&self, bytes: &[u8], signature: &str) -> std::result::Result<String, String> {
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
        let signature = signer.sign(b"bytes", "count 3").unwrap();
        let verify = |bytes, text: &str| signer.public().verify(bytes, text);
        assert_eq!(verify(b"bytes", &signature).unwrap(), "count 3");
        assert!(verify(b"bytez", &signature).unwrap_err().contains("does not fit"));
        let forged = signature.replace("count 3", "count 2");
        assert!(verify(b"bytes", &forged).unwrap_err().contains("does not fit"));
        assert!(verify(b"bytes", "x").unwrap_err().contains("format"));
        let short = &signature[..signature.trim_end().len() - 16];
        assert!(verify(b"bytes", short).unwrap_err().contains("format"));

        let other = tempfile::tempdir().unwrap();
        let other = self::signer(&other);
        let error = other.public().verify(b"bytes", &signature).unwrap_err();
        assert!(error.contains(&signer.public().id()), "{error}");
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
