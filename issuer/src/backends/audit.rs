//! The audit log: `audit/YYYY-MM.jsonl`, append-only, each record bound to the one before by its SHA-256.
//!
//! A record is one write under a lock, so no reader ever sees half of one; a crash can tear the last at most, and
//! the next record then chains over the torn bytes as they are. Nothing here is ever rewritten.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::backends::files;
use crate::error::{Error, Result, io};

/// How long an append waits for others; then there is no record, and no token.
const PATIENCE: Duration = Duration::from_secs(2);

/// Two processes may record a moment out of order, and a clock may be set a little; more than that back is named.
const TOLERANCE: u64 = 60;

/// The longest record. A record's parts are bounded; this bounds the look for the last one.
const MOST_BYTES: u64 = 64 * 1024;

/// What the first record names as the one before.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The way a deed came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The command line.
    Cli,
    /// sshd's forced command.
    SshForced,
    /// The embedded ssh server.
    SshOwn,
    /// HTTP.
    Http,
}

/// One deed.
#[derive(Clone, Debug)]
pub struct Record {
    /// Such as `mint` or `key.add`.
    pub action: &'static str,
    /// Whom it is about.
    pub subject: Option<String>,
    /// Which SSH key it is about, or came by.
    pub fingerprint: Option<String>,
    /// The way in.
    pub door: Door,
    /// Where from.
    pub address: Option<String>,
    /// What was asked.
    pub asked: Value,
    /// What was given, or why not.
    pub given: Value,
    /// `ok` or the kind of refusal.
    pub outcome: &'static str,
    /// What a client was told to quote.
    pub id: Option<String>,
}

/// Which records to read.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this action, or those that begin with it and a dot.
    pub action: Option<String>,
    /// Only of this user.
    pub subject: Option<String>,
    /// Only at or after these Unix seconds.
    pub since: Option<u64>,
    /// Only the newest so many.
    pub limit: Option<usize>,
}

/// The newest record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub seq: u64,
    /// Its Unix seconds.
    pub at: u64,
}

/// What `verify` found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whole records.
    pub records: u64,
    /// Files.
    pub files: usize,
    /// Seconds of the newest record.
    pub newest: Option<u64>,
    /// What is wrong; nothing on a whole chain.
    pub problems: Vec<Problem>,
    /// Records that a crash tore. They are named, and don't break the chain.
    pub torn: Vec<Problem>,
}

/// A place in the log, and what is the matter with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What.
    pub what: String,
}

/// The log in one directory.
#[derive(Clone, Debug)]
pub struct AuditLog {
    dir: PathBuf,
}

impl Door {
    /// The name in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::SshForced => "sshd",
            Self::SshOwn => "ssh",
            Self::Http => "http",
        }
    }
}

impl AuditLog {
    /// The log in `dir`.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Appends a record. With `sync` it is on the disk on return.
    pub fn append(&self, now: u64, record: &Record, sync: bool) -> Result<()> {
        self.append_checked(now, record, sync, true)
    }

    /// As `append`, whatever the clock says beside the newest record.
    pub fn append_accepting_clock(&self, now: u64, record: &Record) -> Result<()> {
        self.append_checked(now, record, true, false)
    }

    fn append_checked(&self, now: u64, record: &Record, sync: bool, check_clock: bool) -> Result<()> {
        files::create_dir(&self.dir, 0o700)?;
        // One lock for all months: the last record of one is chained to by the first of the next.
        let _lock = lock(&self.dir.join(".lock"))?;
        let month = month_of(now)?;
        let newest_file = self.months()?.pop();
        let last = match &newest_file {
            Some(name) => last_line(&self.dir.join(name))?,
            None => Last::default(),
        };
        if check_clock && last.at.is_some_and(|at| now + TOLERANCE < at) {
            return Err(Error::internal(format!(
                "the clock ({}) is before the newest audit record ({})",
                rfc3339(now),
                rfc3339(last.at.unwrap_or_default())
            ))
            .hint("set the clock; if that record's time is the wrong one: seamless audit accept-clock"));
        }
        // Never into an older month than the newest file: records stay in order.
        let name = newest_file.filter(|newest| *newest >= month).unwrap_or_else(|| month.clone());
        let prev = last.hash.unwrap_or_else(|| GENESIS.to_owned());
        let line = encode(record, last.seq + 1, now, &prev);
        self.write(&name, &line, last.torn, sync)
    }

    fn write(&self, name: &str, line: &str, torn: bool, sync: bool) -> Result<()> {
        let path = self.dir.join(name);
        let existed = path.exists();
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(files::nofollow())
            .open(&path)
            .map_err(|e| io("write", &path, &e))?;
        let before = file.metadata().map_err(|e| io("look at", &path, &e))?.len();
        let bytes = if torn { format!("\n{line}\n") } else { format!("{line}\n") };
        let written = file.write_all(bytes.as_bytes()).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        if let Err(e) = written {
            // Half a record is none: take it back, we hold the lock.
            let _ = file.set_len(before);
            return Err(io("write", &path, &e));
        }
        if existed { Ok(()) } else { files::sync_parent(&path) }
    }

    /// The newest whole record.
    pub fn newest(&self) -> Result<Option<Newest>> {
        let Some(name) = self.months()?.pop() else { return Ok(None) };
        let last = last_line(&self.dir.join(name))?;
        Ok(last.at.map(|at| Newest { seq: last.seq, at }))
    }

    /// The records that pass the filter, the newest last.
    pub fn read(&self, filter: &Filter) -> Result<Vec<Value>> {
        let mut out = Vec::new();
        for name in self.months()? {
            let path = self.dir.join(&name);
            for line in lines(&path)? {
                let Ok(record) = serde_json::from_slice::<Value>(&line) else { continue };
                if passes(filter, &record) {
                    out.push(record);
                }
            }
        }
        if let Some(limit) = filter.limit {
            out.drain(..out.len().saturating_sub(limit));
        }
        Ok(out)
    }

    /// Walks the whole chain.
    pub fn verify(&self) -> Result<Report> {
        let mut report = Report::default();
        let mut prev = GENESIS.to_owned();
        let mut seq = 0;
        for name in self.months()? {
            report.files += 1;
            for (number, line) in lines(&self.dir.join(&name))?.into_iter().enumerate() {
                let problem = |what: String| Problem { file: name.clone(), line: number + 1, what };
                let Ok(record) = serde_json::from_slice::<Value>(&line) else {
                    report.torn.push(problem("torn by a crash while it was written".to_owned()));
                    prev = hash(&line);
                    continue;
                };
                if record.get("prev").and_then(Value::as_str) != Some(prev.as_str()) {
                    report.problems.push(problem("does not follow the record before it".to_owned()));
                }
                let got = record.get("seq").and_then(Value::as_u64).unwrap_or(0);
                if got != seq + 1 {
                    report.problems.push(problem(format!("is number {got} where {} belongs", seq + 1)));
                }
                let at = record.get("at").and_then(Value::as_u64).unwrap_or(0);
                let accepted = record.get("action").and_then(Value::as_str) == Some("audit.accept-clock");
                if report.newest.is_some_and(|newest| at + TOLERANCE < newest) && !accepted {
                    report.problems.push(problem("is older than the record before it".to_owned()));
                }
                report.newest = Some(if accepted { at } else { at.max(report.newest.unwrap_or(0)) });
                report.records += 1;
                seq = got;
                prev = hash(&line);
            }
        }
        Ok(report)
    }

    /// The files' names, the oldest first.
    fn months(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(io("read", &self.dir, &e)),
        };
        let mut names: Vec<_> =
            entries.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(|n| is_month(n)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// The end of a file: what the next record must know.
#[derive(Default)]
struct Last {
    seq: u64,
    at: Option<u64>,
    hash: Option<String>,
    torn: bool,
}

fn last_line(path: &Path) -> Result<Last> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(files::nofollow())
        .open(path)
        .map_err(|e| io("read", path, &e))?;
    let length = file.metadata().map_err(|e| io("look at", path, &e))?.len();
    // Usually one page holds the last record; a record that was torn wants the one before it too.
    let mut window = 4096;
    loop {
        let from = length.saturating_sub(window);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut tail)).map_err(|e| io("read", path, &e))?;
        if let Some(last) = parse_tail(&tail, from == 0) {
            return Ok(last);
        }
        if from == 0 || window > 4 * MOST_BYTES {
            return Err(Error::internal(format!("{} holds no record", path.display())).hint("seamless audit verify"));
        }
        window *= 16;
    }
}

/// The last record of a file's end, if it is whole in there.
fn parse_tail(tail: &[u8], is_all: bool) -> Option<Last> {
    let torn = tail.last().is_some_and(|b| *b != b'\n');
    let body = if torn { tail } else { tail.strip_suffix(b"\n").unwrap_or(tail) };
    let mut lines: Vec<&[u8]> = body.split(|b| *b == b'\n').collect();
    if !is_all {
        lines.drain(..1);
    }
    let newest = lines.last()?;
    let prev_hash = (!newest.is_empty()).then(|| hash(newest));
    // The sequence goes on from the last whole record, the chain from the last bytes.
    for line in lines.iter().rev() {
        if let Ok(record) = serde_json::from_slice::<Value>(line) {
            let number = |name| record.get(name).and_then(Value::as_u64);
            return Some(Last { seq: number("seq").unwrap_or(0), at: number("at"), hash: prev_hash, torn });
        }
    }
    // A file whose first record was torn: its number was never given.
    is_all.then_some(Last { seq: 0, at: None, hash: prev_hash, torn })
}

fn encode(record: &Record, seq: u64, now: u64, prev: &str) -> String {
    let mut object = Map::new();
    object.insert("seq".into(), seq.into());
    object.insert("at".into(), now.into());
    object.insert("time".into(), rfc3339(now).into());
    object.insert("action".into(), record.action.into());
    for (name, value) in [("subject", &record.subject), ("fingerprint", &record.fingerprint)] {
        if let Some(value) = value {
            object.insert(name.into(), value.as_str().into());
        }
    }
    object.insert("door".into(), record.door.as_str().into());
    if let Some(address) = &record.address {
        object.insert("address".into(), address.as_str().into());
    }
    for (name, value) in [("asked", &record.asked), ("given", &record.given)] {
        if !value.is_null() {
            object.insert(name.into(), value.clone());
        }
    }
    object.insert("outcome".into(), record.outcome.into());
    if let Some(id) = &record.id {
        object.insert("id".into(), id.as_str().into());
    }
    object.insert("prev".into(), prev.into());
    escape_controls(&Value::Object(object).to_string())
}

/// JSON escapes C0; these obey a terminal, or end a line for some reader, just as well.
fn escape_controls(json: &str) -> String {
    let risky = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !json.contains(risky) {
        return json.to_owned();
    }
    json.chars().map(|c| if risky(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

fn passes(filter: &Filter, record: &Value) -> bool {
    let text = |name| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let action = filter.action.as_deref().is_none_or(|a| {
        let got = text("action");
        got == a || got.strip_prefix(a).is_some_and(|rest| rest.starts_with('.'))
    });
    let subject = filter.subject.as_deref().is_none_or(|s| text("subject") == s);
    let since = filter.since.is_none_or(|s| record.get("at").and_then(Value::as_u64).is_some_and(|at| at >= s));
    action && subject && since
}

fn lines(path: &Path) -> Result<Vec<Vec<u8>>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(files::nofollow())
        .open(path)
        .map_err(|e| io("read", path, &e))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| io("read", path, &e))?;
    let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if body.is_empty() {
        return Ok(Vec::new());
    }
    Ok(body.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect())
}

fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(files::nofollow())
        .open(path)
        .map_err(|e| io("lock", path, &e))?;
    let begun = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::internal("the audit log was busy for 2 s").hint("another process holds audit/.lock; see seamless doctor"));
            }
            Err(e) => return Err(io("lock", path, &e.into())),
        }
    }
}

fn hash(line: &[u8]) -> String {
    Sha256::digest(line).iter().map(|b| format!("{b:02x}")).collect()
}

fn month_of(now: u64) -> Result<String> {
    let time = timestamp(now).ok_or_else(|| Error::internal(format!("the clock says {now}, which is no time")).hint("set the clock"))?;
    let civil = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    Ok(format!("{:04}-{:02}.jsonl", civil.year(), civil.month()))
}

fn rfc3339(at: u64) -> String {
    timestamp(at).map_or_else(|| at.to_string(), |t| t.to_string())
}

fn timestamp(at: u64) -> Option<jiff::Timestamp> {
    i64::try_from(at).ok().and_then(|s| jiff::Timestamp::from_second(s).ok())
}

/// `2026-11.jsonl`
fn is_month(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".jsonl") else { return false };
    let shape = |(at, b): (usize, u8)| if at == 4 { b == b'-' } else { b.is_ascii_digit() };
    stem.len() == 7 && stem.bytes().enumerate().all(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_800_000_000; // 2027-01-15

    fn record(subject: &str) -> Record {
        Record {
            action: "mint",
            subject: Some(subject.to_owned()),
            fingerprint: None,
            door: Door::Cli,
            address: None,
            asked: Value::Null,
            given: json!({"x": 1}),
            outcome: "ok",
            id: None,
        }
    }

    fn log() -> (tempfile::TempDir, AuditLog) {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::at(&dir.path().join("audit"));
        (dir, log)
    }

    fn file(log: &AuditLog) -> PathBuf {
        log.dir.join("2027-01.jsonl")
    }

    #[test]
    fn records_chain_across_months() {
        let (_dir, log) = log();
        for (n, at) in [NOW, NOW + 1, NOW + 40 * 86_400].into_iter().enumerate() {
            log.append(at, &record(&format!("u{n}")), n == 0).unwrap();
        }
        let report = log.verify().unwrap();
        assert_eq!((report.records, report.files, report.newest), (3, 2, Some(NOW + 40 * 86_400)));
        assert_eq!((report.problems, report.torn), (vec![], vec![]));
        assert_eq!(log.newest().unwrap(), Some(Newest { seq: 3, at: NOW + 40 * 86_400 }));
        let some = log.read(&Filter { subject: Some("u1".into()), ..Filter::default() }).unwrap();
        assert_eq!(some.len(), 1);
        assert_eq!(some[0]["time"], "2027-01-15T08:00:01Z");
        assert_eq!(log.read(&Filter { limit: Some(2), ..Filter::default() }).unwrap()[0]["subject"], "u1");
        assert_eq!(log.read(&Filter { action: Some("min".into()), ..Filter::default() }).unwrap().len(), 0);
    }

    #[test]
    fn whoever_edits_the_log_is_found_out() {
        let tamper: [(&str, fn(&str) -> String); 4] = [
            ("edited", |text| text.replacen("u1", "root", 1)),
            ("deleted", |text| text.lines().enumerate().filter(|(n, _)| *n != 1).map(|(_, l)| format!("{l}\n")).collect()),
            ("doubled", |text| text.lines().flat_map(|l| [format!("{l}\n"), format!("{l}\n")]).collect()),
            ("swapped", |text| {
                let lines: Vec<_> = text.lines().collect();
                [lines[0], lines[2], lines[1], lines[3]].map(|l| format!("{l}\n")).concat()
            }),
        ];
        for (how, change) in tamper {
            let (_dir, log) = log();
            for n in 0..4 {
                log.append(NOW, &record(&format!("u{n}")), false).unwrap();
            }
            let text = std::fs::read_to_string(file(&log)).unwrap();
            std::fs::write(file(&log), change(&text)).unwrap();
            assert!(!log.verify().unwrap().problems.is_empty(), "{how}");
        }
    }

    #[test]
    fn a_torn_record_is_named_and_chained_over() {
        let (_dir, log) = log();
        for n in 0..3 {
            log.append(NOW, &record(&format!("u{n}")), false).unwrap();
        }
        let text = std::fs::read_to_string(file(&log)).unwrap();
        std::fs::write(file(&log), &text[..text.len() - 30]).unwrap();
        log.append(NOW, &record("after"), false).unwrap();
        log.append(NOW, &record("later"), false).unwrap();
        let report = log.verify().unwrap();
        assert_eq!(report.torn, [Problem { file: "2027-01.jsonl".into(), line: 3, what: "torn by a crash while it was written".into() }]);
        assert_eq!((report.records, report.problems), (4, vec![]));
        // The very first one, too.
        let (_dir, log) = self::log();
        files::create_dir(&log.dir, 0o700).unwrap();
        std::fs::write(file(&log), "{\"seq\":1,\"at\":18").unwrap();
        log.append(NOW, &record("first"), false).unwrap();
        assert_eq!((log.verify().unwrap().records, log.verify().unwrap().torn.len()), (1, 1));
    }

    #[test]
    fn a_clock_before_the_newest_record_is_named() {
        let (_dir, log) = log();
        log.append(NOW, &record("a"), false).unwrap();
        log.append(NOW - TOLERANCE, &record("b"), false).unwrap();
        log.append(NOW + 5, &record("c"), false).unwrap();
        let error = log.append(NOW - 3600, &record("d"), false).unwrap_err();
        assert!(error.message().contains("is before the newest audit record (2027-01-15T08:00:05Z)"), "{error}");
        let rebase = Record { action: "audit.accept-clock", ..record("x") };
        log.append_accepting_clock(NOW - 3600, &rebase).unwrap();
        log.append(NOW - 3599, &record("e"), false).unwrap();
        assert_eq!(log.verify().unwrap().problems, []);
    }

    #[test]
    fn concurrent_appends_are_all_there() {
        let (_dir, log) = log();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let log = &log;
                scope.spawn(move || (0..50).for_each(|i| log.append(NOW, &record(&format!("u{n}-{i}")), false).unwrap()));
            }
        });
        let report = log.verify().unwrap();
        assert_eq!((report.records, report.problems), (400, vec![]));
    }

    #[test]
    fn a_record_cannot_command_a_terminal_or_break_a_line() {
        let (_dir, log) = log();
        log.append(NOW, &record("a\n\u{1b}[2J\u{9b}\u{2028}\u{202e}\u{7f}b"), false).unwrap();
        let text = std::fs::read_to_string(file(&log)).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.trim_end().contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{202e}'));
        assert_eq!(log.read(&Filter::default()).unwrap()[0]["subject"], "a\n\u{1b}[2J\u{9b}\u{2028}\u{202e}\u{7f}b");
        assert_eq!(log.verify().unwrap().problems, []);
    }
}
