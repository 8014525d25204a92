//! The journal of a run: every assessment with its arguments, so that anyone can
//! check afterwards what the policies were told and what they said.
//!
//! ```text
//! records.jsonl     one record a line, each with the hash of the line before
//! tensors.bin       activations, token log-probabilities, parameters, states: each
//!                   once, by its SHA-256
//! policies/         the components that were asked, by SHA-256
//! head.minisig      signature of the count and the hash of the last record
//! key.pub           the key that verifies it
//! ```
//!
//! A record is canonical JSON (sorted keys, shortest numbers):
//! `{"entry":…,"previous":HASH,"sequence":N}`, where HASH is the SHA-256 of the line
//! before without its line end, and of nothing for the first. Nothing in it depends on
//! time or machine: the same run twice gives the same bytes. Only signatures have random
//! bits in them.
//!
//! The head is signed anew after the assessments of each step and before anything
//! acts on them, so a run that is killed loses no sealed record. A change, an
//! insertion, a removal and a reordering break the chain; a truncation doesn't fit the
//! signed count. A run that goes on from a checkpoint cuts off what came after it and
//! writes it again; on a CPU these are the same bytes.
//!
//! Record 0 names what the run is made of by digest ([`Identity`]), so that the journal of one run
//! is not taken for that of another. What the run left is named by the signed stages.json beside
//! the journal, which is written by whoever runs the training.
//!
//! Numbers that are not finite have no JSON. Activations, parameters and states are
//! bytes, and keep theirs.

mod blobs;
mod compare;
mod entry;
mod finding;
mod order;
mod reader;
mod replay;
mod rows;
mod writer;

pub use compare::{Comparison, StepComparison, Summary};
pub use entry::{Answer, Entry, Identity, Mode, PolicySlot, Record, Run, stand_in};
pub use finding::Finding;
pub use reader::{Journal, Standing, Verified, standing};
pub use replay::{Difference, Replay};
pub use rows::{ReasonCount, RowRecord};
pub use writer::{Answered, JournalWriter, Mark, Start};

/// The format that this host writes. It also reads 1, which names nothing but the policies.
pub const FORMAT: u32 = 2;

/// The rules by which this host combines several policies. Before 1, a policy could replace
/// what another one held.
const COMBINATION: u32 = 1;

const RECORDS: &str = "records.jsonl";
const TENSORS: &str = "tensors.bin";
const POLICIES: &str = "policies";
const HEAD: &str = "head.minisig";
const KEY: &str = "key.pub";

/// What the signature of the head is over; also its signed comment, so that the file
/// alone tells what it covers.
fn head_text(format: u32, count: u64, hash: &str) -> String {
    format!("risk-journal {format} records {count} head {hash}")
}
