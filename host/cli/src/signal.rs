//! Ctrl-C: the first one stops after the current step, the second one exits at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that becomes true at the first Ctrl-C (or SIGTERM); the rank that `speaks` confirms it.
pub fn stop_flag(speaks: bool) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = flag.clone();
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        if speaks {
            eprintln!("\nfinishing what is in progress; press Ctrl-C again to end at once");
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!("Ctrl-C will end the run at once: {error}");
    }
    // mpirun forwards this signal to all ranks; at Ctrl-C it ends them.
    #[cfg(feature = "mpi")]
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGUSR1, flag.clone()) {
        tracing::warn!("SIGUSR1 will end the run at once: {error}");
    }
    flag
}
