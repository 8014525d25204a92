//! What a worker gives up before it reads a byte that nobody vouches for: files, the network,
//! other processes, privileges, and every system call that its job doesn't need.
//!
//! The two layers overlap on purpose. Landlock refuses files and connections whatever the system
//! call; the filter of system calls also covers what Landlock doesn't know, and descriptors that
//! the worker inherited.

use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
mod layers;

/// The layer that filters system calls.
#[cfg(target_os = "linux")]
const SECCOMP: &str = "seccomp";

/// What a worker has to be able to do once it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Bytes in, bytes out.
    Read,
    /// The same, and run native code that its first question brings.
    Run,
}

/// What holds a worker, in its own words, said before it reads any foreign bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Jail {
    /// Layers that are in force.
    pub holds: Vec<String>,
    /// Layers that are not, and why.
    pub missing: Vec<String>,
}

impl Jail {
    fn layer(&mut self, name: &str, entered: Result<(), String>) {
        match entered {
            Ok(()) => self.holds.push(name.to_owned()),
            Err(why) => self.missing.push(format!("{name} ({why})")),
        }
    }
}

impl std::fmt::Display for Jail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |names: &[String]| names.join(", ");
        match (self.holds.as_slice(), self.missing.as_slice()) {
            ([], missing) => write!(f, "nothing; missing: {}", list(missing)),
            (holds, []) => f.write_str(&list(holds)),
            (holds, missing) => write!(f, "{}; missing: {}", list(holds), list(missing)),
        }
    }
}

/// Locks the calling thread, and all that it starts, in for good. What this machine can't
/// enforce is left out and named.
pub(super) fn enter(task: Task) -> Jail {
    let mut jail = Jail::default();
    #[cfg(target_os = "linux")]
    {
        let inherited = layers::inherited();
        jail.layer("no privileges", layers::drop_privileges());
        jail.layer("landlock", layers::landlock());
        // Last, since it forbids the calls that the others need.
        jail.layer(SECCOMP, layers::seccomp(task, &inherited));
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = task;
        jail.layer("landlock and seccomp", Err("they are parts of Linux".into()));
    }
    jail
}

/// For one that runs native code, once it is loaded: what only that needed is over too.
///
/// # Errors
/// In words, why it can't be taken back.
pub(super) fn close(jail: &Jail) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    if jail.holds.iter().any(|layer| layer == SECCOMP) {
        return layers::close();
    }
    let _ = jail;
    Ok(())
}
