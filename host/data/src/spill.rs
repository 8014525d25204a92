//! Samples that memory has no room for, in a file without a name: whatever ends the process, nothing of it stays.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_model::{Message, TemplateInputs};
use serde_json::Value;

use super::error::{Error, Place, Result, Unit};
use super::origin::Origin;
use super::sample::Sample;

/// Bytes that are written at once.
const BLOCK: usize = 4 << 20;
/// Where large temporary files belong, if TMPDIR names no folder: what is in /tmp is in memory on many machines.
const FOLDER: &str = "/var/tmp";

/// The file, and what isn't written yet.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    folder: PathBuf,
    /// Of the rows: a sample names one by its number.
    files: Vec<Arc<Path>>,
    waiting: Vec<u8>,
    written: u64,
}

/// Where in the file a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    at: u64,
    bytes: u32,
}

/// What a chat template reads beside the messages, as it is written.
type Inputs<'a> = (&'a Option<Value>, &'a Option<Value>, Vec<(&'a String, &'a Value)>);

impl Spill {
    /// Makes the file in the folder for temporary files.
    ///
    /// # Errors
    /// [`Error::Spill`], as of all that follows, if the system refuses.
    pub fn new() -> Result<Self> {
        let usual = || Some(PathBuf::from(FOLDER)).filter(|folder| folder.is_dir());
        let folder = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
        let folder = folder.map(PathBuf::from).or_else(usual).unwrap_or_else(std::env::temp_dir);
        let file = tempfile::tempfile_in(&folder).map_err(failed("made", &folder))?;
        Ok(Self { file, folder, files: Vec::new(), waiting: Vec::new(), written: 0 })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn bytes(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    /// Whether the file is in memory after all.
    pub fn is_in_memory(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            const TMPFS: u64 = 0x0102_1994;
            rustix::fs::fstatfs(&self.file).is_ok_and(|it| it.f_type as u64 == TMPFS)
        }
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Adds a sample, which can be read after [`flush`](Self::flush).
    pub fn add(&mut self, sample: &Sample) -> Result<Spot> {
        let at = self.bytes();
        let place = &sample.place;
        // Rows come file by file.
        let known = self.files.iter().rposition(|file| *file == place.file);
        let file = known.unwrap_or_else(|| {
            self.files.push(Arc::clone(&place.file));
            self.files.len() - 1
        });
        let texts = texts(sample).map_err(failed("written", &self.folder))?;
        let unit = u64::from(place.unit == Unit::Row);
        let head = [
            sample.id,
            sample.prompt_len as u64,
            file as u64,
            unit,
            place.number as u64,
            sample.answer.len() as u64,
            sample.tokens.len() as u64,
        ];
        let to = &mut self.waiting;
        head.iter().for_each(|number| to.extend(number.to_le_bytes()));
        let ends = sample.answer.iter().flat_map(|answer| [answer.start as u32, answer.end as u32]);
        ends.for_each(|end| to.extend(end.to_le_bytes()));
        sample.tokens.iter().for_each(|token| to.extend(token.to_le_bytes()));
        to.extend(texts);
        let bytes = u32::try_from(self.bytes() - at).map_err(io::Error::other);
        let bytes = bytes.map_err(failed("written", &self.folder))?;
        if self.waiting.len() >= BLOCK {
            self.flush()?;
        }
        Ok(Spot { at, bytes })
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> Result<()> {
        let wrote = self.file.write_all_at(&self.waiting, self.written);
        wrote.map_err(failed("written", &self.folder))?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    pub fn read(&self, spot: Spot, origin: Origin) -> Result<Sample> {
        let mut bytes = vec![0; spot.bytes as usize];
        let read = self.file.read_exact_at(&mut bytes, spot.at);
        let sample = read.and_then(|()| self.sample(&bytes, origin).ok_or_else(damaged));
        sample.map_err(failed("read", &self.folder))
    }

    fn sample(&self, bytes: &[u8], origin: Origin) -> Option<Sample> {
        let (head, rest) = bytes.split_first_chunk::<56>()?;
        let mut numbers =
            head.chunks_exact(8).map(|it| u64::from_le_bytes(it.try_into().unwrap_or_default()));
        let mut number = || numbers.next();
        let (id, prompt_len, file) = (number()?, number()? as usize, number()? as usize);
        let unit = if number()? == 1 { Unit::Row } else { Unit::Line };
        let (line, answers, tokens) = (number()? as usize, number()? as usize, number()? as usize);
        let (ends, rest) = rest.split_at_checked(answers.checked_mul(8)?)?;
        let (tokens, texts) = rest.split_at_checked(tokens.checked_mul(4)?)?;
        let values = |bytes: &[u8]| -> Vec<u32> {
            let each = bytes.chunks_exact(4);
            each.map(|it| u32::from_le_bytes(it.try_into().unwrap_or_default())).collect()
        };
        let ends = values(ends);
        let answer = ends.chunks_exact(2).map(|it| it[0] as usize..it[1] as usize);
        let (messages, inputs) = read_texts(texts)?;
        Some(Sample {
            id,
            origin,
            messages,
            inputs,
            tokens: values(tokens),
            answer: answer.collect(),
            prompt_len,
            place: Place { file: Arc::clone(self.files.get(file)?), unit, number: line },
        })
    }
}

/// What judges read of a sample, or nothing if it was dropped.
fn texts(sample: &Sample) -> io::Result<Vec<u8>> {
    if sample.messages.is_empty() && sample.inputs.is_empty() {
        return Ok(Vec::new());
    }
    let TemplateInputs { tools, documents, kwargs } = &*sample.inputs;
    let inputs: Inputs<'_> = (tools, documents, kwargs.iter().collect());
    Ok(serde_json::to_vec(&(&*sample.messages, inputs))?)
}

fn read_texts(bytes: &[u8]) -> Option<(Arc<[Message]>, Arc<TemplateInputs>)> {
    type Owned = (Option<Value>, Option<Value>, Vec<(String, Value)>);
    if bytes.is_empty() {
        return Some(Default::default());
    }
    let (messages, inputs): (Vec<Message>, Owned) = serde_json::from_slice(bytes).ok()?;
    let (tools, documents, kwargs) = inputs;
    let inputs = TemplateInputs { tools, documents, kwargs: kwargs.into_iter().collect() };
    Some((messages.into(), Arc::new(inputs)))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what was read isn't what was written")
}

fn failed(doing: &'static str, folder: &Path) -> impl FnOnce(io::Error) -> Error {
    let folder = folder.to_owned();
    move |source| Error::Spill { doing, folder, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_file_has_no_name_so_a_kill_leaves_nothing() {
        let mut spill = Spill::new().expect("a file");
        spill.add(&Sample::prompt_only(vec![1, 2, 3])).expect("added");
        spill.flush().expect("written");
        let file = spill.file.metadata().expect("is open");
        assert_eq!((file.nlink(), file.len()), (0, spill.bytes()));
    }

    #[test]
    fn a_full_disk_is_one_line_with_the_next_step() {
        let mut spill = Spill::new().expect("a file");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        spill.file = full.expect("a device");
        spill.add(&Sample::prompt_only(vec![1, 2, 3])).expect("waits");
        let error = spill.flush().expect_err("full").to_string();
        for part in [" can't be written: No space left", "; free space there", "data.memory_mib"] {
            assert!(error.contains(part) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn what_was_not_written_is_told_when_it_is_read() {
        let spill = Spill::new().expect("a file");
        let error = spill.read(Spot { at: 0, bytes: 60 }, Origin::Task).expect_err("empty");
        assert!(error.to_string().contains(" can't be read: "), "{error}");
        for length in [0, 55, 56, 57, 64] {
            let bytes = vec![0xff; length];
            assert!(spill.sample(&bytes, Origin::Task).is_none(), "{length}");
        }
    }
}
