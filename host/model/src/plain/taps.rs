//! Means of rows of the residual stream, gathered on the device and read once.

use candle_core::{DType, Result, Tensor};

use crate::pass::TapRows;

pub(super) struct TapMeans<'t> {
    taps: &'t [TapRows],
    /// Which tap, and a mean [hidden], in the order in which they were met.
    found: Vec<(usize, Tensor)>,
}

impl<'t> TapMeans<'t> {
    pub fn new(taps: &'t [TapRows]) -> Self {
        Self { taps, found: Vec::new() }
    }

    pub fn add(&mut self, stream: &Tensor, layer: usize) -> Result<()> {
        let stream = stream.detach();
        for (index, tap) in self.taps.iter().enumerate() {
            if tap.layer != layer {
                continue;
            }
            for rows in &tap.rows {
                let rows = stream.narrow(0, rows.start, rows.len())?;
                let mean = rows.to_dtype(DType::F32)?.mean(0)?;
                self.found.push((index, mean));
            }
        }
        Ok(())
    }

    /// Per tap: its ranges * hidden values.
    pub fn read(self) -> Result<Vec<Vec<f32>>> {
        let mut values = vec![Vec::new(); self.taps.len()];
        if self.found.is_empty() {
            return Ok(values);
        }
        let means: Vec<&Tensor> = self.found.iter().map(|(_, mean)| mean).collect();
        let read = Tensor::stack(&means, 0)?.to_vec2::<f32>()?;
        for ((index, _), mean) in self.found.iter().zip(read) {
            values[*index].extend(mean);
        }
        Ok(values)
    }
}
