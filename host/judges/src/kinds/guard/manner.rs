//! How a guard is asked, and how its verdict begins.

use serde_json::{Value, json};

use super::config::{Asks, GuardConfig};
use super::preset::Preset;

/// What the guidelines and policies of models that take one say.
const GUIDELINE: &str = include_str!("guideline.md");
/// What WildGuard is told to do.
const CLASSIFY: &str = include_str!("classify.md");
/// What the model is asked where no preset asks otherwise.
const QUESTION: &str = include_str!("../question.md");

/// What a prompt is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// A user message with this question and the conversation as JSON.
    Question(String),
    /// This as the system's message, the conversation as JSON as the user's.
    Policy(String),
    /// The conversation, rendered with these variables.
    Conversation(Vec<(String, Value)>),
    /// This instruction and the pair in WildGuard's frame, which no chat template writes.
    Frame(String),
}

/// How a guard is asked and read.
#[derive(Debug, Clone, PartialEq)]
pub struct Manner {
    pub prompt: Prompt,
    pub harmful: Vec<String>,
    pub harmless: Vec<String>,
    pub lead: String,
    pub after: Option<String>,
}

impl Manner {
    /// The preset's, or the usual one, changed by the keys that are given; `question` is the
    /// text of its file.
    pub fn of(config: &GuardConfig, question: Option<String>) -> Self {
        let mut manner = config.preset.map_or_else(Self::usual, of_preset);
        match (config.asks, &manner.prompt) {
            (Some(Asks::Question), Prompt::Conversation(_)) => {
                manner.prompt = Prompt::Question(QUESTION.into());
            }
            (Some(Asks::Conversation), Prompt::Conversation(_))
            | (None | Some(Asks::Question), _) => {}
            (Some(Asks::Conversation), _) => manner.prompt = Prompt::Conversation(Vec::new()),
        }
        if let Some(own) = question {
            match &mut manner.prompt {
                Prompt::Question(text) | Prompt::Policy(text) | Prompt::Frame(text) => *text = own,
                Prompt::Conversation(variables) => {
                    let texts = variables.iter_mut().filter(|(_, value)| value.is_string());
                    texts.for_each(|(_, value)| *value = own.clone().into());
                }
            }
        }
        if !config.harmful.is_empty() {
            manner.harmful.clone_from(&config.harmful);
        }
        if !config.harmless.is_empty() {
            manner.harmless.clone_from(&config.harmless);
        }
        if let Some(lead) = &config.lead {
            manner.lead.clone_from(lead);
        }
        if config.after.is_some() {
            manner.after.clone_from(&config.after);
        }
        manner
    }

    fn usual() -> Self {
        Self::new(Prompt::Question(QUESTION.into()), &["unsafe"], "safe")
    }

    fn new(prompt: Prompt, harmful: &[&str], harmless: &str) -> Self {
        Self {
            prompt,
            harmful: harmful.iter().map(|word| (*word).to_owned()).collect(),
            harmless: vec![harmless.to_owned()],
            lead: String::new(),
            after: None,
        }
    }

    /// Whether `question` has nothing to replace.
    pub fn takes_no_question(&self) -> bool {
        match &self.prompt {
            Prompt::Conversation(variables) => {
                !variables.iter().any(|(_, value)| value.is_string())
            }
            _ => false,
        }
    }
}

/// How a known model is asked and read.
fn of_preset(preset: Preset) -> Manner {
    let conversation = |variables: &[(&str, Value)]| {
        let own = |(name, value): &(&str, Value)| ((*name).to_owned(), value.clone());
        Prompt::Conversation(variables.iter().map(own).collect())
    };
    match preset {
        // Its template ends with the header of the answer; the blank line behind it is the
        // model's to write.
        Preset::LlamaGuard3 | Preset::LlamaGuard4 => {
            Manner { lead: "\n\n".into(), ..Manner::new(conversation(&[]), &["unsafe"], "safe") }
        }
        Preset::ShieldGemma => {
            let guideline = [("guideline", Value::from(GUIDELINE.trim_end()))];
            Manner::new(conversation(&guideline), &["Yes"], "No")
        }
        Preset::GraniteGuardian => {
            let risk = [("guardian_config", json!({"risk_name": "harm"}))];
            Manner::new(conversation(&risk), &["Yes"], "No")
        }
        Preset::Qwen3Guard => Manner {
            lead: "Safety:".into(),
            ..Manner::new(conversation(&[]), &[" Unsafe", " Controversial"], " Safe")
        },
        // Of three lines that it writes the last one.
        Preset::WildGuard => Manner {
            after: Some("Harmful response:".into()),
            ..Manner::new(Prompt::Frame(CLASSIFY.trim_end().into()), &[" yes"], " no")
        },
        Preset::GptOssSafeguard => Manner {
            after: Some("<|channel|>final<|message|>".into()),
            ..Manner::new(Prompt::Policy(QUESTION.into()), &["unsafe"], "safe")
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_given_come_before_the_preset() {
        let config = GuardConfig {
            preset: Some(Preset::Qwen3Guard),
            harmful: vec![" Unsafe".into()],
            lead: Some("Verdict:".into()),
            ..GuardConfig::default()
        };
        let manner = Manner::of(&config, None);
        assert_eq!(
            (manner.harmful.as_slice(), &*manner.lead),
            (&[" Unsafe".to_owned()][..], "Verdict:")
        );
        assert_eq!(manner.harmless, [" Safe"]);
        assert_eq!(manner.prompt, Prompt::Conversation(Vec::new()));
        let asked = GuardConfig { asks: Some(Asks::Question), ..config };
        assert!(
            matches!(Manner::of(&asked, Some("?".into())).prompt, Prompt::Question(own) if own == "?")
        );
    }

    #[test]
    fn a_question_replaces_the_instruction_of_presets_that_have_one() {
        for preset in Preset::ALL {
            let config = GuardConfig { preset: Some(preset), ..GuardConfig::default() };
            let (own, usual) =
                (Manner::of(&config, Some("Own words.".into())), Manner::of(&config, None));
            assert_eq!(own == usual, usual.takes_no_question(), "{preset:?}");
        }
    }
}
