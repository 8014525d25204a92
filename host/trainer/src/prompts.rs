//! Prompts of one purpose (evaluation, calibration, canary) from several files.

use rand::seq::index;

use crate::data::{self, DataSource, Prompt, random};
use crate::error::{Error, Result};

/// All prompts of the sources, in order; `limit` draws from a source by the seed.
pub fn load(sources: &[DataSource], seed: u64) -> Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    for source in sources {
        if source.share.is_some() {
            let key = format!("share of {}", source.path.display());
            return Err(Error::config(key, "only training data is mixed by shares; use limit here"));
        }
        let read = data::read_prompts(&source.path)?;
        let limit = source.limit.unwrap_or(read.len());
        prompts.extend(draw(read, limit, seed));
    }
    Ok(prompts)
}

/// `limit` of the prompts, drawn by the seed, in their old order.
pub fn draw(prompts: Vec<Prompt>, limit: usize, seed: u64) -> Vec<Prompt> {
    if limit >= prompts.len() {
        return prompts;
    }
    let mut kept = vec![false; prompts.len()];
    for index in index::sample(&mut random::stream(seed, "prompts", 0), prompts.len(), limit) {
        kept[index] = true;
    }
    prompts.into_iter().zip(kept).filter_map(|(prompt, kept)| kept.then_some(prompt)).collect()
}
