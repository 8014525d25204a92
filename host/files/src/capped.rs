//! Whole files, up to a size.

use std::fs::File;
use std::io::{self, BufRead as _, Read as _};
use std::path::Path;

/// The content of a file of at most `most` bytes.
///
/// # Errors
/// When it can't be read, or is larger; pipes and devices are read as far as that.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    content(File::open(path)?, most)?.ok_or_else(|| {
        let problem = format!("is larger than {}, the most that is read", size(most));
        io::Error::new(io::ErrorKind::FileTooLarge, problem)
    })
}

/// All of an open file, if that is no more than `most` bytes.
pub(crate) fn content(file: File, most: u64) -> io::Result<Option<Vec<u8>>> {
    let stated = file.metadata()?.len();
    if stated > most {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stated).unwrap_or(0));
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// As [`read`], of a text.
///
/// # Errors
/// As [`read`], and when it is no UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is no UTF-8 text"))
}

/// The lines of a text, each of at most `most` bytes, without their ends.
pub fn lines(from: impl io::BufRead, most: u64) -> impl Iterator<Item = io::Result<String>> {
    let mut from = from;
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match from.by_ref().take(most + 1).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        if line.len() as u64 > most {
            let problem = format!("has a line of more than {}", size(most));
            return Some(Err(io::Error::new(io::ErrorKind::FileTooLarge, problem)));
        }
        let end = line.strip_suffix(b"\n").map_or(line.len(), <[u8]>::len);
        line.truncate(end);
        let text = String::from_utf8(line);
        Some(text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is no UTF-8 text")))
    })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read_text(&path, 3).unwrap(), "abc");
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let endless = read(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(endless.to_string(), "is larger than 1 MiB, the most that is read");
        let found: io::Result<Vec<String>> = lines(&b"ab\n\nc"[..], 3).collect();
        assert_eq!(found.unwrap(), ["ab", "", "c"]);
        assert!(lines(&b"abcd\n"[..], 3).next().unwrap().is_err());
        std::fs::write(&path, [0xff]).unwrap();
        assert!(read_text(&path, 3).is_err());
    }
}
