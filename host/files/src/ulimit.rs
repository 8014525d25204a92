//! Limits of this process.

use std::io;

pub use rlimit::Resource;

/// Limits this process to less than it may use now, never to more, which the system would refuse.
///
/// # Errors
/// When the system refuses all the same.
pub fn restrict(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let (_, most) = resource.get()?;
    resource.set(soft.min(most), hard.min(most))
}
