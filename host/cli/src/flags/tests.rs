//! Walks over all flags.

#![allow(clippy::unwrap_used)]

use clap::error::ErrorKind;
use clap::{ArgAction, Command, CommandFactory as _};

use super::*;
use crate::Cli;

/// The argument as it may be typed.
fn typed(argument: &clap::Arg) -> Vec<String> {
    let name = format!("--{}", argument.get_long().unwrap());
    let known = argument.get_possible_values();
    let value = match argument.get_id().as_str() {
        "on_fault" => "stop",
        "trackers" => "tensorboard",
        _ => known.first().map_or("1", |known| known.get_name()),
    };
    match argument.get_action() {
        ArgAction::SetTrue | ArgAction::Count => vec![name],
        _ => vec![name, value.to_owned()],
    }
}

#[test]
fn every_flag_is_honoured_or_refused_on_resume() {
    let train = [
        ConfigFlags::FLAGS,
        PolicyFlags::FLAGS,
        DataFlags::FLAGS,
        EvalFlags::FLAGS,
        TrainFlags::FLAGS,
        TrackFlags::FLAGS,
    ];
    let train = train.concat();
    let command = Cli::command();
    let arguments = command.find_subcommand("train").unwrap().get_arguments();
    let mut refused = 0;
    for argument in arguments.filter(|argument| argument.get_id() != "resume") {
        let id = argument.get_id().as_str();
        let harmless = train.iter().any(|flag| flag.id == id && flag.on_resume);
        let words = ["host", "train", "--resume", "run"].map(str::to_owned).into_iter();
        let parsed = Cli::command().try_get_matches_from(words.chain(typed(argument)));
        match parsed {
            // A word for an endpoint changes no key, as tests of consent see it honoured; where policies of
            // registries come from changes none either.
            Ok(_) => assert!(
                harmless || ["json", "quiet", "allowed_endpoints", "offline"].contains(&id),
                "{id} is ignored"
            ),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{id}");
                assert!(!harmless, "{id} is refused");
                let name = format!("'--{}", argument.get_long().unwrap());
                assert!(error.to_string().contains(&name), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 30, "{refused}");
}

fn each_sets_its_key<G: FlagGroup>() {
    let command = G::augment_args(Command::new("host"));
    for flag in G::FLAGS {
        let Some(key) = flag.key else { continue };
        let mut arguments = command.get_arguments();
        let argument = arguments.find(|argument| argument.get_id() == flag.id).unwrap();
        let words = ["host".to_owned()].into_iter().chain(typed(argument));
        let group = G::from_arg_matches(&command.clone().get_matches_from(words)).unwrap();
        let mut layers = Layers::default();
        group.apply(&mut layers).unwrap();
        assert!(layers.has(key), "{} does not set {key}", flag.id);
    }
}

#[test]
fn each_flag_sets_its_key() {
    each_sets_its_key::<ConfigFlags>();
    each_sets_its_key::<PolicyFlags>();
    each_sets_its_key::<DataFlags>();
    each_sets_its_key::<EvalFlags>();
    each_sets_its_key::<TrainFlags>();
    each_sets_its_key::<TrackFlags>();
    each_sets_its_key::<FitFlags>();
    each_sets_its_key::<EffectFlags>();
}
