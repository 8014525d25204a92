//! The Python package: its wheel around the library that the workspace's build made, and its tests
//! with that wheel.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use hostile::{HostilePolicy, LIMITS};
use serde_json::json;

use crate::binary;

/// Where the package and its tests lie.
const PACKAGE: &str = "host/python";

/// In place of the cargo that maturin calls: a build of one package would resolve features of its
/// own and build wasmtime again, so what it asks for is taken from a build of the workspace.
const CARGO: &str = r#"#!/bin/sh
unset PYO3_PYTHON PYO3_ENVIRONMENT_SIGNATURE PYO3_CONFIG_FILE SOURCE_DATE_EPOCH
if [ "$1" = rustc ]; then
    exec "$RISK_POLICY_CARGO" build --release --locked --workspace --lib --message-format json-render-diagnostics
fi
exec "$RISK_POLICY_CARGO" "$@"
"#;

#[derive(Args)]
pub struct Python {
    /// Folder of the wheel.
    #[arg(short, long, value_name = "DIR", default_value = "target/dist")]
    output: PathBuf,
    /// Python that has maturin, and for --check numpy and pytest.
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
    /// Install the wheel into an empty folder and run the tests of the package with it.
    #[arg(long)]
    check: bool,
}

impl Python {
    /// # Errors
    /// If a tool is missing, the library doesn't build, or a test fails.
    pub fn run(&self, root: &Path) -> Result<()> {
        fs::create_dir_all(&self.output)?;
        let wheel = self.wheel(root)?;
        let bytes = wheel.metadata()?.len();
        println!("{}: {:.1} MB", wheel.display(), bytes as f64 / 1e6);
        if self.check { self.test(root, &wheel) } else { Ok(()) }
    }

    fn wheel(&self, root: &Path) -> Result<PathBuf> {
        let made = tempfile::tempdir().context("no temporary folder can be made")?;
        let cargo = made.path().join("cargo");
        fs::write(&cargo, CARGO)?;
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755))?;
        let real = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let out = made.path().join("wheel");
        let mut maturin = Command::new(&self.python);
        maturin.args(["-m", "maturin", "build", "--release", "--quiet", "--manifest-path"]);
        maturin.arg(root.join(PACKAGE).join("Cargo.toml")).arg("--out").arg(&out);
        maturin.current_dir(root).env("CARGO", &cargo).env("RISK_POLICY_CARGO", real);
        maturin.env_remove("SOURCE_DATE_EPOCH");
        self.runs(&mut maturin, "install maturin for it (pip install maturin)")?;
        let wheel = fs::read_dir(&out)?.next().context("maturin made no wheel")??;
        let to = self.output.join(wheel.file_name());
        fs::copy(wheel.path(), &to)?;
        Ok(to)
    }

    fn test(&self, root: &Path, wheel: &Path) -> Result<()> {
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let (package, hostile) = (folder.path().join("package"), folder.path().join("hostile"));
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]);
        pip.args(["--disable-pip-version-check", "--target"]).arg(&package).arg(wheel);
        self.runs(&mut pip, "install pip for it")?;
        write_hostile(&hostile)?;
        let mut pytest = Command::new(&self.python);
        pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
        pytest.current_dir(root.join(PACKAGE)).env("PYTHONPATH", &package);
        pytest.env("RISK_POLICY_TEST_HOST", fs::canonicalize(binary::host()?)?);
        pytest.env("RISK_POLICY_TEST_HOSTILE", &hostile);
        self.runs(&mut pytest, "see what it says above")
    }

    fn runs(&self, command: &mut Command, remedy: &str) -> Result<()> {
        let python = self.python.display();
        let status = command.status().with_context(|| format!("{python} can't be started"))?;
        ensure!(status.success(), "{command:?} failed; {remedy}");
        Ok(())
    }
}

/// Every policy of tests/fixtures/hostile as NAME.wasm, and what is to become of them as index.json.
fn write_hostile(folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    let mut index = Vec::new();
    for one in HostilePolicy::all()? {
        fs::write(folder.join(format!("{}.wasm", one.name)), one.bytes()?)?;
        let set: Vec<&str> = LIMITS.into_iter().chain(one.set.iter().map(String::as_str)).collect();
        index.push(json!({
            "name": one.name, "by": one.by, "exit": one.exit, "says": one.says, "set": set,
        }));
    }
    fs::write(folder.join("index.json"), serde_json::to_vec_pretty(&index)?)?;
    Ok(())
}
