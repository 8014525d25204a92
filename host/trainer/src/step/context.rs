//! What a training works with.

use host_judges::Judges;
use host_model::ChatTokenizer;
use host_model::decoder::Decoder;
use host_model::lora::Lora;
use host_policy::wit::Needs;

use crate::actuators::adapter_projection::Subspaces;
use crate::actuators::vectors::Vectors;
use crate::config::{OnFault, TrainConfig};
use crate::policies::ActivePolicy;
use crate::ranks::Ranks;
use crate::signals::reference;
use host_data::Plan;
use host_eval::canary::Canary;

/// Everything a run needs, loaded and checked.
pub struct TrainingSpec<'a> {
    pub decoder: &'a Decoder,
    pub adapter: &'a Lora,
    pub plan: &'a Plan,
    /// Of each policy; without any the run trains plainly.
    pub needs: &'a [Needs],
    /// The first rank has them, and the other fields about signals as well.
    pub policies: &'a [ActivePolicy],
    pub judges: &'a Judges,
    /// Says where the words of an answer are in its tokens.
    pub tokenizer: &'a ChatTokenizer,
    pub canary: Option<&'a Canary>,
    /// What alignment changed, if a policy may project the adapter onto it.
    pub subspaces: Option<&'a Subspaces>,
    /// What the reference said in other runs.
    pub reference: Option<&'a reference::Store>,
    /// What a policy steers by, on all ranks; there if one does.
    pub steering: Option<&'a Vectors>,
    pub config: &'a TrainConfig,
    pub on_fault: OnFault,
    pub ranks: &'a Ranks,
}
