//! token over wasm-bindgen.
