//! Folders that are kept between runs, and keys.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use host_files::private;
use host_model::HubAccess;

use super::Check;
use crate::home;

/// Room below which a run may fill the disk.
const LITTLE: u64 = 1 << 30;

pub(super) fn checks() -> Vec<Check> {
    let caches = home::caches();
    let mut checks = vec![
        cache("cache of references", caches.reference),
        cache("cache of judgements", caches.judges),
        hub(),
        key(),
    ];
    checks.push(room("room here", Path::new(".")));
    checks.push(room("room for temporary files", &std::env::temp_dir()));
    checks
}

fn cache(name: &'static str, folder: Option<PathBuf>) -> Check {
    let Some(folder) = folder else {
        let remedy = "set HOME, or XDG_CACHE_HOME to a folder of your own";
        return Check::note(name, "none: this system names no folder for caches", remedy);
    };
    let path = folder.display();
    match private::folder(&folder) {
        Ok(()) => Check::ok(name, path.to_string()),
        Err(error) => Check::note(
            name,
            format!("{path} is not used: {error}"),
            "without it every run computes again what an earlier one knew",
        ),
    }
}

fn hub() -> Check {
    let access = HubAccess::from_env();
    let token = if access.token.is_some() { "with a token" } else { "without a token" };
    let line = if access.offline { ", offline by HF_HUB_OFFLINE" } else { "" };
    match access.folder() {
        Ok(folder) => Check::ok("cache of the Hub", format!("{}, {token}{line}", folder.display())),
        Err(error) => Check::note(
            "cache of the Hub",
            error.to_string(),
            "models and data sets of the Hub need one",
        ),
    }
}

fn key() -> Check {
    let path = match home::key() {
        Ok(path) => path,
        Err(error) => {
            return Check::note("signing key", error.to_string(), "give --key FILE to host train");
        }
    };
    let shown = path.display();
    match private::secret(&path) {
        Ok(()) => Check::ok("signing key", shown.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => Check::ok(
            "signing key",
            format!("{shown} is made by the first training under a policy"),
        ),
        Err(error) => Check::problem(
            "signing key",
            format!("{shown}: {error}"),
            "mend that, or sign with another one (--key FILE)",
        ),
    }
}

fn room(name: &'static str, folder: &Path) -> Check {
    let shown = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let shown = shown.display();
    let Some(bytes) = host_files::atomic::room(folder) else {
        return Check::note(
            name,
            format!("{shown}: not said"),
            "host train tells when a disk is full",
        );
    };
    let found = format!("{:.1} GiB in {shown}", bytes as f64 / f64::from(1 << 30));
    if bytes < LITTLE {
        Check::note(
            name,
            found,
            "a run keeps an adapter, checkpoints and a journal: free some, or choose another --output",
        )
    } else {
        Check::ok(name, found)
    }
}
