//! `cargo xtask test`: the stages, in order, with their set-up.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::count::Counts;
use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, find, output};
use crate::static_build::{self, Profile};
use crate::{client_alone, conformance, debian, deny, dist, fuzz, npm, powerset, python, tools, wasm};

/// A stage: its name for `--only`, and what it does.
struct Stage {
    name: &'static str,
    run: fn(&Context, &mut Log) -> Result<End>,
}

/// How a stage ended when nothing failed.
enum End {
    /// With a word on what was looked at.
    Done(String),
    /// Not run, and why.
    Skipped(String),
}

const STAGES: &[Stage] = &[
    Stage { name: "fmt", run: fmt },
    Stage { name: "deny", run: deny },
    Stage { name: "clippy", run: clippy },
    Stage { name: "token", run: token },
    Stage { name: "unit", run: unit },
    Stage { name: "client", run: client },
    Stage { name: "build", run: build },
    Stage { name: "wasm", run: wasm },
    Stage { name: "system", run: system },
    Stage { name: "npm", run: npm },
    Stage { name: "python", run: python },
    Stage { name: "conformance", run: conformance },
    Stage { name: "openssh", run: openssh },
    Stage { name: "package", run: package },
    Stage { name: "soak", run: soak },
    Stage { name: "cli", run: cli },
    Stage { name: "readme", run: readme },
    Stage { name: "fuzz-corpus", run: fuzz_corpus },
];

/// Modules of the system tests that are stages of their own.
const OWN_STAGE: [&str; 4] = ["openssh", "package", "cli", "readme"];

/// Where things are.
pub struct Workspace {
    /// The clone.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// What the stages printed.
    pub logs: PathBuf,
}

struct Context {
    space: Workspace,
    /// Debian packages and throw-away accounts are allowed, and we are root.
    system: bool,
}

/// The names of the stages.
pub fn names() -> String {
    STAGES.iter().map(|stage| stage.name).collect::<Vec<_>>().join(" ")
}

/// Whether this is CI, where nothing may be skipped.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Finds the clone and cargo's target folder.
pub fn workspace() -> Result<Workspace> {
    let root = output(cargo().args(["locate-project", "--workspace", "--message-format", "plain"]))?;
    let root = Path::new(root.trim()).parent().map(Path::to_path_buf).unwrap_or_default();
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(&root))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).doing("read cargo metadata")?;
    let target = PathBuf::from(metadata["target_directory"].as_str().unwrap_or("target"));
    let logs = target.join("xtask");
    std::fs::create_dir_all(&logs).doing(format_args!("make {}", logs.display()))?;
    Ok(Workspace { root, target, logs })
}

/// Runs the stages and prints the table.
pub fn test(args: &[&str]) -> Result {
    let mut only = Vec::new();
    let (mut asked_system, mut verbose) = (false, false);
    let mut words = args.iter();
    while let Some(&word) = words.next() {
        match word {
            "--system" => asked_system = true,
            "--verbose" | "-v" => verbose = true,
            "--only" => only.push(words.next().copied().unwrap_or_default()),
            _ => match word.strip_prefix("--only=") {
                Some(name) => only.push(name),
                None => return Err(Failure::new(format!("test: don't know `{word}`"))),
            },
        }
    }
    if let Some(wrong) = only.iter().find(|name| !STAGES.iter().any(|stage| stage.name == **name)) {
        return Err(Failure::new(format!("no stage `{wrong}`; there are: {}", names())));
    }

    let mut skipped = Vec::new();
    let system = (asked_system || in_ci()) && is_root();
    if asked_system && !system {
        skipped.push("throw-away accounts (--system needs root)".to_owned());
    }
    let context = Context { space: workspace()?, system };
    let chosen: Vec<&Stage> =
        STAGES.iter().filter(|stage| only.is_empty() || only.contains(&stage.name)).collect();

    let start = Instant::now();
    let mut total = Counts::default();
    let mut table = Vec::new();
    for (number, stage) in chosen.iter().enumerate() {
        println!("[{}/{}] {} …", number + 1, chosen.len(), stage.name);
        let began = Instant::now();
        let mut log = Log::create(context.space.logs.join(format!("{}.log", stage.name)), verbose)?;
        let skips = context.skips_file();
        let _ = std::fs::remove_file(&skips);
        let end = (stage.run)(&context, &mut log);

        // Tests that found a peer missing ended at once, and said so.
        let said = std::fs::read_to_string(&skips).unwrap_or_default();
        log.counts().skip(said.lines().count());
        let counts = *log.counts();
        skipped.extend(said.lines().map(|line| format!("{}: {line}", stage.name)));
        total.add(counts);

        let (result, note) = match end {
            Ok(End::Done(note)) if counts == Counts::default() => ("ok", note),
            Ok(End::Done(note)) => {
                let tests = format!("{} passed, {} skipped", counts.passed, counts.skipped);
                ("ok", if note.is_empty() { tests } else { format!("{tests}; {note}") })
            }
            Ok(End::Skipped(why)) if in_ci() => {
                total.failed += 1;
                ("FAILED", format!("nothing may be skipped here: {why}"))
            }
            Ok(End::Skipped(why)) => {
                skipped.push(format!("{} ({why})", stage.name));
                ("skipped", why)
            }
            Err(failure) => {
                // What does not even build is one failure.
                total.failed += usize::from(counts.failed == 0);
                println!(
                    "{}\n{}: {failure}\n(all of it: {})",
                    log.tail(150),
                    stage.name,
                    log.path().display()
                );
                ("FAILED", format!("{} failed", counts.failed.max(1)))
            }
        };
        let row = format!("{:<12} {:<8} {:>6.1} min  {note}", stage.name, result, minutes(began));
        println!("{row}");
        table.push(row);
    }

    println!("\nstage        result    minutes");
    for row in &table {
        println!("{row}");
    }
    println!("{:<12} {:<8} {:>6.1} min\n", "all", "", minutes(start));
    for line in &skipped {
        println!("skipped: {line}");
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed == 0 { Ok(()) } else { Err(Failure::new("there are failures")) }
}

fn fmt(context: &Context, log: &mut Log) -> Result<End> {
    log.run(context.cargo().args(["fmt", "--all", "--check"]))?;
    Ok(End::Done(String::new()))
}

fn deny(context: &Context, _: &mut Log) -> Result<End> {
    deny::check(&context.space.root).map(End::Done)
}

fn clippy(context: &Context, log: &mut Log) -> Result<End> {
    log.run(context.cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(End::Done(String::new()))
}

fn token(context: &Context, log: &mut Log) -> Result<End> {
    const WASM: &str = "wasm32-unknown-unknown";
    tools::rust_target(WASM, &context.space.root, log)?;
    let package = ["--package", "seamless-token", "--locked", "--no-default-features", "--features"];
    // Every set is tried, so that one run names all that fail.
    let mut broken = Vec::new();
    let all = powerset::all();
    for set in &all {
        let mut clippy = context.cargo();
        clippy.args(["clippy", "--lib"]).args(package).arg(set.join(",")).args(["--", "-D", "warnings"]);
        if log.run(&mut clippy).is_err() {
            broken.push(format!("[{}]", set.join(",")));
        }
    }
    let edge = powerset::edge();
    for set in &edge {
        let mut check = context.cargo();
        check.args(["check", "--lib", "--target", WASM]).args(package).arg(set.join(","));
        if log.run(&mut check).is_err() {
            broken.push(format!("[{}] for {WASM}", set.join(",")));
        }
    }
    let mut tests = Ok(());
    for set in powerset::tested() {
        tests = tests.and(context.tests(log, &package, &set.join(",")));
    }
    tests?;
    if !broken.is_empty() {
        return Err(Failure::new(format!(
            "feature sets that don't build without a warning: {}",
            broken.join(" ")
        )));
    }
    Ok(End::Done(format!("{} feature sets, {} of them for wasm32", all.len(), edge.len())))
}

fn unit(context: &Context, log: &mut Log) -> Result<End> {
    let mut packages = vec!["--workspace", "--locked"];
    for apart in ["seamless-token", "seamless-tests", "seamless-bench", "seamless-python"] {
        packages.extend(["--exclude", apart]);
    }
    context.tests(log, &packages, "")?;
    Ok(End::Done(String::new()))
}

fn client(context: &Context, log: &mut Log) -> Result<End> {
    client_alone::check(&context.space, log).map(End::Done)
}

fn build(context: &Context, log: &mut Log) -> Result<End> {
    let binary = context.binary(log)?;
    let size = std::fs::metadata(&binary).map_or(0, |data| data.len());
    Ok(End::Done(format!("seamless, {:.1} MB", size as f64 / 1e6)))
}

fn wasm(context: &Context, log: &mut Log) -> Result<End> {
    let dist = wasm::build(&context.space, log)?;
    if context.system {
        debian::install(log)?;
    }
    if let Some(missing) = wasm::test(&context.space, log)? {
        context.skip("wasm-bindgen-test in Chromium", missing)?;
    }
    let table = wasm::budget::check(&context.space.root, &dist)?;
    table.lines().for_each(|line| log.line(line));
    Ok(End::Done("within the budget".to_owned()))
}

fn system(context: &Context, log: &mut Log) -> Result<End> {
    // What Envoy said about an older build is nothing to compare with.
    let _ = std::fs::remove_dir_all(context.space.target.join("conformance/lines"));
    let mut filters = Vec::new();
    for module in OWN_STAGE {
        filters.extend(["--skip".to_owned(), format!("{module}::")]);
    }
    context.system_tests(log, &filters)
}

fn npm(context: &Context, log: &mut Log) -> Result<End> {
    npm::run(&context.space, log)?;
    Ok(End::Done("installed, typed, imported, bundled".to_owned()))
}

fn python(context: &Context, log: &mut Log) -> Result<End> {
    if context.system {
        debian::install(log)?;
    }
    let server = context.binary(log)?;
    let wheel = python::build(&context.space, "release", log)?;
    python::test(&context.space, &wheel, &server, false, log).map(End::Done)
}

fn conformance(context: &Context, log: &mut Log) -> Result<End> {
    let (runtimes, missing) = conformance::run(&context.space, log)?;
    if !missing.is_empty() {
        context.skip(&missing.join(", "), "not installed, or the stage `system` has not run")?;
    }
    Ok(End::Done(format!("{runtimes} runtimes, one verdict")))
}

fn openssh(context: &Context, log: &mut Log) -> Result<End> {
    if !context.system {
        return Ok(End::Skipped("needs root, and --system or CI=true".to_owned()));
    }
    context.system_tests(log, &["openssh::".to_owned()])
}

fn package(context: &Context, log: &mut Log) -> Result<End> {
    if !context.system {
        return Ok(End::Skipped("needs root, and --system or CI=true".to_owned()));
    }
    debian::install_for_package(log)?;
    let debian = tools::debian(&tools::folder()?, log)?;
    let folder = context.space.target.join("deb");
    let this = dist::build(&context.space, Profile::Release, None, &folder.join("this"), log)?;
    // The same program as an upgrade to it.
    let next = dist::build(&context.space, Profile::Release, Some("99.0-1"), &folder.join("next"), log)?;
    let image = folder.join("image");
    dist::image(&static_build::place(&context.space, Profile::Release), &image)?;
    let made = [
        ("SEAMLESS_IMAGE", image),
        ("SEAMLESS_DEBIAN", debian),
        ("SEAMLESS_DEB", this.path.clone()),
        ("SEAMLESS_NEXT_DEB", next.path),
    ];
    context.system_tests_with(log, &["package::".to_owned()], &made)?;
    Ok(End::Done(this.describe()))
}

/// The short one: what leaks a handle or loses a record shows in it; a small leak of memory only in the whole one.
fn soak(context: &Context, log: &mut Log) -> Result<End> {
    let binary = context.binary(log)?;
    let program = ["--release", "--locked", "--package", "seamless-bench", "--bin", "seamless-load"];
    log.run(context.cargo().arg("test").args(program))?;
    let mut load = context.cargo();
    log.run(load.arg("run").args(program).args(["--", "soak", "--short"]).env("SEAMLESS_BIN", binary))?;
    Ok(End::Done("10 000 tokens, 100 000 verifications, none lost".to_owned()))
}

fn cli(context: &Context, log: &mut Log) -> Result<End> {
    context.system_tests(log, &["cli::".to_owned()])
}

fn readme(context: &Context, log: &mut Log) -> Result<End> {
    context.system_tests(log, &["readme::".to_owned()])
}

fn fuzz_corpus(context: &Context, log: &mut Log) -> Result<End> {
    let files = fuzz::replay(&context.space.root, &context.space.target, log)?;
    Ok(End::Done(format!("{files} inputs")))
}

impl Context {
    fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.space.root);
        cargo
    }

    fn skips_file(&self) -> PathBuf {
        self.space.logs.join("skipped.txt")
    }

    /// Says that a part of a stage is not run; in CI that is a failure.
    fn skip(&self, what: &str, why: &str) -> Result {
        let line = format!("{what}: {why}");
        if in_ci() {
            return Err(Failure::new(format!("nothing may be skipped here: {line}")));
        }
        std::fs::write(self.skips_file(), line + "\n").doing("note what is skipped")
    }

    /// The tests of some packages: with nextest where it is installed. It runs no examples from the docs, so
    /// those follow.
    fn tests(&self, log: &mut Log, packages: &[&str], features: &str) -> Result {
        // Features are the last word of `packages` where they are asked for.
        let choose = |command: &mut Command| {
            command.args(packages);
            if packages.last() == Some(&"--features") {
                command.arg(features);
            }
        };
        let mut command = self.cargo();
        if find("cargo-nextest").is_none() {
            command.arg("test");
            choose(&mut command);
            return log.run(command.arg("--no-fail-fast"));
        }
        command.args(["nextest", "run", "--no-fail-fast", "--no-tests", "pass"]);
        choose(&mut command);
        // With `all`, xtask itself is rebuilt while it runs, which Linux and macOS allow.
        let run = log.run(&mut command);
        let mut docs = self.cargo();
        docs.args(["test", "--doc"]);
        choose(&mut docs);
        run.and(log.run(&mut docs))
    }

    /// The release binary that the system tests run.
    fn binary(&self, log: &mut Log) -> Result<PathBuf> {
        log.run(self.cargo().args(["build", "--release", "--package", "seamless-issuer", "--locked"]))?;
        Ok(self.space.target.join("release/seamless"))
    }

    /// Runs the one binary of system tests. With plain `cargo test`, since its tests share servers.
    fn system_tests(&self, log: &mut Log, filters: &[String]) -> Result<End> {
        self.system_tests_with(log, filters, &[])
    }

    fn system_tests_with(&self, log: &mut Log, filters: &[String], made: &[(&str, PathBuf)]) -> Result<End> {
        if self.system {
            debian::install(log)?;
        }
        let folder = tools::folder()?;
        let peers = self.space.root.join("tests/peers");
        let found = [
            ("SEAMLESS_PYTHON", tools::python(&folder, &peers, log)),
            ("SEAMLESS_NPM", tools::peers(&folder, &self.space.root, log)),
            ("SEAMLESS_BUILD", tools::builders(&folder, &self.space.root, log)),
        ];
        let python2 = tools::python2(&folder, &peers, log);
        let binary = self.binary(log)?;
        let mut command = self.cargo();
        command
            .args(["test", "--package", "seamless-tests", "--locked", "--lib", "--test", "system", "--"])
            .args(filters)
            .env("SEAMLESS_BIN", binary)
            .env("SEAMLESS_ROOT", &self.space.root)
            .env("SEAMLESS_DIST", self.space.root.join("dist"))
            .env(
                "SEAMLESS_TRAP_FILTER",
                self.space.target.join("wasm/steps/filter-that-traps/seamless-filter.wasm"),
            )
            .env("SEAMLESS_LINES", self.space.target.join("conformance/lines"))
            .env("SEAMLESS_SKIPS", self.skips_file());
        command.envs(made.iter().map(|(name, path)| (name, path)));
        // A test without its peer says so; in CI it fails.
        for (name, found) in found {
            match found {
                Ok(path) => {
                    command.env(name, path);
                }
                Err(failure) => log.line(&format!("{name}: {failure}")),
            }
        }
        match python2 {
            Ok(Some(program)) => drop(command.env("SEAMLESS_PYTHON2", program)),
            // Nothing that can be set up: the one thing that may be missing in CI too.
            Ok(None) => drop(command.env("SEAMLESS_NO_PYTHON2", "1")),
            Err(failure) => log.line(&format!("SEAMLESS_PYTHON2: {failure}")),
        }
        if self.system {
            command.env("SEAMLESS_SYSTEM", "1");
        }
        if in_ci() {
            command.env("SEAMLESS_NO_SKIP", "1");
        }
        log.run(&mut command)?;
        Ok(End::Done(String::new()))
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn minutes(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() / 60.0
}
