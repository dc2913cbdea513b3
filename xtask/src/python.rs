//! The Python package: one wheel, tried on the oldest and the newest CPython there are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::dist::third_party::{self, Linked};
use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, find};
use crate::stages::{Workspace, workspace};
use crate::{remap, tools};

/// The oldest that the wheel is for.
const OLDEST: u32 = 9;
/// `maturin` builds what pyproject.toml says.
const MATURIN: &str = "maturin==1.16.0";

/// `cargo xtask python [--all] [--profile release|dist]`.
pub fn command(args: &[&str]) -> Result {
    let (mut all, mut profile) = (false, "release");
    let mut words = args.iter();
    while let Some(&word) = words.next() {
        match word {
            "--all" => all = true,
            "--profile" => profile = words.next().copied().unwrap_or_default(),
            _ => return Err(Failure::new(format!("python: don't know `{word}`"))),
        }
    }
    if !["release", "dist"].contains(&profile) {
        return Err(Failure::new(format!("--profile: {profile} is neither release nor dist")));
    }
    let space = workspace()?;
    let mut log = Log::create(space.logs.join("python.log"), true)?;
    log.run(
        cargo()
            .args(["build", "--release", "--package", "seamless-issuer", "--locked"])
            .current_dir(&space.root),
    )?;
    let wheel = build(&space, profile, &mut log)?;
    let note = test(&space, &wheel, &space.target.join("release/seamless"), all, &mut log)?;
    println!("{}: {note}", wheel.display());
    Ok(())
}

/// The wheel, in dist/python.
pub fn build(space: &Workspace, profile: &str, log: &mut Log) -> Result<PathBuf> {
    let maturin = maturin(log)?;
    let folder = space.root.join("dist/python");
    let _ = std::fs::remove_dir_all(&folder);
    let linked = Linked {
        package: "seamless-python",
        target: &format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
        heading: "seamless/_core.abi3.so is linked with these crates.",
    };
    let notices = space.root.join("clients/python/licences/third-party.txt");
    std::fs::write(&notices, third_party::notices(&space.root, &linked)?)
        .doing(format_args!("write {}", notices.display()))?;
    let mut command = Command::new(maturin);
    command
        .args(["build", "--locked", "--profile", profile, "--out"])
        .arg(&folder)
        .env("CARGO_TARGET_DIR", &space.target)
        .current_dir(space.root.join("clients/python"));
    if profile == "dist" {
        // What is shipped names no folder of this machine. In a folder of its own: with other flags all is built anew.
        let target = space.target.join("python");
        command
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", remap::rustc(&space.root, &target)?.join("\u{1f}"))
            .env("CFLAGS", remap::cc(&space.root, &target)?.join(" "));
    }
    log.run(&mut command)?;
    wheel(&space.root).ok_or_else(|| Failure::new("maturin made no wheel"))
}

/// The wheel that was built last.
pub fn wheel(root: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(root.join("dist/python")).ok()?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|ending| ending == "whl"))
}

/// Installs the wheel and runs its tests on CPythons from the oldest to the newest, and judges its types on the newest.
pub fn test(space: &Workspace, wheel: &Path, server: &Path, all: bool, log: &mut Log) -> Result<String> {
    let mut pythons = interpreters();
    let newest = pythons.last().cloned().ok_or_else(|| {
        Failure::new(format!("no CPython from 3.{OLDEST} on is installed, with its module venv"))
    })?;
    if !all {
        let oldest = pythons.first().cloned();
        pythons = oldest.into_iter().chain([newest.clone()]).collect();
        pythons.dedup_by_key(|python| python.minor);
    }
    let sources = space.root.join("clients/python");
    let mut done = Ok(());
    for python in &pythons {
        let venv = environment(python, &sources, wheel, log)?;
        let mut pytest = Command::new(&venv);
        pytest
            .args(["-m", "pytest"])
            // From elsewhere than the sources: what is installed is what is tried.
            .arg(sources.join("tests"))
            .args(["-c"])
            .arg(sources.join("pyproject.toml"))
            .current_dir(&space.target)
            .env("SEAMLESS_BIN", server)
            .env("SEAMLESS_ROOT", &space.root)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        // Each is run, so that one run names all that fail.
        done = done.and(log.run(&mut pytest));
    }
    done?;
    let venv = environment(&newest, &sources, wheel, log)?;
    log.run(
        Command::new(&venv).args(["-m", "mypy", "--config-file", "pyproject.toml"]).current_dir(&sources),
    )?;
    let peers = tools::peers(&tools::folder()?, &space.root, log)?;
    log.run(
        Command::new(peers.join("node_modules/.bin/pyright"))
            .args(["--project", "pyproject.toml", "--pythonpath"])
            .arg(&venv)
            .current_dir(&sources),
    )?;
    let size = std::fs::metadata(wheel).map_or(0, |data| data.len());
    let names: Vec<_> = pythons.iter().map(|python| format!("3.{}", python.minor)).collect();
    Ok(format!("wheel {:.2} MB, CPython {}", size as f64 / 1e6, names.join(" ")))
}

/// A CPython that can make environments.
#[derive(Clone)]
pub struct Python {
    /// Of 3.N.
    pub minor: u32,
    program: PathBuf,
}

/// One of each 3.N, the oldest first: those on the path, and pyenv's.
pub fn interpreters() -> Vec<Python> {
    let mut programs: Vec<PathBuf> =
        (OLDEST..OLDEST + 20).filter_map(|minor| find(&format!("python3.{minor}"))).collect();
    programs.extend(find("python3"));
    programs.extend(tools::of_pyenv("3.").into_iter().map(|folder| folder.join("bin/python3")));
    let mut found: Vec<Python> = programs.into_iter().filter_map(look).collect();
    found.sort_by_key(|python| python.minor);
    found.dedup_by_key(|python| python.minor);
    found
}

/// One on the path may be pyenv's stand-in for one that is not chosen; a free-threaded build loads no abi3 wheel.
fn look(program: PathBuf) -> Option<Python> {
    const ASK: &str = "import ensurepip, platform, sys, sysconfig, venv; \
        print(platform.python_implementation(), sys.version_info[1], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)";
    let said =
        Command::new(&program).args(["-c", ASK]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let mut words = said.split_whitespace();
    let (Some("CPython"), Some(minor), Some("0")) = (words.next(), words.next(), words.next()) else {
        return None;
    };
    let minor: u32 = minor.parse().ok()?;
    (minor >= OLDEST).then_some(Python { minor, program })
}

/// Maturin, in an environment of its own.
fn maturin(log: &mut Log) -> Result<PathBuf> {
    let venv = tools::folder()?.join("maturin");
    let program = venv.join("bin/maturin");
    if !tools::up_to_date(&venv, MATURIN) {
        let python = find("python3").ok_or_else(|| Failure::new("python3 is not installed"))?;
        let _ = std::fs::remove_dir_all(&venv);
        log.run(Command::new(python).args(["-m", "venv"]).arg(&venv))?;
        log.run(Command::new(venv.join("bin/python")).args(PIP).arg(MATURIN))?;
        tools::stamp(&venv, MATURIN)?;
    }
    Ok(program)
}

const PIP: [&str; 5] = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];

/// An environment with what the tests need, kept between runs, and with this wheel; its interpreter.
pub fn environment(python: &Python, sources: &Path, wheel: &Path, log: &mut Log) -> Result<PathBuf> {
    let venv = tools::folder()?.join(format!("python-3.{}", python.minor));
    let interpreter = venv.join("bin/python");
    let requirements = sources.join("tests/requirements.txt");
    let text = std::fs::read_to_string(&requirements).doing("read tests/requirements.txt")?;
    let wanted = format!("{text}{}\n", python.program.display());
    if !tools::up_to_date(&venv, &wanted) {
        let _ = std::fs::remove_dir_all(&venv);
        log.run(Command::new(&python.program).args(["-m", "venv"]).arg(&venv))?;
        log.run(
            Command::new(&interpreter).args(PIP).args(["--only-binary", ":all:", "-r"]).arg(&requirements),
        )?;
        tools::stamp(&venv, &wanted)?;
    }
    log.run(
        Command::new(&interpreter)
            .args(PIP)
            .args(["--force-reinstall", "--no-deps", "--no-index"])
            .arg(wheel),
    )?;
    Ok(interpreter)
}
