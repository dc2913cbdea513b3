//! `seamless key import`: many keys from a file, with a report of what did not come in.

use std::fs::File;
use std::io::{IsTerminal as _, Read, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::error::{Error, Kind, Result, io};
use crate::realm::{Access, Realm};
use crate::services::hosting;
use crate::services::import::{self, Ask, Format, Refusal, Summary, Whose};

use super::Context;
use super::output::{note, visible, write_out};
use super::progress::Unit;

/// Refused lines that are shown on a terminal.
const SHOWN: u64 = 20;

/// Refused lines that `--json` lists.
const LISTED: usize = 10_000;

/// Marks a line of the report on its way from the realm's account to root, who writes it.
const REPORT: &str = "report ";

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
A CSV begins with a line that names its columns, in any order:
  user            whose key it is; the user is made if there is none of that name
  key             `ssh-ed25519 AAAA…`, with or without a comment
  expires         2027-01-31 (the beginning of that day, UTC) or 2027-01-31T12:00:00Z
  from            addresses and CIDRs that the key may come from, separated by blanks
  groups, scopes  what the user is to have besides, separated by blanks; nothing is taken away
  require_touch, require_verify   yes or no, for keys that an authenticator holds
Of authorized_keys, from=, expiry-time= and verify-required are kept; a key bound by command= is refused.

Run again, an import changes nothing. Each line is judged by itself; those refused are named, the others are in.
Exit codes: 0 every line is in; 3 some lines were refused; 2 the file or the call is not understood.

  seamless key import corp team.csv --dry-run
  seamless key import corp team.csv --report refused.txt
  seamless key import corp ~/.ssh/authorized_keys --user ada")]
pub(super) struct Args {
    /// The realm, and the CSV or authorized_keys file (- for standard input)
    #[arg(value_name = "[REALM] FILE", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// How the file is written [default: by its content]
    #[arg(long, value_name = "FORMAT")]
    format: Option<FileFormat>,
    /// All keys of the file are this user's
    #[arg(long, short, value_name = "NAME", conflicts_with = "user_from")]
    user: Option<String>,
    /// Each key is the user's that its comment names; whoever wrote the comment chose the name
    #[arg(long, value_name = "WHERE")]
    user_from: Option<UserFrom>,
    /// Say what would happen and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Change nothing if a line is refused (up to 100 000 keys)
    #[arg(long)]
    all_or_nothing: bool,
    /// Write every refused line's number, user and reason to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FileFormat {
    /// With a header
    Csv,
    /// Of sshd
    #[value(name = "authorized_keys")]
    AuthorizedKeys,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum UserFrom {
    /// What stands before the @: ada of ada@laptop
    Comment,
    /// All of it: ada@example.com
    WholeComment,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let (place, rest) = context.words(&args.words, 1)?;
    let Some(name) = rest.first() else { return Err(Error::usage("which file?")) };
    let whose = match (&args.user, args.user_from) {
        (Some(user), _) => Whose::All(user.parse()?),
        (None, Some(UserFrom::Comment)) => Whose::CommentBeforeAt,
        (None, Some(UserFrom::WholeComment)) => Whose::WholeComment,
        (None, None) => Whose::Column,
    };
    let file = context.open_file(name)?;
    let by_root = context.target.realm_home.is_some();
    let mut report = args.report.as_ref().filter(|_| !by_root).map(Report::create).transpose()?;
    if context.goes_elsewhere(&place) {
        let mut split = |line: &[u8]| match (&mut report, line.strip_prefix(REPORT.as_bytes())) {
            (Some(report), Some(line)) => report.write(line),
            _ => {
                write_out(&String::from_utf8_lossy(line));
                Ok(())
            }
        };
        let line: Option<hosting::EachLine<'_>> = if args.report.is_some() { Some(&mut split) } else { None };
        let code = context.elsewhere_with(&place, file, line)?.unwrap_or_default();
        report.map_or(Ok(()), Report::end)?;
        return Ok(code);
    }
    let realm = Realm::open(place.dir(), Access::Write, context.clock.clone())?;
    let ask = Ask {
        format: args.format.map(|format| match format {
            FileFormat::Csv => Format::Csv,
            FileFormat::AuthorizedKeys => Format::AuthorizedKeys,
        }),
        whose,
        dry_run: args.dry_run,
        all_or_nothing: args.all_or_nothing,
        size: size_of(file.as_ref()),
    };
    let mut input: Box<dyn Read> = match file {
        Some(file) => Box::new(file),
        None => Box::new(std::io::stdin().lock()),
    };
    let on_terminal = std::io::stderr().is_terminal();
    let mut refusals = Refusals { shown: Vec::new(), listed: Vec::new() };
    let imported = {
        let bar = context.progress("importing", Unit::Things("lines"));
        let mut refuse = |refusal: &Refusal| {
            if by_root && args.report.is_some() {
                write_out(&format!("{REPORT}{}\n", line_of(refusal)));
            } else if let Some(report) = &mut report {
                report.write(format!("{}\n", line_of(refusal)).as_bytes())?;
            }
            refusals.take(refusal, context.out.json, on_terminal);
            Ok(())
        };
        import::import(&realm, &mut *input, &ask, &mut refuse, &bar)
    };
    report.map_or(Ok(()), Report::end)?;
    refusals.shown.iter().for_each(|line| note(line));
    // Keys that are in are for sshd to know, even where the import broke off.
    if !args.dry_run {
        hosting::after_change(&realm, &context.sync_progress())?;
    }
    let summary = imported?;
    if on_terminal && !context.out.json && summary.refused > SHOWN {
        note(&format!("… and {} lines more; all of them: --report FILE", summary.refused - SHOWN));
    }
    context.out.print(&json(&summary, &ask, refusals.listed), || text(&summary, &ask));
    Ok(if summary.refused == 0 { 0 } else { Kind::Policy.exit_code() })
}

struct Refusals {
    /// For the end, when the bar is gone.
    shown: Vec<String>,
    listed: Vec<Value>,
}

impl Refusals {
    fn take(&mut self, refusal: &Refusal, json: bool, on_terminal: bool) {
        if json {
            if self.listed.len() < LISTED {
                self.listed.push(json!({
                    "line": refusal.line,
                    "user": refusal.user.as_ref().map(ToString::to_string),
                    "fingerprint": refusal.fingerprint,
                    "why": refusal.why,
                }));
            }
        } else if !on_terminal {
            note(&line_of(refusal));
        } else if u64::try_from(self.shown.len()).is_ok_and(|shown| shown < SHOWN) {
            self.shown.push(line_of(refusal));
        }
    }
}

/// The file of `--report`.
struct Report {
    path: PathBuf,
    file: std::io::BufWriter<File>,
}

impl Report {
    fn create(path: &PathBuf) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::failed(io("write", path, &e).message()))?;
        Ok(Self { path: path.clone(), file: std::io::BufWriter::new(file) })
    }

    fn write(&mut self, line: &[u8]) -> Result<()> {
        self.file.write_all(line).map_err(|e| io("write", &self.path, &e))
    }

    fn end(mut self) -> Result<()> {
        self.file.flush().map_err(|e| io("write", &self.path, &e))
    }
}

fn line_of(refusal: &Refusal) -> String {
    let user = refusal.user.as_ref().map(|user| format!(" of {user}")).unwrap_or_default();
    format!("line {}{user}: {}", refusal.line, visible(&refusal.why))
}

fn json(summary: &Summary, ask: &Ask, refusals: Vec<Value>) -> Value {
    json!({"lines": summary.lines, "added": summary.added, "changed": summary.changed,
           "unchanged": summary.unchanged, "refused": summary.refused, "options_left_out": summary.left_out,
           "dry_run": ask.dry_run, "done": !summary.undone, "refusals": refusals})
}

fn text(summary: &Summary, ask: &Ask) -> String {
    let Summary { lines, added, changed, unchanged, refused, left_out, undone } = summary;
    let mut text = format!(
        "{lines} line{}: {added} added, {changed} changed, {unchanged} unchanged, {refused} refused",
        if *lines == 1 { "" } else { "s" }
    );
    if *left_out > 0 {
        text.push_str(&format!("\n{left_out} had options that mean nothing here, which were left out"));
    }
    if ask.dry_run {
        text.push_str("\nnothing was changed: this was a trial");
    } else if *undone {
        text.push_str("\nnothing was changed: all of it or nothing was asked for");
    }
    text
}

/// How long the input is, where it is a file; by the caller's own or on standard input.
fn size_of(file: Option<&File>) -> Option<u64> {
    let stat = match file {
        Some(file) => rustix::fs::fstat(file),
        None => rustix::fs::fstat(std::io::stdin()),
    };
    let stat = stat.ok().filter(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file())?;
    u64::try_from(stat.st_size).ok()
}
