//! Reaches the host: wasm imports in a guest, a thread's [`NativeHost`](crate::native::NativeHost) elsewhere.
//! Both files offer the same functions.

#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(not(target_arch = "wasm32"))]
mod thread;

#[cfg(target_arch = "wasm32")]
pub(crate) use guest::*;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use thread::*;
