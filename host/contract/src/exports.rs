//! The four functions of a component, in the types of the host, whatever version of the
//! contract the component was built for.
//!
//! The host's own types are those of the newest version, which is why nothing is converted
//! for it; see `v0_1` for the others.

use wasmtime::{
    Store,
    component::{
        ComponentExportIndex, ComponentNamedList, Func, Instance, InstancePre, Lift, Lower,
    },
};

use crate::{
    assessment::Assessment,
    calibration::{Calibration, Examples},
    signals::{Needs, Signals},
    types::{Descriptor, RunInfo},
    v0_1,
    version::Version,
};

/// Where the functions lie in a component.
#[derive(Clone)]
pub struct Exports {
    version: Version,
    functions: [ComponentExportIndex; 4],
}

/// The functions of one instance.
pub struct Functions {
    version: Version,
    describe: Func,
    configure: Func,
    calibrate: Func,
    assess: Func,
}

/// What `assess` gets, apart from the signals.
#[derive(Debug, Clone, Copy)]
pub struct AssessArguments<'a> {
    /// A JSON object.
    pub settings: &'a str,
    /// The run.
    pub run: &'a RunInfo,
    /// What `calibrate` returned, else empty.
    pub parameters: &'a [u8],
    /// What the step before returned, empty at the first.
    pub state: &'a [u8],
}

/// An answer, or what the policy says is wrong.
type Answer<T> = Result<T, String>;
type ConfigureParameters<'a> = (&'a str, &'a RunInfo);
type CalibrateParameters<'a, E> = (&'a str, &'a RunInfo, E);
type AssessParameters<'a, S> = (&'a str, &'a RunInfo, &'a [u8], &'a [u8], S);

impl Exports {
    /// Finds the functions in the instance that a component exports under `name`.
    ///
    /// # Errors
    /// A function that is not there.
    pub fn find<T>(
        component: &InstancePre<T>,
        name: &str,
        version: Version,
    ) -> wasmtime::Result<Self> {
        let component = component.component();
        let missing = || wasmtime::format_err!("no exported instance named `{name}`");
        let instance = component.get_export_index(None, name).ok_or_else(missing)?;
        let find = |function: &str| {
            let missing = || {
                wasmtime::format_err!("instance export `{name}` does not have export `{function}`")
            };
            component.get_export_index(Some(&instance), function).ok_or_else(missing)
        };
        let functions =
            [find("describe")?, find("configure")?, find("calibrate")?, find("assess")?];
        Ok(Self { version, functions })
    }

    /// The version of the contract that the component was built for.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Takes the functions of one instance.
    ///
    /// # Errors
    /// A function with another signature than the contract says.
    pub fn load<T: 'static>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
    ) -> wasmtime::Result<Functions> {
        let [describe, configure, calibrate, assess] = &self.functions;
        let mut function = |index| {
            let function = instance.get_func(&mut *store, index);
            function.ok_or_else(|| wasmtime::format_err!("an export is no function"))
        };
        let functions = Functions {
            version: self.version,
            describe: function(describe)?,
            configure: function(configure)?,
            calibrate: function(calibrate)?,
            assess: function(assess)?,
        };
        functions.check(store)?;
        Ok(functions)
    }
}

impl Functions {
    fn check<T: 'static>(&self, store: &Store<T>) -> wasmtime::Result<()> {
        self.describe.typed::<(), (Descriptor,)>(store)?;
        match self.version {
            Version::V0_1 => {
                let (configure, calibrate) = (&self.configure, &self.calibrate);
                configure.typed::<ConfigureParameters<'_>, (Answer<v0_1::Needs>,)>(store)?;
                calibrate
                    .typed::<CalibrateParameters<'_, v0_1::Examples<'_>>, (Answer<v0_1::Calibration>,)>(
                        store,
                    )?;
                let assess = &self.assess;
                assess
                    .typed::<AssessParameters<'_, v0_1::Signals<'_>>, (Answer<v0_1::Assessment>,)>(
                        store,
                    )?;
            }
            Version::V0_2 => {
                let (configure, calibrate) = (&self.configure, &self.calibrate);
                configure.typed::<ConfigureParameters<'_>, (Answer<Needs>,)>(store)?;
                calibrate
                    .typed::<CalibrateParameters<'_, &Examples>, (Answer<Calibration>,)>(store)?;
                let assess = &self.assess;
                assess.typed::<AssessParameters<'_, &Signals>, (Answer<Assessment>,)>(store)?;
            }
        }
        Ok(())
    }

    /// Who the policy is.
    ///
    /// # Errors
    /// A trap.
    pub fn describe<T: 'static>(&self, store: &mut Store<T>) -> wasmtime::Result<Descriptor> {
        call(&self.describe, store, ())
    }

    /// What must be measured with these settings, or what is wrong with them.
    ///
    /// # Errors
    /// A trap.
    pub fn configure<T: 'static>(
        &self,
        store: &mut Store<T>,
        settings: &str,
        run: &RunInfo,
    ) -> wasmtime::Result<Answer<Needs>> {
        let parameters = (settings, run);
        match self.version {
            Version::V0_1 => {
                let needs: Answer<v0_1::Needs> = call(&self.configure, store, parameters)?;
                Ok(needs.map(Needs::from))
            }
            Version::V0_2 => call(&self.configure, store, parameters),
        }
    }

    /// What the policy fits on labelled examples, or why it can't.
    ///
    /// # Errors
    /// A trap.
    pub fn calibrate<T: 'static>(
        &self,
        store: &mut Store<T>,
        settings: &str,
        run: &RunInfo,
        examples: &Examples,
    ) -> wasmtime::Result<Answer<Calibration>> {
        match self.version {
            Version::V0_1 => {
                let parameters = (settings, run, v0_1::Examples::from(examples));
                let answer: Answer<v0_1::Calibration> = call(&self.calibrate, store, parameters)?;
                Ok(answer.map(Calibration::from))
            }
            Version::V0_2 => call(&self.calibrate, store, (settings, run, examples)),
        }
    }

    /// What to do at one step, or why the policy can't say.
    ///
    /// # Errors
    /// A trap.
    pub fn assess<T: 'static>(
        &self,
        store: &mut Store<T>,
        arguments: AssessArguments<'_>,
        signals: &Signals,
    ) -> wasmtime::Result<Answer<Assessment>> {
        let AssessArguments { settings, run, parameters, state } = arguments;
        match self.version {
            Version::V0_1 => {
                let signals = v0_1::Signals::from(signals);
                let parameters = (settings, run, parameters, state, signals);
                let answer: Answer<v0_1::Assessment> = call(&self.assess, store, parameters)?;
                Ok(answer.map(Assessment::from))
            }
            Version::V0_2 => call(&self.assess, store, (settings, run, parameters, state, signals)),
        }
    }
}

fn call<T: 'static, P, R>(
    function: &Func,
    store: &mut Store<T>,
    parameters: P,
) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower,
    R: Lift + Send + Sync + 'static,
{
    let (answer,) = function.typed::<P, (R,)>(&mut *store)?.call(&mut *store, parameters)?;
    Ok(answer)
}
