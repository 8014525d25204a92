//! Names and passwords where docker and podman keep them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host_files::{own, private};
use serde::Deserialize;

/// More than any file with logins.
const LARGEST: u64 = 1 << 20;
/// More than any helper says.
const LONGEST_ANSWER: u64 = 1 << 16;
/// A helper may ask its keychain, and the keychain its user.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a helper is looked after.
const GLANCE: Duration = Duration::from_millis(20);
/// What helpers have in place of a name when the password is a token that gets others.
const TOKEN: &str = "<token>";
/// What docker calls its own registry there.
const DOCKER: [&str; 2] = ["docker.io", "index.docker.io"];

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and its password.
    Password { user: String, password: String },
    /// A token of which a token service makes others.
    Identity(String),
}

/// A login, and where it was found.
#[derive(Clone)]
pub struct Found {
    pub login: Login,
    pub file: PathBuf,
}

impl Login {
    /// The value of a `Basic` authorization.
    pub fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Self::Identity(_) => None,
        }
    }
}

/// Files in which logins are looked for, the first that has one for the registry counts: `REGISTRY_AUTH_FILE` alone, or
/// podman's and docker's.
pub fn places() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = |name: &str| variable(name).map(PathBuf::from);
    if let Some(file) = folder("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = std::env::home_dir();
    let configuration = folder("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let docker = folder("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
    let podman = [folder("XDG_RUNTIME_DIR"), configuration];
    let podman = podman.into_iter().flatten().map(|folder| folder.join("containers/auth.json"));
    podman.chain(docker.map(|folder| folder.join("config.json"))).collect()
}

/// The login for a repository of a registry, if there is one.
///
/// # Errors
/// One line on a file that can't be used, or a helper that fails.
pub fn find(places: &[PathBuf], registry: &str, repository: &str) -> Result<Option<Found>, String> {
    for file in places {
        if !file.exists() {
            continue;
        }
        let problem = |problem: &str| format!("{}: {problem}", file.display());
        let text = own::read_text(file, LARGEST).map_err(|error| problem(&error.to_string()))?;
        // serde's message may quote what is there.
        let logins: Logins = serde_json::from_str(&text)
            .map_err(|error| problem(&format!("is no file of logins (line {})", error.line())))?;
        let login = logins.login(file, registry, repository).map_err(|error| problem(&error))?;
        if let Some(login) = login {
            return Ok(Some(Found { login, file: file.clone() }));
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Logins {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Logins {
    fn login(
        &self,
        file: &Path,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Login>, String> {
        let names = names(registry, repository);
        let of = |key: &str| names.iter().position(|name| *name == plain(key));
        let entry = self.auths.iter().filter_map(|(key, entry)| Some((of(key)?, key, entry)));
        let entry = entry.min_by_key(|(place, ..)| *place);
        let helper = self.cred_helpers.iter().find(|(key, _)| of(key).is_some());
        if let Some((key, helper)) = helper {
            return ask(file, helper, key);
        }
        if let Some((_, key, entry)) = entry {
            if let Some(login) = entry.login()? {
                return Ok(Some(login));
            }
            // docker leaves an empty entry where its store has the login.
            if let Some(store) = &self.creds_store {
                return ask(file, store, key);
            }
        }
        Ok(None)
    }
}

impl Entry {
    fn login(&self) -> Result<Option<Login>, String> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Some(Login::Identity(token)));
        }
        if let Some(auth) = filled(&self.auth) {
            let odd =
                || "has an `auth` that is no name and password in base64; log in again".to_owned();
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| odd())?;
            let text = String::from_utf8(bytes).map_err(|_| odd())?;
            let (user, password) = text.split_once(':').ok_or_else(odd)?;
            // Docker has ended them with zeros.
            let password = password.trim_end_matches('\0').to_owned();
            return Ok(Some(Login::Password { user: user.to_owned(), password }));
        }
        let both = filled(&self.username).zip(filled(&self.password));
        Ok(both.map(|(user, password)| Login::Password { user, password }))
    }
}

/// Keys that are of a repository, the nearest first: podman has some for parts of a registry.
fn names(registry: &str, repository: &str) -> Vec<String> {
    let hosts = if registry == DOCKER[0] { DOCKER.to_vec() } else { vec![registry] };
    let mut names = Vec::new();
    for host in &hosts {
        let mut path = format!("{host}/{repository}");
        while let Some(end) = path.rfind('/') {
            names.push(path.clone());
            path.truncate(end);
        }
    }
    names.extend(hosts.into_iter().map(str::to_owned));
    names
}

/// A key without what docker puts around some.
fn plain(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key).to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-NAME`, which the file names: so only if nobody else can have written it.
fn ask(file: &Path, helper: &str, key: &str) -> Result<Option<Login>, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if helper.is_empty() || helper.len() > 64 || !helper.bytes().all(is_name) {
        return Err("names a credential helper that can't be one".into());
    }
    let found = file.metadata().map_err(|error| error.to_string())?;
    let me = private::user().map_err(|error| error.to_string())?;
    if found.uid() != me || found.mode() & 0o022 != 0 {
        return Err(
            "names a credential helper, and isn't yours alone to write; chmod go-w it, or \
                    name another with REGISTRY_AUTH_FILE"
                .into(),
        );
    }
    let program = format!("docker-credential-{helper}");
    let failed = |why: String| format!("names {program}, which {why}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(format!("can't be run ({error}); install it, or log in again")))?;
    if let Some(mut input) = child.stdin.take() {
        // One that doesn't listen answers for itself.
        let _ = input.write_all(key.as_bytes());
    }
    let output = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = output.map(|output| output.take(LONGEST_ANSWER).read_to_string(&mut text));
        // Nobody listens any more if it took too long.
        let _ = sender.send(read.and_then(Result::ok).map(|_| text));
    });
    let started = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) => break status,
            None if started.elapsed() < PATIENCE => std::thread::sleep(GLANCE),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                let seconds = PATIENCE.as_secs();
                return Err(failed(format!(
                    "gave no answer in {seconds} s; unlock its keychain, or log in again"
                )));
            }
        }
    };
    if !status.success() {
        // As it says that there is no login.
        return Ok(None);
    }
    let text = receiver.recv_timeout(PATIENCE).ok().flatten().unwrap_or_default();
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|_| failed("answers in no known form; log in again".into()))?;
    Ok(Some(if answer.username == TOKEN {
        Login::Identity(answer.secret)
    } else {
        Login::Password { user: answer.username, password: answer.secret }
    }))
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
