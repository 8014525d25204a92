//! The WebAssembly engine, configured so that a call depends on nothing but its
//! arguments and always ends.

use crate::{
    error::{Error, Result},
    limits::Limits,
};
use std::{sync::Arc, time::Duration};
use wasmtime::{Config, OptLevel, WasmFeatures};

/// How often the clock ticks that stops calls which run too long.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// What compilers emit for policies. Everything else stays off: threads and relaxed
/// SIMD because they make results depend on the machine, the rest because code that
/// isn't there can't be attacked.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// A WebAssembly engine with its limits; cheap to clone, to be shared by all
/// policies of a process.
#[derive(Clone)]
pub struct Engine {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) limits: Arc<Limits>,
}

impl Engine {
    /// Starts an engine, and the thread that ends calls which take too long.
    ///
    /// # Errors
    /// A limit that makes no sense, or a machine on which compiled code can't run.
    pub fn new(limits: &Limits) -> Result<Self> {
        limits.check()?;
        let problem = |e: wasmtime::Error| Error::Engine {
            problem: format!("{e:#}"),
        };
        let wasm = wasmtime::Engine::new(&config(limits)).map_err(problem)?;
        start_ticking(&wasm).map_err(|e| Error::Engine {
            problem: e.to_string(),
        })?;
        Ok(Self {
            wasm,
            limits: Arc::new(limits.clone()),
        })
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        .max_wasm_stack(limits.stack_bytes as usize);
    for (_, feature) in WasmFeatures::all().iter_names() {
        if !feature.intersects(FEATURES) {
            config.wasm_features(feature, false);
        }
    }
    config.wasm_features(FEATURES, true);
    config
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
    std::thread::Builder::new()
        .name("policy-clock".into())
        .spawn(tick)?;
    Ok(())
}
