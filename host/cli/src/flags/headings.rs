//! Help in parts: a flag stands under the section of the configuration that its key is in.

use clap::{Arg, Command};

use super::{
    BaseFlags, ConfigFlags, DataFlags, EvalFlags, Flag, FlagGroup as _, PolicyFlags, TrackFlags,
    TrainFlags,
};

/// A command, and those below it, with the flags of a configuration in groups.
pub fn grouped(mut command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, grouped);
    }
    let has = |id: &str| command.get_arguments().any(|argument| argument.get_id() == id);
    // `assignments` are of ConfigFlags, `learning_rate` of TrainFlags: elsewhere these names may
    // mean something else.
    let mut flags: Vec<Flag> = Vec::new();
    if has("assignments") {
        let groups = [
            ConfigFlags::FLAGS,
            PolicyFlags::FLAGS,
            DataFlags::FLAGS,
            EvalFlags::FLAGS,
            BaseFlags::FLAGS,
        ];
        flags.extend(groups.concat());
    }
    if has("learning_rate") {
        flags.extend(TrainFlags::FLAGS.iter().chain(TrackFlags::FLAGS));
    }
    command.mut_args(|argument| match heading(&flags, &argument) {
        Some(heading) => argument.help_heading(heading),
        None => argument,
    })
}

fn heading(flags: &[Flag], argument: &Arg) -> Option<&'static str> {
    let flag = flags.iter().find(|flag| argument.get_id() == flag.id)?;
    let section = match flag.id {
        "resume" => "output",
        _ => flag.key?.split('.').next()?,
    };
    Some(match section {
        "model" => "Model",
        "data" => "Data",
        "policy" | "calibration" | "trust" => "Policy",
        "eval" | "canary" => "Evaluation",
        "train" => "Training",
        "lora" => "Adapter",
        "output" | "journal" | "checkpoints" | "trackers" => "Run folder, journal and trackers",
        _ => return None,
    })
}
