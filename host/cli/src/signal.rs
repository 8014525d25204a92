//! Ctrl-C and other requests to stop: the first one stops after the current step, a second Ctrl-C
//! exits at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXCPU};
use signal_hook::iterator::Signals;

use crate::out::say;

/// What is said at the first of them. A terminal that closes sends several hangups, and the system
/// a signal a second from the soft limit on; neither is somebody in a hurry.
const REQUESTS: [(i32, &str); 4] = [
    (SIGINT, "press Ctrl-C again to end at once"),
    (SIGTERM, "a second signal ends it at once"),
    (SIGHUP, "its terminal has closed"),
    (SIGXCPU, "it has used the processor time that ulimit -t allows"),
];

/// A flag that becomes true at the first request to stop; the rank that `speaks` confirms it.
///
/// A hangup that was ignored when the program began stays ignored: so `nohup` asks for it. The others
/// count also where they were ignored, as they are in background jobs of scripts: who sends one to
/// such a run means it.
pub fn stop_flag(speaks: bool) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let handled = REQUESTS.map(|(signal, _)| signal).into_iter();
    let handled = handled.filter(|signal| *signal != SIGHUP || !hangups_are_ignored());
    let watched = Signals::new(handled).and_then(|mut signals| {
        let seen = flag.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || signals.forever().for_each(|signal| request(signal, &seen, speaks)))
    });
    if let Err(error) = watched {
        tracing::warn!("Ctrl-C will end the run at once: {error}");
    }
    // mpirun forwards this signal to all ranks; at Ctrl-C it ends them.
    #[cfg(feature = "mpi")]
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGUSR1, flag.clone()) {
        tracing::warn!("SIGUSR1 will end the run at once: {error}");
    }
    flag
}

fn request(signal: i32, flag: &AtomicBool, speaks: bool) {
    if flag.swap(true, Ordering::Relaxed) {
        if [SIGINT, SIGTERM].contains(&signal) {
            std::process::exit(130);
        }
        return;
    }
    let why = REQUESTS.iter().find(|(known, _)| *known == signal).map(|(_, why)| why);
    if let Some(why) = why.filter(|_| speaks) {
        // Behind the `^C` that a terminal shows.
        say("");
        say(format!("finishing what is in progress; {why}"));
    }
}

/// Whether this process ignores hangups; so it is taken to be where the system doesn't say.
fn hangups_are_ignored() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return true;
    };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}
