//! What the command line prints: text for people, JSON for programs, an error line and its hint.

// The issuer's commands print more kinds of things than the user's side alone.
#![cfg_attr(not(feature = "issuer"), allow(dead_code))]

use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};

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

/// Help and version as clap prints them; a mistake in our own two lines.
pub(super) fn not_understood(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind as K;
    if matches!(error.kind(), K::DisplayHelp | K::DisplayVersion) {
        let _ = error.print();
        return 0;
    }
    if error.kind() == K::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return 2;
    }
    let text = error.to_string();
    // Several lines where arguments are missing: their names stand on the lines between the first and the usage.
    let paragraph: Vec<_> = text.lines().take_while(|l| !l.is_empty()).map(str::trim).collect();
    let message = paragraph.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message).trim_end_matches(['.', ':']).to_owned();
    let tip = text.lines().find_map(|l| l.trim().strip_prefix("tip: ")).map(str::to_owned);
    let usage = text.lines().find_map(|l| l.trim().strip_prefix("Usage: ")).map(|u| format!("usage: {u}"));
    let mut error = Error::usage(message);
    if let Some(hint) = tip.or(usage) {
        error = error.hint(hint);
    }
    complain(&error);
    2
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
    rows_as_text(rows, &widths(rows))
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

fn rows_as_text(rows: &[Vec<String>], widths: &[usize]) -> String {
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Standard output for what is too long to be held. Once its reader has gone away it takes everything and writes
/// nothing: that is no error of ours.
pub(super) struct Stream {
    out: BufWriter<io::Stdout>,
    gone: bool,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, io::stdout()), gone: false }
    }

    fn unless_gone<T>(&mut self, done: io::Result<T>, instead: T) -> io::Result<T> {
        match done {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(instead)
            }
            done => done,
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gone {
            return Ok(bytes.len());
        }
        let done = self.out.write(bytes);
        self.unless_gone(done, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let done = self.out.flush();
        self.unless_gone(done, ())
    }
}

/// A table or a JSON array that is printed while it is read.
pub(super) struct Listing {
    out: Stream,
    json: bool,
    items: u64,
    /// The first rows, which say how wide the columns are for all.
    first: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl Listing {
    const FIRST: usize = 1000;

    pub(super) fn new(out: Out) -> Self {
        Self { out: Stream::new(), json: out.json, items: 0, first: Vec::new(), widths: None }
    }

    /// Prints what `each` hands in, or what `empty` says where there is nothing.
    pub(super) fn print(
        mut self,
        each: impl FnOnce(&mut Self) -> Result<()>,
        empty: impl FnOnce() -> String,
    ) -> Result<()> {
        let read = each(&mut self);
        if self.out.gone {
            return Ok(());
        }
        if read.is_ok() && self.items == 0 && !self.json {
            self.text(&format!("{}\n", empty()))?;
        }
        self.rows()?;
        read?;
        if self.json {
            self.text(if self.items == 0 { "[]\n" } else { "]\n" })?;
        }
        self.out.flush().map_err(|e| Self::failed(&e))
    }

    /// One item, in the form that was asked for.
    pub(super) fn item(
        &mut self,
        value: impl FnOnce() -> Value,
        row: impl FnOnce() -> Vec<String>,
    ) -> Result<()> {
        if self.out.gone {
            return Err(Error::failed("nobody reads this"));
        }
        self.items += 1;
        if self.json {
            let before = if self.items == 1 { '[' } else { ',' };
            return self.text(&format!("{before}{}", value()));
        }
        self.first.push(row());
        if self.widths.is_some() || self.first.len() >= Self::FIRST { self.rows() } else { Ok(()) }
    }

    /// The head of a table.
    pub(super) fn head(&mut self, names: &[&str]) {
        if !self.json {
            self.first.push(names.iter().map(ToString::to_string).collect());
        }
    }

    fn rows(&mut self) -> Result<()> {
        // A head alone is no table.
        if self.items == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.first);
        let widths = self.widths.get_or_insert_with(|| widths(&rows));
        let text = rows_as_text(&rows, widths);
        self.text(&text)
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).map_err(|e| Self::failed(&e))
    }

    fn failed(e: &io::Error) -> Error {
        Error::failed(format!("can't write to standard output: {e}"))
    }
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
