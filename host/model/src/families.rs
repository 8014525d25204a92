//! The model families that can be trained, one file each.

mod experts;
mod llama;
mod mistral;
mod mixtral;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod window;

use crate::config::Family;

pub use llama::Llama;
pub use mistral::Mistral;
pub use mixtral::Mixtral;
pub use phi3::Phi3;
pub use qwen2::Qwen2;
pub use qwen3::Qwen3;
pub use qwen3_moe::Qwen3Moe;

/// All families, in the order of error messages.
pub const FAMILIES: [&dyn Family; 7] =
    [&Llama, &Mistral, &Qwen2, &Qwen3, &Phi3, &Mixtral, &Qwen3Moe];

/// The family of that name.
pub fn find(name: &str) -> Option<&'static dyn Family> {
    FAMILIES.into_iter().find(|family| family.name() == name)
}

/// The family whose GGUF files name that architecture; several may name the same one, of which one has
/// experts. A Mistral is written as a Llama.
pub(crate) fn find_gguf(architecture: &str, has_experts: bool) -> Option<&'static dyn Family> {
    let mut named = FAMILIES.into_iter().filter(|family| family.gguf_name() == architecture);
    named.find(|family| family.expert_names().is_some() == has_experts)
}

/// Why the family of that name, or architecture of GGUF, isn't served, where that can be said in a few words.
pub(crate) fn unserved(name: &str) -> String {
    experts::unserved(name).map_or_else(String::new, |why| format!(": {why}"))
}

/// Names of all families, comma-separated.
pub(crate) fn names() -> String {
    FAMILIES.map(Family::name).join(", ")
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
        assert!(unserved("qwen2_moe").contains("shared expert") && unserved("gpt2").is_empty());
    }
}
