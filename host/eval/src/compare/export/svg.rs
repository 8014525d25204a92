//! The plot as a file of its own.

use host_data::failure::{Failure as Error, Result};
use host_html::chart::Frame;

use crate::compare::Compared;

pub(super) fn plot(compared: &Compared) -> Result<String> {
    let plot = compared.plot().ok_or_else(|| {
        let problem = "there is nothing to plot: no method has both an attack success and a task; \
                       evaluate with --harmful and --task FILE";
        Error::config("svg", problem)
    })?;
    Ok(plot.svg(Frame::File, 760.0, 440.0) + "\n")
}
