//! What can be wrong with data, in one line that names the place and the next step.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::packed::Packing;

pub type Result<T> = std::result::Result<T, Error>;

/// How the records of a file are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Text files: the line on which the record starts.
    Line,
    /// Parquet: the record's number.
    Row,
}

/// Where a record stands: its file and its line or row, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    pub unit: Unit,
    pub number: usize,
}

impl Place {
    pub fn line(file: &Arc<Path>, number: usize) -> Self {
        Self { file: Arc::clone(file), unit: Unit::Line, number }
    }

    pub fn row(file: &Arc<Path>, number: usize) -> Self {
        Self { file: Arc::clone(file), unit: Unit::Row, number }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Line => "line",
            Unit::Row => "row",
        };
        write!(f, "{}, {unit} {}", self.file.display(), self.number)
    }
}

/// Everything that data can get wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("can't read the data file {}: {source}; check the path", file.display())]
    Read { file: PathBuf, source: std::io::Error },

    #[error("{} was changed while it was read; read it when nobody writes to it", file.display())]
    Changed { file: PathBuf },

    /// A data set that can't be fetched.
    #[error(transparent)]
    Hub(Box<host_model::Error>),

    #[error("the data set {name} {problem}")]
    Dataset { name: String, problem: String },

    #[error("{} has no rows; a data file needs at least one", file.display())]
    Empty { file: PathBuf },

    #[error("{} {what}; supported are JSON Lines, a JSON array of objects, CSV, TSV and Parquet", file.display())]
    Format { file: PathBuf, what: String },

    #[error("{} is packed with {packing}; unpack it, or pack it with gzip or zstd", file.display())]
    Packing { file: PathBuf, packing: &'static str },

    #[error("{} can't be unpacked with {packing}: {problem}; pack it again, or give it unpacked", file.display())]
    Unpack { file: PathBuf, packing: Packing, problem: String },

    #[error("{} is {found}, and text is read as UTF-8; save the file as UTF-8", file.display())]
    Encoding { file: PathBuf, found: &'static str },

    #[error("{} {what}; correct the first line, which names the columns", file.display())]
    Header { file: PathBuf, what: String },

    #[error(
        "{place}: the row has {found} fields and the header {expected}; put fields that hold the separator into \
         quotes, or correct the row"
    )]
    Ragged { place: Place, found: usize, expected: usize },

    #[error("{place}: a quote is opened and not closed; close it, or double quotes that are text")]
    OpenQuote { place: Place },

    #[error("{place}: `{field}` is no UTF-8; save the file as UTF-8")]
    FieldUtf8 { place: Place, field: String },

    #[error("{place}: invalid UTF-8 at byte {byte} of the line; save the file as UTF-8")]
    Utf8 { place: Place, byte: usize },

    #[error("{place}: not valid JSON: {message}; correct or remove it")]
    Json { place: Place, message: String },

    #[error("{place}: the row has more than {limit} MiB; split or remove it")]
    LongRow { place: Place, limit: usize },

    #[error("{place}: found {found} instead of a row; each row must be a JSON object")]
    NotObject { place: Place, found: &'static str },

    #[error("{}: {message}; write the file again, with Snappy or Zstandard compression", file.display())]
    Parquet { file: PathBuf, message: String },

    #[error("{}: the column `{column}` is {found} but must be {expected}; convert it", file.display())]
    Column { file: PathBuf, column: String, found: String, expected: &'static str },

    #[error(
        "{place}: the keys make no row ({keys}){suggestion}; a row needs `messages`, `conversations`, \
         `instruction` + `output`, `prompt` + `completion`, `prompt` + `response`, `prompt` + `answer` or \
         `question` + `answer`"
    )]
    UnknownKeys { place: Place, keys: String, suggestion: String },

    #[error(
        "{place}: the row has no messages, prompt or answer, but what looks like messages under `{key}`; rename \
         it to `{name}`"
    )]
    Renamed { place: Place, key: String, name: &'static str },

    #[error(
        "{place}: the row has no messages, prompt or answer, but a list of objects under `{key}`; if these \
         are the rows, write that list alone into the file"
    )]
    Wrapped { place: Place, key: String },

    #[error(
        "{place}: this row has {found}, the first row of the file {first}; keep one shape per file and list \
         both files as data"
    )]
    MixedShapes { place: Place, first: String, found: String },

    #[error(
        "{place}: the row has no answer ({why}); training needs one, so add it or remove the row"
    )]
    NoAnswer { place: Place, why: String },

    #[error(
        "{place}: the last message comes from `{role}`, not from the assistant; a training row must end with \
         the answer to learn, so add it or remove that message"
    )]
    LastNotAssistant { place: Place, role: String },

    #[error("{place}: the row asks nothing: {why}; add a user message")]
    NoPrompt { place: Place, why: &'static str },

    #[error(
        "{place}: `{field}` has the unsupported role `{role}`; supported are system, developer, user, \
         assistant and tool; rename it"
    )]
    Role { place: Place, field: String, role: String },

    #[error("{place}: `{field}` is empty; fill it in or remove the row")]
    EmptyContent { place: Place, field: String },

    #[error("{place}: `{field}` is {found} but must be {expected}; correct it or remove the row")]
    Field { place: Place, field: String, found: String, expected: &'static str },

    #[error("{place}: `{field}` {problem}; {remedy}")]
    Refused { place: Place, field: String, problem: String, remedy: String },

    #[error(
        "{place}: nothing of the row is learned, because its messages say so; let one answer be learned, \
         or remove the row"
    )]
    NothingLearned { place: Place },

    #[error(
        "{}: the chat template reads a variable `{key}`, and rows have a key of this name; put it into \
         `chat_template_kwargs` of the rows to give it to the template, or rename it",
        file.display()
    )]
    TemplateVariable { file: PathBuf, key: String },

    #[error(
        "{}: the chat template reads a key `{key}` of messages, and messages of the rows have one, which isn't \
         given to it; say it in the content of the message{tools}, or rename the key",
        file.display(),
        tools = if key == "tools" { " or under `tools` of the row" } else { "" }
    )]
    TemplateKey { file: PathBuf, key: String },

    #[error(transparent)]
    Shared(Arc<Self>),

    #[error("{0} (to leave bad rows out: --on-bad-row skip)")]
    BadRow(Box<Self>),

    #[error(
        "{}: {bad} of {rows} rows are bad, and data.bad_row_limit = {limit} allows {allowed}; correct them or raise the \
         limit; the first: {first}",
        file.display()
    )]
    TooManyBad { file: PathBuf, bad: usize, rows: usize, limit: f64, allowed: usize, first: String },

    #[error("the data source {} {what}", file.display())]
    Source { file: PathBuf, what: String },

    #[error("the data sources {what}")]
    Mix { what: String },

    #[error("{place}: {message}")]
    Encode { place: Place, message: String },

    #[error(
        "{place}: the prompt has {tokens} tokens with what is to follow it, and the model's context is {longest}; \
         shorten it or remove the row"
    )]
    TooLongForModel { place: Place, tokens: usize, longest: usize },

    #[error(
        "{place}: the row has {tokens} tokens, {prompt} of them prompt, and only {limit} are allowed; raise \
         data.max_tokens if the model takes more, shorten the row, or let over-long rows be dropped (data.overlong = \"drop\")"
    )]
    TooLong { place: Place, tokens: usize, prompt: usize, limit: usize },

    #[error(
        "all {rows} rows have more than {limit} tokens (the first is {place} with {tokens}), so nothing is left \
         to train on; raise data.max_tokens if the model takes more, or shorten the rows"
    )]
    AllTooLong { rows: usize, place: Place, tokens: usize, limit: usize },

    #[error(
        "the temporary file for training rows in {} can't be {doing}: {source}; free space there, name another folder \
         in TMPDIR, or raise data.memory_mib",
        folder.display()
    )]
    Spill { doing: &'static str, folder: PathBuf, source: std::io::Error },

    #[error("{field} {what}")]
    Batch { field: &'static str, what: String },
}
