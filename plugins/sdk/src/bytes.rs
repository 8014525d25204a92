//! Bytes that a policy keeps between calls: parameters and state.
//!
//! Little-endian throughout, headed by a four-letter kind and a version, and
//! closed by a checksum, so that bytes of another policy, of another version or
//! damaged ones are told apart from a policy's own.

/// Writes values one after the other.
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts bytes of this kind and version.
    pub fn new(kind: [u8; 4], version: u16) -> Self {
        let mut bytes = kind.to_vec();
        bytes.extend_from_slice(&version.to_le_bytes());
        Self { bytes }
    }

    pub fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    pub fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn f64(mut self, value: f64) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// The values without their number: the reader has to know it.
    pub fn f32s(mut self, values: &[f32]) -> Self {
        for value in values {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// Bytes of any length, which the reader gets back as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self = self.u32(bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Closes with the checksum.
    pub fn finish(mut self) -> Vec<u8> {
        let sum = checksum(&self.bytes);
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    name: &'a str,
}

impl<'a> Reader<'a> {
    /// Opens `bytes`; `name` is what errors call them.
    ///
    /// # Errors
    /// If kind, version or checksum differ.
    pub fn open(
        bytes: &'a [u8],
        kind: [u8; 4],
        version: u16,
        name: &'a str,
    ) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err(format!("there are no {name}"));
        }
        let found = bytes.get(..4).unwrap_or_default();
        if found != kind {
            return Err(format!("the {name} are not those of this policy"));
        }
        let Some((body, sum)) = bytes.split_last_chunk::<8>().filter(|(body, _)| body.len() >= 6)
        else {
            return Err(format!("the {name} are cut short ({} bytes)", bytes.len()));
        };
        if checksum(body) != u64::from_le_bytes(*sum) {
            return Err(format!("the {name} are damaged: their checksum does not fit"));
        }
        let got = u16::from_le_bytes([body[4], body[5]]);
        if got != version {
            return Err(format!(
                "the {name} have version {got}, this policy reads version {version}"
            ));
        }
        Ok(Self { rest: &body[6..], name })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| format!("the {} end too early", self.name))?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take::<1>()?[0])
    }

    pub fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    /// # Errors
    /// Also if the value is not finite.
    pub fn f64(&mut self) -> Result<f64, String> {
        let value = f64::from_le_bytes(self.take()?);
        if value.is_finite() { Ok(value) } else { Err(self.not_finite()) }
    }

    /// # Errors
    /// Also if a value is not finite.
    pub fn f32s(&mut self, count: usize) -> Result<Vec<f32>, String> {
        if self.rest.len() / 4 < count {
            return Err(format!("the {} end too early", self.name));
        }
        let (head, rest) = self.rest.split_at(count * 4);
        self.rest = rest;
        let (chunks, _) = head.as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(self.not_finite())
        }
    }

    /// What [`Writer::bytes`] wrote.
    ///
    /// # Errors
    /// If they end too early.
    pub fn bytes(&mut self) -> Result<&'a [u8], String> {
        let count = self.u32()? as usize;
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| format!("the {} end too early", self.name))?;
        self.rest = rest;
        Ok(head)
    }

    /// # Errors
    /// If something is left over.
    pub fn finish(self) -> Result<(), String> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(format!("the {} hold {} bytes too many", self.name, self.rest.len()))
        }
    }

    fn not_finite(&self) -> String {
        format!("the {} hold a number that is not finite", self.name)
    }
}

/// FNV-1a, 64 bits: guards against damage, not against malice.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KIND: [u8; 4] = *b"TEST";

    fn written() -> Vec<u8> {
        Writer::new(KIND, 3).u8(7).u32(70_000).f64(-0.5).f32s(&[1.0, 2.5]).finish()
    }

    fn open(bytes: &[u8]) -> Result<Reader<'_>, String> {
        Reader::open(bytes, KIND, 3, "parameters")
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = written();
        let mut reader = open(&bytes).unwrap();
        assert_eq!(reader.u8().unwrap(), 7);
        assert_eq!(reader.u32().unwrap(), 70_000);
        assert_eq!(reader.f64().unwrap(), -0.5);
        assert_eq!(reader.f32s(2).unwrap(), [1.0, 2.5]);
        reader.finish().unwrap();
    }

    #[test]
    fn bytes_within_bytes_are_read_back() {
        let bytes = Writer::new(KIND, 3).bytes(&[]).bytes(&[1, 2]).u8(9).finish();
        let mut reader = open(&bytes).unwrap();
        assert!(reader.bytes().unwrap().is_empty());
        assert_eq!(reader.bytes().unwrap(), [1, 2]);
        assert_eq!(reader.u8().unwrap(), 9);
        let short = Writer::new(KIND, 3).u32(5).u8(1).finish();
        assert!(open(&short).unwrap().bytes().unwrap_err().contains("end too early"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = written();
        for position in 0..bytes.len() {
            assert!(open(&bytes[..position]).is_err(), "cut at {position}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[position] ^= 1 << bit;
                assert!(open(&damaged).is_err(), "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let bytes = written();
        assert_eq!(open(&[]).unwrap_err(), "there are no parameters");
        let other = Reader::open(&bytes, *b"ELSE", 3, "parameters").unwrap_err();
        assert_eq!(other, "the parameters are not those of this policy");
        let newer = Reader::open(&bytes, KIND, 4, "parameters").unwrap_err();
        assert!(newer.contains("version 3"), "{newer}");
        let mut reader = open(&bytes).unwrap();
        assert!(reader.f32s(usize::MAX / 8).unwrap_err().contains("end too early"));
        assert!(reader.finish().unwrap_err().contains("bytes too many"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let bytes = Writer::new(KIND, 3).f64(f64::NAN).finish();
        assert!(open(&bytes).unwrap().f64().is_err());
        let bytes = Writer::new(KIND, 3).f32s(&[f32::INFINITY]).finish();
        assert!(open(&bytes).unwrap().f32s(1).is_err());
    }
}
