//! The WebAssembly engine, configured so that a call depends on nothing but its
//! arguments and always ends.

use crate::{
    builtin::Builtin,
    cache::Cache,
    call_site::CallSite,
    compile,
    error::{Error, FileProblem, REBUILD, Result},
    limits::{Limit, Limits},
    registry::{Nowhere, Registry},
    watch::Watch,
    worker::{Job, Worker},
};
use host_files::apart::Jail;
use host_files::text::clean;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeSet,
    hash::{Hash as _, Hasher},
    sync::Arc,
    time::Duration,
};
use wasmtime::component::Component;

/// How often the clock ticks that stops calls which run too long.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// A WebAssembly engine with its limits; cheap to clone, to be shared by all
/// policies of a process.
#[derive(Clone)]
pub struct Engine {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) limits: Arc<Limits>,
    compiler: Arc<Compiler>,
    isolate: bool,
    watch: Option<Arc<Watch>>,
    pub(crate) builtin: &'static [Builtin],
    pub(crate) registry: Arc<dyn Registry>,
}

/// What stands between policies and the machine, beside the engine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Policies run in processes of their own.
    pub isolated: bool,
    /// What holds the processes that compile and run them; absent if none was started, as when
    /// every policy was compiled before.
    pub jail: Option<Jail>,
}

enum Compiler {
    /// In this process.
    Here,
    Apart {
        worker: Worker,
        cache: Option<Cache>,
    },
}

impl Engine {
    /// An engine that compiles in this process: for components of your own, in tests
    /// and benchmarks. One that someone else wrote can make compilation take minutes
    /// and gigabytes; [`Engine::guarded`] is for those.
    ///
    /// # Errors
    /// A limit that makes no sense, or a machine on which compiled code can't run.
    pub fn new(limits: &Limits) -> Result<Self> {
        Self::start(limits, Compiler::Here)
    }

    /// An engine that compiles in a worker process under `limits`, and keeps what was
    /// compiled in the cache if there is one.
    ///
    /// # Errors
    /// As for [`Engine::new`].
    pub fn guarded(limits: &Limits, worker: Worker, cache: Option<Cache>) -> Result<Self> {
        Self::start(limits, Compiler::Apart { worker, cache })
    }

    /// These policies can be loaded by name, as `builtin:NAME`.
    #[must_use]
    pub fn with_builtin(self, builtin: &'static [Builtin]) -> Self {
        Self { builtin, ..self }
    }

    /// Policies are also found in this registry, by the names that it has for them.
    #[must_use]
    pub fn with_registry(self, registry: Arc<dyn Registry>) -> Self {
        Self { registry, ..self }
    }

    /// Policies run in processes of their own, which have neither files nor a network; only for
    /// an engine that compiles in one.
    #[must_use]
    pub fn isolated(self, isolate: bool) -> Self {
        Self { isolate, ..self }
    }

    /// This engine under other limits, for components whose parts report that they are reached: by
    /// tables with the maximum `mark`, which ask to grow by the number of the part plus one.
    #[must_use]
    pub fn watching(&self, limits: Limits, mark: u32) -> Self {
        let (limits, watch) = (Arc::new(limits), Some(Arc::new(Watch::new(mark))));
        Self { limits, watch, ..self.clone() }
    }

    /// Parts of its components that any call has reached; none but of those that report.
    pub fn reached(&self) -> BTreeSet<u32> {
        self.watch.as_ref().map(|watch| watch.reached()).unwrap_or_default()
    }

    pub(crate) fn mark(&self) -> Option<u32> {
        self.watch.as_ref().map(|watch| watch.mark)
    }

    /// Keeps what a call has reached.
    pub(crate) fn note(&self, reached: BTreeSet<u32>) {
        if let Some(watch) = &self.watch {
            watch.add(reached);
        }
    }

    /// What stands between policies and the machine, beside the engine itself.
    pub fn confinement(&self) -> Confinement {
        let jail = self.worker().and_then(Worker::jail).cloned();
        Confinement { isolated: self.isolating().is_some(), jail }
    }

    /// The worker whose processes run policies, if they don't run in this one.
    pub(crate) fn isolating(&self) -> Option<&Worker> {
        self.worker().filter(|_| self.isolate)
    }

    /// The worker that compiles, if one does.
    pub fn worker(&self) -> Option<&Worker> {
        match &*self.compiler {
            Compiler::Here => None,
            Compiler::Apart { worker, .. } => Some(worker),
        }
    }

    /// Starts the thread that ends calls which take too long.
    fn start(limits: &Limits, compiler: Compiler) -> Result<Self> {
        limits.check()?;
        let problem = |e: wasmtime::Error| Error::Engine { problem: format!("{e:#}") };
        let wasm = wasmtime::Engine::new(&compile::config(limits)).map_err(problem)?;
        start_ticking(&wasm).map_err(|e| Error::Engine { problem: e.to_string() })?;
        Ok(Self {
            wasm,
            limits: Arc::new(limits.clone()),
            compiler: Arc::new(compiler),
            isolate: false,
            watch: None,
            builtin: &[],
            registry: Arc::new(Nowhere),
        })
    }

    /// Compiles a component that was inspected before; `sha256` is its digest.
    pub(crate) fn compile(&self, bytes: &[u8], sha256: &str, file: &str) -> Result<Component> {
        let unusable = |e: wasmtime::Error| Error::File {
            file: file.to_owned(),
            problem: FileProblem::new(
                format!("it can't be compiled: {}", clean(&format!("{e:#}"), 300)),
                REBUILD,
            ),
        };
        match self.worker() {
            None => Component::from_binary(&self.wasm, bytes),
            Some(worker) => self.load(&self.code(worker, bytes, sha256, file)?),
        }
        .map_err(unusable)
    }

    /// The native code of a component that was inspected before, from the cache or from a worker.
    pub(crate) fn code(
        &self,
        worker: &Worker,
        bytes: &[u8],
        sha256: &str,
        file: &str,
    ) -> Result<Vec<u8>> {
        let cache = match &*self.compiler {
            Compiler::Here => None,
            Compiler::Apart { cache, .. } => cache.as_ref(),
        };
        let name = self.cache_name(sha256);
        if let Some(code) = cache.and_then(|cache| cache.get(&name)) {
            return Ok(code);
        }
        let code = worker.run(Job::Compile, bytes, &self.limits, file)?;
        if let Some(cache) = cache {
            cache.put(&name, &code);
        }
        Ok(code)
    }

    #[expect(unsafe_code, reason = "compiled code is loaded")]
    pub(crate) fn load(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: the code comes from this very program, run as a worker, either just
        // now through a pipe or from a cache entry whose MAC was verified. Nothing that
        // a user names gets here: `component::inspect` refuses native code.
        unsafe { Component::deserialize(&self.wasm, code) }
    }

    /// Everything that the code of a component depends on.
    fn cache_name(&self, sha256: &str) -> String {
        let mut hash = Collect(Sha256::new_with_prefix(sha256));
        // wasmtime's version, the target and all settings that change code.
        self.wasm.precompile_compatibility_hash().hash(&mut hash);
        hex::encode(hash.0.finalize())
    }

    /// Ends the calls in progress as if their time were up.
    pub fn interrupt(&self) {
        let longest = self.limits.call_milliseconds.max(self.limits.calibrate_milliseconds);
        let ticks = longest / TICK.as_millis() as u64 + 2;
        // Calls that take more than a day are left to their fuel.
        (0..ticks.min(10_000_000)).for_each(|_| self.wasm.increment_epoch());
    }

    /// What a call of a policy may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Refuses what is larger than its limit.
    pub(crate) fn within(&self, limit: Limit, found: usize, at: &CallSite) -> Result<()> {
        let allowed = self.limits.allowed(limit, at.function);
        if found as u64 > allowed {
            Err(Error::Limit { at: Box::new(at.clone()), limit, allowed })
        } else {
            Ok(())
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Lets the standard library's `Hash` feed a cryptographic hash.
struct Collect(Sha256);

impl Hasher for Collect {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Never asked for: the digest is what counts.
    fn finish(&self) -> u64 {
        0
    }
}

/// Ticks as long as the engine lives. Fuel is what normally ends a call; the clock
/// is for what fuel does not count.
fn start_ticking(wasm: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = wasm.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("policy-clock".into()).spawn(tick)?;
    Ok(())
}
