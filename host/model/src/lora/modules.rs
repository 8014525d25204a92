//! Modules by name, as peft's `target_modules`, `rank_pattern` and `alpha_pattern` mean them.

use regex::Regex;

/// Modules by the ends of their names, or by an expression over whole names.
#[derive(Debug, Clone)]
pub enum Modules {
    /// Every linear layer of the blocks.
    All,
    /// A name is a module's, or the end of it after a point.
    Ends(Vec<String>),
    /// The whole name.
    Matching(Regex),
}

impl Modules {
    /// What a text in place of a list means: `all-linear`, or an expression over whole names.
    ///
    /// # Errors
    /// The expression can't be read.
    pub fn of_text(text: &str) -> Result<Self, regex::Error> {
        if text == "all-linear" {
            return Ok(Self::All);
        }
        Self::matching(text)
    }

    /// By an expression over whole names.
    ///
    /// # Errors
    /// The expression can't be read.
    pub fn matching(text: &str) -> Result<Self, regex::Error> {
        Regex::new(&format!("^(?:{text})$")).map(Self::Matching)
    }

    /// Whether `module` (`model.layers.0.self_attn.q_proj`) is among them.
    pub fn hold(&self, module: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ends(names) => names.iter().any(|name| ends(module, name)),
            Self::Matching(expression) => expression.is_match(module),
        }
    }
}

/// Whether a module is called `name`, or its name ends so after a point.
pub fn ends(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// A key of `rank_pattern` or `alpha_pattern`: an expression that the end of a name matches.
///
/// # Errors
/// The expression can't be read.
pub fn pattern(key: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!(r"^(.*\.)?({key})$"))
}
