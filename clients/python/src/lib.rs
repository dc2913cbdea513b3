//! `seamless._core`: what Python gets of the Rust core. The shapes are in `python/seamless/_core.pyi`.

// PyO3's macros write code that rustc counts as ours.
#![allow(unsafe_code, missing_docs)]

mod arguments;
mod errors;
mod identity;
mod login;
mod request;
mod settings;
mod signer;
mod verifier;

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

/// Counts the forks that lie behind this process: threads don't come along, and keys that no thread looks after would be
/// believed for ever.
static FORKS: AtomicUsize = AtomicUsize::new(0);
static COUNTING: Once = Once::new();

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    COUNTING.call_once(count_forks);
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<verifier::Verifier>()?;
    module.add_class::<identity::Identity>()?;
    module.add_class::<signer::Signer>()?;
    module.add_class::<login::Token>()?;
    module.add_class::<login::LogIn>()?;
    module.add_function(wrap_pyfunction!(request::without_ours, module)?)?;
    module.add_function(wrap_pyfunction!(forks, module)?)
}

/// How many forks lie behind this process.
#[pyfunction]
fn forks() -> usize {
    FORKS.load(Ordering::Relaxed)
}

/// Below Python: uWSGI's forks run none of the hooks of `os.register_at_fork`.
fn count_forks() {
    extern "C" fn forked() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the function does what a signal handler may, and is never unloaded, as no module of Python's is. Without
    // memory for it the process is at its end anyway.
    #[cfg(unix)]
    let _ = unsafe { libc::pthread_atfork(None, None, Some(forked)) };
}
