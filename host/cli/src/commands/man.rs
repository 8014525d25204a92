use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;

use crate::Cli;
use crate::out::{print_block, say};

/// Print the manual page of the program, or write those of all commands.
///
/// `host man | man -l -` reads it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write a page per command into this folder, as host.1, host-train.1 and so on.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut command = Cli::commands().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &arguments.output else {
        print_block(page(&command)?.trim_end())?;
        return Ok(Ending::Finished);
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{} can't be made", folder.display()))?;
    let mut pages = Vec::new();
    collect(&command, &mut pages);
    for one in &pages {
        let name = one.get_display_name().unwrap_or_else(|| one.get_name());
        write_atomically(&folder.join(format!("{name}.1")), page(one)?.as_bytes())?;
    }
    say(format!("wrote {} pages into {}", pages.len(), folder.display()));
    Ok(Ending::Finished)
}

fn collect<'c>(command: &'c Command, pages: &mut Vec<&'c Command>) {
    pages.push(command);
    command.get_subcommands().filter(|one| !one.is_hide_set()).for_each(|one| collect(one, pages));
}

fn page(command: &Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8(page)?)
}
