use std::path::PathBuf;

use clap::Args;
use host_sandbox::{Signer, signature_path};
use host_trainer::Error;
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;
use serde::Serialize;

use crate::commands::signer;
use crate::out::print;

/// Sign a policy: writes FILE.minisig, which minisign reads as well.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The policy's .wasm.
    pub file: PathBuf,
    /// Secret key; made, without a password, if the file does not exist. Default: your
    /// own.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
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
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let file = &arguments.file;
    let bytes = std::fs::read(file).map_err(|source| Error::read(file, source))?;
    let signer = match &arguments.key {
        Some(key) => Signer::open_or_create(key)?.0,
        None => signer(None)?,
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let text = signer.sign(&bytes, &format!("policy {name}, {} bytes", bytes.len()))?;
    let signature = signature_path(file);
    write_atomically(&signature, text.as_bytes())?;
    let signed = Signed {
        file: file.display().to_string(),
        signature: signature.display().to_string(),
        key_id: signer.public().id(),
        public_key: signer.public().to_base64(),
    };
    print(arguments.json, &signed, || {
        let Signed { file, signature, key_id, public_key } = &signed;
        let told = [
            format!("{signature} is by key {key_id}"),
            format!("to check it: host policy verify {file} --key {public_key}"),
        ];
        told.into_iter().collect()
    })?;
    Ok(Ending::Finished)
}
