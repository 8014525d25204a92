use std::path::PathBuf;

use clap::Args;
use host_audit::synthetic::Subject;
use host_sandbox::{Limits, Policy};
use host_trainer::Error;
use host_trainer::records::Ending;

use crate::commands::audit;
use crate::commands::registry::RegistryFlags;
use crate::commands::subject::{SubjectFlags, public_key};
use crate::out::{print_json, print_page};

/// Show what is in a policy file and what it says of itself.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Policy to look into: a file, builtin:NAME, or oci://REGISTRY/NAME:TAG.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub registry: RegistryFlags,
    #[command(flatten)]
    pub subject: SubjectFlags,
    /// Public key to check its signature with: a file, or the key itself.
    #[arg(long, value_name = "KEY")]
    pub signed_by: Option<String>,
    /// Print its interfaces as WIT, and nothing else.
    #[arg(long, conflicts_with = "json")]
    pub wit: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let signed_by = public_key(arguments.signed_by.as_deref())?;
    let limits = Limits::default();
    let path = &arguments.registry.pin(&arguments.file, &limits)?;
    let policy = Policy::load(&arguments.registry.engine(&limits)?, path).map_err(Error::from)?;
    let settings = arguments.subject.settings().to_string();
    let subject = Subject::configure(
        &policy,
        &settings,
        &arguments.subject.run_info(),
        arguments.subject.usual_seed(),
    );
    let needs = subject.map_err(Error::from)?.configured;
    let about = host_audit::inspect::inspect(&policy, path, signed_by.as_ref(), Some(&needs));
    let about = about.map_err(Error::from)?;
    if arguments.json {
        print_json(&about)?;
    } else if arguments.wit {
        let wit = about.wit.ok_or_else(|| {
            anyhow::anyhow!("policy {}: its interfaces can't be decoded", about.file)
        })?;
        print_page(&wit.lines().collect())?;
    } else {
        print_page(&audit::inspection(&about))?;
    }
    Ok(Ending::Finished)
}
