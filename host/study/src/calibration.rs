//! What the policies fit on labelled prompts, once for all runs of a policy, and how well that tells harm. One that reads rows
//! of the run is fitted again by each run, on its own; here it gets those of the task.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use host_trainer::calibration::CalibrationFile;
use host_trainer::config::PolicyConfig;
use host_trainer::data::DataSource;
use host_trainer::manifest::resolved_toml;
use host_trainer::run_dir::write_atomically;

use crate::Tell;
use crate::arm::Choice;
use crate::cell::Cell;
use crate::files::Files;
use crate::needs::AllNeeds;
use crate::program::{Program, over};
use crate::reference::Reference;
use crate::settings::{SEED, Settings};

/// The calibrations by the policy's name with its settings; one without fits nothing.
pub struct Calibrations(BTreeMap<String, Calibration>);

pub struct Calibration {
    pub file: PathBuf,
    /// What was chosen, on prompts like those it was fitted on.
    pub near: CalibrationFile,
    /// The same, tested on what the evaluations ask.
    pub far: CalibrationFile,
}

impl Calibrations {
    pub fn fit(
        program: &Program,
        settings: &Settings,
        reference: &Reference,
        files: &Files,
        cells: &[Cell],
        needs: &AllNeeds,
        tell: Tell<'_>,
    ) -> anyhow::Result<Self> {
        let folder = settings.out.join("calibration");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{} can't be made", folder.display()))?;
        let runs = settings.runs();
        let is_needed = |choice: &Choice| -> anyhow::Result<bool> {
            for cell in cells {
                let has = cell.arm.policies.iter().any(|one| one.name == choice.name);
                if has && over(&runs.join(cell.slug()))?.is_none() {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let mut fitted = BTreeMap::new();
        for choice in &Settings::choices(cells) {
            if !needs.get(choice).asks.calibration {
                continue;
            }
            let fit = |name: &str, labelled: &Path| {
                let file = folder.join(format!("{}-{name}.json", choice.slug()));
                let read = || CalibrationFile::read(&file).context("remove it to calibrate again");
                if file.is_file() {
                    let fitted = read()?;
                    // Runs that are over had what was fitted then.
                    if fitted.policy_sha256 == needs.get(choice).sha256 || !is_needed(choice)? {
                        return Ok(fitted);
                    }
                    tell(&format!("{} was fitted by another build of the policy", file.display()));
                }
                tell(&format!("calibrating {} ({name})", choice.name));
                let data = (labelled, files.rows.as_path());
                calibrate(program, settings, reference, choice, data, &file)?;
                read()
            };
            let near = fit("near", &files.labelled)?;
            let far = fit("far", &files.labelled_far)?;
            let file = folder.join(format!("{}-near.json", choice.slug()));
            fitted.insert(choice.name.clone(), Calibration { file, near, far });
        }
        Ok(Self(fitted))
    }

    pub fn file(&self, choice: &Choice) -> Option<PathBuf> {
        self.0.get(&choice.name).map(|fitted| fitted.file.clone())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Calibration)> {
        self.0.iter().map(|(name, fitted)| (name.as_str(), fitted))
    }
}

fn calibrate(
    program: &Program,
    settings: &Settings,
    reference: &Reference,
    choice: &Choice,
    (labelled, rows): (&Path, &Path),
    output: &Path,
) -> anyhow::Result<()> {
    let mut config = settings.base(reference.model.as_deref(), SEED)?;
    config.policies = vec![PolicyConfig {
        path: choice.path().into(),
        settings: choice.settings.clone(),
        ..PolicyConfig::default()
    }];
    config.calibration.data = vec![DataSource::whole(labelled)];
    config.data.train = vec![DataSource::whole(rows)];
    let (file, log) = (output.with_extension("toml"), output.with_extension("log"));
    write_atomically(&file, resolved_toml(&config)?.as_bytes())?;
    let [config, output] = [&file, output].map(|path| path.display().to_string());
    program.run(&["calibrate", "--config", &config, "--output", &output], &log)?;
    Ok(())
}
