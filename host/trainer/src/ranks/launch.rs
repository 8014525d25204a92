//! How this process was started: by itself, or by mpirun as one of several.

use super::Ranks;
use crate::error::Result;

/// What a launcher says of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    pub rank: usize,
    pub size: usize,
}

/// Where launchers of MPI programs say rank and size: Open MPI's mpirun, and those that
/// speak PMI (MPICH, Slurm).
const VARIABLES: [(&str, &str); 2] =
    [("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE")];

/// None for a process that was started by itself.
pub fn launched() -> Option<Launched> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    VARIABLES
        .iter()
        .find_map(|(rank, size)| Some(Launched { rank: number(rank)?, size: number(size)? }))
}

/// The ranks that this process was started as one of.
///
/// # Errors
/// Several processes of a program that was built without MPI.
pub fn join() -> Result<Ranks> {
    match launched() {
        Some(launched) if launched.size > 1 => several(launched),
        _ => Ok(Ranks::alone()),
    }
}

#[cfg(feature = "mpi")]
fn several(_: Launched) -> Result<Ranks> {
    super::mpi::Mpi::start().map(|link| Ranks::linked(Box::new(link)))
}

#[cfg(not(feature = "mpi"))]
fn several(launched: Launched) -> Result<Ranks> {
    Err(crate::error::Error::NoMpi { size: launched.size })
}
