//! Before a policy is trusted.

use std::path::Path;

use host_audit::checks::{Audit, Options, Verdict};
use host_sandbox::Policy;
use host_trainer::Error;
use host_trainer::observer::Progress as _;
use host_trainer::records::Ending;

use super::{Arguments, page, text};
use crate::commands::engine;
use crate::commands::subject::public_key;
use crate::exit::Failed;
use crate::out::{print, say};
use crate::screen::Screen;

pub fn audit(path: &Path, arguments: &Arguments) -> anyhow::Result<Ending> {
    let signed_by = public_key(arguments.signed_by.as_deref())?;
    let subject = &arguments.subject;
    let policy = Policy::load(&engine(&arguments.limits()?)?, path).map_err(Error::from)?;
    let options = Options {
        settings: &subject.settings().to_string(),
        run: subject.run_info(),
        calibrated: subject.calibrated(policy.digest())?,
        signed_by: signed_by.as_ref(),
        repeats: arguments.repeats as usize,
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
    print(arguments.json, &audit, || text::report(&audit))?;
    if let Some(html) = &arguments.html {
        say(format!("wrote {}", html.display()));
    }
    if audit.passed { Ok(Ending::Finished) } else { Err(Failed::Audit(failure(&audit)).into()) }
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
