//! One request: its time limits, and how often and when it is made again.

use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use host_contract::JudgementStatus;
use host_data::failure::{Failure as Error, Result};
use host_web::agent;
use host_web::wait::{self, passes};
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, Uri, header};

use super::complaint::{Complaint, duration, spelled};
use super::config::{EndpointConfig, is_local};

/// Where completions are, below the address of a server.
const COMPLETIONS: &str = "/chat/completions";
/// The wait before the first repetition; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait that no server asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// More than any chat completion with a score in it.
const LONGEST_REPLY: u64 = 1 << 20;
/// What is read of the body of an error.
const LONGEST_COMPLAINT: u64 = 1 << 16;

pub struct Client {
    agent: Agent,
    name: String,
    url: String,
    authorization: Option<String>,
    retries: u32,
    /// How long one answer may take, with all waits.
    patience: Duration,
    /// Until when the server wants to be left alone, by all threads.
    pause: Mutex<Option<Instant>>,
}

/// Why there is no score.
pub struct Trouble {
    pub status: JudgementStatus,
    /// In a few words, without a full stop.
    pub problem: String,
    /// What the server wouldn't do, if it is the request that it refuses.
    pub refused: bool,
}

impl Trouble {
    pub fn unreadable(problem: String) -> Self {
        Self { status: JudgementStatus::Unparsable, problem, refused: false }
    }
}

/// What one request came to, if to nothing.
struct Failure {
    problem: String,
    /// Whether another request may come to something else.
    passing: bool,
    /// For how long the server wants to be left alone.
    retry_after: Option<Duration>,
    /// Whether the server understood and refused.
    refused: bool,
}

impl Client {
    pub fn new(name: &str, config: &EndpointConfig) -> Result<Self> {
        let key = |field: &str| format!("judges.{name}.endpoint.{field}");
        let url = config.url.trim_end_matches('/');
        let parsed = url.parse::<Uri>();
        let local = parsed.as_ref().is_ok_and(is_local);
        let problem = match parsed {
            Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
                Some("must begin with http:// or https://".to_owned())
            }
            // It would be written down with the run.
            Ok(uri) if uri.authority().is_some_and(|it| it.as_str().contains('@')) => {
                Some("must not hold a password; name a variable in key_variable".to_owned())
            }
            Ok(uri)
                if uri.scheme_str() == Some("http") && config.key_variable.is_some() && !local =>
            {
                Some("must begin with https:// to send a key to another machine".to_owned())
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
                    // What has small letters and digits may be the key itself.
                    let shown = if variable.contains(|c: char| c.is_ascii_lowercase()) {
                        "of that name, which isn't repeated here: it may be a key"
                    } else {
                        variable
                    };
                    let problem = format!("the environment has no variable {shown}");
                    Error::config(key("key_variable"), problem)
                })?;
                Some(format!("Bearer {}", secret.trim()))
            }
        };
        let roots = agent::authorities(config.certificates.as_deref());
        let roots = roots.map_err(|error| match (error.kind(), &config.certificates) {
            (ErrorKind::InvalidData, _) | (_, None) => {
                Error::config(key("certificates"), error.to_string())
            }
            (_, Some(path)) => Error::read(path, error),
        })?;
        let agent = agent::builder(roots, local)
            .timeout_global(Some(Duration::from_secs_f64(config.timeout_seconds)))
            .build()
            .into();
        Ok(Self {
            agent,
            name: name.to_owned(),
            url: format!("{}{COMPLETIONS}", url.strip_suffix(COMPLETIONS).unwrap_or(url)),
            authorization,
            retries: config.retries,
            patience: Duration::from_secs_f64(config.retry_seconds),
            pause: Mutex::new(None),
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
        let started = Instant::now();
        let mut attempt = 0;
        loop {
            self.wait_for_the_server(started);
            let failure = match self.post(body) {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let usual = FIRST_WAIT * 2u32.saturating_pow(attempt.min(10));
            let wait = failure.retry_after.unwrap_or(usual.min(LONGEST_WAIT));
            let late = started.elapsed() + wait > self.patience;
            if !failure.passing || attempt == self.retries || late {
                return Err(self.trouble(failure, attempt, wait, late));
            }
            match failure.retry_after {
                Some(asked) => self.pause_all(asked),
                None => std::thread::sleep(wait),
            }
            attempt += 1;
        }
    }

    fn trouble(&self, failure: Failure, attempt: u32, wait: Duration, late: bool) -> Trouble {
        let asked = match attempt {
            0 => String::new(),
            _ => format!(", {} times in a row", attempt + 1),
        };
        let asks = match failure.retry_after {
            Some(_) if failure.passing && late => {
                let seconds = wait.as_secs_f64().ceil();
                format!(", and asks for {seconds} s of rest, more than retry_seconds leaves")
            }
            _ => String::new(),
        };
        Trouble {
            status: JudgementStatus::Failed,
            problem: format!("{} {}{asked}{asks}", self.url, failure.problem),
            refused: failure.refused,
        }
    }

    /// Waits until the server may be asked again, as far as there is time.
    fn wait_for_the_server(&self, started: Instant) {
        let pause = *self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = pause.map(|until| until.saturating_duration_since(Instant::now()));
        let left = self.patience.saturating_sub(started.elapsed());
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            std::thread::sleep(rest.min(left));
        }
    }

    /// All threads leave the server alone for so long.
    fn pause_all(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        *pause = Some(pause.map_or(until, |known| known.max(until)));
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
            refused: false,
        };
        let mut response = request.send(body).map_err(broken)?;
        let status = response.status();
        let told = told_wait(response.headers());
        if !status.is_success() {
            let reader = response.body_mut().with_config().limit(LONGEST_COMPLAINT);
            // The status says enough, if the body doesn't come.
            let body = reader.read_to_vec().unwrap_or_default();
            let complaint = Complaint::of_body(&String::from_utf8_lossy(&body));
            return Err(refused(status, told, &complaint, false));
        }
        let reader = response.body_mut().with_config().limit(LONGEST_REPLY);
        let reply = reader.read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => Failure {
                problem: format!("replied with more than {LONGEST_REPLY} bytes"),
                passing: false,
                retry_after: None,
                refused: false,
            },
            error => broken(error),
        })?;
        let reply = String::from_utf8_lossy(&reply).into_owned();
        match Complaint::in_reply(&reply) {
            Some(complaint) => Err(refused(status, told, &complaint, true)),
            None => Ok(reply),
        }
    }
}

/// An error status, or an error `inside` a reply whose status is none.
fn refused(status: StatusCode, told: Option<Duration>, it: &Complaint, inside: bool) -> Failure {
    let named = it.status.filter(|_| inside).and_then(|code| StatusCode::from_u16(code).ok());
    let meant = match it.status.and_then(|code| StatusCode::from_u16(code).ok()) {
        // Routers put what the one behind them answered into an error of their own.
        Some(code) if inside || passes(code) => Some(code),
        _ => (!inside).then_some(status),
    };
    let passing = meant.is_none_or(passes) && !it.lasting;
    let words = if it.words.is_empty() { String::new() } else { format!(": {:?}", it.words) };
    let problem = match (inside, named) {
        (false, _) => format!("answered {status}{words}"),
        (true, Some(named)) => format!("answered {status} with error {named} inside{words}"),
        (true, None) => format!("answered {status} with an error inside{words}"),
    };
    let refused = meant.is_some_and(|meant| meant.is_client_error()) && !passing;
    Failure { problem, passing, retry_after: told.or(it.wait), refused }
}

/// For how long the headers ask the client to wait, as `Retry-After` or as services have it besides.
fn told_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    milliseconds
        .and_then(|number| duration(number / 1e3))
        .or_else(|| wait::told(headers))
        .or_else(|| spelled(text(header::RETRY_AFTER.as_str())?))
}
