//! For programs: all of it, each seed's value included.

use host_data::failure::{Failure as Error, Result};

use crate::compare::Compared;

pub(super) fn table(compared: &Compared) -> Result<String> {
    let bytes = host_files::json::bytes(compared)
        .map_err(|error| Error::config("json", error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
