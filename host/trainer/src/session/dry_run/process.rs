//! What the system says of memory, where it says it (Linux).

use std::fs;

/// Bytes of this process in memory now, and at most so far.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    pub now: u64,
    pub peak: u64,
}

pub fn resident() -> Option<Resident> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(Resident { now: kibibytes(&status, "VmRSS:")?, peak: kibibytes(&status, "VmHWM:")? })
}

/// Bytes that programs can still get without swapping.
pub fn available() -> Option<u64> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    kibibytes(&memory, "MemAvailable:")
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    let number: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(number << 10)
}
