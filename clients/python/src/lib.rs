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

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

/// Counts the forks that lie behind this process: threads don't come along.
static FORKS: AtomicUsize = AtomicUsize::new(0);

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<verifier::Verifier>()?;
    module.add_class::<identity::Identity>()?;
    module.add_class::<signer::Signer>()?;
    module.add_class::<login::Token>()?;
    module.add_function(wrap_pyfunction!(login::fetch_token, module)?)?;
    module.add_function(wrap_pyfunction!(request::without_ours, module)?)?;
    module.add_function(wrap_pyfunction!(forked, module)?)
}

/// For `os.register_at_fork`.
#[pyfunction]
fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
