//! The tool and test runner of wasm-bindgen.

fn main() {}
