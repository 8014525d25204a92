//! `[trackers.tensorboard]`

use std::path::PathBuf;

use host_data::failure::{Failure as Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TensorBoardConfig {
    /// Folder for the event files of many runs, each in DIR/NAME. Default: tensorboard in the
    /// run's folder.
    pub dir: Option<PathBuf>,
    /// Whether the folder of a run alone names `dir`, and not who uses it.
    #[serde(skip)]
    #[schemars(skip)]
    pub dir_is_of_run: bool,
}

impl TensorBoardConfig {
    /// # Errors
    /// A folder that nobody but the run names.
    pub(crate) fn ready(&self) -> Result<()> {
        match &self.dir {
            Some(dir) if self.dir_is_of_run => {
                let problem = format!(
                    "the run's folder says that event files go to {0}; if you want that, go on \
                     with --track tensorboard={0}, or with --track none",
                    dir.display()
                );
                Err(Error::config("trackers.tensorboard.dir", problem))
            }
            _ => Ok(()),
        }
    }
}
