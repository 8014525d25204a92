//! Flags of steering vectors.

use std::path::PathBuf;

use host_trainer::Error;
use host_trainer::config::Layers;

use super::table::{Flag, FlagGroup, flags, key, set};

flags! {
    pub struct FitFlags {
        /// Prompts that show what to steer towards. Can be repeated.
        #[arg(long, value_name = "FILE")]
        positive: Vec<PathBuf> => [steering.positive],
        /// Prompts that show what to steer away from. Can be repeated.
        #[arg(long, value_name = "FILE")]
        negative: Vec<PathBuf> => [steering.negative],
        /// Prompts to add the safety instruction to; default: the labelled ones.
        #[arg(long, value_name = "FILE")]
        prompts: Vec<PathBuf> => [steering.prompts],
        /// The safety instruction.
        #[arg(long, value_name = "TEXT")]
        instruction: Option<String> => [steering.instruction],
        /// Labelled prompts (rows of prompt and label 1 or 0) for the refusal direction, which
        /// every vector is compared with if they are there.
        #[arg(long, value_name = "FILE")]
        labelled: Vec<PathBuf> => [calibration.data],
        /// Layers to fit it at: 0 the embeddings, N the output of block N. Default: all blocks.
        #[arg(long, value_name = "N,...", value_delimiter = ',')]
        layers: Vec<u32> => [steering.layers],
    }
}

flags! {
    pub struct EffectFlags {
        /// Steering vector, made by `host steer fit` or left by a run.
        #[arg(long, value_name = "FILE")]
        vector: Option<PathBuf> => [steering.vector],
        /// How much of it is added at every position. Can be repeated.
        #[arg(long = "coefficient", value_name = "C", allow_negative_numbers = true)]
        coefficients: Vec<f64>,
        /// Remove the part along the refusal direction first (needs --labelled).
        #[arg(long)]
        project: bool,
        /// Labelled prompts for the refusal direction, which the vector is compared with.
        #[arg(long, value_name = "FILE")]
        labelled: Vec<PathBuf> => [calibration.data],
        /// Held-out harmful prompts for the refusal margin.
        #[arg(long, value_name = "FILE")]
        canary: Vec<PathBuf> => [canary.prompts],
        /// Layers of the vector to steer at. Default: all it has.
        #[arg(long, value_name = "N,...", value_delimiter = ',')]
        layers: Vec<u32> => [steering.layers],
    }
}
