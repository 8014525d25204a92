//! The model families that can be trained, one file each.

mod experts;
mod gemma;
mod gemma2;
mod gemma3;
mod granite;
mod granite4;
mod llama;
mod mistral;
mod mixtral;
mod olmo2;
mod olmo3;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod relatives;
mod smollm3;
mod window;

use crate::config::Family;

pub use gemma::Gemma;
pub use gemma2::Gemma2;
pub use gemma3::Gemma3;
pub use granite::Granite;
pub use granite4::Granite4;
pub use llama::Llama;
pub use mistral::Mistral;
pub use mixtral::Mixtral;
pub use olmo2::Olmo2;
pub use olmo3::Olmo3;
pub use phi3::Phi3;
pub use qwen2::Qwen2;
pub use qwen3::Qwen3;
pub use qwen3_moe::Qwen3Moe;
pub use smollm3::SmolLm3;

/// All families, in the order of error messages.
pub const FAMILIES: [&dyn Family; 15] = [
    &Llama, &Mistral, &Qwen2, &Qwen3, &Phi3, &Gemma, &Gemma2, &Gemma3, &Olmo2, &Olmo3, &SmolLm3,
    &Granite, &Granite4, &Mixtral, &Qwen3Moe,
];

/// The family with that `model_type`.
pub fn find(name: &str) -> Option<&'static dyn Family> {
    FAMILIES.into_iter().find(|family| family.name() == name)
}

/// The family whose GGUF files name that architecture; several may name the same one, of which one has
/// experts. A Mistral is written as a Llama, an OLMo 3 as an OLMo 2.
pub(crate) fn find_gguf(architecture: &str, has_experts: bool) -> Option<&'static dyn Family> {
    let mut named = FAMILIES.into_iter().filter(|family| family.gguf_name() == architecture);
    named.find(|family| family.expert_names().is_some() == has_experts)
}

/// Names of all families, comma-separated.
pub(crate) fn names() -> String {
    FAMILIES.map(Family::name).join(", ")
}

/// What is wrong with a name that isn't a family's, with the nearest one where that can be told.
pub(crate) fn unknown(name: &str) -> String {
    let nearest = match relatives::nearest(name) {
        None => String::new(),
        Some((nearest, "")) => format!(": the nearest by name is {nearest}"),
        Some((nearest, differs)) => format!(": the nearest is {nearest}, but it has {differs}"),
    };
    format!("is `{name}`, which is not supported{nearest}")
}

/// The same of an architecture of GGUF: the family may be known without experts alone.
pub(crate) fn unknown_gguf(name: &str, has_experts: bool) -> String {
    match FAMILIES.into_iter().find(|family| family.gguf_name() == name) {
        Some(family) if has_experts => {
            format!("is `{name}` with experts, which is not supported: {} has none", family.name())
        }
        Some(family) => {
            format!(
                "is `{name}` without experts, which is not supported: {} has some",
                family.name()
            )
        }
        None => unknown(name),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{Config, Target};

    /// The smallest Llama that still has grouped keys.
    pub(crate) fn tiny() -> Config {
        Llama::sized(97, [32, 48], 2, [4, 2])
    }

    #[test]
    fn every_family_has_every_projection_once_and_a_name_of_its_own() {
        for (index, family) in FAMILIES.iter().enumerate() {
            let modules = family.modules().iter();
            let mut parts: Vec<Target> = modules.flat_map(|module| module.parts).copied().collect();
            parts.sort();
            assert_eq!(parts, Target::ALL, "{family:?}");
            assert_eq!(find(family.name()), Some(*family));
            assert!(FAMILIES[..index].iter().all(|other| other.class() != family.class()));
        }
        assert_eq!(find("gpt2"), None);
        let gguf = |name, experts| find_gguf(name, experts).map(Family::name);
        assert_eq!(gguf("llama", false), Some("llama"));
        assert_eq!(gguf("llama", true), Some("mixtral"));
        assert_eq!(gguf("qwen3moe", true), Some("qwen3_moe"));
        assert_eq!((gguf("qwen3moe", false), gguf("qwen3", true)), (None, None));
        assert_eq!(
            (gguf("olmo2", false), gguf("gemma3", false)),
            (Some("olmo2"), Some("gemma3_text"))
        );
    }

    #[test]
    fn what_is_unknown_is_answered_with_the_nearest() {
        for (name, words) in [
            ("gemma3n", "the nearest is gemma3_text, but it has embeddings per layer"),
            ("deepseek_v3", "the nearest is qwen3_moe, but it has shared experts"),
            ("qwen2_moe", "the nearest is qwen3_moe, but it has a shared expert"),
            ("command-r", "llama, but it has layer norms"),
            ("qwen3_omni", "the nearest by name is qwen3"),
        ] {
            assert!(unknown(name).contains(words), "{}", unknown(name));
        }
        assert_eq!(unknown("t5"), "is `t5`, which is not supported");
        for (beginnings, nearest, _) in relatives::RELATIVES {
            assert!(find(nearest).is_some(), "{beginnings:?}");
        }
    }
}
