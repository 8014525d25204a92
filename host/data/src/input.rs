//! A data file while it is read: in pieces, unpacked, and with the digest of what is on the disk.

use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::error::{Error, Place, Result};
use super::hub::Located;
use super::packed::{Damaged, Meter, Metered, Packing, unpacked};
use super::pieces::Content;
use super::window::Window;

/// Bytes of what is no plain file, such as a pipe, which may have no end.
const LONGEST_STREAM: u64 = 64 << 30;

/// A data file that is open.
pub(super) struct Input<'a> {
    /// As it is told of.
    pub name: Arc<Path>,
    pub packing: Option<Packing>,
    pub window: Window<'a>,
    meter: Rc<RefCell<Meter>>,
    /// The file itself, if it is one, and what it was when it was opened.
    file: Option<(File, Metadata)>,
}

impl<'a> Input<'a> {
    /// A file, or an embedded one (`demo:NAME`, `anchors:NAME`).
    pub fn open(at: &Located) -> Result<Input<'static>> {
        if let Some(bytes) = crate::embedded(&at.path) {
            return Input::of(&at.name, bytes);
        }
        let failed = |source| Error::Read { file: at.name.clone(), source };
        let file = File::open(&at.path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Input::of(&at.name, file.take(LONGEST_STREAM));
        }
        let again = file.try_clone().map_err(failed)?;
        let input = Input::of(&at.name, file)?;
        Ok(Input { file: Some((again, about)), ..input })
    }

    /// What is called `name` and has this content.
    pub fn of(name: &Path, content: impl Read + 'a) -> Result<Self> {
        let failed = |source| Error::Read { file: name.into(), source };
        let meter = Rc::new(RefCell::new(Meter::default()));
        let mut content = Metered { from: content, meter: meter.clone() };
        let mut head = Vec::new();
        content.by_ref().take(Packing::HEAD as u64).read_to_end(&mut head).map_err(failed)?;
        let packing =
            Packing::of(&head).map_err(|packing| Error::Packing { file: name.into(), packing })?;
        let content = Cursor::new(head).chain(content);
        let window = match packing {
            None => Window::new(content),
            Some(packing) => {
                Window::new(unpacked(packing, content, meter.clone()).map_err(failed)?)
            }
        };
        Ok(Self { name: name.into(), packing, window, meter, file: None })
    }

    /// The next bytes: `wanted` or more, fewer only where the file ends.
    pub fn fill(&mut self, wanted: usize) -> Result<&[u8]> {
        let failed = |source| failed(&self.name, self.packing, source);
        self.window.fill(wanted).map_err(failed)
    }

    /// Goes on at the first byte that is no white space, if there is one.
    pub fn take_space(&mut self) -> Result<Option<u8>> {
        let failed = |source| failed(&self.name, self.packing, source);
        self.window.take_space().map_err(failed)
    }

    /// Goes on behind the line.
    pub fn take_line(&mut self) -> Result<()> {
        let failed = |source| failed(&self.name, self.packing, source);
        self.window.take_line().map(drop).map_err(failed)
    }

    /// Bytes of the next line with its end, if there is one; of a line that is longer than `most`
    /// as many as were looked at.
    pub fn line_length(&mut self, most: usize) -> Result<Option<usize>> {
        let mut seen = 0;
        loop {
            let rest = self.fill(seen + 1)?;
            if let Some(end) = rest[seen..].iter().position(|byte| *byte == b'\n') {
                return Ok(Some(seen + end + 1));
            }
            seen = rest.len();
            if seen > most || self.window.is_last() {
                return Ok(Some(seen).filter(|seen| *seen > 0));
            }
        }
    }

    /// All of it from its first byte, to be read in any order; what is no file is kept in memory, and must have no
    /// more than `most` bytes.
    pub fn take_all(&mut self, most: usize) -> Result<Option<Content>> {
        let failed = |source| failed(&self.name, self.packing, source);
        let Some((file, about)) = self.file.take() else {
            let bytes = self.window.take_rest(most).map_err(failed)?;
            return Ok(bytes.map(|bytes| Content::Memory(bytes.into())));
        };
        // So that it is measured.
        self.window.pass().map_err(failed)?;
        Ok(Some(Content::File(file, about)))
    }

    /// The place of a record that begins at the next byte.
    pub fn place(&self) -> Place {
        Place::line(&self.name, self.window.line())
    }

    /// Length and SHA-256 of the file, once it has been read up to its end.
    pub fn measured(&self) -> (u64, String) {
        let meter = self.meter.borrow();
        (meter.length, meter.hasher.hex())
    }
}

fn failed(file: &Path, packing: Option<Packing>, source: io::Error) -> Error {
    let damaged = source.get_ref().and_then(|inner| inner.downcast_ref::<Damaged>());
    match (damaged, packing) {
        (Some(Damaged(problem)), Some(packing)) => {
            Error::Unpack { file: file.into(), packing, problem: problem.clone() }
        }
        _ => Error::Read { file: file.into(), source },
    }
}
