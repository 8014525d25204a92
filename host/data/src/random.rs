//! Named streams of randomness: every use draws from its own ChaCha generator,
//! keyed by the run's seed, a name and an index, so that no use disturbs another
//! and any of them can be started anew at any index.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The generator of the stream `name` number `index` under `seed`.
pub fn stream(seed: u64, name: &str, index: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(index.to_le_bytes());
    hash.update(name.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn a_stream_depends_on_seed_name_and_index_only() {
        let first = |seed, name, index| stream(seed, name, index).next_u64();
        assert_eq!(first(1, "batches", 0), first(1, "batches", 0));
        assert_ne!(first(1, "batches", 0), first(2, "batches", 0));
        assert_ne!(first(1, "batches", 0), first(1, "mix", 0));
        assert_ne!(first(1, "batches", 0), first(1, "batches", 1));
    }
}
