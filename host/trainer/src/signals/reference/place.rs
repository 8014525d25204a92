//! Where the cache on disk is, and whether there is one.

use std::path::PathBuf;

use host_contract::Tap;
use host_model::Model;

use super::key::Basis;
use super::store::Store;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::program;

/// Opens the folder of the configuration, or else `usual`. There is no cache on disk
/// without a budget or a folder, and none where a sample's bits depend on its company in
/// a batch (the plain kernels): another run, with other batches, would get other bits
/// than it computes.
///
/// # Errors
/// If a folder that the configuration names can't be used. The usual one is done without.
pub fn open(
    config: &TrainConfig,
    usual: Option<PathBuf>,
    model: &Model,
    taps: &[Tap],
) -> Result<Option<Store>> {
    let named = config.reference_cache_dir.is_some();
    let folder = config.reference_cache_dir.clone().or(usual);
    let (Some(folder), 1..) = (folder, config.reference_cache_disk_mib) else {
        return Ok(None);
    };
    if !model.decoder.rows_stand_alone() {
        if named {
            tracing::warn!(
                "train.reference_cache_dir is not used: with the plain kernels (CUDA) the \
                 reference rounds as the batch is, so another run can't take it over"
            );
        }
        return Ok(None);
    }
    let basis = Basis::new(program::digest()?, &model.digest, &model.decoder, taps)?;
    match Store::open(&folder, config.reference_cache_disk_mib << 20, basis) {
        Ok(store) => Ok(Some(store)),
        Err(error) if named => Err(Error::config(
            "train.reference_cache_dir",
            format!("{} can't be used: {error}", folder.display()),
        )),
        Err(error) => {
            tracing::warn!("{}: {error}; the reference is not cached on disk", folder.display());
            Ok(None)
        }
    }
}
