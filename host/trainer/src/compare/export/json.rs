//! For programs: all of it, each seed's value included.

use crate::compare::Compared;
use crate::error::{Error, Result};
use crate::run_dir::to_json;

pub(super) fn table(compared: &Compared) -> Result<String> {
    let bytes = to_json(compared).map_err(|error| Error::config("json", error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
