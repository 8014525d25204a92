//! A model with an adapter merged into its weights.

use std::path::Path;

use crate::config::Config;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::load::Model;
use crate::load::{Part, model_digest};
use crate::lora::Lora;
use crate::weights::Weights;

impl Model {
    /// The model with the adapter in its weights ([`Pair`](crate::lora::Pair)), rounded to their number format: what it says,
    /// it says without an adapter. Its digest and its name tell it from the model alone.
    ///
    /// # Errors
    /// The adapter can't be read or doesn't fit ([`Lora::load_peft`]); [`Error::Adapter`] for weights
    /// that are held in blocks, which can't be added to.
    pub fn with_adapter(self, folder: &Path) -> Result<Self> {
        let lora = Lora::load_peft(folder, &self.config, self.decoder.device())?;
        let files = ["adapter_config.json", "adapter_model.safetensors"]
            .map(|name| (name, folder.join(name)));
        let mut parts = vec![Part::Bytes("model", self.digest.as_bytes())];
        parts.extend(files.iter().map(|(name, path)| Part::File(name, path)));
        let digest = model_digest(&parts)?;
        let weights = merged(self.decoder.weights.clone(), &lora)?;
        let (config, kernels) = (Config::clone(&self.config), self.decoder.kernels);
        let mut decoder = Decoder::new(config, weights, kernels)?;
        decoder.recompute = self.decoder.recompute;
        let adapter = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        // What is published is the model without it.
        let published = None;
        Ok(Self { published, name: format!("{}+{adapter}", self.name), digest, decoder, ..self })
    }
}

/// Every adapted projection with its adapter in it, computed in f32.
fn merged(mut weights: Weights, lora: &Lora) -> Result<Weights> {
    for (layer, target, pair) in lora.pairs() {
        let Some(linear) = weights.layers[layer].linear_mut(target) else {
            let problem = format!("adapts {} of layer {layer}, which has experts", target.name());
            return Err(Error::adapter(problem, "use an adapter made for this model"));
        };
        if linear.weight.format().is_some() {
            return Err(Error::adapter(
                "the model's matrices are held in blocks, which an adapter can't be added to",
                "hold them dense (model.weights = \"dense\"), or write the merged model with host export",
            ));
        }
        let before = linear.weight.tensor()?;
        linear.weight = pair.merged(&before)?.to_dtype(before.dtype())?.into();
    }
    Ok(weights)
}
