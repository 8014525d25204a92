use host_files::shell;
use std::path::PathBuf;

use clap::Args;
use host_data::Progress as _;
use host_trainer::Error;
use host_trainer::calibration::{self, Fitting};
use host_trainer::judges::Judges;
use host_trainer::load_policies::LoadedPolicy;
use host_trainer::prepare;
use host_trainer::records::Ending;

use crate::commands::registry::RegistryFlags;
use crate::flags::{ConfigFlags, DataFlags, FlagGroup as _, PolicyFlags, with_defaults};
use crate::out::{print_json, print_page, say, stdout_width};
use crate::screen::Screen;

/// Fit a policy to a model on labelled prompts, and print what it tried.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub policy: PolicyFlags,
    #[command(flatten)]
    pub registry: RegistryFlags,
    /// Where to write the calibration.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut layers = arguments.config.layers(None)?;
    arguments.data.apply(&mut layers)?;
    arguments.policy.apply(&mut layers)?;
    let mut config = with_defaults(layers)?;
    arguments.registry.pin_all(&mut config)?;
    let [policy] = config.policies.as_slice() else {
        let problem = if config.policies.is_empty() {
            "names no file; give --policy FILE"
        } else {
            "names several policies; calibrate one at a time"
        };
        return Err(Error::config("policy.path", problem).into());
    };
    let mut screen = Screen::new(arguments.config.quiet);
    let engine = arguments.registry.engine(&config.limits)?.isolated(config.trust.isolate);
    let loaded = LoadedPolicy::load(policy, &config.trust, &engine)?;
    let model = host_data::load_model(&config.model, &mut screen)?;
    let info = prepare::run_info(&config, &model, 0);
    let needs = loaded.policy.configure(&loaded.settings_json(), &info).map_err(Error::from)?;
    if !needs.calibration {
        let problem =
            format!("policy {} does not calibrate itself; use it as it is", loaded.policy.name());
        return Err(Error::config("policy.path", problem).into());
    }
    let reader = config.reader();
    // Of no other use here, so they are read for a policy alone that wants to see some.
    let samples = if needs.calibration_rows > 0 {
        prepare::load_samples(&config, &model, &reader, &mut screen)?
    } else {
        host_data::Samples::default()
    };
    let judges = Judges::load(&config.judges, None).map_err(Error::from)?;
    let fitting = Fitting {
        run: &config,
        reader: &reader,
        info: &info,
        model: &model,
        samples: &samples,
        judges: &judges,
    };
    let mut file = loaded.calibrate(&needs, &fitting, &mut screen)?;
    let notices = reader.notices();
    notices.lines().for_each(|line| screen.notice(&line));
    file.notices = (!notices.is_empty()).then_some(notices);
    let output = arguments
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.calibration.json", file.policy)));
    file.write(&output)?;
    if arguments.config.json {
        print_json(&file)?;
    } else {
        print_page(&calibration::table(&file, stdout_width()))?;
        say(format!(
            "wrote {}; use it with host train --calibration {}",
            output.display(),
            shell::path(&output)
        ));
    }
    Ok(Ending::Finished)
}
