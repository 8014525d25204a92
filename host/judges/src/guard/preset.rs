//! Guard models that people use: how each is asked, and how its verdict begins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::{Asks, GuardConfig};

/// What the guidelines and policies of models that take one say.
const GUIDELINE: &str = include_str!("guideline.md");
/// What WildGuard is told to do.
const CLASSIFY: &str = include_str!("classify.md");
/// What the model is asked where no preset asks otherwise.
const QUESTION: &str = include_str!("../question.md");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    #[serde(rename = "llama-guard-3")]
    LlamaGuard3,
    #[serde(rename = "llama-guard-4")]
    LlamaGuard4,
    #[serde(rename = "shieldgemma")]
    ShieldGemma,
    #[serde(rename = "wildguard")]
    WildGuard,
    #[serde(rename = "granite-guardian")]
    GraniteGuardian,
    #[serde(rename = "gpt-oss-safeguard")]
    GptOssSafeguard,
    #[serde(rename = "qwen3guard")]
    Qwen3Guard,
}

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
        let mut manner = config.preset.map_or_else(Self::usual, Preset::manner);
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

impl Preset {
    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaGuard3 => "llama-guard-3",
            Self::LlamaGuard4 => "llama-guard-4",
            Self::ShieldGemma => "shieldgemma",
            Self::WildGuard => "wildguard",
            Self::GraniteGuardian => "granite-guardian",
            Self::GptOssSafeguard => "gpt-oss-safeguard",
            Self::Qwen3Guard => "qwen3guard",
        }
    }

    /// Family of the model, and what to do instead, where this build can't load it.
    pub fn not_loaded_yet(self) -> Option<(&'static str, &'static str)> {
        let others = "take llama-guard-3, wildguard or qwen3guard, or score the rows elsewhere and \
                      give the scores as a file";
        match self {
            Self::LlamaGuard4 => Some(("Llama 4", others)),
            Self::ShieldGemma => Some(("Gemma 2", others)),
            Self::GraniteGuardian => Some(("Granite", others)),
            Self::GptOssSafeguard => Some((
                "gpt-oss",
                "serve it and name it in an endpoint judge, whose rubric it follows",
            )),
            Self::LlamaGuard3 | Self::WildGuard | Self::Qwen3Guard => None,
        }
    }

    fn manner(self) -> Manner {
        let conversation = |variables: &[(&str, Value)]| {
            let own = |(name, value): &(&str, Value)| ((*name).to_owned(), value.clone());
            Prompt::Conversation(variables.iter().map(own).collect())
        };
        match self {
            // Its template ends with the header of the answer; the blank line behind it is the
            // model's to write.
            Self::LlamaGuard3 | Self::LlamaGuard4 => Manner {
                lead: "\n\n".into(),
                ..Manner::new(conversation(&[]), &["unsafe"], "safe")
            },
            Self::ShieldGemma => {
                let guideline = [("guideline", Value::from(GUIDELINE.trim_end()))];
                Manner::new(conversation(&guideline), &["Yes"], "No")
            }
            Self::GraniteGuardian => {
                let risk = [("guardian_config", json!({"risk_name": "harm"}))];
                Manner::new(conversation(&risk), &["Yes"], "No")
            }
            Self::Qwen3Guard => Manner {
                lead: "Safety:".into(),
                ..Manner::new(conversation(&[]), &[" Unsafe", " Controversial"], " Safe")
            },
            // Of three lines that it writes the last one.
            Self::WildGuard => Manner {
                after: Some("Harmful response:".into()),
                ..Manner::new(Prompt::Frame(CLASSIFY.trim_end().into()), &[" yes"], " no")
            },
            Self::GptOssSafeguard => Manner {
                after: Some("<|channel|>final<|message|>".into()),
                ..Manner::new(Prompt::Policy(QUESTION.into()), &["unsafe"], "safe")
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Preset; 7] = [
        Preset::LlamaGuard3,
        Preset::LlamaGuard4,
        Preset::ShieldGemma,
        Preset::WildGuard,
        Preset::GraniteGuardian,
        Preset::GptOssSafeguard,
        Preset::Qwen3Guard,
    ];

    #[test]
    fn names_are_those_of_the_configuration() {
        for preset in ALL {
            assert_eq!(serde_json::to_value(preset).expect("text"), preset.name());
        }
    }

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
        for preset in ALL {
            let config = GuardConfig { preset: Some(preset), ..GuardConfig::default() };
            let (own, usual) =
                (Manner::of(&config, Some("Own words.".into())), Manner::of(&config, None));
            assert_eq!(own == usual, usual.takes_no_question(), "{preset:?}");
        }
    }
}
