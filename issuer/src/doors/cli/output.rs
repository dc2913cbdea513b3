//! What the command line prints: text for people, JSON for programs, an error line and its hint.

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::error::{Error, Result};

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    /// As JSON.
    pub(super) json: bool,
}

impl Out {
    /// Prints the value as JSON, or else what `text` writes for people.
    pub(super) fn print(self, value: &Value, text: impl FnOnce() -> String) {
        if self.json {
            write_out(&format!("{value}\n"));
        } else {
            let text = text();
            write_out(&if text.is_empty() || text.ends_with('\n') { text } else { format!("{text}\n") });
        }
    }
}

/// Writes to standard output; colour codes are dropped where it is no terminal. A reader that went away is no
/// error of ours.
pub(super) fn write_out(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// A line for people on standard error.
pub(super) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// What the administrator should know of a change to the host.
pub(super) fn notes(lines: Vec<String>) {
    for line in lines {
        note(&format!("seamless: {line}"));
    }
}

/// `seamless: error: …` and `seamless: hint: …`.
pub(super) fn complain(error: &Error) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let cyan = Style::new().fg_color(Some(AnsiColor::Cyan.into()));
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "seamless: {red}error{red:#}: {}", visible(error.message()));
    if let Some(hint) = error.hint_text() {
        let _ = writeln!(err, "seamless: {cyan}hint{cyan:#}: {}", visible(hint));
    }
}

/// A warning that doesn't stop anything.
pub(super) fn warn(text: &str) {
    let yellow = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    let _ = writeln!(anstream::stderr().lock(), "seamless: {yellow}warning{yellow:#}: {}", visible(text));
}

/// Asks on a terminal; elsewhere `--yes` must have been said.
pub(super) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage(format!("{question}: nobody is here to ask")).hint("say --yes"));
    }
    let _ = write!(anstream::stderr().lock(), "{question}? [y/N] ");
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Error::failed("not done"))
}

/// Columns aligned by spaces, without a border.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A time as people read it: RFC 3339 in UTC.
pub(super) fn time(at: u64) -> String {
    i64::try_from(at)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok())
        .map_or_else(|| at.to_string(), |t| t.to_string())
}

/// `-` for nothing.
pub(super) fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Text from elsewhere without what a terminal would obey.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}
