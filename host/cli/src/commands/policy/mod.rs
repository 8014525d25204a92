//! `host policy`: one command per file.

mod sign;
mod verify;

use crate::arguments::PolicyCommand;
use crate::exit::Outcome;

pub fn policy(command: PolicyCommand) -> anyhow::Result<Outcome> {
    match command {
        PolicyCommand::Sign(arguments) => sign::sign(&arguments),
        PolicyCommand::Verify(arguments) => verify::verify(&arguments),
    }
}
