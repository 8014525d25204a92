//! An event file: TFRecords, each a length, its checksum, a message and its checksum.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use host_files::own;

/// Longest name of a machine that is kept.
const HOST_NAME: usize = 64;

pub struct EventFile {
    path: PathBuf,
    file: File,
    /// Of whole records.
    bytes: u64,
    /// Records that aren't written yet.
    ahead: Vec<u8>,
    is_first: bool,
}

impl EventFile {
    /// A new file, whose name comes after those of all that are there: TensorBoard reads
    /// them in this order.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut last = 0;
        for entry in fs::read_dir(folder)? {
            last = last.max(seconds(&entry?.file_name().to_string_lossy()).unwrap_or(0));
        }
        let host = host_name();
        let mut seconds = now.max(last.saturating_add(1));
        loop {
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.{host}"));
            match own::create(&path) {
                Ok(file) => {
                    return Ok(Self {
                        path,
                        file,
                        bytes: 0,
                        ahead: Vec::new(),
                        is_first: last == 0,
                    });
                }
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    seconds = seconds.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its folder had none before.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Adds a message, which [`write`](Self::write) writes.
    pub fn add(&mut self, message: &[u8]) {
        let length = (message.len() as u64).to_le_bytes();
        self.ahead.extend(length);
        self.ahead.extend(masked(crc32c(&length)).to_le_bytes());
        self.ahead.extend(message);
        self.ahead.extend(masked(crc32c(message)).to_le_bytes());
    }

    /// Writes what was added, so that whoever reads the file sees it. Where that fails the file
    /// ends with the record before.
    pub fn write(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.ahead) {
            // What can't be taken back is half a record, at which readers stop.
            self.file.set_len(self.bytes).ok();
            return Err(error);
        }
        self.bytes += self.ahead.len() as u64;
        self.ahead.clear();
        Ok(())
    }
}

/// The moment in a file's name.
fn seconds(name: &str) -> Option<u64> {
    let seconds = name.strip_prefix("events.out.tfevents.")?.split('.').next()?;
    // Beyond that it is no moment, and ten digits hold no more.
    seconds.parse().ok().filter(|seconds| *seconds < 9_000_000_000)
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.unwrap_or_else(|_| std::env::var("HOSTNAME").unwrap_or_default());
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    let name: String = name.trim().chars().filter(plain).take(HOST_NAME).collect();
    if name.is_empty() { "localhost".into() } else { name }
}

/// CRC-32 with Castagnoli's polynomial (RFC 3720, appendix B.4).
pub fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let of = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, of)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// As TFRecords have a checksum: one of data that hold their own checksum would be none.
pub fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
