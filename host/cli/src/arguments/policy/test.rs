use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct TestArguments {
    /// Policy file, or the folder of a policy's project.
    #[arg(value_name = "POLICY.wasm|DIR", default_value = ".")]
    pub policy: PathBuf,
    /// Folder with the cases. Default: `cases` in the project.
    #[arg(value_name = "CASES")]
    pub cases: Option<PathBuf>,
    /// Write what the policy answers into the cases, where it differs from what they
    /// expect.
    #[arg(long)]
    pub record: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
