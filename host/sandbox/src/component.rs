//! Decides whether bytes are a policy component, before any of them is compiled.

use crate::{error::FileProblem, imports, limits::Limits};
use host_contract::{Version, exported_version};
use host_files::text::clean;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// The export that makes a component a policy.
pub(crate) struct Assessor {
    /// Its name in the component.
    pub name: String,
    /// The contract that the component was built for.
    pub version: Version,
}

/// Checks kind, validity, imports and exports, and finds what to call.
///
/// # Errors
/// The first problem found, with what to do about it.
pub(crate) fn inspect(
    bytes: &[u8],
    features: WasmFeatures,
    limits: &Limits,
) -> Result<Assessor, FileProblem> {
    check_size(bytes.len() as u64, limits)?;
    check_kind(bytes)?;
    validate(bytes, features)?;
    let surface = surface(bytes).map_err(|e| broken(&e))?;
    if !surface.imports.is_empty() {
        return Err(imports::refuse(&surface.imports));
    }
    assessor(&surface.exports)
}

pub(crate) fn check_size(bytes: u64, limits: &Limits) -> Result<(), FileProblem> {
    if bytes <= limits.component_bytes {
        return Ok(());
    }
    let allowed = limits.component_bytes;
    Err(FileProblem::new(
        format!("it has {bytes} bytes, and {allowed} are allowed"),
        "strip debug information from it, or raise limits.component_bytes",
    ))
}

/// Tells a component from the things that people take for one.
fn check_kind(bytes: &[u8]) -> Result<(), FileProblem> {
    let build = "a policy is a WebAssembly component (.wasm)";
    if bytes.starts_with(&COMPONENT) {
        return Ok(());
    }
    if bytes.is_empty() {
        return Err(FileProblem::new("the file is empty", "build or copy it again"));
    }
    if bytes.starts_with(&MODULE) {
        return Err(FileProblem::new(
            "it is a WebAssembly core module, not a component",
            "turn it into one: wasm-tools component new MODULE.wasm -o POLICY.wasm",
        ));
    }
    if bytes.len() < 8 && COMPONENT.starts_with(&bytes[..bytes.len().min(4)]) {
        return Err(FileProblem::new("the file is cut short", "build or copy it again"));
    }
    if bytes.starts_with(b"\0asm") {
        return Err(FileProblem::new(
            "it is WebAssembly of a version that this host does not know",
            "build it with current component tools",
        ));
    }
    if wasmtime::Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err(FileProblem::new(
            "it is precompiled native code, which can't be sandboxed and is never loaded",
            "give the component (.wasm) it was compiled from",
        ));
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let start = start.trim_start();
    if start.starts_with("(component") || start.starts_with("(module") || start.starts_with(";;") {
        return Err(FileProblem::new(
            "it is WebAssembly text",
            "turn it into a binary: wasm-tools parse POLICY.wat -o POLICY.wasm",
        ));
    }
    if start.starts_with("version https://git-lfs") {
        return Err(FileProblem::new("it is a Git LFS pointer", "fetch the file: git lfs pull"));
    }
    Err(FileProblem::new("it is not WebAssembly", build))
}

fn validate(bytes: &[u8], features: WasmFeatures) -> Result<(), FileProblem> {
    match Validator::new_with_features(features).validate_all(bytes) {
        Ok(_) => Ok(()),
        Err(e) => Err(broken(&e)),
    }
}

fn broken(e: &wasmparser::BinaryReaderError) -> FileProblem {
    let what = clean(e.message(), 200);
    if what.contains("unexpected end") {
        let problem = format!("the file is cut short or damaged (byte {}: {what})", e.offset());
        return FileProblem::new(problem, "build or copy it again");
    }
    let problem = format!("it is not a valid component (byte {}: {what})", e.offset());
    let of_features = ["enabled", "disallowed", "feature", "multiple memories"];
    let feature = of_features.iter().any(|word| what.contains(word));
    let remedy = if feature {
        "rebuild it for plain WebAssembly with SIMD, which is all that policies get"
    } else {
        "copy it again, or rebuild it with current component tools"
    };
    FileProblem::new(problem, remedy)
}

/// Names at the outside of a component.
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
}

fn surface(bytes: &[u8]) -> wasmparser::Result<Surface> {
    let mut surface = Surface { imports: Vec::new(), exports: Vec::new() };
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    surface.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    surface.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

fn assessor(exports: &[String]) -> Result<Assessor, FileProblem> {
    let served = exports.iter().filter_map(|name| {
        Some(Assessor { name: name.clone(), version: Version::of_export(name)? })
    });
    if let Some(newest) = served.max_by_key(|one| one.version) {
        return Ok(newest);
    }
    let remedy = format!("build it against {}, world policy", Version::NEWEST.wit());
    if let Some(version) = exports.iter().find_map(|name| exported_version(name)) {
        let version = clean(version, 40);
        return Err(FileProblem::new(
            format!("it speaks risk:policy@{version}, and this host speaks {}", Version::served()),
            remedy,
        ));
    }
    let names: Vec<String> = exports.iter().take(4).map(|name| clean(name, 100)).collect();
    let instead = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    let newest = Version::NEWEST;
    Err(FileProblem::new(
        format!(
            "it exports {instead} and not risk:policy/assessor, so it is no policy of {newest}"
        ),
        remedy,
    ))
}
