//! What the policies fit on labelled prompts, once for all runs of a policy, and how well that tells harm.

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
use crate::program::Program;
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
        let mut fitted = BTreeMap::new();
        for choice in &Settings::choices(cells) {
            if !needs.get(choice).asks.calibration {
                continue;
            }
            let fit = |name: &str, labelled: &Path| {
                let file = folder.join(format!("{}-{name}.json", choice.slug()));
                if !file.is_file() {
                    tell(&format!("calibrating {} ({name})", choice.name));
                    calibrate(program, settings, reference, choice, labelled, &file)?;
                }
                CalibrationFile::read(&file).context("remove it to calibrate again")
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
    labelled: &Path,
    output: &Path,
) -> anyhow::Result<()> {
    let mut config = settings.base(reference.model.as_deref(), SEED)?;
    config.policies = vec![PolicyConfig {
        path: choice.path().into(),
        settings: choice.settings.clone(),
        ..PolicyConfig::default()
    }];
    config.calibration.data = vec![DataSource::whole(labelled)];
    let (file, log) = (output.with_extension("toml"), output.with_extension("log"));
    write_atomically(&file, resolved_toml(&config)?.as_bytes())?;
    let [config, output] = [&file, output].map(|path| path.display().to_string());
    program.run(&["calibrate", "--config", &config, "--output", &output], &log)?;
    Ok(())
}
