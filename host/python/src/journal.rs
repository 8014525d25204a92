//! Writes the journal of a run.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use host_audit::journal::{Answered, Identity, JournalWriter, Mark, Mode, Start};
use host_audit::seal::{self, JournalHead, Notary, Seal};
use host_sandbox::{Error, Signer};
use pyo3::prelude::*;
use serde_json::json;

use crate::assessment::Assessment;
use crate::calls::detached;
use crate::configured::Configured;
use crate::errors::{JournalError, PolicyFault, SignalError, SignatureError, raised};
use crate::guardrails::Guardrails;
use crate::records;
use crate::signals::{Signals, whole};

/// As `journal.budget_mib` of the configuration has it.
const BUDGET: u64 = 4 << 30;

type Writer = JournalWriter<Arc<Signer>>;

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
pub struct Journal {
    writer: Mutex<Option<Writer>>,
    policies: usize,
    signer: Arc<Signer>,
    /// What the run's files are signed as, once it ended.
    seal: Mutex<Seal>,
    folder: PathBuf,
}

/// Makes a secret key, and its public half beside it.
#[pyfunction]
pub fn create_key(path: PathBuf) -> PyResult<String> {
    match Signer::create(&path).map_err(raised)? {
        Some(signer) => Ok(signer.public().to_base64()),
        None => Err(SignatureError::new_err(format!(
            "{} exists already; use it, or name another file",
            path.display()
        ))),
    }
}

#[pymethods]
impl Journal {
    #[staticmethod]
    #[pyo3(signature = (
        folder, policies, *, key = None, mode = "full", budget_bytes = BUDGET, on_fault = "stop",
        require = None, identity = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords of Python")]
    fn create(
        py: Python<'_>,
        folder: PathBuf,
        policies: Vec<Bound<'_, Configured>>,
        key: Option<PathBuf>,
        mode: &str,
        budget_bytes: u64,
        on_fault: &str,
        require: Option<&Guardrails>,
        identity: Option<BTreeMap<String, String>>,
    ) -> PyResult<Self> {
        let begun = Begun::new(&policies, mode, budget_bytes, on_fault, require, identity)?;
        let signer = signer(key)?;
        let writer = detached(py, || {
            // Of the folder itself the writer makes sure that it is new.
            if let Some(parent) = folder.parent() {
                fs::create_dir_all(parent).map_err(|source| Error::journal(parent, &source))?;
            }
            JournalWriter::create(&folder, &begun.start(), Arc::clone(&signer))
        })?;
        Ok(Self::writing(writer, begun, signer, folder))
    }

    #[staticmethod]
    #[pyo3(signature = (
        folder, policies, mark, *, key = None, mode = "full", budget_bytes = BUDGET,
        on_fault = "stop", require = None, identity = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords of Python")]
    fn resume(
        py: Python<'_>,
        folder: PathBuf,
        policies: Vec<Bound<'_, Configured>>,
        mark: &Bound<'_, PyAny>,
        key: Option<PathBuf>,
        mode: &str,
        budget_bytes: u64,
        on_fault: &str,
        require: Option<&Guardrails>,
        identity: Option<BTreeMap<String, String>>,
    ) -> PyResult<Self> {
        let begun = Begun::new(&policies, mode, budget_bytes, on_fault, require, identity)?;
        let mark: Mark = records::read(mark, "mark").map_err(JournalError::new_err)?;
        let signer = signer(key)?;
        let writer = detached(py, || {
            let start = begun.start();
            let writer = JournalWriter::resume(&folder, &start, &mark, Arc::clone(&signer))?;
            // What was signed of the run is no longer all of it.
            if let Some(run) = folder.parent() {
                let gone = fs::remove_file(run.join(seal::FILE));
                gone.or_else(|error| match error.kind() {
                    ErrorKind::NotFound => Ok(()),
                    _ => Err(Error::journal(run, &error)),
                })?;
            }
            Ok(writer)
        })?;
        Ok(Self::writing(writer, begun, signer, folder))
    }

    #[pyo3(signature = (policy, signals, assessment, *, state = None))]
    fn assessment(
        &self,
        py: Python<'_>,
        policy: usize,
        signals: &Signals,
        assessment: &Assessment,
        state: Option<pyo3::pybacked::PyBackedBytes>,
    ) -> PyResult<()> {
        let Assessment { assessment, fuel, memory_bytes, .. } = assessment;
        let (fuel, memory_bytes) = (*fuel, *memory_bytes);
        let answered = Answered::Assessment { assessment, fuel, memory_bytes };
        self.add(py, policy, signals, state.as_deref(), &answered)
    }

    #[pyo3(signature = (policy, signals, error, *, state = None, stands_in = None))]
    fn fault(
        &self,
        py: Python<'_>,
        policy: usize,
        signals: &Signals,
        error: &Bound<'_, PyAny>,
        state: Option<pyo3::pybacked::PyBackedBytes>,
        stands_in: Option<&Assessment>,
    ) -> PyResult<()> {
        if !error.is_instance_of::<PolicyFault>() {
            let problem = "the journal takes a PolicyFault as such, with the words of the host";
            return Err(JournalError::new_err(problem));
        }
        let words = error.str()?.to_string();
        let stands_in = stands_in.map(|one| &one.assessment);
        let answered = Answered::Fault { error: &words, stands_in };
        self.add(py, policy, signals, state.as_deref(), &answered)
    }

    fn combined(&self, py: Python<'_>, step: u64, assessment: &Assessment) -> PyResult<()> {
        self.with(py, |writer| writer.combined(step, &assessment.assessment))
    }

    fn seal(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Writer::seal)
    }

    #[pyo3(signature = (ending, last = None))]
    fn end(&self, py: Python<'_>, ending: &str, last: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let endings = ["finished", "interrupted", "stopped", "early-stop", "failed"];
        if !endings.contains(&ending) {
            let words = endings.join(", ");
            return Err(JournalError::new_err(format!("the ending {ending:?} is none of {words}")));
        }
        let last = last.map(|last| records::read(last, "last")).transpose();
        let last = last.map_err(JournalError::new_err)?;
        self.with(py, |writer| writer.end(ending, last))?;
        let left = self.with(py, |writer| {
            let (records, head) = writer.head();
            Ok(JournalHead { records, head: head.to_owned() })
        })?;
        // What is over takes nothing more.
        *self.lock() = None;
        let mut seal = locked(&self.seal);
        seal.ended = Some(ending.to_owned());
        seal.journal = Some(left);
        Ok(())
    }

    #[pyo3(signature = (*, notices = Vec::new()))]
    fn sign_run(&self, py: Python<'_>, notices: Vec<String>) -> PyResult<()> {
        let Some(run) = self.folder.parent().filter(|_| self.folder.ends_with("journal")) else {
            let path = self.folder.display();
            let problem = "isn't the folder journal of a run's folder, so there is no run to sign";
            return Err(JournalError::new_err(format!("{path} {problem}")));
        };
        detached(py, || {
            let mut seal = locked(&self.seal);
            let Some(ended) = seal.ended.clone() else {
                let problem = "the journal hasn't ended; call end() first";
                return Ok(Err(problem.to_owned()));
            };
            seal.notices = notices;
            let name = seal.identity.run.clone();
            let notary = Notary { signer: &self.signer, run: &name };
            let signed = seal.close(run, seal::FILE, notary, &ended);
            Ok(signed.and_then(|()| seal.write(run, notary)).map_err(|error| error.to_string()))
        })?
        .map_err(JournalError::new_err)
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |writer| writer.sync())
    }

    fn mark<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mark = self.with(py, |writer| {
            writer.seal()?;
            writer.mark()
        })?;
        records::to_python(py, &mark)
    }

    #[getter]
    fn head(&self, py: Python<'_>) -> PyResult<(u64, String)> {
        self.with(py, |writer| {
            let (count, hash) = writer.head();
            Ok((count, hash.to_owned()))
        })
    }

    #[getter]
    fn unrecorded(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |writer| Ok(writer.unrecorded()))
    }

    #[getter]
    fn public_key(&self) -> String {
        self.signer.public().to_base64()
    }
}

impl Journal {
    fn writing(writer: Writer, begun: Begun, signer: Arc<Signer>, folder: PathBuf) -> Self {
        let started = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let seal = Seal { identity: begun.identity, started, ..Seal::default() };
        Self {
            writer: Mutex::new(Some(writer)),
            policies: begun.policies.len(),
            signer,
            seal: Mutex::new(seal),
            folder,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writer>> {
        locked(&self.writer)
    }

    /// The lock is taken without the interpreter: whoever has it may be waiting for that.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Writer) -> host_sandbox::Result<T> + Send,
    ) -> PyResult<T> {
        let done = detached(py, || self.lock().as_mut().map(work).transpose())?;
        done.ok_or_else(|| JournalError::new_err("this journal has ended; nothing can be added"))
    }

    fn add(
        &self,
        py: Python<'_>,
        policy: usize,
        signals: &Signals,
        state: Option<&[u8]>,
        answered: &Answered<'_>,
    ) -> PyResult<()> {
        if policy >= self.policies {
            let count = self.policies;
            let problem = format!("the run has {count} policies, and none of the number {policy}");
            return Err(JournalError::new_err(problem));
        }
        whole(&signals.0).map_err(SignalError::new_err)?;
        let (signals, state) = (&signals.0, state.unwrap_or_default());
        self.with(py, |writer| writer.assessment(signals.step, policy, signals, state, answered))
    }
}

/// What a journal begins with.
struct Begun {
    policies: Vec<Configured>,
    mode: Mode,
    budget: u64,
    on_fault: String,
    require: Vec<String>,
    identity: Identity,
}

impl Begun {
    fn new(
        policies: &[Bound<'_, Configured>],
        mode: &str,
        budget: u64,
        on_fault: &str,
        require: Option<&Guardrails>,
        identity: Option<BTreeMap<String, String>>,
    ) -> PyResult<Self> {
        let wrong = JournalError::new_err;
        let policies: Vec<Configured> = policies.iter().map(|one| one.get().clone()).collect();
        let Some(first) = policies.first() else {
            return Err(wrong("a journal needs a policy".into()));
        };
        if let Some(other) = policies.iter().find(|one| one.0.run != first.0.run) {
            return Err(wrong(format!(
                "policy {} was configured for another run than {}",
                other.0.policy.policy, first.0.policy.policy
            )));
        }
        let limits = first.0.policy.policy.limits();
        if policies.iter().any(|one| one.0.policy.policy.limits() != limits) {
            return Err(wrong("the policies of a journal must have the same limits".into()));
        }
        let mode = records::from_value(json!(mode), "mode").map_err(wrong)?;
        let identity = Identity::new(identity.unwrap_or_default());
        let hex = |digest: &String| digest.len() == 64 && digest.bytes().all(is_hex);
        if let Some((name, _)) = identity.parts.iter().find(|(_, digest)| !hex(digest)) {
            return Err(wrong(format!("identity[{name:?}] is no SHA-256 in hexadecimal")));
        }
        Ok(Self {
            policies,
            mode,
            budget,
            on_fault: on_fault.to_owned(),
            require: require.map(|rules| rules.texts.clone()).unwrap_or_default(),
            identity,
        })
    }

    fn start(&self) -> Start<'_> {
        let seats = self.policies.iter().map(|one| {
            let setup = &*one.0;
            let policy = &*setup.policy.policy;
            (policy, setup.text.as_str(), &setup.needs, setup.parameters.as_slice())
        });
        Start {
            mode: self.mode,
            budget_bytes: self.budget,
            on_fault: self.on_fault.clone(),
            run: &self.policies[0].0.run,
            require: self.require.clone(),
            identity: &self.identity,
            policies: seats.collect(),
        }
    }
}

fn locked<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// The key that was named, or the user's own, which is made on first use.
fn signer(key: Option<PathBuf>) -> PyResult<Arc<Signer>> {
    let signer = match key {
        Some(key) => Signer::open(&key),
        None => host_installed::key().and_then(|key| Ok(Signer::open_or_create(&key)?.0)),
    };
    signer.map(Arc::new).map_err(raised)
}
