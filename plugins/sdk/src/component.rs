//! From the generated `Guest` trait to [`Policy`].

use std::marker::PhantomData;

use crate::bindings::{
    Assessment, Calibration, Descriptor, Examples, Guest, Needs, RunInfo, Signals,
};
use crate::policy::{Call, Policy};
use crate::settings;

/// A [`Policy`] as the component interface sees it; made by [`crate::export!`].
pub struct Component<P>(PhantomData<P>);

impl<P: Policy> Guest for Component<P> {
    fn describe() -> Descriptor {
        Descriptor {
            name: P::NAME.to_string(),
            version: P::VERSION.to_string(),
            summary: P::SUMMARY.to_string(),
            settings_schema: P::SETTINGS_SCHEMA.to_string(),
        }
    }

    fn configure(settings: String, run: RunInfo) -> Result<Needs, String> {
        let settings = settings::parse(&settings, P::SETTINGS_SCHEMA)?;
        P::needs(&settings, &run)
    }

    fn calibrate(
        settings: String,
        run: RunInfo,
        examples: Examples,
    ) -> Result<Calibration, String> {
        let settings = settings::parse(&settings, P::SETTINGS_SCHEMA)?;
        P::calibrate(&settings, &run, &examples)
    }

    fn assess(
        settings: String,
        run: RunInfo,
        parameters: Vec<u8>,
        state: Vec<u8>,
        signals: Signals,
    ) -> Result<Assessment, String> {
        let settings = settings::parse(&settings, P::SETTINGS_SCHEMA)?;
        P::assess(&Call {
            settings: &settings,
            run: &run,
            parameters: &parameters,
            state: &state,
            signals: &signals,
        })
    }
}
