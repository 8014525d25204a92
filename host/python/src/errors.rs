//! What Python catches: one class for each thing that a caller may want to treat in its own way.

use host_sandbox::{Error, Limit};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

macro_rules! errors {
    ($($name:ident $doc:literal),+ $(,)?) => {
        create_exception!(
            risk_policy,
            PolicyError,
            PyException,
            "Whatever goes wrong between a policy file and what it decides."
        );
        $( create_exception!(risk_policy, $name, PolicyError, $doc); )+

        /// Adds them to the module.
        pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
            let py = module.py();
            module.add("PolicyError", py.get_type::<PolicyError>())?;
            $( module.add(stringify!($name), py.get_type::<$name>())?; )+
            Ok(())
        }
    };
}

errors! {
    EngineError "The WebAssembly engine can't run here, or a limit makes no sense.",
    PolicyFileError "The file can't be read or is no policy of a contract that is served.",
    SignatureError "A wrong digest or signature, a revoked policy, a key that can't be used.",
    SettingsError "Settings or rules that are none, or that the policy refuses.",
    UnmetNeed "The policy asks for what this run or its setup doesn't have.",
    SignalError "A signal, label or array that a policy can't be given.",
    PolicyRefused "calibrate gave up with words of the policy's own.",
    CalibrationError "A calibration that can't be read, or that is of something else.",
    JournalError "A journal that can't be written or read.",
    PolicyFault "The policy crashed, went past a limit or answered nonsense.",
}

/// The error as Python raises it, in the host's words.
pub fn raised(error: Error) -> PyErr {
    let words = error.to_string();
    if error.is_fault() {
        return PolicyFault::new_err(words);
    }
    match error {
        Error::Limits(_) | Error::Engine { .. } => EngineError::new_err(words),
        Error::Read { .. } | Error::File { .. } => PolicyFileError::new_err(words),
        Error::Digest { .. }
        | Error::Unsigned { .. }
        | Error::Revoked { .. }
        | Error::Revocations { .. }
        | Error::Key { .. } => SignatureError::new_err(words),
        Error::Journal { .. } => JournalError::new_err(words),
        Error::Settings { .. } | Error::Limit { limit: Limit::Settings, .. } => {
            SettingsError::new_err(words)
        }
        Error::Limit { .. } => SignalError::new_err(words),
        Error::Unmet { .. } => UnmetNeed::new_err(words),
        Error::Refused { .. } => PolicyRefused::new_err(words),
        Error::Trap { .. } | Error::Unreadable { .. } | Error::Invalid { .. } => {
            PolicyFault::new_err(words)
        }
    }
}
