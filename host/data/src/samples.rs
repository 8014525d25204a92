//! The samples of a run: in memory as far as that has room for them, the others in a file. Order, lengths and origins
//! are known of all; a sample itself is read when a step needs it.

use std::borrow::Cow;
use std::mem::size_of;
use std::ops::Range;
use std::sync::Arc;

use host_model::{Message, TemplateInputs};

use super::error::Result;
use super::origin::Origin;
use super::sample::Sample;
use super::spill::{Spill, Spot};

/// A sample, wherever it is kept; [`Samples::read`] reads it.
#[derive(Clone, Debug)]
pub struct Stored {
    kept: Kept,
    tokens: u32,
    answer_tokens: u32,
    answers: u32,
    origin: Origin,
}

/// A row that stands more than once in a mix is kept once.
#[derive(Clone, Debug)]
enum Kept {
    Here(Arc<Sample>),
    Away(Spot),
}

impl Stored {
    fn new(sample: &Sample, kept: Kept) -> Self {
        Self {
            kept,
            tokens: sample.tokens.len() as u32,
            answer_tokens: sample.answer_tokens() as u32,
            answers: sample.answer.len() as u32,
            origin: sample.origin,
        }
    }

    /// Number of tokens, prompt and answers.
    pub fn tokens(&self) -> usize {
        self.tokens as usize
    }

    /// Number of answer tokens, over all answers.
    pub fn answer_tokens(&self) -> usize {
        self.answer_tokens as usize
    }

    /// Number of answers.
    pub fn answers(&self) -> usize {
        self.answers as usize
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
        if let Kept::Here(sample) = &mut self.kept
            && sample.origin != origin
        {
            Arc::make_mut(sample).origin = origin;
        }
    }
}

impl From<Sample> for Stored {
    fn from(sample: Sample) -> Self {
        let sample = Arc::new(sample);
        Self::new(&sample, Kept::Here(Arc::clone(&sample)))
    }
}

/// Samples in an order of theirs.
#[derive(Debug, Default)]
pub struct Samples {
    list: Vec<Stored>,
    spill: Option<Spill>,
}

impl Samples {
    pub(super) fn of(room: Room) -> Self {
        Self { list: Vec::new(), spill: room.spill }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Stored> {
        self.list.iter()
    }

    pub fn get(&self, index: usize) -> Option<&Stored> {
        self.list.get(index)
    }

    pub(super) fn push(&mut self, stored: Stored) {
        self.list.push(stored);
    }

    /// Adds one that was cut.
    pub(super) fn push_cut(&mut self, before: &Stored, sample: Sample) {
        self.list.push(match before.kept {
            Kept::Here(_) => sample.into(),
            Kept::Away(_) => Stored::new(&sample, before.kept.clone()),
        });
    }

    /// Those of some places.
    pub(super) fn keep_only(&mut self, keeps: impl Fn(usize) -> bool) {
        let mut index = 0..;
        self.list.retain(|_| index.next().is_some_and(&keeps));
    }

    /// One of these samples.
    ///
    /// # Errors
    /// [`Error::Spill`](crate::Error::Spill) if the file can't be read.
    pub fn read<'s>(&'s self, stored: &'s Stored) -> Result<Cow<'s, Sample>> {
        read(stored, self.spill.as_ref())
    }

    /// Some of them.
    ///
    /// # Errors
    /// As [`Samples::read`].
    pub fn read_all<'s>(&'s self, stored: &[&'s Stored]) -> Result<Vec<Cow<'s, Sample>>> {
        stored.iter().map(|one| self.read(one)).collect()
    }

    /// One line about what isn't in memory, if there is anything.
    pub fn about_memory(&self) -> Option<String> {
        let spill = self.spill.as_ref()?;
        let away = self.list.iter().filter(|one| matches!(one.kept, Kept::Away(_))).count();
        if away == 0 {
            return None;
        }
        let (rows, mib, folder) =
            (self.len(), spill.bytes().div_ceil(1 << 20), spill.folder().display());
        let advice = if spill.is_in_memory() {
            "; that folder is in memory itself: name one on a disk in TMPDIR"
        } else {
            ""
        };
        Some(format!(
            "the training rows need more than data.memory_mib: {away} of {rows} are kept in a temporary file in \
             {folder} ({mib} MiB) and read from there, step by step{advice}"
        ))
    }
}

impl From<Vec<Sample>> for Samples {
    /// All of them in memory.
    fn from(samples: Vec<Sample>) -> Self {
        Self { list: samples.into_iter().map(Stored::from).collect(), spill: None }
    }
}

impl<'s> IntoIterator for &'s Samples {
    type Item = &'s Stored;
    type IntoIter = std::slice::Iter<'s, Stored>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Samples that were read, as most functions take them.
pub fn borrowed<'s>(samples: &'s [Cow<'_, Sample>]) -> Vec<&'s Sample> {
    samples.iter().map(AsRef::as_ref).collect()
}

/// Takes samples in while data are read.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes that are left in memory.
    left: u64,
    spill: Option<Spill>,
}

impl Room {
    /// With room for so many bytes in memory.
    pub fn new(bytes: u64) -> Self {
        Self { left: bytes, spill: None }
    }

    pub fn keep(&mut self, sample: Sample) -> Result<Stored> {
        let bytes = bytes(&sample);
        if self.spill.is_none() && bytes <= self.left {
            self.left -= bytes;
            return Ok(sample.into());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::new()?),
        };
        Ok(Stored::new(&sample, Kept::Away(spill.add(&sample)?)))
    }

    /// From now on all that was kept can be read.
    pub fn settle(&mut self) -> Result<()> {
        self.spill.as_mut().map_or(Ok(()), Spill::flush)
    }

    pub fn read<'s>(&'s self, stored: &'s Stored) -> Result<Cow<'s, Sample>> {
        read(stored, self.spill.as_ref())
    }
}

fn read<'s>(stored: &'s Stored, spill: Option<&Spill>) -> Result<Cow<'s, Sample>> {
    match (&stored.kept, spill) {
        (Kept::Here(sample), _) => Ok(Cow::Borrowed(sample)),
        (Kept::Away(spot), Some(spill)) => {
            let mut sample = spill.read(*spot, stored.origin)?;
            sample.cut(stored.tokens());
            Ok(Cow::Owned(sample))
        }
        (Kept::Away(_), None) => unreachable!("a sample is read where it was kept"),
    }
}

/// What a sample takes in memory, about.
fn bytes(sample: &Sample) -> u64 {
    let messages = sample.messages.iter().map(of_message).sum::<usize>();
    let TemplateInputs { tools, documents, kwargs } = &*sample.inputs;
    let values = tools.iter().chain(documents).chain(kwargs.values());
    let inputs: usize = values.map(|value| value.to_string().len()).sum();
    let answers = size_of::<Range<usize>>() * sample.answer.len();
    let tokens = size_of::<u32>() * sample.tokens.len();
    (size_of::<Sample>() + tokens + answers + messages + inputs) as u64
}

fn of_message(message: &Message) -> usize {
    let calls: usize = message.tool_calls.iter().map(|call| call.to_string().len()).sum();
    let texts =
        [Some(message.content.as_str()), message.reasoning.as_deref(), message.name.as_deref()];
    let texts: usize = texts.iter().flatten().map(|text| text.len()).sum();
    size_of::<Message>() + message.role.len() + texts + calls
}

#[cfg(test)]
#[path = "samples_tests.rs"]
mod tests;
