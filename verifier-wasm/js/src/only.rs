//! What an instance has one of.

#![allow(unsafe_code, reason = "a static that changes needs a promise that there is one thread")]

#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
mod cell {
    use core::cell::RefCell;

    pub(crate) struct Only<T>(RefCell<T>);

    // SAFETY: without atomics, a module's memory has one thread.
    unsafe impl<T> Sync for Only<T> {}

    impl<T> Only<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(RefCell::new(value))
        }

        pub(crate) fn with<R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
            run(&mut self.0.borrow_mut())
        }
    }
}

// Elsewhere it is compiled to be checked, not used.
#[cfg(not(all(target_arch = "wasm32", not(target_feature = "atomics"))))]
mod cell {
    use std::sync::{Mutex, PoisonError};

    pub(crate) struct Only<T>(Mutex<T>);

    impl<T> Only<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn with<R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
            run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

pub(crate) use cell::Only;
