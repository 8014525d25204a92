//! What the operating system knows of a process (Linux).

use std::process::Command;

use super::Outcome;

/// Runs this program once per list of arguments.
pub fn each(measurements: &[&[&str]]) -> Outcome<()> {
    for arguments in measurements {
        let status = Command::new(std::env::current_exe()?).args(*arguments).status()?;
        if !status.success() {
            return Err(format!("the measurement {arguments:?} failed").into());
        }
    }
    Ok(())
}

/// Largest resident set so far.
pub fn peak_mib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .ok_or("no VmHWM in /proc/self/status")?;
    Ok(kibibytes.parse::<u64>()? / 1024)
}

/// Seconds on processors so far, of all threads.
pub fn busy() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is a name that may hold anything; user and system time are
    // the 12th and 13th after it, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> Outcome<f64> {
        Ok(fields.next().ok_or("too few fields in /proc/self/stat")?.parse()?)
    };
    Ok((ticks()? + ticks()?) / 100.0)
}
