//! The tool of wasm-bindgen, and its runner of tests.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

const USAGE: &str = "usage: xtask-wasm bindgen IN.wasm OUT_DIR NAME
       xtask-wasm test-runner TESTS.wasm [FILTER]...";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["bindgen", input, out_dir, name] => bindgen(input, out_dir, name),
        ["test-runner", rest @ ..] => test_runner(rest),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask-wasm: error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes `OUT_DIR/NAME_bg.wasm` and `OUT_DIR/NAME.js`, its glue for the web.
fn bindgen(input: &str, out_dir: &str, name: &str) -> Result<(), String> {
    Bindgen::new()
        .input_path(input)
        .out_name(name)
        .web(true)
        .and_then(|bindgen| bindgen.typescript(false).omit_default_module_path(true).generate(out_dir))
        .map_err(|error| format!("{input}: {error:#}"))
}

/// What cargo starts for a module of tests: in Node, or in a browser where `WASM_BINDGEN_USE_BROWSER` is set.
fn test_runner(args: &[&str]) -> Result<(), String> {
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(
        [&["wasm-bindgen-test-runner"], args].concat(),
    )
    .map_err(|error| format!("{error:#}"))
}
