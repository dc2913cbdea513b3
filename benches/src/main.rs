//! Prints one line of JSON a figure; `cargo xtask bench` reads them and writes docs/benchmarks.md.

mod envoy;
mod tokens;
mod verify;
mod workerd;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let quick = words.iter().any(|word| word == "--quick");
    let done = match words.first().map(String::as_str) {
        Some("envoy") => envoy::measure(quick),
        Some("workerd") => workerd::measure(quick),
        None | Some("--quick") => {
            verify::measure(quick);
            Ok(())
        }
        Some(other) => Err(format!("don't know `{other}`").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: error: {error}");
            ExitCode::FAILURE
        }
    }
}
