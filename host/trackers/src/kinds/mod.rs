//! The kinds of trackers: a file for each, with its configuration.

mod mlflow;
mod otlp;
mod tensorboard;
mod webhook;

pub use mlflow::{Mlflow, MlflowConfig};
pub use otlp::{Otlp, OtlpConfig};
pub use tensorboard::{TensorBoard, TensorBoardConfig};
pub use webhook::{Webhook, WebhookConfig};
