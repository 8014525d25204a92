//! `[trackers.webhook]`: one message at the end of a run, such as to a channel of a team.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use host_data::failure::{Failure as Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::event::{About, Ending, Event};
use crate::tracker::{Tracker, Trouble};
use crate::web::{Address, Body, Client};

/// Figures of the text: their names in a report, and in words.
const SHOWN: [(&str, &str); 5] = [
    ("refusal", "harmful prompts refused"),
    ("over_refusal", "harmless prompts refused"),
    ("exact_match", "task answers exact"),
    ("task_loss", "task loss"),
    ("kl", "KL to the reference"),
];

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where the message goes. Whoever has the address of a webhook can write there, so it is not
    /// written down with the run.
    #[serde(skip_serializing)]
    pub url: Option<String>,
    /// Environment variable that holds the address instead.
    pub url_variable: Option<String>,
    /// Whether whoever started the command agreed; no file can say so.
    #[serde(skip)]
    #[schemars(skip)]
    pub agreed: bool,
}

impl WebhookConfig {
    fn address<'a>(&self, url: &'a str) -> Address<'a> {
        Address {
            kind: "webhook",
            url,
            token_variable: None,
            certificates: None,
            agreed: self.agreed,
        }
    }

    /// # Errors
    /// Keys that contradict each other, or can't be.
    pub fn check(&self) -> Result<()> {
        match (&self.url, &self.url_variable) {
            (Some(_), Some(_)) => {
                let problem = "stands beside url_variable; name one of the two";
                Err(Error::config("trackers.webhook.url", problem))
            }
            (Some(url), None) => self.address(url).check(),
            // What a run has kept of one has no address.
            (None, _) => Ok(()),
        }
    }

    /// What the command line agrees to; nothing where nothing is sent.
    pub fn word(&self) -> Option<String> {
        let variable = self.url_variable.as_ref().map(|variable| format!("${variable}"));
        variable.or_else(|| self.url.clone())
    }

    /// Whether a file of one's own may say it alone: an address on this machine, or one's own
    /// variable.
    pub fn stays_here(&self) -> bool {
        self.url.as_deref().is_none_or(|url| self.address(url).stays_here())
    }

    /// The client and the whole address; none where the configuration of a run hasn't kept it.
    fn client(&self) -> Result<Option<(Client, String)>> {
        let url = match (&self.url, &self.url_variable) {
            (Some(url), _) => url.clone(),
            (None, None) => return Ok(None),
            (None, Some(variable)) => {
                if !self.agreed {
                    let problem = format!(
                        "a file says that the environment variable {variable} says where figures \
                         of the run go; if you want that, say so: --allow-endpoint '${variable}'; \
                         if not, --track none"
                    );
                    return Err(Error::config("trackers.webhook", problem));
                }
                let key = "trackers.webhook.url_variable";
                let found = std::env::var(variable).ok().filter(|url| !url.trim().is_empty());
                let url = found.ok_or_else(|| {
                    Error::config(key, format!("the environment has no variable {variable}"))
                })?;
                // The words of the check may repeat what may be another secret.
                let url = url.trim().to_owned();
                if self.address(&url).check().is_err() {
                    let problem = format!("{variable} holds no https:// address");
                    return Err(Error::config(key, problem));
                }
                url
            }
        };
        let client = Client::new(&self.address(&url))?;
        Ok(Some((client, url)))
    }

    /// # Errors
    /// What can't work, or nobody agreed to.
    pub fn ready(&self) -> Result<()> {
        self.client().map(|_| ())
    }
}

pub struct Webhook {
    client: Client,
    url: String,
    about: About,
}

impl Webhook {
    /// None without an address.
    ///
    /// # Errors
    /// A configuration that can't work.
    pub fn new(config: &WebhookConfig, about: &About) -> Result<Option<Self>> {
        let client = config.client()?;
        Ok(client.map(|(client, url)| Self { client, url, about: about.clone() }))
    }
}

impl Tracker for Webhook {
    fn take(&mut self, _: &[Arc<Event>], _: &Clock) -> Result<(), Trouble> {
        Ok(())
    }

    fn end(&mut self, ending: &Ending, clock: &Clock) -> Result<(), Trouble> {
        let seconds = |at: std::time::SystemTime| {
            at.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
        };
        let figures: Map<String, Value> =
            ending.figures.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let tags: Map<String, Value> =
            self.about.tags.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let body = json!({
            // What Slack, Mattermost and their like show.
            "text": text(&self.about.name, ending),
            "run": self.about.name,
            "status": ending.status.name(),
            "started": seconds(self.about.started),
            "ended": seconds(ending.at),
            "figures": figures,
            "tags": tags,
        });
        self.client.ask(&self.url, Body::Json(&body), clock).map(|_| ())
    }
}

/// One line on the run, and one for each of the main figures, before and after.
fn text(name: &str, ending: &Ending) -> String {
    let figure = |model: &str, name: &str| {
        let name = format!("{model}/{name}");
        ending.figures.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    };
    let mut text = format!("{}: {}", host_files::text::line(name), ending.status.name());
    if let (Some(steps), Some(planned)) =
        (figure("after", "steps"), figure("after", "planned_steps"))
    {
        text += &format!(" after {steps} of {planned} steps");
    }
    for (name, words) in SHOWN {
        let Some(after) = figure("after", name) else { continue };
        text += &match figure("before", name) {
            Some(before) => format!("\n{words}: {before:.3} before, {after:.3} after"),
            None => format!("\n{words}: {after:.3}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Status;

    #[test]
    fn the_text_has_the_main_figures_before_and_after() {
        let figures = [("before/refusal", 0.5), ("after/refusal", 0.75), ("after/kl", 0.01)];
        let figures = figures.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let ending = Ending { status: Status::Stopped, at: UNIX_EPOCH, figures };
        let expected = "a: stopped\nharmful prompts refused: 0.500 before, 0.750 after\n\
                        KL to the reference: 0.010";
        assert_eq!(text("a", &ending), expected);
    }

    #[test]
    fn an_address_is_not_written_down_and_a_variable_is() {
        let url = WebhookConfig { url: Some("https://x.org/secret".into()), ..Default::default() };
        assert!(!serde_json::to_string(&url).expect("json").contains("secret"));
        let variable = WebhookConfig { url_variable: Some("HOOK".into()), ..Default::default() };
        assert!(serde_json::to_string(&variable).expect("json").contains("HOOK"));
        assert!(url.check().is_ok() && variable.check().is_ok());
    }
}
