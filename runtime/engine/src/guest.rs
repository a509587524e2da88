//! What a host function sees of the guest that calls it: memory, gas, and the host's own state.

use purlin_abi::host::EXPORT_MEMORY;
use purlin_abi::limits::{WASM_PAGE_BYTES, WASM_TABLE_ELEMENTS_MAX};
use purlin_abi::{FailureCode, Gas};
use wasmtime::{AsContextMut, Caller, Extern, Memory, ResourceLimiter};

use crate::HostFault;

/// Everything of one call; the data of its wasmtime store.
pub struct CallState<T> {
    pub(crate) data: T,
    pub(crate) memory: Option<Memory>,
    pub(crate) limiter: Limiter,
    pub(crate) page_price: u64,
    /// Why a host function ended the call.
    pub(crate) ending: Option<HostFault>,
}

impl<T> CallState<T> {
    pub(crate) fn new(data: T, memory_pages_max: u32, page_price: u64) -> Self {
        let memory_bytes_max = memory_pages_max as usize * WASM_PAGE_BYTES;
        Self {
            data,
            memory: None,
            limiter: Limiter { memory_bytes_max, pages_unpaid: 0, trouble: None },
            page_price,
            ending: None,
        }
    }
}

/// What wasmtime says of a growth beyond what 32 bits can name; pinned by a test.
const BEYOND_INDEX_TYPE: &str = "memory growth exceeds memory type's limits";

/// Caps memory and tables, and counts pages to be paid for.
pub(crate) struct Limiter {
    memory_bytes_max: usize,
    /// Pages grown since gas was last settled.
    pub(crate) pages_unpaid: u64,
    /// The machine refused memory that the guest may have.
    pub(crate) trouble: Option<String>,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.memory_bytes_max || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        // The memory that a module starts with is part of the price of an instance.
        if current > 0 {
            self.pages_unpaid += ((desired - current) / WASM_PAGE_BYTES) as u64;
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Growth beyond the limits was refused above. What is left is a request beyond 32 bits, which the
        // guest sees fail on every node, and a machine that refuses what the guest may have.
        if error.to_string() == BEYOND_INDEX_TYPE {
            return Ok(());
        }
        let reason = format!("the system refused memory that the guest may have: {error:#}");
        self.trouble = Some(reason.clone());
        Err(wasmtime::Error::msg(reason))
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= WASM_TABLE_ELEMENTS_MAX as usize && maximum.is_none_or(|maximum| desired <= maximum))
    }
}

/// Marks an error whose reason is in [`CallState::ending`].
#[derive(Debug, thiserror::Error)]
#[error("a host function ended the call")]
struct Ended;

/// A guest that is calling a host function.
pub struct Guest<'a, T: 'static> {
    caller: Caller<'a, CallState<T>>,
}

impl<'a, T: Send + 'static> Guest<'a, T> {
    /// Runs a host function's body.
    #[inline]
    pub(crate) fn enter<R>(
        caller: Caller<'a, CallState<T>>,
        body: impl FnOnce(&mut Self) -> Result<R, HostFault>,
    ) -> wasmtime::Result<R> {
        let mut guest = Self { caller };
        match guest.settle().and_then(|()| body(&mut guest)) {
            Ok(value) => Ok(value),
            Err(fault) => {
                guest.caller.data_mut().ending = Some(fault);
                Err(wasmtime::Error::new(Ended))
            }
        }
    }

    /// Pays for memory grown since the last time, so that the gas left is always true.
    #[inline]
    fn settle(&mut self) -> Result<(), HostFault> {
        let state = self.caller.data_mut();
        if state.limiter.pages_unpaid == 0 {
            return Ok(());
        }
        let price = state.page_price.saturating_mul(std::mem::take(&mut state.limiter.pages_unpaid));
        self.charge(price)
    }

    /// Returns the host's state of this call.
    #[inline]
    pub fn data(&self) -> &T {
        &self.caller.data().data
    }

    /// Returns the host's state of this call, to be changed.
    #[inline]
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.caller.data_mut().data
    }

    /// Returns the gas left.
    #[inline]
    pub fn gas_left(&self) -> Gas {
        // One unit of fuel more than gas is given, so that a call may use its limit to the last unit.
        Gas::new(self.fuel().saturating_sub(1))
    }

    #[inline]
    fn fuel(&self) -> u64 {
        self.caller.get_fuel().expect("the engine is configured with fuel")
    }

    /// Takes gas.
    ///
    /// # Errors
    /// [`FailureCode::OutOfGas`] when less is left; all of it is taken then.
    #[inline]
    pub fn charge(&mut self, gas: u64) -> Result<(), HostFault> {
        let fuel = self.fuel();
        let left = fuel.saturating_sub(gas);
        self.caller.set_fuel(left).expect("the engine is configured with fuel");
        if left == 0 { Err(out_of_gas()) } else { Ok(()) }
    }

    /// Returns the guest's memory and the host's state, to be used together.
    ///
    /// # Errors
    /// [`FailureCode::BadPointer`] when the module exports no memory.
    #[inline]
    pub fn parts(&mut self) -> Result<(GuestMemory<'_>, &mut T), HostFault> {
        let memory = match self.caller.data().memory {
            Some(memory) => memory,
            None => self.find_memory()?,
        };
        let (bytes, state) = memory.data_and_store_mut(self.caller.as_context_mut());
        Ok((GuestMemory { bytes }, &mut state.data))
    }

    /// Finds the memory of a guest whose start function runs before the engine could.
    #[cold]
    fn find_memory(&mut self) -> Result<Memory, HostFault> {
        match self.caller.get_export(EXPORT_MEMORY) {
            Some(Extern::Memory(memory)) => {
                self.caller.data_mut().memory = Some(memory);
                Ok(memory)
            }
            _ => Err(HostFault::failure(FailureCode::BadPointer, "the module exports no memory")),
        }
    }

    /// Returns bytes of the guest's memory.
    ///
    /// # Errors
    /// [`FailureCode::BadPointer`] when they are not all inside.
    #[inline]
    pub fn read(&mut self, pointer: u32, length: u32) -> Result<&[u8], HostFault> {
        let (memory, _) = self.parts()?;
        memory.into_slice(pointer, length)
    }

    /// Writes bytes to the guest's memory.
    ///
    /// # Errors
    /// [`FailureCode::BadPointer`] when they do not fit; nothing is written then.
    #[inline]
    pub fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), HostFault> {
        let (mut memory, _) = self.parts()?;
        memory.write(pointer, bytes)
    }
}

/// The linear memory of a guest, with every access checked.
pub struct GuestMemory<'m> {
    bytes: &'m mut [u8],
}

impl<'m> GuestMemory<'m> {
    /// Wraps a linear memory.
    pub fn new(bytes: &'m mut [u8]) -> Self {
        Self { bytes }
    }

    /// Returns bytes.
    ///
    /// # Errors
    /// [`FailureCode::BadPointer`] when they are not all inside.
    #[inline]
    pub fn read(&self, pointer: u32, length: u32) -> Result<&[u8], HostFault> {
        range(pointer, length as usize, self.bytes.len()).map(|range| &self.bytes[range])
    }

    /// Returns a value of fixed size.
    ///
    /// # Errors
    /// [`FailureCode::BadPointer`] when it is not all inside.
    #[inline]
    pub fn array<const N: usize>(&self, pointer: u32) -> Result<&[u8; N], HostFault> {
        let range = range(pointer, N, self.bytes.len())?;
        Ok(self.bytes[range].try_into().expect("the range has this length"))
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`FailureCode::BadPointer`] when they do not fit; nothing is written then.
    #[inline]
    pub fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), HostFault> {
        let range = range(pointer, bytes.len(), self.bytes.len())?;
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    fn into_slice(self, pointer: u32, length: u32) -> Result<&'m [u8], HostFault> {
        range(pointer, length as usize, self.bytes.len()).map(|range| &self.bytes[range])
    }
}

/// Checks a pointer and length against the size of the memory.
#[inline]
fn range(pointer: u32, length: usize, size: usize) -> Result<std::ops::Range<usize>, HostFault> {
    let start = pointer as usize;
    match start.checked_add(length) {
        Some(end) if end <= size => Ok(start..end),
        _ => Err(bad_pointer(pointer, length, size)),
    }
}

#[cold]
fn bad_pointer(pointer: u32, length: usize, size: usize) -> HostFault {
    HostFault::failure(
        FailureCode::BadPointer,
        format!("{length} bytes at {pointer} are outside the memory of {size} bytes"),
    )
}

#[cold]
fn out_of_gas() -> HostFault {
    HostFault::failure(FailureCode::OutOfGas, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_to_the_last_byte() {
        for (pointer, length, inside) in [
            (0, 0, true),
            (0, 8, true),
            (8, 0, true),
            (7, 1, true),
            (7, 2, false),
            (9, 0, false),
            (u32::MAX, 1, false),
            (u32::MAX, u32::MAX, false),
        ] {
            let mut bytes = [0; 8];
            let memory = GuestMemory::new(&mut bytes);
            assert_eq!(memory.read(pointer, length).is_ok(), inside, "{length} at {pointer}");
        }
    }

    #[test]
    fn a_write_that_does_not_fit_writes_nothing() {
        let mut bytes = [0; 4];
        assert!(GuestMemory::new(&mut bytes).write(2, &[1, 2, 3]).is_err());
        assert_eq!(bytes, [0; 4]);
    }
}
