//! From a core module to a component, and what a policy component must be.

use std::panic;

use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::{Error, Result, Version};

/// Wraps `module` into a component of the version `wit`.
///
/// For modules that the caller has just compiled: the encoder was not made for
/// hostile ones. Where it panics, that is an error here.
///
/// # Errors
/// If the module was not built against the policy interface, or if the component
/// is not one that a host would accept.
pub fn componentize(module: &[u8], wit: Version) -> Result<Vec<u8>> {
    let encode = || {
        let encoder = ComponentEncoder::default().validate(true).module(module);
        let mut encoder = encoder.map_err(|error| {
            format!("the module carries no policy interface, or not all of it: {error:#}")
        })?;
        encoder.encode().map_err(|error| format!("{error:#}"))
    };
    let component =
        without_panic(encode).and_then(|component| component).map_err(Error::component)?;
    check(&component, wit)?;
    Ok(component)
}

/// What `work` returns, or the message of its panic, which is not printed.
pub(crate) fn without_panic<T>(work: impl FnOnce() -> T + panic::UnwindSafe) -> Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(work);
    panic::set_hook(hook);
    result.map_err(|panicked| {
        let text = panicked.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panicked.downcast_ref::<String>().cloned());
        format!("the tool broke off: {}", text.unwrap_or_default())
    })
}

/// Checks that `component` imports nothing and exports the interface of the version `wit`.
///
/// # Errors
/// Otherwise, with the first import if there is one.
pub fn check(component: &[u8], wit: Version) -> Result<()> {
    let problem =
        problem(component, &wit.export()).map_err(|error| Error::component(error.to_string()))?;
    problem.map_or(Ok(()), |problem| Err(Error::component(problem)))
}

fn problem(component: &[u8], interface: &str) -> wasmparser::Result<Option<String>> {
    if !Parser::is_component(component) {
        return Ok(Some("this is a core module, not a component".into()));
    }
    let mut exported = false;
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 0 => {
                if let Some(import) = imports.into_iter().next() {
                    return Ok(Some(format!(
                        "it would import `{}`, and a policy may import nothing: no files, network, clock, randomness or environment",
                        import?.name.name
                    )));
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    exported |= export?.name.name == interface;
                }
            }
            _ => {}
        }
    }
    Ok((!exported).then(|| format!("it does not export {interface}")))
}

/// Checks that none of `paths`, nor anything that looks like a folder of this
/// machine, is in the bytes: a build must not tell where it was made.
///
/// # Errors
/// The first path that is.
pub fn check_no_paths(component: &[u8], paths: &[String]) -> Result<()> {
    let common = ["/root/", "/home/", "/Users/", "registry/src", "/rustc/"];
    for path in paths.iter().map(String::as_str).chain(common) {
        if path.len() > 1 && contains(component, path.as_bytes()) {
            return Err(Error::component(format!("it holds the path `{path}` of this machine")));
        }
    }
    Ok(())
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WIT: Version = Version::NEWEST;

    /// A component whose only content is an empty export of the interface.
    fn exporting(imports: &str) -> Vec<u8> {
        let interface = WIT.export();
        wat::parse_str(format!(
            r#"(component {imports} (instance $i) (export "{interface}" (instance $i)))"#
        ))
        .unwrap()
    }

    #[test]
    fn a_component_without_imports_passes() {
        check(&exporting(""), WIT).unwrap();
    }

    #[test]
    fn a_component_of_another_version_is_refused_with_what_is_missing() {
        let error = check(&exporting(""), Version::V0_1).unwrap_err().to_string();
        assert!(error.contains("does not export risk:policy/assessor@0.1.0"), "{error}");
    }

    #[test]
    fn an_import_is_named() {
        let with = exporting(r#"(import "wasi:clocks/wall-clock@0.2.0" (instance))"#);
        let error = check(&with, WIT).unwrap_err().to_string();
        assert!(error.contains("wasi:clocks/wall-clock@0.2.0"), "{error}");
    }

    #[test]
    fn modules_and_other_components_are_refused() {
        let module = wat::parse_str("(module)").unwrap();
        assert!(check(&module, WIT).unwrap_err().to_string().contains("core module"));
        let component = wat::parse_str("(component)").unwrap();
        assert!(check(&component, WIT).unwrap_err().to_string().contains(&WIT.export()));
        assert!(componentize(&module, WIT).is_err());
    }

    #[test]
    fn a_panic_is_a_message() {
        assert_eq!(without_panic(|| 1), Ok(1));
        let message = without_panic(|| -> u8 { panic!("at {}", 7) }).unwrap_err();
        assert!(message.ends_with("at 7"), "{message}");
    }

    #[test]
    fn paths_of_the_machine_are_found() {
        let own = ["/srv/checkout".to_string()];
        assert!(check_no_paths(b"std/alloc/src/fmt.rs", &own).is_ok());
        assert!(check_no_paths(b"..../root/.cargo/x", &own).is_err());
        assert!(check_no_paths(b".../srv/checkout/plugins", &own).is_err());
    }
}
