//! Which WebAssembly a module may use, and which feature is the reason when it uses more.

use wasmparser::{Validator, WasmFeatures};

use super::error::WasmError;

/// What a module may use: everything that stable Rust emits for wasm32-unknown-unknown, and nothing whose
/// result could differ between machines. The engine's configuration is the same list; floats are allowed
/// because the engine makes all NaNs one.
pub const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::FLOATS);

/// Excluded features by the names of their proposals. An entry that needs another one comes before it, so
/// that the search below blames the plainer of the two.
const EXCLUDED: &[(&str, WasmFeatures)] = &[
    ("relaxed SIMD", WasmFeatures::RELAXED_SIMD),
    ("SIMD (128-bit vectors)", WasmFeatures::SIMD),
    ("shared-everything threads", WasmFeatures::SHARED_EVERYTHING_THREADS),
    ("threads (atomics and shared memory)", WasmFeatures::THREADS),
    ("stack switching", WasmFeatures::STACK_SWITCHING),
    ("custom descriptors", WasmFeatures::CUSTOM_DESCRIPTORS),
    ("garbage collection", WasmFeatures::GC),
    ("typed function references", WasmFeatures::FUNCTION_REFERENCES),
    ("legacy exceptions", WasmFeatures::LEGACY_EXCEPTIONS),
    ("exceptions", WasmFeatures::EXCEPTIONS),
    ("external references (externref)", WasmFeatures::GC_TYPES),
    ("tail calls", WasmFeatures::TAIL_CALL),
    ("multiple memories", WasmFeatures::MULTI_MEMORY),
    ("64-bit memory", WasmFeatures::MEMORY64),
    ("extended constant expressions", WasmFeatures::EXTENDED_CONST),
    ("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("memory control", WasmFeatures::MEMORY_CONTROL),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    ("compact imports", WasmFeatures::COMPACT_IMPORTS),
];

/// Validates a module, and names the feature when that is why it is refused.
pub(super) fn validate(wasm: &[u8]) -> Result<(), WasmError> {
    let Err(error) = Validator::new_with_features(FEATURES).validate_all(wasm) else { return Ok(()) };
    let (offset, reason) = (error.offset(), error.message().to_owned());
    let features = culprits(wasm);
    if features.is_empty() {
        return Err(WasmError::Invalid { offset, reason });
    }
    Err(WasmError::ExcludedFeature { features, offset, reason })
}

/// Finds a smallest set of excluded features that would make the module valid: starts with all of them and
/// takes away each one that is not needed. Empty when the module is invalid in any case.
fn culprits(wasm: &[u8]) -> Vec<&'static str> {
    let valid_with = |features| Validator::new_with_features(features).validate_all(wasm).is_ok();
    let mut features = EXCLUDED.iter().fold(FEATURES, |all, (_, feature)| all.union(*feature));
    if !valid_with(features) {
        return Vec::new();
    }
    let mut needed = Vec::new();
    for (name, feature) in EXCLUDED {
        let without = features.difference(*feature);
        if valid_with(without) {
            features = without;
        } else {
            needed.push(*name);
        }
    }
    needed
}
