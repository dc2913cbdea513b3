//! `cargo xtask`: everything that a developer and CI run, with no other set-up than Rust itself.

mod bench;
mod client_alone;
mod conformance;
mod count;
mod debian;
mod deny;
mod dist;
mod fuzz;
mod keys;
mod machine;
mod npm;
mod outcome;
mod powerset;
mod process;
mod python;
mod remap;
mod stages;
mod static_build;
#[path = "../../tests/support/keys.rs"]
mod test_keys;
mod tools;
mod wasm;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask COMMAND

  test [--only STAGE]... [--system] [--verbose]
                     run every check and test; sets up what it needs by itself.
                     Debian packages and throw-away accounts only with --system or CI=true
  bench [PART|all]... [--quick]
                     measure, and write docs/benchmarks.md; no part: those that are not slow
  soak [--short]     many tokens through one `serve`: memory and file handles stay what they were
  fuzz MINUTES       run every fuzz target for its share of the time (needs a nightly toolchain)
  keys COUNT [--users N] [--first N] [--format csv|authorized_keys]
                     public keys without private halves, on standard output
  wasm [--check-reproducible]
                     the npm package, the Envoy filter and the edge examples, into dist/
  python [--all] [--profile release|dist]
                     the wheel, into dist/python/, and its tests on the oldest and the newest CPython; on every one with --all
  dist [--profile dist|release] [--deb-version VERSION]
                     the Debian package, into dist/; profile dist, with LTO over all of it, is what is released
  build-static [dist|release]
                     the static program in that package, into target/static/

what is downloaded is kept in $SEAMLESS_TOOLS (default: $XDG_CACHE_HOME/seamless-tools)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test", rest @ ..] => stages::test(rest),
        ["bench", rest @ ..] => bench::bench(rest),
        ["soak", rest @ ..] => bench::soak(rest),
        ["fuzz", minutes] => fuzz::fuzz(minutes),
        ["keys", rest @ ..] => keys::keys(rest),
        ["wasm", rest @ ..] => wasm::command(rest),
        ["python", rest @ ..] => python::command(rest),
        ["dist", rest @ ..] => dist::command(rest),
        ["build-static", rest @ ..] => static_build::command(rest),
        // Started by `bench`: a small process of its own, so that no larger child hides the one measured.
        ["peak-memory", command @ ..] => bench::process::print_peak_memory(command),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}\n\nstages of test: {}\nparts of bench: {}", stages::names(), bench::names());
            Ok(())
        }
        _ => Err(outcome::Failure::new(format!("don't know `{}`\n\n{HELP}", words.join(" ")))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: error: {failure}");
            ExitCode::FAILURE
        }
    }
}
