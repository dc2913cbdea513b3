//! `cargo xtask bench`: figures as ratios measured in one run, kept in docs/benchmarks.md.

mod build;
mod edge;
mod issuer;
mod page;
pub mod process;

use std::path::PathBuf;

use serde_json::Value;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, output};
use crate::stages::{Workspace, workspace};
use crate::{python, static_build, tools};

pub use issuer::soak;

/// A part of the page, measured on its own.
struct Part {
    /// On the command line.
    name: &'static str,
    /// Its heading.
    title: &'static str,
    /// Only when it is named, or all are: it takes minutes.
    slow: bool,
    run: fn(&mut Bench, &mut Found) -> Result,
}

const PARTS: &[Part] = &[
    Part { name: "verify", title: "Verification in Rust", slow: false, run: verify },
    Part { name: "mint", title: "A mint as a process", slow: false, run: mint },
    Part { name: "edge", title: "At the edge", slow: false, run: edge::measure },
    Part { name: "python", title: "In Python", slow: false, run: in_python },
    Part { name: "issuer", title: "The issuer under load", slow: false, run: issuer::under_load },
    Part { name: "crtauth", title: "Log-ins over HTTP", slow: true, run: issuer::crtauth },
    Part { name: "keys", title: "Very many keys", slow: true, run: issuer::many_keys },
    Part { name: "soak", title: "Soak", slow: true, run: issuer::soaked },
    Part { name: "build", title: "Building it", slow: true, run: build::measure },
];

/// What the parts measure with.
struct Bench {
    space: Workspace,
    /// Fewer rounds.
    quick: bool,
    log: Log,
}

/// What a part has found.
#[derive(Default)]
struct Found {
    figures: Vec<Figure>,
    numbers: Vec<Number>,
    /// What could not be measured, and why.
    notes: Vec<String>,
}

/// One comparison: ours beside something else, interleaved in one run.
pub struct Figure {
    /// What was measured.
    pub ours: String,
    /// What it stands beside.
    pub beside: String,
    /// Seconds of ours and of the other, medians.
    pub seconds: (f64, f64),
    /// Ours over the other: lowest, median, highest of the pairs.
    pub ratio: (f64, f64, f64),
    /// Interleaved pairs.
    pub pairs: usize,
    /// The goal, if there is one: what is judged, and the highest value that meets it.
    pub goal: Option<(Goal, f64)>,
}

/// What a goal is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The median ratio.
    Ratio,
    /// Our median time, in nanoseconds.
    Nanoseconds,
}

/// One number with its goal, such as a count of allocations.
pub struct Number {
    /// What was counted.
    pub name: String,
    /// The count.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// The highest value that meets the goal.
    pub goal: Option<f64>,
}

/// The names of the parts, for the usage.
pub fn names() -> String {
    let name = |part: &Part| format!("{}{}", part.name, if part.slow { " (slow)" } else { "" });
    PARTS.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Measures the parts that are named (`all`: every one; none: those that take no minutes) and writes their sections of
/// docs/benchmarks.md anew. The other sections stay.
pub fn bench(args: &[&str]) -> Result {
    let quick = args.contains(&"--quick");
    let named: Vec<&str> = args.iter().copied().filter(|word| *word != "--quick").collect();
    if let Some(wrong) = named.iter().find(|name| **name != "all" && PARTS.iter().all(|p| p.name != **name)) {
        return Err(Failure::new(format!("bench: no part `{wrong}`; there are: {}", names())));
    }
    let chosen = |part: &Part| {
        if named.is_empty() { !part.slow } else { named.contains(&"all") || named.contains(&part.name) }
    };
    let space = workspace()?;
    let log = Log::create(space.logs.join("bench.log"), false)?;
    println!("the log is {}", log.path().display());
    let page = space.root.join("docs/benchmarks.md");
    let mut bench = Bench { space, quick, log };
    for part in PARTS.iter().filter(|part| chosen(part)) {
        println!("measuring: {}", part.name);
        let load = page::load();
        let mut found = Found::default();
        (part.run)(&mut bench, &mut found)
            .unwrap_or_else(|failure| found.notes.push(format!("{failure}\n{}", bench.log.tail(20))));
        let section = page::section(&found, &load);
        println!("\n## {}\n{section}", part.title);
        if quick {
            println!("(quick: docs/benchmarks.md is left as it is)");
            continue;
        }
        // After each, so that a later one that is interrupted takes nothing along.
        let titles = PARTS.iter().map(|part| part.title).collect::<Vec<_>>();
        let before = std::fs::read_to_string(&page).unwrap_or_default();
        let text = page::replace(&before, &titles, part.title, &section);
        std::fs::write(&page, text).doing(format_args!("write {}", page.display()))?;
        println!("written to {}", page.display());
    }
    Ok(())
}

fn verify(bench: &mut Bench, found: &mut Found) -> Result {
    let mut command = bench.program("seamless-bench");
    command.args(bench.quick.then_some("--quick"));
    found.read(&output(&mut command)?)
}

fn mint(bench: &mut Bench, found: &mut Found) -> Result {
    let ordinary = bench.issuer()?;
    let fixed = static_build::build(static_build::Profile::Dist)
        .map(|built| built.binary)
        .map_err(|failure| found.notes.push(format!("no static build: {failure}")))
        .ok();
    let peers = bench.space.root.join("tests/peers");
    let python = tools::python(&tools::folder()?, &peers, &mut bench.log)
        .map_err(|failure| found.notes.push(format!("no Python peer: {failure}")))
        .ok();
    let plan = process::Plan { ordinary, fixed, python, quick: bench.quick };
    process::measure(&plan, &mut found.figures, &mut found.numbers)
}

/// On the newest CPython, with the wheel as CI has it.
fn in_python(bench: &mut Bench, found: &mut Found) -> Result {
    let wheel = python::build(&bench.space, "release", &mut bench.log)?;
    let newest =
        python::interpreters().pop().ok_or_else(|| Failure::new("no CPython with venv is installed"))?;
    let sources = bench.space.root.join("clients/python");
    let interpreter = python::environment(&newest, &sources, &wheel, &mut bench.log)?;
    let mut command = std::process::Command::new(interpreter);
    command.arg(bench.space.root.join("benches/python/measure.py")).arg(&wheel);
    command.args(bench.quick.then_some("--quick"));
    found.read(&output(&mut command)?)
}

impl Bench {
    /// The release build of the issuer.
    fn issuer(&mut self) -> Result<PathBuf> {
        println!("building the issuer");
        let mut build = cargo();
        build.args(["build", "--release", "--package", "seamless-issuer", "--locked"]);
        self.log.run(build.current_dir(&self.space.root))?;
        Ok(self.space.target.join("release/seamless"))
    }

    /// A program of benches/, which is built first.
    fn program(&self, name: &str) -> std::process::Command {
        let mut command = cargo();
        command
            .args([
                "run",
                "--quiet",
                "--release",
                "--locked",
                "--package",
                "seamless-bench",
                "--bin",
                name,
                "--",
            ])
            .current_dir(&self.space.root);
        command
    }
}

impl Found {
    /// Takes lines of JSON, each a figure or a number.
    fn read(&mut self, text: &str) -> Result {
        let (figures, numbers) = read_lines(text)?;
        self.figures.extend(figures);
        self.numbers.extend(numbers);
        Ok(())
    }
}

/// Median of the values, which must not be empty.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Lines of JSON, each a figure or a number.
fn read_lines(text: &str) -> Result<(Vec<Figure>, Vec<Number>)> {
    let (mut figures, mut numbers) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let value: Value =
            serde_json::from_str(line).doing(format_args!("read `{line}` of a bench program"))?;
        let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        if value["count"].is_number() {
            numbers.push(Number {
                name: word("name"),
                value: number(&value["count"]),
                unit: word("unit"),
                goal: value["goal"].as_f64(),
            });
            continue;
        }
        let goal = value["goal_ratio"]
            .as_f64()
            .map(|goal| (Goal::Ratio, goal))
            .or_else(|| value["goal_ns"].as_f64().map(|goal| (Goal::Nanoseconds, goal)));
        figures.push(Figure {
            ours: word("ours"),
            beside: word("beside"),
            seconds: (number(&value["ours_ns"]) * 1e-9, number(&value["beside_ns"]) * 1e-9),
            ratio: (number(&value["ratio"][0]), number(&value["ratio"][1]), number(&value["ratio"][2])),
            pairs: value["pairs"].as_u64().and_then(|pairs| usize::try_from(pairs).ok()).unwrap_or(0),
            goal,
        });
    }
    Ok((figures, numbers))
}
