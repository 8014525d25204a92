//! Frames between the host and a policy in a process of its own: a length, and that many bytes
//! of MessagePack.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// Writes one value.
pub(crate) fn send(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    // Fields by name: some are left out where there is nothing to say.
    let bytes = rmp_serde::to_vec_named(value).map_err(io::Error::other)?;
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(&bytes)?;
    to.flush()
}

/// Reads one value of at most `most` bytes; nothing at the end of the stream.
pub(crate) fn receive<T: DeserializeOwned>(
    from: &mut impl Read,
    most: u64,
) -> io::Result<Option<T>> {
    let mut length = [0; 8];
    match from.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut length[1..])?,
    }
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(io::Error::other(format!("it says {length} bytes, and {most} are allowed")));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    rmp_serde::from_slice(&bytes).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn values_come_back_and_bad_frames_are_errors() {
        let value = (vec![1.5f32, f32::NAN], Some("text".to_owned()), u64::MAX);
        let mut bytes = Vec::new();
        send(&mut bytes, &value).unwrap();
        let back: (Vec<f32>, Option<String>, u64) =
            receive(&mut bytes.as_slice(), 1000).unwrap().unwrap();
        assert_eq!(back.0[1].to_bits(), f32::NAN.to_bits());
        assert_eq!((back.0[0], back.1, back.2), (1.5, value.1, u64::MAX));

        type Any = Option<(Vec<f32>, Option<String>, u64)>;
        assert!(matches!(receive::<Any>(&mut io::empty(), 9), Ok(None)));
        for cut in 1..bytes.len() {
            assert!(receive::<Any>(&mut &bytes[..cut], 1000).is_err(), "{cut}");
        }
        assert!(receive::<Any>(&mut bytes.as_slice(), 5).is_err());
        // A list that claims four billion elements, lists in lists in lists.
        for hostile in [vec![0xdd, 0xff, 0xff, 0xff, 0xff], vec![0x91; 1 << 20]] {
            let mut frame = (hostile.len() as u64).to_le_bytes().to_vec();
            frame.extend(hostile);
            assert!(receive::<Any>(&mut frame.as_slice(), 1 << 21).is_err());
        }
    }
}
