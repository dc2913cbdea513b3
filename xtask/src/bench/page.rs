//! docs/benchmarks.md: a section for each part, written anew when that part is measured.

use std::fmt::Write;

use super::{Figure, Found, Goal, Number};
use crate::machine;

const HEAD: &str = "\
# Benchmarks

Written by `cargo xtask bench`, each section by the last run of its part. Each row of two compares two things measured in \
the same run, one after the other in turn: the ratio is the median of the pairs, with the lowest and the highest. The last \
line of a section names its machine: figures of two sections compare only where that is the same.

";

/// What the machine was doing before we began: the load of the last minute, as the kernel counts it.
pub(super) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// What stands below a part's heading.
pub(super) fn section(found: &Found, load: &str) -> String {
    let mut text = String::new();
    if !found.figures.is_empty() {
        text.push_str(
            "\n| ours | beside | ours takes | the other takes | ratio (lowest to highest) | pairs | goal |\n\
             | --- | --- | ---: | ---: | --- | ---: | --- |\n",
        );
    }
    for row in &found.figures {
        figure(&mut text, row);
    }
    if !found.numbers.is_empty() {
        text.push_str("\n| counted | value | goal |\n| --- | ---: | --- |\n");
    }
    for row in &found.numbers {
        number(&mut text, row);
    }
    for note in &found.notes {
        let _ = write!(text, "\nNot measured: {note}\n");
    }
    let machine: Vec<_> = machine::describe()
        .into_iter()
        .map(|(name, value)| if value.starts_with(name) { value } else { format!("{name} {value}") })
        .collect();
    let _ = write!(text, "\nMachine: {}; load before it {load}.\n", machine.join("; "));
    text
}

/// The page with this section in its place among the titles; a page of another form is begun anew.
pub(super) fn replace(page: &str, titles: &[&str], title: &str, section: &str) -> String {
    let old = |wanted: &str| {
        let mut parts = page.split("\n## ").skip(1);
        parts.find_map(|part| part.strip_prefix(wanted)?.strip_prefix('\n')).map(str::trim_end)
    };
    let mut text = HEAD.to_owned();
    for known in titles {
        let body = if *known == title { Some(section.trim_end()) } else { old(known) };
        if let Some(body) = body {
            let _ = write!(text, "## {known}\n{body}\n\n");
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn figure(text: &mut String, figure: &Figure) {
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

fn number(text: &mut String, number: &Number) {
    let unit = if number.unit.is_empty() { String::new() } else { format!(" {}", number.unit) };
    let goal = number
        .goal
        .map_or_else(String::new, |goal| format!("at most {goal}{unit}: {}", met(number.value <= goal)));
    let value = format!("{:.4}", number.value);
    let value = value.strip_suffix(".0000").unwrap_or(&value);
    let _ = writeln!(text, "| {} | {value}{unit} | {goal} |", number.name);
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
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: [&str; 3] = ["A", "B", "C"];

    #[test]
    fn a_part_leaves_the_others_sections_alone() {
        let first = replace("# Benchmarks\n\nof another form\n", &TITLES, "B", "\nb\n");
        let second = replace(&first, &TITLES, "A", "\na\n");
        let third = replace(&second, &TITLES, "B", "\nnew\n");
        assert!(third.ends_with("\n## A\n\na\n\n## B\n\nnew\n"), "{third}");
        assert!(!third.contains("\nb\n") && !third.contains("## C") && !third.contains("another form"));
    }

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let shown = |value, unit: &str, goal| {
            let mut text = String::new();
            number(&mut text, &Number { name: "n".to_owned(), value, unit: unit.to_owned(), goal });
            text
        };
        assert_eq!(shown(20.0, "", Some(20.0)), "| n | 20 | at most 20: met |\n");
        assert_eq!(shown(2.5, "s", Some(2.0)), "| n | 2.5000 s | at most 2 s: **not met** |\n");
    }
}
