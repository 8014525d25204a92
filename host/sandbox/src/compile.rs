//! The configuration of the engine: what decides, with the bytes of a component, on the
//! native code that is made of it.

use wasmtime::{Config, OptLevel, WasmFeatures};

use crate::limits::Limits;

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

/// Native code of a component, for engines of the same version and configuration.
pub(crate) fn precompile(bytes: &[u8], limits: &Limits) -> std::result::Result<Vec<u8>, String> {
    let engine = wasmtime::Engine::new(&config(limits)).map_err(|e| format!("{e:#}"))?;
    engine.precompile_component(bytes).map_err(|e| format!("{e:#}"))
}

/// Everything off that policies do not need or that would make results depend on the
/// machine.
pub(crate) fn config(limits: &Limits) -> Config {
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
