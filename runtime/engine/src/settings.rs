//! Turns the node's choices into a wasmtime configuration, and finds out what this machine can do.

use std::num::NonZeroUsize;

use purlin_abi::limits;
use wasmparser::WasmFeatures;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
    Strategy, WasmBacktraceDetails,
};

use crate::{Allocation, AllocationMode, Backend, EngineConfig, EngineFault};

/// Largest linear memory, in bytes.
const MEMORY_BYTES_MAX: usize = limits::MEMORY_PAGES_MAX as usize * limits::WASM_PAGE_BYTES;
/// Address space of one pooled memory: all that a 32-bit pointer can reach, so that no access needs a check.
const POOLED_RESERVATION_BYTES: u64 = 1 << 32;
/// Memory that each idle slot keeps, so that the next call faults no pages in. The kernel says which pages
/// were written, and only those are reset.
const KEEP_RESIDENT_BYTES: usize = 512 * 1024;
/// The same on kernels that cannot say (before Linux 6.7): all of it is reset after each call.
const KEEP_RESIDENT_BLIND_BYTES: usize = 64 * 1024;
/// Table memory that each idle slot keeps.
const KEEP_RESIDENT_TABLE_BYTES: usize = 16 * 1024;
/// Slots that stay warm; more are reused for other modules first. Bounds idle memory.
const WARM_SLOTS_MAX: u32 = 32;
/// Guard behind an on-demand memory, in bytes.
const ON_DEMAND_GUARD_BYTES: u64 = 64 * 1024;
/// Frames named in a backtrace.
const BACKTRACE_FRAMES_MAX: usize = 32;
/// The smaller pool that is tried when the configured one does not fit.
const SMALL_POOL_INSTANCES: u32 = 32;

/// Returns the wasm features that a module may use: what stable Rust emits for `wasm32-unknown-unknown`.
/// Everything else is refused by name at install.
pub const fn wasm_features() -> WasmFeatures {
    WasmFeatures::FLOATS
        .union(WasmFeatures::MUTABLE_GLOBAL)
        .union(WasmFeatures::SIGN_EXTENSION)
        .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
        .union(WasmFeatures::MULTI_VALUE)
        .union(WasmFeatures::BULK_MEMORY)
        .union(WasmFeatures::REFERENCE_TYPES)
}

/// What instructions cost that take longer than one unit, 0.25 ns, pays for: without it a block full of `memory.fill` of
/// nothing, which calls into the engine, took fifty times as long as another of the same gas. `benches/instructions.rs`
/// shows what a unit takes of each. A change is a change of consensus.
fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::default();
    let set = |price: u8, operators: &mut [&mut u8]| operators.iter_mut().for_each(|one| **one = price);
    let c = &mut cost;
    set(4, &mut [&mut c.Br, &mut c.BrIf, &mut c.BrTable, &mut c.Call]);
    set(8, &mut [&mut c.CallIndirect, &mut c.TableGet, &mut c.TableSet]);
    set(12, &mut [&mut c.I32DivS, &mut c.I32DivU, &mut c.I32RemS, &mut c.I32RemU]);
    set(12, &mut [&mut c.I64DivS, &mut c.I64DivU, &mut c.I64RemS, &mut c.I64RemU]);
    // All NaNs are made one.
    set(8, &mut [&mut c.F32Add, &mut c.F32Sub, &mut c.F32Mul, &mut c.F32Min, &mut c.F32Max]);
    set(8, &mut [&mut c.F64Add, &mut c.F64Sub, &mut c.F64Mul, &mut c.F64Min, &mut c.F64Max]);
    set(8, &mut [&mut c.F32Ceil, &mut c.F32Floor, &mut c.F32Trunc, &mut c.F32Nearest, &mut c.F32DemoteF64]);
    set(8, &mut [&mut c.F64Ceil, &mut c.F64Floor, &mut c.F64Trunc, &mut c.F64Nearest, &mut c.F64PromoteF32]);
    set(8, &mut [&mut c.I32TruncF32S, &mut c.I32TruncF32U, &mut c.I32TruncF64S, &mut c.I32TruncF64U]);
    set(8, &mut [&mut c.I64TruncF32S, &mut c.I64TruncF32U, &mut c.I64TruncF64S, &mut c.I64TruncF64U]);
    set(
        8,
        &mut [&mut c.I32TruncSatF32S, &mut c.I32TruncSatF32U, &mut c.I32TruncSatF64S, &mut c.I32TruncSatF64U],
    );
    set(
        8,
        &mut [&mut c.I64TruncSatF32S, &mut c.I64TruncSatF32U, &mut c.I64TruncSatF64S, &mut c.I64TruncSatF64U],
    );
    set(8, &mut [&mut c.F32ConvertI32S, &mut c.F32ConvertI32U, &mut c.F32ConvertI64S, &mut c.F32ConvertI64U]);
    set(8, &mut [&mut c.F64ConvertI32S, &mut c.F64ConvertI32U, &mut c.F64ConvertI64S, &mut c.F64ConvertI64U]);
    set(24, &mut [&mut c.F32Div, &mut c.F64Div]);
    set(36, &mut [&mut c.F32Sqrt, &mut c.F64Sqrt]);
    set(16, &mut [&mut c.MemoryCopy, &mut c.MemoryInit, &mut c.TableFill, &mut c.TableCopy]);
    // Calls into the engine.
    set(64, &mut [&mut c.TableInit, &mut c.ElemDrop]);
    set(160, &mut [&mut c.TableGrow, &mut c.MemoryGrow]);
    set(255, &mut [&mut c.MemoryFill, &mut c.RefFunc]);
    cost
}

fn base(backend: Backend) -> Result<Config, EngineFault> {
    let mut config = Config::new();
    // Everything off first, so that a new default of a later version cannot slip in.
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(wasm_features(), true);
    config.strategy(Strategy::Cranelift);
    match backend {
        Backend::CraneliftNone => config.cranelift_opt_level(OptLevel::None),
        Backend::CraneliftSpeed => config.cranelift_opt_level(OptLevel::Speed),
        Backend::Pulley => {
            let target = match (cfg!(target_pointer_width = "64"), cfg!(target_endian = "little")) {
                (true, true) => "pulley64",
                (true, false) => "pulley64be",
                (false, true) => "pulley32",
                (false, false) => "pulley32be",
            };
            config.target(target).map_err(EngineFault::setup)?;
            config.cranelift_opt_level(OptLevel::Speed)
        }
    };
    config.cranelift_nan_canonicalization(true);
    config.consume_fuel(true);
    config.operator_cost(operator_cost());
    config.epoch_interruption(true);
    config.max_wasm_stack(crate::stack::WASM_STACK_BYTES);
    // Not used, but checked against the line above.
    config.async_stack_size(crate::stack::WASM_STACK_BYTES);
    config.memory_init_cow(true);
    config.generate_address_map(false);
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    Ok(config)
}

fn pooling(backend: Backend, instances: u32, pagemap: Enabled) -> Result<Config, EngineFault> {
    let keep_resident = match pagemap {
        Enabled::Yes => KEEP_RESIDENT_BYTES,
        _ => KEEP_RESIDENT_BLIND_BYTES,
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances.saturating_mul(limits::WASM_TABLES_MAX))
        .max_memories_per_module(1)
        .max_memory_size(MEMORY_BYTES_MAX)
        .max_tables_per_module(limits::WASM_TABLES_MAX)
        .table_elements(limits::WASM_TABLE_ELEMENTS_MAX as usize)
        .max_unused_warm_slots(WARM_SLOTS_MAX.min(instances))
        .linear_memory_keep_resident(keep_resident)
        .table_keep_resident(KEEP_RESIDENT_TABLE_BYTES)
        .pagemap_scan(pagemap);
    let mut config = base(backend)?;
    config.memory_reservation(POOLED_RESERVATION_BYTES);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(config)
}

fn on_demand(backend: Backend) -> Result<Config, EngineFault> {
    let mut config = base(backend)?;
    config.memory_reservation(MEMORY_BYTES_MAX as u64);
    config.memory_reservation_for_growth(0);
    config.memory_may_move(false);
    config.memory_guard_size(ON_DEMAND_GUARD_BYTES);
    config.guard_before_linear_memory(false);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Ok(config)
}

/// Makes the engine, with a pool if the machine has the address space for one.
pub(crate) fn build(config: &EngineConfig) -> Result<(Engine, AllocationMode), EngineFault> {
    if config.allocation == Allocation::Automatic {
        let floor = limits::CALL_DEPTH_MAX as u32;
        let wanted = config.instances_max.max(floor);
        for instances in [wanted, SMALL_POOL_INSTANCES.min(wanted)] {
            for pagemap in [Enabled::Yes, Enabled::No] {
                match Engine::new(&pooling(config.backend, instances, pagemap)?) {
                    Ok(engine) => {
                        let backend = config.backend;
                        tracing::info!(instances, ?backend, ?pagemap, "guests run in pooled instances");
                        return Ok((engine, AllocationMode::Pooling { instances }));
                    }
                    Err(error) => tracing::info!(
                        instances,
                        ?pagemap,
                        error = %format_args!("{error:#}"),
                        "this machine cannot have such a pool of guest instances"
                    ),
                }
            }
        }
        tracing::warn!("guests run in instances made on demand; calls are slower, results are the same");
    }
    let engine = Engine::new(&on_demand(config.backend)?).map_err(EngineFault::setup)?;
    Ok((engine, AllocationMode::OnDemand))
}
