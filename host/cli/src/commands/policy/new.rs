use host_files::shell;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use host_authoring::{Language, Name};
use host_trainer::records::Ending;

use crate::out::{print_json, print_line, say};

/// Write a project that builds a policy, in one of four languages.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the policy: lower-case words joined by '-'.
    pub name: Name,
    /// Language to write it in.
    #[arg(short, long = "lang", value_name = "LANGUAGE", value_enum)]
    pub language: LanguageArgument,
    /// Folder for the project; must not exist. Default: the name.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print what was written as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LanguageArgument {
    Rust,
    C,
    Python,
    Js,
}

impl From<LanguageArgument> for Language {
    fn from(argument: LanguageArgument) -> Self {
        match argument {
            LanguageArgument::Rust => Self::Rust,
            LanguageArgument::C => Self::C,
            LanguageArgument::Python => Self::Python,
            LanguageArgument::Js => Self::Js,
        }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let folder = arguments.output.clone().unwrap_or_else(|| PathBuf::from(arguments.name.as_str()));
    let created = host_authoring::create(&arguments.name, arguments.language.into(), &folder)?;
    if arguments.json {
        print_json(&created)?;
    } else {
        print_line(folder.display().to_string())?;
        say(format!(
            "{} files; its README.md says what is what. Next: host policy build {}",
            created.files.len(),
            shell::path(&folder)
        ));
    }
    Ok(Ending::Finished)
}
