use std::path::PathBuf;

use host_trainer::records::Ending;

use crate::arguments::NewArguments;
use crate::commands::{print_json, print_text};

pub fn new(arguments: NewArguments) -> anyhow::Result<Ending> {
    let folder = arguments.output.unwrap_or_else(|| PathBuf::from(arguments.name.as_str()));
    let created = host_authoring::create(&arguments.name, arguments.language.into(), &folder)?;
    if arguments.json {
        print_json(&created)?;
    } else {
        print_text(&folder.display().to_string())?;
        eprintln!(
            "{} files; its README.md says what is what. Next: host policy build {}",
            created.files.len(),
            folder.display()
        );
    }
    Ok(Ending::Finished)
}
