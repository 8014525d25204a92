//! One request: its time limits, and how often and when it is made again.

use std::path::Path;
use std::time::Duration;

use host_contract::JudgementStatus;
use host_data::failure::{Failure as Error, Result};
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::config::EndpointConfig;

/// The wait before the first repetition; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A server that wants to be left alone for longer than this is not asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// More than any chat completion with a score in it.
const LONGEST_REPLY: u64 = 1 << 20;

pub struct Client {
    agent: Agent,
    name: String,
    url: String,
    authorization: Option<String>,
    retries: u32,
}

/// Why there is no score.
pub struct Trouble {
    pub status: JudgementStatus,
    /// In a few words, without a full stop.
    pub problem: String,
}

impl Trouble {
    pub fn unreadable(problem: String) -> Self {
        Self { status: JudgementStatus::Unparsable, problem }
    }
}

/// What one request came to, if to nothing.
struct Failure {
    problem: String,
    /// Whether another request may come to something else.
    passing: bool,
    /// For how long the server wants to be left alone.
    retry_after: Option<Duration>,
}

impl Client {
    pub fn new(name: &str, config: &EndpointConfig) -> Result<Self> {
        let key = |field: &str| format!("judges.{name}.endpoint.{field}");
        let url = config.url.trim_end_matches('/');
        let problem = match url.parse::<Uri>() {
            Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
                Some("must begin with http:// or https://".to_owned())
            }
            // It would be written down with the run.
            Ok(uri) if uri.authority().is_some_and(|it| it.as_str().contains('@')) => {
                Some("must not hold a password; name a variable in key_variable".to_owned())
            }
            Ok(_) => None,
            Err(error) => Some(format!("is no URL ({error})")),
        };
        if let Some(problem) = problem {
            return Err(Error::config(key("url"), problem));
        }
        let authorization = match &config.key_variable {
            None => None,
            Some(variable) => {
                let found = std::env::var(variable).ok().filter(|key| !key.is_empty());
                let secret = found.ok_or_else(|| {
                    let problem = format!("the environment has no variable {variable}");
                    Error::config(key("key_variable"), problem)
                })?;
                Some(format!("Bearer {}", secret.trim()))
            }
        };
        let roots = match &config.certificates {
            None => RootCerts::WebPki,
            Some(path) => read_certificates(path, key("certificates"))?,
        };
        let agent = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_global(Some(Duration::from_secs_f64(config.timeout_seconds)))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("host/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self {
            agent,
            name: name.to_owned(),
            url: format!("{url}/chat/completions"),
            authorization,
            retries: config.retries,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The body of the reply. Asks again, after a while, where that may help.
    pub fn ask(&self, body: &str) -> Result<String, Trouble> {
        let mut attempt = 0;
        loop {
            let failure = match self.post(body) {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let usual = FIRST_WAIT * 2u32.saturating_pow(attempt.min(10));
            let wait = failure.retry_after.unwrap_or(usual.min(LONGEST_WAIT));
            if !failure.passing || attempt == self.retries || wait > LONGEST_WAIT {
                let asked = match attempt {
                    0 => String::new(),
                    _ => format!(", {} times in a row", attempt + 1),
                };
                return Err(Trouble {
                    status: JudgementStatus::Failed,
                    problem: format!("{} {}{asked}", self.url, failure.problem),
                });
            }
            std::thread::sleep(wait);
            attempt += 1;
        }
    }

    fn post(&self, body: &str) -> Result<String, Failure> {
        let mut request = self.agent.post(&self.url);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        // Time-outs, refused and broken connections: all may pass.
        let broken = |error: ureq::Error| Failure {
            problem: format!("can't be reached ({error})"),
            passing: true,
            retry_after: None,
        };
        let mut response = request.send(body).map_err(broken)?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status, response.headers()));
        }
        let reader = response.body_mut().with_config().limit(LONGEST_REPLY);
        let reply = reader.read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => Failure {
                problem: format!("replied with more than {LONGEST_REPLY} bytes"),
                passing: false,
                retry_after: None,
            },
            error => broken(error),
        })?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }
}

/// The certificates of a PEM file, which the field `key` names.
fn read_certificates(path: &Path, key: String) -> Result<RootCerts> {
    let pem = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    let items = parse_pem(&pem).collect::<Result<Vec<_>, _>>();
    let items = items
        .map_err(|error| Error::config(&key, format!("{}: {error}", path.display())))?
        .into_iter();
    let certificates: Vec<_> = items
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        let problem = format!("{} holds no certificate in PEM", path.display());
        Err(Error::config(key, problem))
    } else {
        Ok(certificates.into())
    }
}

fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    let seconds = headers.get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let passing = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    Failure {
        problem: format!("answered {status}"),
        passing,
        retry_after: seconds.map(Duration::from_secs),
    }
}
