//! Where a policy's functions run: in this process, or in one of their own.

use host_contract::Version;

use crate::{
    call_site::CallSite,
    component::Assessor,
    engine::Engine,
    error::{Error, FileProblem, REBUILD, Result},
    isolated::Isolated,
    linked::{Cost, Linked},
    question::{Answer, Question},
};

/// The functions of one policy.
pub(crate) struct Runner {
    engine: Engine,
    version: Version,
    place: Place,
}

enum Place {
    Here(Linked),
    Apart(Isolated),
}

impl Runner {
    /// Compiles a component that was inspected before; `sha256` is its digest.
    ///
    /// # Errors
    /// Bytes that can't be compiled, and functions that are missing.
    pub(crate) fn new(
        engine: &Engine,
        bytes: &[u8],
        sha256: &str,
        file: &str,
        assessor: &Assessor,
    ) -> Result<Self> {
        let Assessor { name, version } = assessor;
        let place = if let Some(worker) = engine.isolating() {
            let code = engine.code(worker, bytes, sha256, file)?;
            let made = Isolated::new(worker, engine, name, code);
            Place::Apart(made.map_err(|problem| Error::Engine { problem })?)
        } else {
            let component = engine.compile(bytes, sha256, file)?;
            let linked = Linked::new(engine, &component, name, *version);
            Place::Here(linked.map_err(|problem| Error::File {
                file: file.to_owned(),
                problem: FileProblem::new(problem, REBUILD),
            })?)
        };
        Ok(Self { engine: engine.clone(), version: *version, place })
    }

    /// The contract that the policy was built for.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Calls one function in a fresh instance.
    pub(crate) fn ask(&self, at: &CallSite, question: &Question<'_>) -> Result<(Answer, Cost)> {
        let reply = match &self.place {
            Place::Here(linked) => linked.ask(question),
            Place::Apart(isolated) => isolated.ask(question),
        };
        self.engine.note(reply.reached);
        reply.answer.map_err(|failure| failure.at(at, &self.engine.limits))
    }
}

/// The error of an answer to another question than was asked, which only a process that no
/// longer runs this program gives.
pub(crate) fn beside(at: &CallSite) -> Error {
    let cause = "it answers another question".to_owned();
    Error::Unreadable { at: Box::new(at.clone()), cause }
}
