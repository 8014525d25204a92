//! The model families that can be trained, one file each.

mod llama;
mod mistral;
mod phi3;
mod qwen2;
mod qwen3;
mod window;

use crate::config::Family;

pub use llama::Llama;
pub use mistral::Mistral;
pub use phi3::Phi3;
pub use qwen2::Qwen2;
pub use qwen3::Qwen3;

/// All families, in the order of error messages.
pub const FAMILIES: [&dyn Family; 5] = [&Llama, &Mistral, &Qwen2, &Qwen3, &Phi3];

/// The family of that name.
pub fn find(name: &str) -> Option<&'static dyn Family> {
    FAMILIES.into_iter().find(|family| family.name() == name)
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
    }
}
