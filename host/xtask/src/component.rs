//! From a core module to a component, and what a policy component must be.

use anyhow::{Context, Result, bail, ensure};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The interface that a policy exports.
const INTERFACE: &str = "risk:policy/assessor@0.1.0";

/// Wraps `module` into a component.
///
/// # Errors
/// If the module was not built against the policy interface, or if the component
/// is not one that a host would accept.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>> {
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .context("the module carries no policy interface: is `risk_policy::export!` called?")?
        .encode()?;
    check(&component)?;
    Ok(component)
}

/// Checks that `component` imports nothing and exports the policy interface.
pub fn check(component: &[u8]) -> Result<()> {
    ensure!(
        Parser::is_component(component),
        "this is a core module, not a component"
    );
    let mut exported = false;
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 0 => {
                if let Some(import) = imports.into_iter().next() {
                    bail!(
                        "the component imports `{}`: a policy may import nothing",
                        import?.name.name
                    );
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    exported |= export?.name.name == INTERFACE;
                }
            }
            _ => {}
        }
    }
    ensure!(exported, "the component does not export {INTERFACE}");
    Ok(())
}

/// Checks that none of `paths`, nor anything that looks like a folder of this
/// machine, is in the bytes: a build must not tell where it was made.
pub fn check_no_paths(component: &[u8], paths: &[String]) -> Result<()> {
    let common = ["/root/", "/home/", "/Users/", "registry/src", "/rustc/"];
    for path in paths.iter().map(String::as_str).chain(common) {
        if path.len() > 1 && contains(component, path.as_bytes()) {
            bail!("the component holds the path `{path}` of this machine");
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

    /// A component whose only content is an empty export of the interface.
    fn exporting(imports: &str) -> Vec<u8> {
        wat::parse_str(format!(
            r#"(component {imports} (instance $i) (export "{INTERFACE}" (instance $i)))"#
        ))
        .unwrap()
    }

    #[test]
    fn a_component_without_imports_passes() {
        check(&exporting("")).unwrap();
    }

    #[test]
    fn an_import_is_named() {
        let with = exporting(r#"(import "wasi:clocks/wall-clock@0.2.0" (instance))"#);
        let error = check(&with).unwrap_err().to_string();
        assert!(error.contains("wasi:clocks/wall-clock@0.2.0"), "{error}");
    }

    #[test]
    fn modules_and_other_components_are_refused() {
        let module = wat::parse_str("(module)").unwrap();
        assert!(
            check(&module)
                .unwrap_err()
                .to_string()
                .contains("core module")
        );
        let component = wat::parse_str("(component)").unwrap();
        assert!(
            check(&component)
                .unwrap_err()
                .to_string()
                .contains(INTERFACE)
        );
        assert!(componentize(&module).is_err());
    }

    #[test]
    fn paths_of_the_machine_are_found() {
        let own = ["/srv/checkout".to_string()];
        assert!(check_no_paths(b"std/alloc/src/fmt.rs", &own).is_ok());
        assert!(check_no_paths(b"..../root/.cargo/x", &own).is_err());
        assert!(check_no_paths(b".../srv/checkout/plugins", &own).is_err());
    }
}
