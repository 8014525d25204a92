//! `host judge ...`: one subcommand per file.

mod fit;
mod score;

use host_trainer::records::Ending;

use crate::arguments::JudgeCommand;

pub fn judge(command: JudgeCommand) -> anyhow::Result<Ending> {
    match command {
        JudgeCommand::Score(arguments) => score::score(&arguments),
        JudgeCommand::Fit(arguments) => fit::fit(&arguments),
    }
}
