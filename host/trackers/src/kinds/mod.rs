//! The kinds of trackers: a file for each, with its configuration.

mod tensorboard;

pub use tensorboard::{TensorBoard, TensorBoardConfig};
