//! Running work on the thread pool.

/// Does work on a thread of the pool. There its many small parallel parts begin at once; any
/// other thread would hand each of them over and sleep until it is done.
pub fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}
