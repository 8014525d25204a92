use clap::Args;
use clap_complete::Shell;
use host_trainer::records::Ending;

use crate::Cli;
use crate::out::print_block;

/// Print a script that completes commands and flags in a shell.
///
/// bash: `host completions bash > ~/.local/share/bash-completion/completions/host`; zsh: into a folder of
/// `$fpath`, as `_host`; fish: `host completions fish > ~/.config/fish/completions/host.fish`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::commands(), "host", &mut script);
    print_block(String::from_utf8(script)?.trim_end())?;
    Ok(Ending::Finished)
}
