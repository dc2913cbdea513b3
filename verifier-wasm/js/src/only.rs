//! The one verifier of an instance.

#![allow(unsafe_code, reason = "a static that changes needs a promise that there is one thread")]

use core::cell::RefCell;

use crate::core::Core;

#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
pub(crate) fn with<R>(run: impl FnOnce(&mut Option<Core>) -> R) -> R {
    struct Only(RefCell<Option<Core>>);
    // SAFETY: without atomics, a module's memory has one thread.
    unsafe impl Sync for Only {}
    static ONLY: Only = Only(RefCell::new(None));

    run(&mut ONLY.0.borrow_mut())
}

#[cfg(not(all(target_arch = "wasm32", not(target_feature = "atomics"))))]
pub(crate) fn with<R>(run: impl FnOnce(&mut Option<Core>) -> R) -> R {
    std::thread_local!(static ONLY: RefCell<Option<Core>> = const { RefCell::new(None) });

    ONLY.with(|only| run(&mut only.borrow_mut()))
}
