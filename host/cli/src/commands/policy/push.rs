use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use host_registry::{Artifact, Reference};
use host_sandbox::{Builtin, Limits, Policy, claimed_key, read_signature, signature_path};
use host_trainer::Error;
use host_trainer::records::Ending;

use crate::commands::engine;
use crate::commands::registry::{RegistryFlags, named, of_registry, reference};
use crate::out::{print, say};

/// Send a policy to an OCI registry, with the signature that lies beside it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The policy's .wasm; with --wit, a folder or file of WIT.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// oci://REGISTRY/NAME:TAG.
    #[arg(value_name = "OCI")]
    pub name: PathBuf,
    /// FILE is WIT: send the package, as component tools fetch it.
    #[arg(long)]
    pub wit: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let reference = reference(&arguments.name)?;
    if let Some(other) = named(&arguments.file) {
        let other = other?;
        let problem =
            "is in a registry; pull it to a file (host policy pull -o FILE), and push that";
        return Err(Error::file(other.to_string().as_ref(), problem).into());
    }
    let artifact = if arguments.wit { wit(arguments)? } else { policy(arguments)? };
    send(arguments, &reference, &artifact)
}

fn send(
    arguments: &Arguments,
    reference: &Reference,
    artifact: &Artifact,
) -> anyhow::Result<Ending> {
    let registry = RegistryFlags::default().registry();
    let pushed = registry.push(reference, artifact).map_err(of_registry)?;
    print(arguments.json, &pushed, |_| [pushed.reference.clone()].into_iter().collect())?;
    if !arguments.json {
        let signed = match artifact.signatures.first().and_then(|text| claimed_key(text)) {
            Some(key) => format!("with a signature by key {key}"),
            None if arguments.wit => "as a package of WIT".to_owned(),
            None => {
                "without a signature: there is no file of one beside it (host policy sign)".into()
            }
        };
        say(format!("pushed {} bytes {signed}", artifact.component.len()));
    }
    Ok(Ending::Finished)
}

/// A policy that this host can load, under its own name and version.
fn policy(arguments: &Arguments) -> anyhow::Result<Artifact> {
    let file = &arguments.file;
    let engine = engine(&Limits::default())?;
    let component = host_sandbox::read(&engine, file)?;
    let policy = Policy::from_bytes(&engine, &file.display().to_string(), &component)?;
    let signature = signature_path(file);
    let signatures = if Builtin::named(file).is_none() && signature.exists() {
        let text = read_signature(&signature).map_err(|error| Error::read(&signature, error))?;
        if claimed_key(&text).is_none() {
            let problem = "is no signature; sign the policy again (host policy sign), or remove it";
            return Err(Error::file(&signature, problem).into());
        }
        vec![text]
    } else {
        Vec::new()
    };
    let described = policy.descriptor();
    let annotations = [
        ("title", policy.name()),
        ("version", &described.version),
        ("description", &described.summary),
    ];
    Ok(Artifact {
        file_name: Some(format!("{}.wasm", policy.name())),
        exports: vec![policy.version().interface().to_owned()],
        annotations: annotated(annotations),
        component,
        signatures,
    })
}

fn wit(arguments: &Arguments) -> anyhow::Result<Artifact> {
    let package = host_authoring::wit_package(&arguments.file)?;
    let (title, version) = (package.name.as_str(), package.version.as_deref().unwrap_or_default());
    let annotations = annotated([("title", title), ("version", version)]);
    Ok(Artifact {
        file_name: Some(format!("{}.wasm", package.name.replace(':', "-"))),
        exports: package.interfaces,
        annotations,
        component: package.bytes,
        signatures: Vec::new(),
    })
}

fn annotated<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let pairs = pairs.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.into()));
    pairs.collect()
}
