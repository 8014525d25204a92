//! What all blocks of a pass share: rotation, where sequences lie, what a query sees, noise.
//! Made once per pass, so that no block waits for the host.

use candle_core::{Result, Tensor};

use super::band::{Band, hidden_unless};
use super::model::PlainModel;
use crate::config::Config;
use crate::operation::wide_type;
use crate::pass::{Angles, Input, Noise, Packed, Rotations, RowNoise};

/// cos and sin [rows, half], in at least single precision.
pub(super) struct Rotation {
    pub cos: Tensor,
    pub sin: Tensor,
}

/// The tables of every rope of the model, on its device. `rows` gives position and sequence length
/// of every row.
fn rotations(
    model: &PlainModel,
    rows: impl Iterator<Item = (usize, usize)> + Clone,
) -> Result<Rotations<Rotation>> {
    let dtype = wide_type(model.weights.dtype());
    let device = model.weights.device();
    Rotations::new(&model.config, rows).try_map(|Angles { cos, sin, half }| {
        let table = |values: Vec<f32>| {
            let shape = (values.len() / half, half);
            Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
        };
        Ok(Rotation { cos: table(cos)?, sin: table(sin)? })
    })
}

/// Neighbouring sequences of one length, which go through attention together.
pub(super) struct Run {
    pub start: usize,
    pub count: usize,
    pub length: usize,
}

pub(super) struct Packing {
    pub rotations: Rotations<Rotation>,
    pub runs: Vec<Run>,
    /// By window, per run.
    bands: Vec<(Option<usize>, Vec<Band>)>,
    noise: Option<RowNoise>,
}

impl Packing {
    pub fn new(model: &PlainModel, batch: &Packed, noise: Option<&Noise>) -> Result<Self> {
        let rows = batch
            .sequences()
            .flat_map(|rows| (0..rows.len()).map(move |position| (position, rows.len())));
        let lengths: Vec<usize> = batch.sequences().map(|rows| rows.len()).collect();
        let mut start = 0;
        let runs: Vec<Run> = lengths
            .chunk_by(|a, b| a == b)
            .map(|run| {
                let (count, length) = (run.len(), run[0]);
                start += count * length;
                Run { start: start - count * length, count, length }
            })
            .collect();
        let (config, device) = (&model.config, model.weights.device());
        let bands = by_window(config, |window| {
            let shapes = runs.iter().map(|run| (run.count, run.length));
            shapes.map(|shape| Band::new(config, shape, window, device)).collect()
        })?;
        Ok(Self {
            rotations: rotations(model, rows)?,
            runs,
            bands,
            noise: noise.map(|noise| RowNoise::new(noise, batch)),
        })
    }

    /// What an input [rows, width] of a layer's adapters is multiplied by, where it is dropped.
    pub fn dropout(&self, layer: usize, input: Input, like: &Tensor) -> Result<Option<Tensor>> {
        let Some(noise) = self.noise.as_ref().filter(|noise| noise.drops()) else {
            return Ok(None);
        };
        let (rows, width) = like.dims2()?;
        let mut mask = vec![1f32; rows * width];
        noise.drop(layer, input, 0, width, &mut mask);
        let mask = Tensor::from_vec(mask, (rows, width), like.device())?;
        mask.to_dtype(like.dtype()).map(Some)
    }

    /// Embeddings [rows, hidden] with the noise of the pass.
    pub fn embed(&self, stream: Tensor) -> Result<Tensor> {
        let Some(noise) = &self.noise else {
            return Ok(stream);
        };
        let (rows, hidden) = stream.dims2()?;
        let mut added = vec![0f32; rows * hidden];
        noise.embed(hidden, &mut added);
        let added = Tensor::from_vec(added, (rows, hidden), stream.device())?;
        &stream + added.to_dtype(stream.dtype())?
    }

    /// One per run.
    pub fn bands(&self, window: Option<usize>) -> &[Band] {
        of_window::<Vec<Band>>(&self.bands, window)
    }
}

/// What the newest row of every cached sequence sees.
pub(super) struct Newest {
    pub rotations: Rotations<Rotation>,
    /// By window: [sequences, 1, 1, longest].
    masks: Vec<(Option<usize>, Tensor)>,
}

impl Newest {
    /// `lengths` already count the new rows; sequences end together.
    pub fn new(model: &PlainModel, lengths: &[usize]) -> Result<Self> {
        let rows = lengths.iter().map(|length| (length - 1, *length));
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let device = model.weights.device();
        let masks = by_window(&model.config, |window| {
            let mask: Vec<f32> = lengths
                .iter()
                .flat_map(|length| {
                    let seen = window.map_or(*length, |window| window.min(*length));
                    (0..longest).map(move |key| hidden_unless(key >= longest - seen))
                })
                .collect();
            Tensor::from_vec(mask, (lengths.len(), 1, 1, longest), device)
        })?;
        Ok(Self { rotations: rotations(model, rows)?, masks })
    }

    pub fn mask(&self, window: Option<usize>) -> &Tensor {
        of_window(&self.masks, window)
    }
}

/// Makes something per window that a layer of the model has.
fn by_window<T>(
    config: &Config,
    mut make: impl FnMut(Option<usize>) -> Result<T>,
) -> Result<Vec<(Option<usize>, T)>> {
    let mut windows: Vec<_> = (0..config.num_layers).map(|i| config.window(i)).collect();
    windows.sort();
    windows.dedup();
    windows.into_iter().map(|window| Ok((window, make(window)?))).collect()
}

fn of_window<T>(found: &[(Option<usize>, T)], window: Option<usize>) -> &T {
    let mut found = found.iter().filter(|(of, _)| *of == window);
    let (_, found) = found.next().expect("made for every window of the model");
    found
}
