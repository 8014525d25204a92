//! Building policies in C: clang, wasm-ld, and no C library.
//!
//! A C library for WebAssembly asks its host for files, clocks and an environment.
//! The few functions of one that the bindings need come with the template instead.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;

use crate::{Error, Language, Result, Version, component, generated, tools};

const TARGET: &str = "wasm32-unknown-unknown";
const INSTALL: &str = "install LLVM 13 or later, on Debian `apt-get install clang lld`";

/// Folders of a project whose .c files are compiled.
const SOURCES: [&str; 2] = ["src", "lib"];

pub(crate) fn build(folder: &Path, wit: Version) -> Result<Vec<u8>> {
    let (clang, linker) = tools_in_path()?;
    let into = generated::settings_schema(folder, Language::C)?;
    bindings(&folder.join("wit"), wit, &into)?;

    let objects = generated::workshop(folder)?.join("objects");
    if objects.exists() {
        fs::remove_dir_all(&objects).map_err(Error::io(&objects))?;
    }
    fs::create_dir(&objects).map_err(Error::io(&objects))?;
    let mut linked = vec![into.join("policy_component_type.o")];
    let compiled = sources(folder)?.into_iter().map(|file| (file, true));
    let all = compiled.chain([(into.join("policy.c"), false)]);
    for (number, (file, is_own)) in all.enumerate() {
        let object = objects.join(format!("{number}.o"));
        compile(&clang, folder, &into, &file, is_own, &object)?;
        linked.push(object);
    }
    let module = objects.join("module.wasm");
    link(&linker, &linked, &module)?;
    let module = fs::read(&module).map_err(Error::io(&module))?;
    component::componentize(&module, wit)
}

fn compile(
    clang: &Path,
    folder: &Path,
    generated: &Path,
    file: &Path,
    is_own: bool,
    object: &Path,
) -> Result<()> {
    let mut command = Command::new(clang);
    command
        .current_dir(folder)
        .arg(format!("--target={TARGET}"))
        .args(["-std=c11", "-O2", "-msimd128", "-mbulk-memory"])
        .args(["-ffreestanding", "-nostdlibinc"])
        // A component doesn't tell where it was made.
        .arg(format!("-ffile-prefix-map={}=.", folder.display()))
        .args(is_own.then_some(["-Wall", "-Wextra"]).iter().flatten())
        .args(SOURCES.iter().flat_map(|name| ["-I", name]))
        .args([Path::new("-I"), generated])
        .args([Path::new("-c"), file, Path::new("-o"), object]);
    let shown = file.strip_prefix(folder).unwrap_or(file);
    tools::run(&mut command, format!("compiling {}", shown.display()))
}

fn link(linker: &Path, objects: &[PathBuf], module: &Path) -> Result<()> {
    let mut command = Command::new(linker);
    command
        .args(["--no-entry", "--gc-sections", "--strip-debug"])
        // An overflowing stack runs into the start of memory and traps, rather than
        // into the data.
        .args(["--stack-first", "-z", "stack-size=131072"])
        .args(objects)
        .args([Path::new("-o"), module]);
    tools::run(&mut command, "linking")
}

/// The .c files of the project, in a fixed order.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in SOURCES {
        let path = folder.join(name);
        for entry in path.read_dir().map_err(Error::io(&path))? {
            let file = entry.map_err(Error::io(&path))?.path();
            if file.extension().is_some_and(|extension| extension == "c") {
                files.push(file);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Writes policy.h, policy.c and policy_component_type.o, with which C meets the
/// interface in `wit`. Its types begin with `exports_policy_`.
fn bindings(wit: &Path, version: Version, into: &Path) -> Result<()> {
    let broken = |problem: String| Error::Product { path: wit.to_path_buf(), problem };
    let generate = || -> Result<Files, String> {
        let text = |error| format!("{error:#}");
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_dir(wit).map_err(text)?;
        let world = resolve.select_world(&[package], Some("policy")).map_err(text)?;
        let options = wit_bindgen_c::Opts {
            rename: vec![(version.export(), "policy".to_owned())],
            ..Default::default()
        };
        let mut files = Files::default();
        let generated = options.build().generate(&mut resolve, world, &mut files);
        generated.map_err(text)?;
        Ok(files)
    };
    let files = component::without_panic(AssertUnwindSafe(generate))
        .and_then(|files| files)
        .map_err(broken)?;
    for (name, bytes) in files.iter() {
        let path = into.join(name);
        fs::write(&path, bytes).map_err(Error::io(&path))?;
    }
    Ok(())
}

/// A clang that knows WebAssembly (Apple's doesn't) and a linker for it.
fn tools_in_path() -> Result<(PathBuf, PathBuf)> {
    let missing = |tool| Error::Missing { language: Language::C, tool, install: INSTALL };
    let clang = tools::versions("clang")
        .find(|clang| {
            let mut command = Command::new(clang);
            let targets = tools::output(command.arg("--print-targets"), "asking for targets");
            targets.is_ok_and(|targets| targets.contains("wasm32"))
        })
        .ok_or(missing("a clang with the target wasm32"))?;
    // Its own first: `/usr/lib/llvm-19/bin` is in no PATH.
    let mut command = Command::new(&clang);
    let own = tools::output(command.arg("--print-prog-name=wasm-ld"), "asking for wasm-ld");
    let linker = own
        .ok()
        .map(|path| PathBuf::from(path.trim()))
        .filter(|path| path.is_absolute() && path.is_file())
        .or_else(|| tools::versions("wasm-ld").next())
        .ok_or(missing("the linker wasm-ld"))?;
    Ok((clang, linker))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bindings_come_from_the_interface_and_nothing_else() {
        let into = tempfile::tempdir().unwrap();
        for version in Version::ALL {
            let wit = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(format!("../../wit/v{}", version.number()));
            bindings(&wit, version, into.path()).unwrap();
            let header = fs::read_to_string(into.path().join("policy.h")).unwrap();
            assert!(header.contains("bool exports_policy_assess("));
            assert_eq!(header.contains("sample_loss"), version == Version::V0_2);
            assert!(into.path().join("policy_component_type.o").is_file());
        }

        let broken = tempfile::tempdir().unwrap();
        fs::write(broken.path().join("policy.wit"), "interface {").unwrap();
        assert!(bindings(broken.path(), Version::NEWEST, into.path()).is_err());
        fs::write(broken.path().join("policy.wit"), "package a:b; world c {}").unwrap();
        let error = bindings(broken.path(), Version::NEWEST, into.path()).unwrap_err();
        assert!(error.to_string().contains("policy"), "{error}");
    }

    #[test]
    fn sources_are_the_c_files_of_both_folders() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["src/b.c", "src/a.c", "src/a.h", "lib/memory.c"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let names: Vec<_> = sources(folder.path())
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(folder.path()).unwrap().to_path_buf())
            .collect();
        let expected = ["lib/memory.c", "src/a.c", "src/b.c"].map(PathBuf::from);
        assert_eq!(names, expected);
    }
}
