//! What the root keeps of a run.

use crate::records::checkpoint::Checkpoints;
use crate::records::run_dir::Records;

/// Records and checkpoints of a training.
pub struct RunRecorder<'a, 'j> {
    pub records: &'a mut Records<'j>,
    pub checkpoints: &'a mut Checkpoints<'j>,
}
