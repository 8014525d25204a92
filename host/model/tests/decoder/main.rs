//! The decoder against candle's own models, against itself and against
//! differences: one binary, so that it is linked once.
#![allow(clippy::unwrap_used)]

mod cached;
mod configs;
mod device;
mod fused;
mod gradients;
mod head;
mod oracle;
mod quantized;
mod random;
mod refusals;
mod shared;
mod smollm2;
mod starts;
mod steered;
