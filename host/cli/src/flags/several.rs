//! Flags that set more than one value.

use std::path::PathBuf;

use host_trainer::Error;
use host_trainer::config::{Layers, OnFault};

use super::table::{key, set, text};

pub(super) fn set_policies(layers: &mut Layers, files: &[PathBuf]) -> Result<(), Error> {
    if !files.is_empty() {
        let files: Vec<String> = files.iter().map(|file| text(file)).collect();
        layers.set_policies(&files);
    }
    Ok(())
}

pub(super) fn set_calibrations(layers: &mut Layers, files: &[PathBuf]) -> Result<(), Error> {
    let mut numbered = files.iter().enumerate();
    numbered.try_for_each(|(number, file)| {
        layers.set(&format!("policy.{number}.calibration"), text(file))
    })
}

pub(super) fn set_on_fault(layers: &mut Layers, on_fault: &Option<OnFault>) -> Result<(), Error> {
    let mode = key!(trust.on_fault);
    match on_fault {
        None => Ok(()),
        Some(OnFault::Stop) => layers.set(mode, "stop"),
        Some(OnFault::Strict(steps)) => {
            layers.set(mode, "strict")?;
            set(layers, key!(trust.strict_steps), &Some(*steps))
        }
    }
}

pub(super) fn set_no_baseline(layers: &mut Layers, no_baseline: &bool) -> Result<(), Error> {
    if *no_baseline { layers.set(key!(train.baseline), false) } else { Ok(()) }
}

/// `stop`, `strict` or `strict=N`.
pub(super) fn on_fault(text: &str) -> Result<OnFault, String> {
    match text.split_once('=').unwrap_or((text, "3")) {
        ("stop", _) if text == "stop" => Ok(OnFault::Stop),
        ("strict", steps) => match steps.parse() {
            Ok(0) => Err("strict=0 survives no fault; use stop".into()),
            Ok(steps) => Ok(OnFault::Strict(steps)),
            Err(_) => Err(format!("{steps:?} is no number of steps; write strict=3")),
        },
        _ => Err("use stop, strict or strict=N".into()),
    }
}
