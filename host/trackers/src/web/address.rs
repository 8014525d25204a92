//! An address, and what goes with it.

use std::path::Path;

use host_data::failure::{Failure as Error, Result};
use host_files::shell::quoted;
use host_web::is_loopback;
use ureq::http::Uri;

/// Where a tracker is, as a configuration says.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// Of `[trackers]`.
    pub kind: &'static str,
    pub url: &'a str,
    /// Environment variable that holds the token.
    pub token_variable: Option<&'a str>,
    pub certificates: Option<&'a Path>,
    /// Whether whoever started the command agreed.
    pub agreed: bool,
}

impl Address<'_> {
    /// # Errors
    /// A URL that can't be one of a tracker.
    pub fn check(&self) -> Result<()> {
        let url = |problem: String| Err(Error::config(self.key("url"), problem));
        if self.url.is_empty() {
            return url("names no URL; give one such as http://127.0.0.1:5000".into());
        }
        let uri: Uri = match self.url.parse() {
            Ok(uri) => uri,
            Err(error) => return url(format!("is no URL ({error})")),
        };
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return url("must not hold a password; name a variable in token_variable".into());
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_local(&uri) => {}
            Some("http") => return url("must begin with https://, but on this machine".into()),
            _ => return url("must begin with http:// or https://".into()),
        }
        let is_name = |name: &str| {
            let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            letters && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        if self.token_variable.is_some_and(|name| !is_name(name)) {
            let problem = "must name an environment variable; it isn't the token itself";
            return Err(Error::config(self.key("token_variable"), problem));
        }
        Ok(())
    }

    /// What goes where, as the command line agrees to it.
    pub fn word(&self) -> String {
        let mut word = self.url.to_owned();
        if let Some(variable) = self.token_variable {
            word += &format!(" key={variable}");
        }
        if let Some(file) = self.certificates {
            word += &format!(" certificates={file:?}");
        }
        word
    }

    /// Whether it is on this machine, and is told nothing but what a run tells.
    pub fn stays_here(&self) -> bool {
        let is_local = self.url.parse().is_ok_and(|url| is_local(&url));
        is_local && self.token_variable.is_none() && self.certificates.is_none()
    }

    /// # Errors
    /// If nobody agreed to what is told there.
    pub fn need_consent(&self) -> Result<()> {
        if self.agreed {
            return Ok(());
        }
        let mut told = format!("figures of the run go to {}", self.url);
        if let Some(variable) = self.token_variable {
            told += &format!(", and the environment variable {variable} goes with them as token");
        }
        if let Some(file) = self.certificates {
            told += &format!(", and {} says which servers to believe", file.display());
        }
        let problem = format!(
            "a file says that {told}; if you want that, say so: --allow-endpoint {}; if not, \
             --track none",
            quoted(&self.word())
        );
        Err(Error::config(format!("trackers.{}", self.kind), problem))
    }

    /// Scheme, machine and port, for a message: the path of a webhook is a secret.
    pub fn shown(&self) -> String {
        let uri: Uri = self.url.parse().unwrap_or_default();
        host_web::address::shown(&uri)
    }

    pub fn is_local(&self) -> bool {
        self.url.parse().is_ok_and(|url| is_local(&url))
    }

    pub fn key(&self, field: &str) -> String {
        format!("trackers.{}.{field}", self.kind)
    }
}

/// Whether what is sent there stays on this machine.
fn is_local(url: &Uri) -> bool {
    url.host().is_some_and(is_loopback)
}
