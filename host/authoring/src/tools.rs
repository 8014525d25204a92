//! Finding and running compilers.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// A program in the folders of `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The program, or the newest of `program-NUMBER`, as Debian calls versions of LLVM.
pub(crate) fn versions(program: &str) -> impl Iterator<Item = PathBuf> {
    let numbered: Vec<String> = (11..=40).rev().map(|v| format!("{program}-{v}")).collect();
    std::iter::once(program.to_owned()).chain(numbered).filter_map(|name| find(&name))
}

/// Runs `command`; `what` is what it does, in the words of an error. What it prints
/// goes to stderr: stdout is for data.
pub(crate) fn run(command: &mut Command, what: impl Into<String>) -> Result<()> {
    command.stdin(Stdio::null()).stdout(io::stderr());
    let status = command.status().map_err(not_run(command))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { what: what.into(), program: program(command), status })
}

/// Runs `command` and returns what it prints; its errors go to stderr.
pub(crate) fn output(command: &mut Command, what: impl Into<String>) -> Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(not_run(command))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Failed { what: what.into(), program: program(command), status: output.status })
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn not_run(command: &Command) -> impl FnOnce(io::Error) -> Error {
    let program = program(command);
    move |source| Error::Run { program, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn programs_are_found_run_and_their_failure_is_told() {
        assert!(find("sh").unwrap().is_absolute());
        assert!(find("no-such-program").is_none());
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        run(&mut sh("exit 0"), "nothing").unwrap();
        assert_eq!(output(&mut sh("echo hi"), "greeting").unwrap(), "hi\n");
        let failed = run(&mut sh("exit 3"), "compiling `one`").unwrap_err();
        let text = failed.to_string();
        assert!(text.starts_with("compiling `one` failed"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        let absent = run(&mut Command::new("no-such-program"), "x").unwrap_err();
        assert!(absent.to_string().contains("`no-such-program` can't be run"));
    }
}
