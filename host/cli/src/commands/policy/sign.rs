use host_files::shell;
use std::path::{Path, PathBuf};

use clap::Args;
use host_sandbox::{Builtin, Endorsement, Limits, Policy, Signer, Statement, signature_path};
use host_trainer::Error;
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;
use serde::Serialize;

use crate::commands::registry::named;
use crate::commands::{engine, signer};
use crate::out::print;

/// Sign a policy: writes FILE.minisig, which minisign reads as well.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The policy's .wasm.
    pub file: PathBuf,
    /// Secret key. Default: your own.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Make the key, without a password; its file must not exist.
    #[arg(long, requires = "key")]
    pub new_key: bool,
    /// Last day on which the signature holds, such as 2027-11-28, or `never`. Default: a year
    /// from now.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub expires: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Signed {
    file: String,
    signature: String,
    key_id: String,
    public_key: String,
    #[serde(flatten)]
    said: Endorsement,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let file = &arguments.file;
    if Builtin::named(file).is_some() {
        let problem = "comes with the program; host policy list --output DIR writes its file, \
                       which can be signed";
        return Err(Error::file(file, problem).into());
    }
    if named(file).is_some() {
        let problem = "is in a registry; pull it to a file (host policy pull -o FILE), sign that, and push it";
        return Err(Error::file(file, problem).into());
    }
    // Asked for its name: a signature is of a policy, and never of any other file.
    let engine = engine(&Limits::default())?;
    let bytes = host_sandbox::read(&engine, file)?;
    let policy = Policy::from_bytes(&engine, &file.display().to_string(), &bytes)?;
    let expires = Endorsement::expiry(arguments.expires.as_deref())
        .map_err(|problem| Error::config("--expires", problem))?;
    let said = Endorsement {
        name: policy.name().to_owned(),
        version: policy.descriptor().version.clone(),
        sha256: policy.digest().to_owned(),
        expires,
    };
    let signer = match &arguments.key {
        Some(key) if arguments.new_key => new_key(key)?,
        Some(key) if !key.exists() => {
            let problem = "there is no such key; check the name, or make it with --new-key";
            return Err(Error::file(key, problem).into());
        }
        key => signer(key.as_deref())?,
    };
    let comment = said.comment()?;
    let text = signer.sign(Statement::Policy, &bytes, &comment)?;
    let signature = signature_path(file);
    write_atomically(&signature, text.as_bytes())?;
    let signed = Signed {
        file: file.display().to_string(),
        signature: signature.display().to_string(),
        key_id: signer.public().id(),
        public_key: signer.public().to_base64(),
        said,
    };
    print(arguments.json, &signed, |_| {
        let Signed { signature, key_id, public_key, said, .. } = &signed;
        let told = [
            format!("{signature} is by key {key_id}: {said}"),
            format!("to check it: host policy verify {} --key {public_key}", shell::path(file)),
        ];
        told.into_iter().collect()
    })?;
    Ok(Ending::Finished)
}

fn new_key(path: &Path) -> Result<Signer, Error> {
    Signer::create(path)?
        .ok_or_else(|| Error::file(path, "exists already; leave --new-key out to sign with it"))
}

/// A day, or `never`.
fn day(text: &str) -> Result<String, String> {
    Endorsement::expiry(Some(text)).map(|_| text.to_owned())
}
