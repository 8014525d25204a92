//! Lists the shipped policies, plugins/SHA256SUMS, as a table of Rust that holds their bytes.

use std::path::Path;
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    // When it runs, and not when it was compiled: checkouts may share what they have built.
    let manifest = env::var("CARGO_MANIFEST_DIR")?;
    let plugins = Path::new(&manifest).join("../../plugins").canonicalize()?;
    let sums = plugins.join("SHA256SUMS");
    println!("cargo::rerun-if-changed={}", sums.display());
    let mut table = String::from("[\n");
    for line in fs::read_to_string(&sums)?.lines() {
        let file = line.split_whitespace().nth(1).ok_or("SHA256SUMS: a line without a name")?;
        let name = file.strip_suffix(".wasm").ok_or("SHA256SUMS: a name without .wasm")?;
        let path = plugins.join(file);
        table += &format!("Builtin {{ name: {name:?}, bytes: include_bytes!({path:?}) }},\n");
    }
    table += "]\n";
    fs::write(Path::new(&env::var("OUT_DIR")?).join("builtin.rs"), table)?;
    Ok(())
}
