//! What a wasm module needs besides its code: an allocator and a way to report panics.
#![allow(unsafe_code, reason = "a global allocator hands out raw memory")]

#[cfg(feature = "std")]
pub(crate) use with_std::start;
#[cfg(not(feature = "std"))]
pub(crate) use without_std::start;

use core::fmt::{self, Write};
use purlin_abi::limits::MESSAGE_BYTES_MAX;

/// Ends the call with a panic's message and place.
fn report(message: &dyn fmt::Display, place: Option<&core::panic::Location<'_>>) -> ! {
    let mut text = Text { bytes: [0; MESSAGE_BYTES_MAX], length: 0 };
    // A full buffer cuts the message, which is all that an error here says.
    let _ = match place {
        Some(place) => write!(text, "{message}, at {}:{}:{}", place.file(), place.line(), place.column()),
        None => write!(text, "{message}"),
    };
    crate::host::abort(text.as_str())
}

/// A message buffer that needs no allocator: the panic may be about memory.
struct Text {
    bytes: [u8; MESSAGE_BYTES_MAX],
    length: usize,
}

impl Text {
    fn as_str(&self) -> &str {
        match core::str::from_utf8(&self.bytes[..self.length]) {
            Ok(text) => text,
            // Cut inside a character.
            Err(error) => core::str::from_utf8(&self.bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        if length == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(not(feature = "std"))]
mod without_std {
    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::Cell;

    use purlin_abi::limits::WASM_PAGE_BYTES;

    /// Runs at the start of every export.
    pub(crate) fn start() {}

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        super::report(&info.message(), info.location())
    }

    /// Hands out memory upwards and frees none: an instance lives for one call, and its memory goes with it.
    /// The newest block can grow in place, which is what a filling `Vec` needs. Nothing else may grow memory.
    struct Bump {
        next: Cell<usize>,
        end: Cell<usize>,
    }

    // SAFETY: a guest has one thread.
    unsafe impl Sync for Bump {}

    #[global_allocator]
    static ALLOCATOR: Bump = Bump { next: Cell::new(0), end: Cell::new(0) };

    unsafe extern "C" {
        // Set by the linker to the first byte after stack and static memory.
        static __heap_base: u8;
    }

    impl Bump {
        /// Makes `end` at least `wanted`, in bytes; says whether the cap allowed it.
        fn reserve(&self, wanted: usize) -> bool {
            let end = self.end.get();
            if wanted <= end {
                return true;
            }
            let pages = (wanted - end).div_ceil(WASM_PAGE_BYTES);
            if core::arch::wasm32::memory_grow::<0>(pages) == usize::MAX {
                return false;
            }
            self.end.set(end + pages * WASM_PAGE_BYTES);
            true
        }
    }

    // SAFETY: blocks are aligned, inside memory, and never handed out twice, because `next` only grows past them.
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if self.end.get() == 0 {
                self.next.set((&raw const __heap_base) as usize);
                self.end.set(core::arch::wasm32::memory_size::<0>() * WASM_PAGE_BYTES);
            }
            let start = match self.next.get().checked_next_multiple_of(layout.align()) {
                Some(start) => start,
                None => return core::ptr::null_mut(),
            };
            match start.checked_add(layout.size()) {
                Some(next) if self.reserve(next) => {
                    self.next.set(next);
                    start as *mut u8
                }
                _ => core::ptr::null_mut(),
            }
        }

        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let start = block as usize;
            if start + layout.size() == self.next.get() {
                return match start.checked_add(size) {
                    Some(next) if self.reserve(next) => {
                        self.next.set(next);
                        block
                    }
                    _ => core::ptr::null_mut(),
                };
            }
            if size <= layout.size() {
                return block;
            }
            // SAFETY: the caller keeps the contract of `realloc`: size is not zero and fits the alignment.
            unsafe {
                let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !new.is_null() {
                    core::ptr::copy_nonoverlapping(block, new, layout.size());
                }
                new
            }
        }
    }
}

#[cfg(feature = "std")]
mod with_std {
    /// Runs at the start of every export: reports panics of this fresh instance to the host.
    pub(crate) fn start() {
        std::panic::set_hook(std::boxed::Box::new(|info| {
            super::report(&info.payload_as_str().unwrap_or("panicked"), info.location())
        }));
    }
}
