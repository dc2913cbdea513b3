//! token over proxy-wasm.
