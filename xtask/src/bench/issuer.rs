//! A running issuer under load, by the program seamless-load of benches/.

use std::process::Command;

use super::{Bench, Found};
use crate::outcome::{Failure, Result};
use crate::process::{Log, output, run};
use crate::stages::workspace;
use crate::tools;

/// Tokens over ssh, and `/verify`.
pub(super) fn under_load(bench: &mut Bench, found: &mut Found) -> Result {
    for word in ["logins", "verify"] {
        println!("measuring: {word}");
        let mut command = load(bench, word)?;
        let lines = output(command.args(bench.quick.then_some("--quick")));
        lines
            .and_then(|text| found.read(&text))
            .unwrap_or_else(|failure| found.notes.push(failure.to_string()));
    }
    Ok(())
}

/// Log-ins over HTTP, beside the original server where there is a CPython 2.7.
pub(super) fn crtauth(bench: &mut Bench, found: &mut Found) -> Result {
    let peers = bench.space.root.join("tests/peers");
    let python = tools::python2(&tools::folder()?, &peers, &mut bench.log)?;
    let mut command = load(bench, "crtauth")?;
    match python {
        Some(python) => {
            command.env("SEAMLESS_PYTHON2", python).env("SEAMLESS_CRTAUTH", peers.join("crtauth_server.py"));
        }
        None => found.notes.push("no CPython 2.7: nothing of the original's beside it".to_owned()),
    }
    found.read(&output(command.args(bench.quick.then_some("--quick")))?)
}

/// Realms with up to a million keys.
pub(super) fn many_keys(bench: &mut Bench, found: &mut Found) -> Result {
    let mut command = load(bench, "lookup")?;
    found.read(&output(command.args(bench.quick.then_some("--quick")))?)
}

/// The whole soak, or with `--quick` the short one.
pub(super) fn soaked(bench: &mut Bench, found: &mut Found) -> Result {
    let mut command = load(bench, "soak")?;
    found.read(&output(command.args(bench.quick.then_some("--short")))?)
}

/// `cargo xtask soak [--short]`: the whole one goes into docs/benchmarks.md.
pub fn soak(args: &[&str]) -> Result {
    match args {
        [] => super::bench(&["soak"]),
        ["--short"] => {
            let space = workspace()?;
            let log = Log::create(space.logs.join("bench.log"), false)?;
            let mut bench = Bench { space, quick: true, log };
            run(load(&mut bench, "soak")?.arg("--short"))
        }
        _ => Err(Failure::new("soak: takes --short or nothing")),
    }
}

fn load(bench: &mut Bench, word: &str) -> Result<Command> {
    let binary = bench.issuer()?;
    let mut command = bench.program("seamless-load");
    command.arg(word).env("SEAMLESS_BIN", binary);
    Ok(command)
}
