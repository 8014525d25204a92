use host_policy::synthetic::Subject;
use host_policy::{Limits, Policy};
use host_trainer::Error;
use host_trainer::records::Ending;

use crate::arguments::InspectArguments;
use crate::commands::subject::public_key;
use crate::commands::{audit, engine, print_json, print_text};

pub fn inspect(arguments: &InspectArguments) -> anyhow::Result<Ending> {
    let signed_by = public_key(arguments.signed_by.as_deref())?;
    let path = &arguments.file;
    let policy = Policy::load(&engine(&Limits::default())?, path).map_err(Error::from)?;
    let settings = arguments.subject.settings().to_string();
    let subject = Subject::configure(&policy, &settings, &arguments.subject.run_info());
    let needs = subject.map_err(Error::from)?.configured;
    let about = host_policy::inspect::inspect(&policy, path, signed_by.as_ref(), Some(&needs));
    let about = about.map_err(Error::from)?;
    if arguments.json {
        print_json(&about)?;
    } else if arguments.wit {
        let wit = about.wit.ok_or_else(|| {
            anyhow::anyhow!("policy {}: its interfaces can't be decoded", about.file)
        })?;
        print_text(&wit)?;
    } else {
        print_text(audit::inspection(&about).trim_end())?;
    }
    Ok(Ending::Finished)
}
