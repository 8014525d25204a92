//! What rows of adapted weights are brought to their lengths with.

/// m / |W + scaling B A| of every row, by layer and target; empty without magnitudes.
#[derive(Default)]
pub(crate) struct Gains(pub Vec<[Vec<f32>; 7]>);
