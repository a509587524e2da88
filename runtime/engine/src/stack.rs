//! Native stacks for guests: sized so that the metered stack always ends first.

use std::cell::Cell;
use std::io;

use purlin_abi::limits::{CALL_DEPTH_MAX, STACK_UNITS_MAX};

use crate::EngineFault;

/// Native bytes per metered byte. A compiled frame needs its locals and operands once each, spilled, plus
/// saved registers; the rest of the factor is room for what a register allocator wastes in odd code. Too
/// small a factor makes a native overflow, which is a fault of the node, reachable by a guest.
const NATIVE_BYTES_PER_UNIT: usize = 32;

/// Native stack that one guest call may use.
pub(crate) const WASM_STACK_BYTES: usize = STACK_UNITS_MAX as usize * NATIVE_BYTES_PER_UNIT;

/// Native stack for the host functions and the engine between two nested guest calls.
const HOST_STACK_BYTES: usize = 512 * 1024;

/// Stack of a thread on which guests run, calls nested to the limit.
pub(crate) const THREAD_STACK_BYTES: usize =
    CALL_DEPTH_MAX * (WASM_STACK_BYTES + HOST_STACK_BYTES) + 2 * 1024 * 1024;

thread_local! {
    /// Guest calls that this thread may still nest; `None` on threads with a stack of unknown size.
    static NESTING_LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs `work` on a thread with a guest stack: on this one when it is such a thread, else on a new one.
///
/// # Errors
/// [`EngineFault::Thread`] when the thread cannot be started; `work` did not run then.
pub fn on_guest_stack<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, EngineFault> {
    if NESTING_LEFT.get().is_some() {
        return Ok(work());
    }
    spawn(work).map_err(|source| EngineFault::Thread { source })
}

fn spawn<R: Send>(work: impl FnOnce() -> R + Send) -> io::Result<R> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("purlin-guest".into())
            .stack_size(THREAD_STACK_BYTES)
            .spawn_scoped(scope, || {
            NESTING_LEFT.set(Some(CALL_DEPTH_MAX));
            work()
        })?;
        match thread.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Tells where a call stands in a chain of nested calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// Nothing of the engine is below it on this thread's stack.
    Outermost,
    /// It was made by a host function of another call.
    Nested,
}

/// One level of nesting, given back when dropped.
pub(crate) struct Level {
    left_before: usize,
}

impl Level {
    /// Takes a level on a guest thread; `None` when the stack has no room for another.
    ///
    /// # Panics
    /// On a thread that is not a guest thread.
    pub(crate) fn enter() -> Option<(Self, Position)> {
        let left_before = NESTING_LEFT.get().expect("guests run on guest threads only");
        NESTING_LEFT.set(Some(left_before.checked_sub(1)?));
        let position = if left_before == CALL_DEPTH_MAX { Position::Outermost } else { Position::Nested };
        Some((Self { left_before }, position))
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        NESTING_LEFT.set(Some(self.left_before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_end_at_the_call_depth_and_are_given_back() {
        on_guest_stack(|| {
            let mut levels = Vec::new();
            for depth in 0..CALL_DEPTH_MAX {
                let (level, position) = Level::enter().unwrap();
                assert_eq!(position == Position::Outermost, depth == 0);
                levels.push(level);
            }
            assert!(Level::enter().is_none());
            while levels.pop().is_some() {}
            assert_eq!(Level::enter().unwrap().1, Position::Outermost);
        })
        .unwrap();
    }

    #[test]
    fn a_guest_thread_is_used_again() {
        on_guest_stack(|| {
            let outer = std::thread::current().id();
            on_guest_stack(|| assert_eq!(std::thread::current().id(), outer)).unwrap();
        })
        .unwrap();
    }
}
