//! `cargo xtask wasm`: everything that runs at an edge, from a clean tree into `dist/`.
//!
//! Each artefact has a function of its own. All are made in a staging folder under `target/`, put in the place of the last
//! ones when the last is done, and then held against their budget.

pub mod budget;
mod compile;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, find, output};
use crate::stages::{Workspace, workspace};
use crate::tools;
use compile::{Compiler, Module};

/// The command: builds, prints what it made, and with `--check-reproducible` builds again elsewhere and compares.
pub fn command(args: &[&str]) -> Result {
    let twice = match args {
        [] => false,
        ["--check-reproducible"] => true,
        _ => return Err(Failure::new("wasm: takes --check-reproducible or nothing")),
    };
    let space = workspace()?;
    let mut log = Log::create(space.logs.join("wasm.log"), false)?;
    let shown = |log: &Log, failure: Failure| {
        Failure::new(format!("{failure}\n{}\n(all of it: {})", log.tail(40), log.path().display()))
    };
    let dist = build(&space, &mut log).map_err(|failure| shown(&log, failure))?;
    if twice {
        check_reproducible(&space, &mut log).map_err(|failure| shown(&log, failure))?;
    }
    print!("{}", budget::check(&space.root, &dist)?);
    Ok(())
}

/// Builds everything; the folder `dist` of the clone.
pub fn build(space: &Workspace, log: &mut Log) -> Result<PathBuf> {
    let dist = space.root.join("dist");
    let staging = space.target.join("dist");
    build_into(space, &space.root, &space.target.join("wasm"), &staging, log)?;
    keep_others(&dist, &staging, log)?;
    let _ = std::fs::remove_dir_all(&dist);
    // Within one file system in a plain clone, but the target folder may be on another.
    if std::fs::rename(&staging, &dist).is_err() {
        log.run(Command::new("cp").arg("-R").arg(&staging).arg(&dist))?;
        let _ = std::fs::remove_dir_all(&staging);
    }
    Ok(dist)
}

/// What `cargo xtask dist` has made stays, and in the sums.
fn keep_others(dist: &Path, staging: &Path, log: &mut Log) -> Result {
    let entries = std::fs::read_dir(dist).into_iter().flatten().flatten().map(|entry| entry.path());
    let others: Vec<_> = entries.filter(|path| is_of_dist(path)).collect();
    if others.is_empty() {
        return Ok(());
    }
    log.run(Command::new("cp").arg("-R").args(&others).arg(staging))?;
    sums(staging)
}

fn is_of_dist(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "deb") || path.ends_with("image")
}

/// The npm package in `dist`.
pub fn tarball(dist: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(dist).doing(format_args!("read {}", dist.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| Failure::new(format!("no npm package in {}: run `cargo xtask wasm`", dist.display())))
}

/// Puts the npm package of `dist` into a project, as a user has it: unpacked below node_modules.
pub fn install(dist: &Path, project: &Path, log: &mut Log) -> Result {
    let _ = std::fs::remove_dir_all(project);
    let package = project.join("node_modules/@seamless-auth/verifier");
    std::fs::create_dir_all(&package).doing(format_args!("make {}", package.display()))?;
    let tarball = tarball(dist)?;
    log.run(
        Command::new("tar").arg("-xzf").arg(tarball).arg("-C").arg(&package).arg("--strip-components=1"),
    )?;
    std::fs::write(project.join("package.json"), "{ \"private\": true, \"type\": \"module\" }\n")
        .doing("write package.json")
}

/// All files of tests/vectors that the conformance suite reads, in one, for what reads no files.
pub fn vectors_in_one(node: &Path, root: &Path, out: &Path) -> Result {
    let script = "import { readFileSync, writeFileSync } from 'node:fs'; \
                  const { files } = await import(`${process.argv[1]}/tests/conformance/files.mjs`); \
                  const read = name => JSON.parse(readFileSync(`${process.argv[1]}/tests/vectors/${name}.json`, 'utf8')); \
                  const all = Object.fromEntries(files.map(name => [name, read(name)])); \
                  writeFileSync(process.argv[2], JSON.stringify(all))";
    output(Command::new(node).args(["--input-type=module", "--eval", script]).args([root, out]))?;
    Ok(())
}

/// The module that traps on purpose, for the package's test of what becomes of a trap. It is in nothing that is shipped.
pub fn trap(space: &Workspace, log: &mut Log) -> Result<PathBuf> {
    let module = Module::new("seamless-verifier-js", "verifier_js").with("trap");
    let compiler = compiler(space, &space.root, &space.target.join("wasm"), log)?;
    Ok(compiler.bindgen(&module, "trap", log)?.join("trap.wasm"))
}

/// The wasm-bindgen-test suite, in Node and in headless Chromium; without Chromium, a word on that.
pub fn test(space: &Workspace, log: &mut Log) -> Result<Option<&'static str>> {
    const CRATE: &str = "seamless-verifier-js";
    let compiler = compiler(space, &space.root, &space.target.join("wasm"), log)?;
    compiler.test(CRATE, None, log)?;
    let (Some(chromium), Some(_)) = (find("chromium"), find("chromedriver")) else {
        return Ok(Some("chromium and chromedriver are not installed"));
    };
    let settings = serde_json::json!({
        "goog:chromeOptions": {
            "binary": chromium,
            "args": [
                "--headless=new",
                // Chromium refuses to sandbox itself as root, and in most containers can't.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-quic",
                "--no-first-run",
            ],
        },
    });
    let webdriver = space.target.join("wasm/webdriver.json");
    std::fs::write(&webdriver, settings.to_string()).doing("write webdriver.json")?;
    compiler.test(CRATE, Some(&webdriver), log)?;
    Ok(None)
}

fn compiler(space: &Workspace, root: &Path, target: &Path, log: &mut Log) -> Result<Compiler> {
    let node = find("node")
        .ok_or_else(|| Failure::new("node is not installed; version 20 or later builds the npm package"))?;
    let tools = tools::folder()?;
    tools::rust_target(compile::TARGET, root, log)?;
    let npm = tools::builders(&tools, &space.root, log)?;
    Compiler::new(root, target, &space.target, node, npm, log)
}

fn build_into(space: &Workspace, root: &Path, target: &Path, out: &Path, log: &mut Log) -> Result {
    println!("tools: wasm-bindgen, wasm-opt, esbuild");
    let compiler = compiler(space, root, target, log)?;
    let _ = std::fs::remove_dir_all(out);
    std::fs::create_dir_all(out).doing(format_args!("make {}", out.display()))?;

    let package = npm_package(&compiler, out, log)?;
    filter(&compiler, out, log)?;
    if root.join("edge-examples/cloudflare-worker/build.mjs").is_file() {
        rust_worker(&compiler, out, log)?;
    }
    examples(&compiler, &package, out, log)?;
    sums(out)
}

/// `@seamless-auth/verifier`: two modules, glue, entries, types; then `npm pack`.
fn npm_package(compiler: &Compiler, out: &Path, log: &mut Log) -> Result<PathBuf> {
    println!("npm package");
    const CRATE: &str = "seamless-verifier-js";
    let full = compiler.bindgen(&Module::new(CRATE, "verifier_js"), "verifier", log)?;
    let slim = compiler.bindgen(&Module::new(CRATE, "verifier_js").without_defaults(), "hmac", log)?;
    let package = compiler.work("package");
    let script = compiler.root().join("verifier-wasm/js/npm/build.mjs");
    log.run(compiler.node().arg(script).args([&full, &slim, &package]))?;
    let npm = find("npm").ok_or_else(|| Failure::new("npm is not installed"))?;
    log.run(
        Command::new(npm)
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(out)
            .current_dir(&package),
    )?;
    Ok(package)
}

/// `seamless-filter.wasm` for Envoy.
fn filter(compiler: &Compiler, out: &Path, log: &mut Log) -> Result {
    println!("Envoy filter");
    let module = compiler.compile(&Module::new("seamless-filter", "seamless_filter"), log)?;
    compiler.optimise(&module, &out.join("seamless-filter.wasm"), log)?;
    // For the test that a trap shuts the door; not in `dist`.
    let module = Module::new("seamless-filter", "seamless_filter").with("trap-for-tests");
    let module = compiler.compile(&module, log)?;
    let work = compiler.work("filter-that-traps");
    std::fs::create_dir_all(&work).doing(format_args!("make {}", work.display()))?;
    compiler.optimise(&module, &work.join("seamless-filter.wasm"), log)
}

/// The Worker in Rust.
fn rust_worker(compiler: &Compiler, out: &Path, log: &mut Log) -> Result {
    println!("Worker in Rust");
    let bound = compiler.bindgen(&Module::new("seamless-worker", "seamless_worker"), "worker", log)?;
    let script = compiler.root().join("edge-examples/cloudflare-worker/build.mjs");
    log.run(compiler.node().arg(script).args([&bound, &out.join("cloudflare-worker")]))
}

/// The examples that stand on the npm package: the Worker in TypeScript and the page.
fn examples(compiler: &Compiler, package: &Path, out: &Path, log: &mut Log) -> Result {
    for (folder, name) in [("cloudflare-worker-ts", "Worker in TypeScript"), ("browser", "page")] {
        let script = compiler.root().join("edge-examples").join(folder).join("build.mjs");
        if !script.is_file() {
            continue;
        }
        println!("{name}");
        log.run(compiler.node().arg(script).args([package, &out.join(folder)]))?;
    }
    Ok(())
}

/// `SHA256SUMS` over every file, as `sha256sum --check` reads it.
pub fn sums(out: &Path) -> Result {
    let _ = std::fs::remove_file(out.join("SHA256SUMS"));
    let mut files = Vec::new();
    list(out, out, &mut files)?;
    files.sort();
    let text = output(Command::new("sha256sum").arg("--").args(&files).current_dir(out))?;
    std::fs::write(out.join("SHA256SUMS"), text).doing("write SHA256SUMS")
}

fn list(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result {
    for entry in std::fs::read_dir(folder).doing(format_args!("read {}", folder.display()))? {
        let path = entry.doing(format_args!("read {}", folder.display()))?.path();
        if path.is_dir() {
            list(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push(name.to_path_buf());
        }
    }
    Ok(())
}

/// Builds a copy of the sources in another folder, with another target folder, and compares the sums.
fn check_reproducible(space: &Workspace, log: &mut Log) -> Result {
    println!("once more, from another folder");
    let elsewhere = space.target.join("reproduce");
    let root = elsewhere.join("a-clone-with-another-name");
    let _ = std::fs::remove_dir_all(&elsewhere);
    std::fs::create_dir_all(&root).doing(format_args!("make {}", root.display()))?;
    // What git knows and what is new, but nothing that it ignores.
    let files =
        output(Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(&space.root))?;
    for file in files.lines().filter(|file| space.root.join(file).is_file()) {
        let to = root.join(file);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).doing(format_args!("make {}", folder.display()))?;
        }
        std::fs::copy(space.root.join(file), &to).doing(format_args!("copy {file}"))?;
    }
    let out = elsewhere.join("dist");
    build_into(space, &root, &elsewhere.join("target"), &out, log)?;
    // The lines of what this builds.
    let ours = |line: &&str| {
        let path = line.split_once("  ").map(|(_, path)| path).unwrap_or_default();
        !Path::new(path).ancestors().any(is_of_dist)
    };
    let read = |folder: &Path| {
        std::fs::read_to_string(folder.join("SHA256SUMS"))
            .map(|text| text.lines().filter(ours).map(|line| format!("{line}\n")).collect::<String>())
            .doing(format_args!("read the sums in {}", folder.display()))
    };
    let (first, second) = (read(&space.root.join("dist"))?, read(&out)?);
    let differing: Vec<&str> =
        first.lines().filter(|line| !second.lines().any(|other| other == *line)).collect();
    if first == second {
        println!("reproducible: {} files, the same bytes twice", first.lines().count());
        return Ok(());
    }
    Err(Failure::new(format!("not the same bytes twice:\n{}", differing.join("\n"))))
}
