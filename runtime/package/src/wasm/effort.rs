//! How much work a module makes for a compiler, beside its size.
//!
//! A compiler of values keeps, at each place where control can come from several others, one variable for each local and
//! operand that lives there. A few thousand locals and as many loops in 80 kB took Cranelift 50 s and 1.5 GB; nested ones
//! cost most. So each function counts as its width times its weighted edges, and calls count by themselves: each moves
//! values to where the callee expects them. One step is at most 0.4 us on the reference machine, by measurement.

use wasmparser::{
    BinaryReaderError, FuncValidator, FuncValidatorAllocations, Operator, OperatorsReader, Parser,
    ValidPayload, Validator, WasmModuleResources,
};

use super::features::FEATURES;

/// Steps for a call.
const CALL: u64 = 64;
/// Edges that a loop counts as, for each loop around it and itself.
const LOOP: u64 = 8;
/// Loops around a loop that count.
const DEPTH_MAX: usize = 8;

/// Counts the steps of a valid module; the time is linear in its size.
pub(super) fn compile_steps(wasm: &[u8]) -> Result<u64, BinaryReaderError> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut steps = 0u64;
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            let mut function = function.into_validator(allocations);
            function.read_locals(&mut body.get_binary_reader())?;
            steps = steps.saturating_add(steps_of(&mut function, body.get_operators_reader()?)?);
            allocations = function.into_allocations();
        }
    }
    Ok(steps)
}

fn steps_of<T: WasmModuleResources>(
    function: &mut FuncValidator<T>,
    mut operators: OperatorsReader<'_>,
) -> Result<u64, BinaryReaderError> {
    let (mut edges, mut calls, mut height) = (0u64, 0u64, 0u32);
    // Whether each block around is a loop.
    let mut blocks: Vec<bool> = Vec::new();
    let mut loops = 0usize;
    while !operators.eof() {
        let offset = operators.original_position();
        let operator = operators.read()?;
        match &operator {
            Operator::Loop { .. } => {
                blocks.push(true);
                loops += 1;
                edges += LOOP * loops.min(DEPTH_MAX) as u64;
            }
            Operator::Block { .. } => {
                blocks.push(false);
                edges += 1;
            }
            Operator::If { .. } => {
                blocks.push(false);
                edges += 2;
            }
            Operator::End => loops -= usize::from(blocks.pop() == Some(true)),
            Operator::Else | Operator::Br { .. } | Operator::BrIf { .. } => edges += 1,
            Operator::BrTable { targets } => edges += u64::from(targets.len()) + 1,
            Operator::Call { .. } | Operator::CallIndirect { .. } => calls += 1,
            _ => {}
        }
        function.op(offset, &operator)?;
        height = height.max(function.operand_stack_height());
    }
    let width = u64::from(function.len_locals()) + u64::from(height);
    Ok(width.saturating_mul(edges).saturating_add(CALL * calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(locals: usize, body: &str) -> u64 {
        let locals = "i64 ".repeat(locals);
        let wat = format!("(module (func $f) (func (export \"run\") (param i32) (local {locals}) {body}))");
        compile_steps(&wat::parse_str(wat).unwrap()).unwrap()
    }

    #[test]
    fn steps_grow_with_width_times_edges() {
        assert_eq!(steps(5, ""), 0);
        assert_eq!(steps(5, "(call $f) (call $f)"), 2 * CALL);
        // One parameter, five locals, one operand.
        assert_eq!(steps(5, "(block (br_if 0 (local.get 0)))"), 7 * 2);
        assert_eq!(steps(5, "(if (local.get 0) (then (nop)) (else (nop)))"), 7 * 3);
        assert_eq!(steps(5, "(block (br_table 0 0 0 0 (local.get 0)))"), 7 * (1 + 4));
        assert_eq!(steps(5, "(loop) (loop)"), 6 * 2 * LOOP);
        assert_eq!(steps(5, "(loop (loop (loop)))"), 6 * (1 + 2 + 3) * LOOP);
        let nested = |depth: usize| format!("{}{}", "(loop ".repeat(depth), ")".repeat(depth));
        assert_eq!(steps(0, &nested(10)), (36 + 8 + 8) * LOOP);
        // Operands that wait are as wide as locals.
        let operands =
            |count: usize| format!("{} (loop) {}", "(i32.const 1) ".repeat(count), "(drop) ".repeat(count));
        assert_eq!(steps(0, &operands(100)), 101 * LOOP);
    }
}
