//! token over wasm-bindgen: the inside of npm `@seamless-auth/verifier`.
//!
//! Strings don't cross the border: JavaScript writes bytes where `input` says, calls a function of numbers, and reads
//! numbers and text back where `output` says. That is 150 ns and 6 KB less than wasm-bindgen's strings, and it leaves
//! nothing for generated glue to do: `npm/src/module.js` calls the exports by their names. An instance of the module
//! holds one verifier, so that a trap costs nobody else's.

// With std's panic machinery the slim module would be twice its size.
#![cfg_attr(all(target_arch = "wasm32", not(feature = "std")), no_std)]

extern crate alloc;

#[cfg(feature = "full")]
mod full;
mod only;
#[cfg(not(feature = "full"))]
mod slim;

#[cfg(feature = "full")]
pub use full::*;
#[cfg(not(feature = "full"))]
pub use slim::*;

/// A panic becomes a trap: the caller answers 503 and takes a new instance.
#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Seconds from a float. Saturates: what is no time is the year 1970, in which no token is valid yet.
#[allow(clippy::as_conversions, reason = "there is no other way from a float")]
fn seconds(now: f64) -> u64 {
    now as u64
}
