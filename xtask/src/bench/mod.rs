//! `cargo xtask bench`: figures as ratios measured in one run, kept in docs/benchmarks.md.

mod edge;
pub mod process;

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, output};
use crate::stages::{Workspace, workspace};
use crate::{machine, static_build, tools};

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

/// Measures everything and writes docs/benchmarks.md.
pub fn bench(args: &[&str]) -> Result {
    let quick = match args {
        [] => false,
        ["--quick"] => true,
        _ => return Err(Failure::new("bench: takes --quick or nothing")),
    };
    let space = workspace()?;
    let mut log = Log::create(space.logs.join("bench.log"), false)?;
    println!("building (the log is {})", log.path().display());
    let mut notes = Vec::new();
    let (mut figures, mut numbers) = in_process(&space, quick)?;

    log.run(
        cargo()
            .args(["build", "--release", "--package", "seamless-issuer", "--locked"])
            .current_dir(&space.root),
    )
    .map_err(|failure| Failure::new(format!("{failure}\n{}", log.tail(40))))?;
    let ordinary = space.target.join("release/seamless");
    let fixed = static_build::build(static_build::Profile::Dist)
        .map(|built| built.binary)
        .map_err(|failure| notes.push(format!("no static build: {failure}")))
        .ok();
    let python = tools::python(&tools::folder()?, &space.root.join("tests/peers"), &mut log)
        .map_err(|failure| notes.push(format!("no Python peer: {failure}")))
        .ok();
    let plan = process::Plan { ordinary, fixed, python, quick };
    process::measure(&plan, &mut figures, &mut numbers)?;

    let found = (&mut figures, &mut numbers, &mut notes);
    edge::measure(&space, quick, &mut log, found)
        .unwrap_or_else(|failure| notes.push(format!("the edge: {failure}\n{}", log.tail(20))));

    let text = report(&figures, &numbers, &notes);
    print!("{text}");
    if quick {
        println!("(quick: docs/benchmarks.md is left as it is)");
        return Ok(());
    }
    write(&space.root.join("docs/benchmarks.md"), &text)
}

/// Median of the values, which must not be empty.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs the bench binary, whose lines of JSON are figures and numbers.
fn in_process(space: &Workspace, quick: bool) -> Result<(Vec<Figure>, Vec<Number>)> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--locked", "--package", "seamless-bench", "--"]);
    if quick {
        command.arg("--quick");
    }
    read_lines(&output(command.current_dir(&space.root))?)
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

fn report(figures: &[Figure], numbers: &[Number], notes: &[String]) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench`; the last run. Each row compares two things measured in the same run, \
         one after the other in turn: the ratio is the median of the pairs, with the lowest and the highest.\n\n\
         | ours | beside | ours takes | the other takes | ratio (lowest to highest) | pairs | goal |\n\
         | --- | --- | ---: | ---: | --- | ---: | --- |\n",
    );
    for figure in figures {
        let (low, mid, high) = figure.ratio;
        let goal = figure.goal.map_or_else(String::new, |(goal, limit)| {
            let (is, shown) = match goal {
                Goal::Ratio => (mid, format!("{}x", ratio(limit))),
                Goal::Nanoseconds => (figure.seconds.0 * 1e9, format!("{limit} ns")),
            };
            format!("at most {shown}: {}", met(is <= limit))
        });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {}x ({} to {}) | {} | {goal} |",
            figure.ours,
            figure.beside,
            time(figure.seconds.0),
            time(figure.seconds.1),
            ratio(mid),
            ratio(low),
            ratio(high),
            figure.pairs,
        );
    }
    text.push_str("\n| counted | value | goal |\n| --- | ---: | --- |\n");
    for number in numbers {
        let goal = number.goal.map_or_else(String::new, |goal| {
            format!("at most {goal} {}: {}", number.unit, met(number.value <= goal))
        });
        let _ = writeln!(text, "| {} | {:.4} {} | {goal} |", number.name, number.value, number.unit);
    }
    text = text.replace(".0000 ", " ").replace(" : ", ": ");
    text.push_str("\nMachine:\n\n");
    for (name, value) in machine::describe() {
        let _ = writeln!(text, "- {name}: {value}");
    }
    for note in notes {
        let _ = writeln!(text, "- not measured: {note}");
    }
    text
}

fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "**not met**" }
}

/// Two digits behind the point, or two that say something.
fn ratio(value: f64) -> String {
    match value {
        small if small.abs() < 0.01 => format!("{value:.4}"),
        small if small.abs() < 0.1 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s => format!("{:.2} ms", s * 1e3),
    }
}

fn write(path: &Path, text: &str) -> Result {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).doing(format_args!("make {}", folder.display()))?;
    }
    std::fs::write(path, text).doing(format_args!("write {}", path.display()))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}
