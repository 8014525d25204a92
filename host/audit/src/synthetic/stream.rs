//! Named streams of numbers: the same name, the same numbers, on every machine.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

/// Uniform numbers; no logarithm or cosine, whose last bit differs between machines.
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    pub(super) fn new(seed: u64, name: &str, place: &[u64]) -> Self {
        let mut hash = Sha256::new_with_prefix(seed.to_le_bytes());
        hash.update(name.as_bytes());
        for number in place {
            hash.update(number.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// Uniform with mean 0 and standard deviation 1.
    pub(super) fn centred(&mut self) -> f64 {
        (2.0 * self.unit() - 1.0) * 1.732_050_807_568_877_2
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// 1 or -1.
    pub(super) fn sign(&mut self) -> f64 {
        match self.0.next_u32().is_multiple_of(2) {
            true => 1.0,
            false => -1.0,
        }
    }
}
