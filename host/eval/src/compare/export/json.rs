//! For programs: all of it, each seed's value included.

use crate::compare::Compared;
use host_data::failure::{Failure as Error, Result};

pub(super) fn table(compared: &Compared) -> Result<String> {
    let bytes = host_files::json::bytes(compared)
        .map_err(|error| Error::config("json", error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
