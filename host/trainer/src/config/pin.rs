//! Data sets of the Hub by the commit that they have when a run begins.

use host_data::{DataSource, hub};

use super::RunConfig;
use crate::error::{Error, Result};

impl RunConfig {
    /// Names every data set of the Hub with the commit of its revision, so that whoever reads the configuration
    /// later, such as a run that goes on, reads the same rows.
    ///
    /// # Errors
    /// If there is no such data set, or the Hub can't be asked and the cache doesn't know it.
    pub fn pin_data(&mut self) -> Result<()> {
        for source in self.data_sources() {
            source.path = hub::pinned(&source.path).map_err(Error::from)?;
        }
        Ok(())
    }

    /// Whatever a run reads rows from.
    fn data_sources(&mut self) -> impl Iterator<Item = &mut DataSource> {
        let (data, calibration, eval) = (&mut self.data, &mut self.calibration, &mut self.eval);
        let further =
            eval.further.values_mut().flat_map(|set| [&mut set.harmful, &mut set.harmless]);
        let all = [
            &mut data.train,
            &mut data.alignment,
            &mut calibration.data,
            &mut calibration.validation,
            &mut calibration.test,
            &mut self.canary.prompts,
            &mut self.anchors.harmful,
            &mut self.anchors.harmless,
            &mut self.steering.positive,
            &mut self.steering.negative,
            &mut self.steering.prompts,
            &mut eval.harmful,
            &mut eval.harmless,
            &mut eval.task,
        ];
        all.into_iter().chain(further).flatten()
    }
}
