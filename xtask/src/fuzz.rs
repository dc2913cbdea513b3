//! Fuzzing on nightly, and on stable the replay of what fuzzing found.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, find, output, run};
use crate::stages::workspace;
use crate::tools;

const CARGO_FUZZ: &str = "0.13.2";

/// Runs every target for its share of the minutes.
pub fn fuzz(minutes: &str) -> Result {
    let minutes: f64 =
        minutes.parse().ok().filter(|m| *m > 0.0).ok_or_else(|| Failure::new("fuzz MINUTES: a number"))?;
    let space = workspace()?;
    let targets = targets(&space.root, true)?;
    if targets.is_empty() {
        return Err(Failure::new("there is no fuzz target in fuzz/Cargo.toml"));
    }
    let rustup = find("rustup")
        .ok_or_else(|| Failure::new("rustup is not installed; fuzzing needs a nightly toolchain"))?;
    if !output(Command::new(&rustup).args(["toolchain", "list"]))?.contains("nightly") {
        return Err(Failure::new("no nightly toolchain: rustup toolchain install nightly"));
    }
    let mut log = Log::create(space.logs.join("fuzz.log"), false)?;
    let program = tools::cargo_install(&tools::folder()?, "cargo-fuzz", CARGO_FUZZ, &mut log)?;
    let seconds = (minutes * 60.0 / targets.len() as f64).max(1.0) as u64;
    let mut failed = Vec::new();
    for target in &targets {
        println!("fuzz: {target}, {seconds} s");
        let done = run(Command::new(&rustup)
            .args(["run", "nightly"])
            .arg(&program)
            .args([
                "run",
                "--features",
                "issuer",
                target,
                "--",
                "-rss_limit_mb=2048",
                "-timeout=10",
                "-print_final_stats=1",
            ])
            .arg(format!("-max_total_time={seconds}"))
            .current_dir(space.root.join("fuzz")));
        if done.is_err() {
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() {
        println!("fuzz: {} targets held for {seconds} s each", targets.len());
        return Ok(());
    }
    Err(Failure::new(format!(
        "found something in: {} (the inputs are in fuzz/artifacts/)",
        failed.join(", ")
    )))
}

/// Runs every file of the corpus once, on the stable toolchain: a target is a program that takes files.
///
/// Returns how many files were run.
pub fn replay(root: &Path, target_dir: &Path, log: &mut Log) -> Result<usize> {
    let target_dir = target_dir.join("fuzz");
    log.run(
        cargo()
            .args(["build", "--bins", "--manifest-path"])
            .arg(root.join("fuzz/Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target_dir)
            .current_dir(root),
    )?;
    let mut ran = 0;
    for target in targets(root, false)? {
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in ["corpus", "artifacts"] {
            let folder = root.join("fuzz").join(folder).join(&target);
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            files.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
        }
        files.sort();
        if files.is_empty() {
            return Err(Failure::new(format!("fuzz/corpus/{target}/ is empty: commit its inputs")));
        }
        for some in files.chunks(500) {
            log.run(Command::new(target_dir.join("debug").join(&target)).args(some).current_dir(root))?;
        }
        ran += files.len();
        log.counts().passed += 1;
    }
    Ok(ran)
}

/// The names of the targets. Those that want a feature take minutes to build; a test of their own crate replays
/// their corpus.
fn targets(root: &Path, all: bool) -> Result<Vec<String>> {
    let path = root.join("fuzz/Cargo.toml");
    let text = std::fs::read_to_string(&path).doing(format_args!("read {}", path.display()))?;
    let table: toml::Table = text.parse().doing(format_args!("read {}", path.display()))?;
    let bins = table.get("bin").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let wanted = |bin: &&toml::Value| all || bin.get("required-features").is_none();
    Ok(bins.iter().filter(wanted).filter_map(|bin| bin.get("name")?.as_str().map(str::to_owned)).collect())
}
