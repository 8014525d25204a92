//! Comparing builds by what they do.
//!
//! Two compilers make different bytes of the same policy, so a rebuild is not
//! compared byte by byte: both builds must answer the recorded cases alike.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use host_audit::cases::{Case, TOLERANCE, paths};
use host_files::atomic;
use host_sandbox::{Engine, Limits, Policy};

use crate::sums;

/// Runs every case through the committed and the rebuilt component.
///
/// # Errors
/// If SHA256SUMS doesn't fit, or if either answers differently from the record.
pub fn compare(folder: &Path, names: &[String], rebuilt: &Path) -> Result<()> {
    sums::verify(folder)?;
    let engine = Engine::new(&Limits::default())?;
    let mut differences = 0;
    for name in names {
        let file = format!("{name}.wasm");
        let committed = Policy::load(&engine, folder.join(&file))?;
        let fresh = Policy::load(&engine, rebuilt.join(&file))?;
        ensure!(
            committed.descriptor() == fresh.descriptor(),
            "{file} describes itself differently from a rebuild: was it built from these sources?"
        );
        let cases = paths(&folder.join(name))?;
        ensure!(!cases.is_empty(), "policy `{name}` has no case in plugins/{name}/cases");
        for path in &cases {
            let case = Case::read(path)?;
            for (build, policy) in [("committed", &committed), ("rebuilt", &fresh)] {
                if let Err(difference) = case.check(policy, TOLERANCE) {
                    eprintln!("{build} {file}, {}: {difference}", path.display());
                    differences += 1;
                }
            }
        }
        let same = if committed.digest() == fresh.digest() { ", the same bytes" } else { "" };
        eprintln!("{file}: {} cases{same}", cases.len());
    }
    if differences > 0 {
        bail!("{differences} answers differ from the recorded cases");
    }
    Ok(())
}

/// Writes what the built policies answer into their cases.
pub fn record(folder: &Path, names: &[String]) -> Result<()> {
    let engine = Engine::new(&Limits::default())?;
    for name in names {
        let policy = Policy::load(&engine, folder.join(format!("{name}.wasm")))?;
        for path in paths(&folder.join(name))? {
            let mut case = Case::read(&path)?;
            case.expected = case.answer(&policy).with_context(|| path.display().to_string())?;
            atomic::write(&path, case.to_json()?.as_bytes())?;
            eprintln!("recorded {}", path.display());
        }
    }
    Ok(())
}
