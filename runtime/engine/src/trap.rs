//! Turns how wasmtime ended a call into a verdict or a fault, with the same words on every backend.

use std::time::Duration;

use purlin_abi::{CallFailure, FailureCode};
use wasmtime::{Trap, WasmBacktrace};

use crate::EngineFault;

/// What a trap means.
pub(crate) enum Meaning {
    /// A verdict.
    Failure(FailureCode, &'static str),
    /// `unreachable`: an abort, or the stack meter.
    Unreachable,
    /// A fault of this node.
    Fault(EngineFault),
}

pub(crate) fn meaning(error: wasmtime::Error, watchdog: Duration) -> Meaning {
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return Meaning::Fault(EngineFault::Resources { reason: format!("{error:#}") });
    };
    match trap {
        Trap::OutOfFuel => Meaning::Failure(FailureCode::OutOfGas, ""),
        Trap::UnreachableCodeReached => Meaning::Unreachable,
        Trap::MemoryOutOfBounds => {
            Meaning::Failure(FailureCode::MemoryOutOfBounds, "the guest accessed memory outside its bounds")
        }
        Trap::TableOutOfBounds => {
            Meaning::Failure(FailureCode::MemoryOutOfBounds, "the guest accessed a table outside its bounds")
        }
        Trap::IndirectCallToNull => {
            Meaning::Failure(FailureCode::BadIndirectCall, "an indirect call found no function")
        }
        Trap::BadSignature => Meaning::Failure(
            FailureCode::BadIndirectCall,
            "an indirect call found a function of another type",
        ),
        Trap::IntegerDivisionByZero => {
            Meaning::Failure(FailureCode::ArithmeticTrap, "the guest divided an integer by zero")
        }
        Trap::IntegerOverflow => {
            Meaning::Failure(FailureCode::ArithmeticTrap, "an integer operation of the guest overflowed")
        }
        Trap::BadConversionToInteger => Meaning::Failure(
            FailureCode::ArithmeticTrap,
            "the guest converted a number to an integer that cannot hold it",
        ),
        Trap::StackOverflow => Meaning::Fault(EngineFault::NativeStack),
        Trap::Interrupt => Meaning::Fault(EngineFault::Watchdog { limit: watchdog }),
        _ => Meaning::Fault(EngineFault::internal(error)),
    }
}

/// Returns the guest's call stack with demangled names; for people at this node only.
pub(crate) fn backtrace(error: &wasmtime::Error) -> Option<String> {
    error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::to_string)
}

/// Completes a verdict that was made where the gas limit was not known.
pub(crate) fn describe_out_of_gas(failure: &mut CallFailure, limit: u64) {
    if failure.code == FailureCode::OutOfGas && failure.message.is_empty() {
        failure.message = format!("the gas limit of {limit} was reached");
    }
}
