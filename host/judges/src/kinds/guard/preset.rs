//! Guard models that people use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

impl Preset {
    #[cfg(test)]
    pub const ALL: [Self; 7] = [
        Self::LlamaGuard3,
        Self::LlamaGuard4,
        Self::ShieldGemma,
        Self::WildGuard,
        Self::GraniteGuardian,
        Self::GptOssSafeguard,
        Self::Qwen3Guard,
    ];

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
            Self::GptOssSafeguard => Some((
                "gpt-oss",
                "serve it and name it in an endpoint judge, whose rubric it follows",
            )),
            Self::LlamaGuard3
            | Self::ShieldGemma
            | Self::WildGuard
            | Self::GraniteGuardian
            | Self::Qwen3Guard => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_configuration() {
        for preset in Preset::ALL {
            assert_eq!(serde_json::to_value(preset).expect("text"), preset.name());
        }
    }
}
