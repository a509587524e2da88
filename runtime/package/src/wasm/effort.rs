//! How much work a module makes for a compiler, beside its size.
//!
//! A compiler of values keeps, at each place where control can come from several others, one variable for each local and
//! operand that may differ there. A few thousand locals and as many loops in 80 kB took Cranelift 50 s and 1.5 GB; five
//! hundred locals and two thousand jumps out of one block over a minute. So a module counts
//!
//! ```text
//! 240 x types
//! ```
//!
//! and for each function
//!
//! ```text
//! 320
//! + width x edges            width: locals, and operands at the most; edges: see below
//! + changed x jumps^2 / 10   for each block: locals set inside it, and what jumps to its end or start
//! + 32 x calls
//! ```
//!
//! A step is at most about 0.4 us on the reference machine; `node/execution/benches/install.rs` shows by shape how near the
//! price comes.

use std::collections::BTreeSet;
use wasmparser::{
    BinaryReaderError, BlockType, FuncValidator, FuncValidatorAllocations, ModuleArity, Operator,
    OperatorsReader, Parser, Payload, ValidPayload, Validator, WasmModuleResources,
};

use super::features::FEATURES;

/// Steps for a type.
const TYPE: u64 = 240;
/// Steps for a function, however small.
const FUNCTION: u64 = 320;
/// Steps for a call.
const CALL: u64 = 32;
/// Edges that a loop counts as, for each loop around it and itself: nested ones cost most.
const LOOP: u64 = 8;
/// Loops around a loop that count.
const DEPTH_MAX: usize = 8;
/// Jumps to one place that count twice.
const JUMPS: u64 = 10;

/// Counts the steps of a valid module; the time is linear in its size.
pub(super) fn compile_steps(wasm: &[u8]) -> Result<u64, BinaryReaderError> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut steps = 0u64;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Payload::TypeSection(section) = &payload {
            for group in section.clone() {
                steps += TYPE * group?.types().len() as u64;
            }
        }
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            let mut function = function.into_validator(allocations);
            function.read_locals(&mut body.get_binary_reader())?;
            steps = steps.saturating_add(steps_of(&mut function, body.get_operators_reader()?)?);
            allocations = function.into_allocations();
        }
    }
    Ok(steps)
}

/// A block that is open.
#[derive(Default)]
struct Block {
    is_loop: bool,
    /// Values that a jump takes along.
    arity: u64,
    /// Ways to its end, or to its start if it is a loop.
    jumps: u64,
    /// Locals set inside it.
    changed: BTreeSet<u32>,
}

/// What is counted of a function.
#[derive(Default)]
struct Count {
    blocks: Vec<Block>,
    loops: usize,
    edges: u64,
    /// Steps of blocks that ended.
    jumps: u64,
    calls: u64,
}

impl Count {
    fn open(&mut self, is_loop: bool, (parameters, results): (u32, u32)) {
        let arity = u64::from(if is_loop { parameters } else { results });
        if is_loop {
            self.loops += 1;
            self.edges += LOOP * self.loops.min(DEPTH_MAX) as u64;
        } else {
            self.edges += 1;
        }
        // One way is to go straight in or out.
        self.blocks.push(Block { is_loop, arity, jumps: 1, changed: BTreeSet::new() });
    }

    fn close(&mut self) {
        // The last one ends the function.
        let Some(Block { is_loop, arity, jumps, mut changed }) = self.blocks.pop() else { return };
        self.loops -= usize::from(is_loop);
        let values = changed.len() as u64 + arity;
        self.jumps = self.jumps.saturating_add(values.saturating_mul(jumps.saturating_mul(jumps)) / JUMPS);
        if let Some(around) = self.blocks.last_mut() {
            // The smaller into the larger, so that deep nesting stays cheap.
            if changed.len() > around.changed.len() {
                std::mem::swap(&mut changed, &mut around.changed);
            }
            around.changed.append(&mut changed);
        }
    }

    fn jump(&mut self, depth: u32) {
        self.edges += 1;
        let at = self.blocks.len().checked_sub(depth as usize + 1);
        // Out of the function no locals go.
        if let Some(block) = at.and_then(|at| self.blocks.get_mut(at)) {
            block.jumps += 1;
        }
    }

    fn set(&mut self, local: u32) {
        if let Some(block) = self.blocks.last_mut() {
            block.changed.insert(local);
        }
    }
}

fn steps_of<T: WasmModuleResources>(
    function: &mut FuncValidator<T>,
    mut operators: OperatorsReader<'_>,
) -> Result<u64, BinaryReaderError> {
    let mut count = Count::default();
    let mut height = 0u32;
    while !operators.eof() {
        let offset = operators.original_position();
        let operator = operators.read()?;
        let arity = |kind: BlockType| function.block_type_arity(kind).unwrap_or_default();
        match &operator {
            Operator::Loop { blockty } => count.open(true, arity(*blockty)),
            Operator::Block { blockty } => count.open(false, arity(*blockty)),
            Operator::If { blockty } => {
                count.open(false, arity(*blockty));
                count.jump(0);
            }
            Operator::End => count.close(),
            Operator::Else => count.edges += 1,
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                count.jump(*relative_depth)
            }
            Operator::BrTable { targets } => {
                count.jump(targets.default());
                for target in targets.targets() {
                    count.jump(target?);
                }
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                count.set(*local_index)
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } => count.calls += 1,
            _ => {}
        }
        function.op(offset, &operator)?;
        height = height.max(function.operand_stack_height());
    }
    let width = u64::from(function.len_locals()) + u64::from(height);
    let steps = FUNCTION + CALL * count.calls;
    Ok(steps.saturating_add(width.saturating_mul(count.edges)).saturating_add(count.jumps))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(locals: usize, body: &str) -> u64 {
        let locals = "i64 ".repeat(locals);
        let wat = format!("(module (func $f) (func (export \"run\") (param i32) (local {locals}) {body}))");
        compile_steps(&wat::parse_str(wat).unwrap()).unwrap()
    }

    const EMPTY: u64 = 2 * TYPE + 2 * FUNCTION;

    #[test]
    fn steps_grow_with_width_times_edges() {
        let none = steps(5, "");
        // Two functions of two types.
        assert_eq!(none, EMPTY);
        let more = |locals: usize, body: &str| steps(locals, body) - none;
        assert_eq!(more(5, "(call $f) (call $f)"), 2 * CALL);
        // One parameter, five locals, one operand.
        assert_eq!(more(5, "(block (br_if 0 (local.get 0)))"), 7 * 2);
        assert_eq!(more(5, "(if (local.get 0) (then (nop)) (else (nop)))"), 7 * 3);
        assert_eq!(more(5, "(block (br_table 0 0 0 0 (local.get 0)))"), 7 * (1 + 4));
        assert_eq!(more(5, "(loop) (loop)"), 6 * 2 * LOOP);
        assert_eq!(more(5, "(loop (loop (loop)))"), 6 * (1 + 2 + 3) * LOOP);
        let nested = |depth: usize| format!("{}{}", "(loop ".repeat(depth), ")".repeat(depth));
        assert_eq!(more(0, &nested(10)), (36 + 8 + 8) * LOOP);
        // Operands that wait are as wide as locals.
        let operands =
            |count: usize| format!("{} (loop) {}", "(i32.const 1) ".repeat(count), "(drop) ".repeat(count));
        assert_eq!(more(0, &operands(100)), 101 * LOOP);
    }

    #[test]
    fn steps_grow_with_the_square_of_jumps_to_one_place() {
        let out = |count: usize, set: &str| {
            steps(5, &format!("(block {set} {})", "(br_if 0 (local.get 0))".repeat(count))) - EMPTY
        };
        let set = "(local.set 1 (i64.const 1)) (local.set 2 (i64.const 1)) (local.set 1 (i64.const 2))";
        assert_eq!(out(99, ""), 7 * 100, "nothing differs there");
        assert_eq!(out(99, set), 7 * 100 + 2 * 100 * 100 / JUMPS, "two locals do");
        assert_eq!(out(99, &format!("(block {set})")), 7 * 101 + 2 * 100 * 100 / JUMPS, "inside or deeper");
        let again = format!("(loop {set} {})", "(br_if 0 (local.get 0))".repeat(99));
        assert_eq!(steps(5, &again) - EMPTY, 7 * (99 + LOOP) + 2 * 100 * 100 / JUMPS);
        let table = format!("(block {set} (br_table {} (local.get 0)))", "0 ".repeat(99));
        assert_eq!(steps(5, &table) - EMPTY, 7 * 100 + 2 * 100 * 100 / JUMPS);
        let values = format!("(block (result i64) (i64.const 1) {} )", "(br_if 0 (local.get 0))".repeat(99));
        assert_eq!(steps(5, &format!("(drop {values})")) - EMPTY, 8 * 100 + 100 * 100 / JUMPS);
    }
}
