use host_trainer::records::Ending;

use crate::arguments::BuildArguments;
use crate::commands::{print_json, print_text};

pub fn build(arguments: BuildArguments) -> anyhow::Result<Ending> {
    let built = host_authoring::build(&arguments.folder)?;
    if arguments.json {
        print_json(&built)?;
    } else {
        print_text(&format!(
            "{}  {} bytes  sha256 {}",
            built.component.display(),
            built.bytes,
            built.sha256
        ))?;
    }
    Ok(Ending::Finished)
}
