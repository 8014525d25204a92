//! How far training has come, for a thread that must not be too far ahead of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Progress {
    step: Mutex<u64>,
    moved: Condvar,
}

impl Progress {
    /// Training is at this step.
    pub fn come_to(&self, step: u64) {
        *self.lock() = step;
        self.moved.notify_all();
    }

    /// Waits until training is at this step; false if it is `over` first.
    pub fn wait_until(&self, step: u64, over: &AtomicBool) -> bool {
        let mut at = self.lock();
        while *at < step && !over.load(Ordering::Relaxed) {
            let woken = self.moved.wait(at);
            at = woken.unwrap_or_else(PoisonError::into_inner);
        }
        !over.load(Ordering::Relaxed)
    }

    /// Tells what waits that it is over.
    pub fn end(&self, over: &AtomicBool) {
        // Under the lock, so that no one is between looking and waiting.
        let at = self.lock();
        over.store(true, Ordering::Relaxed);
        self.moved.notify_all();
        drop(at);
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
