use std::path::PathBuf;

use clap::{Args, ValueEnum};
use host_authoring::{Language, Name};

#[derive(Debug, Args)]
pub struct NewArguments {
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
