//! `host steer`: one command per file.

mod eval;
mod fit;

use host_trainer::records::Ending;

use crate::arguments::SteerCommand;

pub fn steer(command: SteerCommand) -> anyhow::Result<Ending> {
    match command {
        SteerCommand::Fit(arguments) => fit::fit(&arguments),
        SteerCommand::Eval(arguments) => eval::eval(&arguments),
    }
}
