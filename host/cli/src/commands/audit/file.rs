//! Before a policy is trusted.

use std::path::Path;

use host_audit::checks::{Audit, Field, Options, RecordedRun, Verdict};
use host_audit::journal::Journal;
use host_audit::synthetic::run_info;
use host_contract::Needs;
use host_sandbox::{Policy, PublicKey};
use host_trainer::Error;
use host_trainer::observer::Progress as _;
use host_trainer::records::Ending;

use super::run::{calibrated, journal_folder};
use super::{Arguments, page, text};
use crate::commands::subject::public_key;
use crate::exit::Failed;
use crate::out::{print, say};
use crate::screen::Screen;

pub fn audit(path: &Path, arguments: &Arguments) -> anyhow::Result<Ending> {
    let signed_by = public_key(arguments.signed_by.as_deref())?;
    let subject = &arguments.subject;
    let seed = subject.fresh_seed();
    let depends_on: Vec<Field> = Field::ALL
        .iter()
        .filter(|(name, _)| arguments.depends_on.iter().any(|given| given == name))
        .map(|(_, field)| *field)
        .collect();
    let config = arguments.config()?;
    let registry = &arguments.registry;
    let engine = registry.engine(&config.limits)?.isolated(config.trust.isolate);
    let path = &registry.pin(path, &config.limits)?;
    let policy = Policy::load(&engine, path).map_err(Error::from)?;
    let recorded = arguments.run.iter().map(|run| Recorded::read(run, &policy, arguments));
    let recorded = recorded.collect::<anyhow::Result<Vec<_>>>()?;
    let options = Options {
        settings: &subject.settings().to_string(),
        run: run_info(subject.layers, subject.hidden, seed),
        seed,
        calibrated: subject.calibrated(policy.digest())?,
        signed_by: signed_by.as_ref(),
        repeats: arguments.repeats as usize,
        depends_on: &depends_on,
        runs: recorded.iter().map(Recorded::run).collect(),
    };
    let mut screen = Screen::new(arguments.quiet);
    let mut stage = |what: &str| screen.stage(what, None);
    let audit = host_audit::checks::audit(&policy, path, &options, &mut stage);
    let audit = audit.map_err(Error::from)?;
    drop(screen);
    if let Some(html) = &arguments.html {
        host_files::atomic::write(html, page::page(&audit)?.as_bytes())
            .map_err(host_model::Error::from)
            .map_err(Error::from)?;
    }
    print(arguments.json, &audit, |_| text::report(&audit))?;
    if let Some(html) = &arguments.html {
        say(format!("wrote {}", html.display()));
    }
    if audit.passed { Ok(Ending::Finished) } else { Err(Failed::Audit(failure(&audit)).into()) }
}

/// A run whose signals the policy is asked about.
struct Recorded {
    name: String,
    journal: Journal,
    settings: String,
    calibrated: Option<(Vec<u8>, Needs)>,
}

impl Recorded {
    /// The policy gets the settings and parameters that it had in the run, if it was in it.
    ///
    /// # Errors
    /// A journal that doesn't verify: its signals may be anybody's.
    fn read(run: &Path, policy: &Policy, arguments: &Arguments) -> anyhow::Result<Self> {
        let key = arguments.key.as_deref().map(PublicKey::read).transpose()?;
        let journal = Journal::read(&journal_folder(run)?, key.as_ref())?;
        if let Some(finding) = journal.verified.findings.first() {
            let what = format!(
                "{}: {finding}; audit it by itself (host audit --run) before you rely on its signals",
                run.display()
            );
            return Err(Failed::Audit(what).into());
        }
        let own = journal.run.policies.iter().find(|slot| slot.sha256 == policy.digest());
        let given = arguments.subject.settings();
        let settings = match own {
            Some(slot) if arguments.subject.settings.is_empty() => slot.settings.clone(),
            _ => given.to_string(),
        };
        let file = arguments.subject.calibration.as_deref();
        let calibrated = calibrated(&journal, run, policy, file, &given)?;
        Ok(Self { name: run.display().to_string(), settings, calibrated, journal })
    }

    fn run(&self) -> RecordedRun<'_> {
        let parts = self.calibrated.as_ref();
        RecordedRun {
            name: &self.name,
            journal: &self.journal,
            settings: &self.settings,
            calibrated: parts.map(|(parameters, needs)| (parameters.as_slice(), needs)),
        }
    }
}

/// One line that names what failed.
fn failure(audit: &Audit) -> String {
    let failed = audit.findings.iter();
    let failed = failed.filter(|finding| finding.verdict == Verdict::Fail);
    let failed: Vec<&str> = failed.map(|finding| finding.id).collect();
    format!(
        "policy {} ({}) failed its audit: {}; don't run it before these are understood",
        audit.inspection.name,
        audit.inspection.file,
        failed.join(", ")
    )
}
