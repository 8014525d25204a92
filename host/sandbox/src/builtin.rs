//! Policies that come with the program, named `builtin:NAME` wherever a policy file is named.

use std::path::Path;

use crate::error::FileProblem;

/// What such a name begins with.
const PREFIX: &str = "builtin:";

/// One policy of the program.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// The component.
    pub bytes: &'static [u8],
}

impl Builtin {
    /// As a policy file is named.
    pub fn path(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// The name of a built-in policy, if `path` is one's.
    pub fn named(path: &Path) -> Option<&str> {
        path.to_str()?.strip_prefix(PREFIX)
    }

    /// The bytes of the policy `name` among `all`.
    ///
    /// # Errors
    /// If there is none of that name: with the nearest that there is.
    pub(crate) fn bytes(all: &[Self], name: &str) -> Result<&'static [u8], FileProblem> {
        if let Some(found) = all.iter().find(|one| one.name == name) {
            return Ok(found.bytes);
        }
        let nearest = all
            .iter()
            .map(|one| (strsim::jaro_winkler(name, one.name), one.name))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let remedy = match nearest {
            None => "this program has none; name a policy file (.wasm)".to_owned(),
            Some((_, name)) => {
                format!("the nearest is {PREFIX}{name}; host policy list shows all")
            }
        };
        Err(FileProblem::new("no policy of that name comes with the program", remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_mistyped_is_answered_with_the_nearest() {
        let all = [Builtin { name: "probe", bytes: b"p" }, Builtin { name: "judge", bytes: b"j" }];
        assert_eq!(Builtin::bytes(&all, "judge"), Ok(&b"j"[..]));
        let said = Builtin::bytes(&all, "prob").map_err(|problem| problem.to_string());
        assert!(said.is_err_and(|said| said.contains("the nearest is builtin:probe")));
        assert!(
            Builtin::bytes(&[], "probe").is_err_and(|said| said.remedy.contains("a policy file"))
        );
        assert_eq!(Builtin::named("builtin:x".as_ref()), Some("x"));
        assert_eq!(Builtin::named("plugins/x.wasm".as_ref()), None);
        assert_eq!(all[0].path(), "builtin:probe");
    }
}
