use host_trainer::compare::{Compared, Format};
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;

use super::print_text;
use crate::arguments::CompareArguments;

pub fn compare(arguments: CompareArguments) -> anyhow::Result<Ending> {
    let outputs = arguments
        .outputs
        .iter()
        .map(|path| Ok((path, Format::of_file(path)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let compared = Compared::of(&arguments.runs)?;
    for notice in &compared.notices {
        eprintln!("note: {notice}");
    }
    for (path, format) in outputs {
        write_atomically(path, compared.to(format)?.as_bytes())?;
    }
    let format = match arguments.json {
        true => Format::Json,
        false => arguments.format,
    };
    print_text(compared.to(format)?.trim_end())?;
    Ok(Ending::Finished)
}
