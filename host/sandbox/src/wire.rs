//! What goes between the host and a worker, as bytes of MessagePack.

use serde::{Serialize, de::DeserializeOwned};

/// The bytes of a value.
pub(crate) fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    // Fields by name: some are left out where there is nothing to say.
    rmp_serde::to_vec_named(value)
}

/// The value of bytes.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    type Any = (Vec<f32>, Option<String>, u64);

    #[test]
    fn values_come_back_and_bad_bytes_are_errors() {
        let value = (vec![1.5f32, f32::NAN], Some("text".to_owned()), u64::MAX);
        let bytes = to_bytes(&value).unwrap();
        let back: Any = from_bytes(&bytes).unwrap();
        assert_eq!(back.0[1].to_bits(), f32::NAN.to_bits());
        assert_eq!((back.0[0], back.1, back.2), (1.5, value.1, u64::MAX));
        for cut in 0..bytes.len() {
            assert!(from_bytes::<Any>(&bytes[..cut]).is_err(), "{cut}");
        }
        // A list that claims four billion elements, lists in lists in lists.
        for hostile in [vec![0xdd, 0xff, 0xff, 0xff, 0xff], vec![0x91; 1 << 20]] {
            assert!(from_bytes::<Any>(&hostile).is_err());
        }
    }
}
