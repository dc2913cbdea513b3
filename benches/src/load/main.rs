//! A running issuer under load, by light clients of our own. Prints one line of JSON a figure, as seamless-bench does.
//!
//! `SEAMLESS_BIN` names the binary. Every run checks what came back: a figure over answers that nobody looked at
//! could be of a server that refuses everybody.

mod bare;
mod crtauth;
mod issuer;
mod logins;
mod lookup;
mod soak;
mod ssh;
mod sshd;
// The form that is left is for other users of the file.
#[allow(dead_code)]
#[path = "../../../tests/support/keys.rs"]
mod test_keys;
mod verify;

use std::process::ExitCode;

use seamless_bench::edge::Error;
use seamless_bench::meter::median;
use serde_json::json;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let quick = words.iter().any(|word| word == "--quick");
    let done = match words.first().map(String::as_str) {
        Some("logins") => logins::measure(quick),
        Some("verify") => verify::measure(quick),
        Some("lookup") => lookup::measure(quick),
        Some("crtauth") => crtauth::measure(quick),
        Some("soak") => soak::run(words.iter().any(|word| word == "--short")),
        // Started by `verify`.
        Some("bare") => bare::serve(words.get(1).map_or("", String::as_str)),
        _ => Err("logins, verify, lookup, crtauth or soak?".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints one number; its goal is the highest value that meets it.
fn number(name: &str, count: f64, unit: &str, goal: Option<f64>) {
    println!("{}", json!({"name": name, "count": count, "unit": unit, "goal": goal}));
}

/// Prints the median of rates, given as nanoseconds of one.
fn rate(name: &str, each_ns: &[f64], unit: &str) {
    number(name, (1e9 / median(&mut each_ns.to_vec())).round(), unit, None);
}

/// What may take its time and is worth telling whoever waits.
fn say(what: &str) -> Result<(), Error> {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "  {what}")?;
    Ok(())
}
