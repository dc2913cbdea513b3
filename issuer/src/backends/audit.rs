//! The audit log: `audit/YYYY-MM.jsonl`, appended to and never changed, each record bound to the one before.
//!
//! `prev` is the SHA-256 of the line before, without its newline, as it lies on the disk; 64 zeros begin the log.
//! A crash can leave the last line *torn*, that is without an end. It stays: the next record begins a new line and
//! its `prev` covers the last record and the torn lines after it, joined by newlines. So an edit, a deletion, an
//! insertion or a swap anywhere before the last record breaks the chain. That the last records were cut off can
//! only be seen against a note of [`Newest`] kept elsewhere.
//!
//! Everybody who appends holds `flock` on the directory, since the month's file may be about to change.

use std::cmp::max;
use std::fs::{File, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::backends::files;
use crate::error::{self, Error, Result};

/// The audit log of a realm.
#[derive(Clone, Debug)]
pub struct AuditLog {
    dir: PathBuf,
}

/// What happened. Never holds a secret or a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Such as `mint` or `key.add`.
    pub action: &'static str,
    /// The user that it is about.
    pub subject: Option<String>,
    /// `SHA256:…` of the key that was proven, added or removed.
    pub fingerprint: Option<String>,
    /// The way it came in.
    pub door: Door,
    /// Where from.
    pub address: Option<String>,
    /// What was asked for.
    pub asked: Value,
    /// What was given.
    pub given: Value,
    /// Such as `ok` or a [`crate::error::Kind`]'s word.
    pub outcome: &'static str,
    /// The token's `jti`, or the id that a client was told with an error.
    pub id: Option<String>,
}

impl Record {
    /// Something that happened to the realm as a whole, by the command line.
    #[must_use]
    pub fn of_the_realm(action: &'static str, given: Value) -> Self {
        Self {
            action,
            subject: None,
            fingerprint: None,
            door: Door::Cli,
            address: None,
            asked: Value::Null,
            given,
            outcome: "ok",
            id: None,
        }
    }
}

/// A way in to the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The command line.
    Cli,
    /// OpenSSH's forced command.
    SshForced,
    /// The issuer's own ssh server.
    SshOwn,
    /// HTTP.
    Http,
}

/// The newest record; a later `newest` with a smaller number shows that the log was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its number, from 1.
    pub seq: u64,
    /// Unix seconds.
    pub at: u64,
}

/// A file of the log, as long as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it lies.
    pub path: PathBuf,
    /// Such as `2026-11.jsonl`.
    pub name: String,
    /// In bytes; it may be longer by now.
    pub length: u64,
}

/// What [`AuditLog::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// How many records there are.
    pub records: u64,
    /// How many files.
    pub files: usize,
    /// The newest record.
    pub newest: Option<Newest>,
    /// Lines that a crash tore and that the chain covers. They are no sign of tampering.
    pub torn: Vec<Problem>,
    /// Where the chain does not hold. Empty: it does.
    pub problems: Vec<Problem>,
}

/// A line and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name, such as `2026-11.jsonl`.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// In words.
    pub what: String,
}

/// Which records to read. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this action.
    pub action: Option<String>,
    /// Only about this user.
    pub subject: Option<String>,
    /// Only from then on, in Unix seconds.
    pub since: Option<u64>,
    /// Only the newest so many.
    pub limit: Option<usize>,
}

/// How far a record may lie before the one before it, in seconds: two processes read the clock and then wait for
/// each other, and a clock is set back a little now and then.
const TOLERANCE: u64 = 60;

/// How long to wait for the lock. After that nothing is recorded, and so nothing is minted.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The longest line. A command of 8 KiB that needs an escape for every byte stays below it.
const MOST_LINE_BYTES: usize = 256 * 1024;

/// What stands for the hash of the line before the first.
const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl AuditLog {
    /// The log in the directory `dir`, which `append` makes where it is missing.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Appends a record, in one write. With `sync` it is on the disk when this returns.
    ///
    /// Fails, with the log as it was: if the lock is held for 2 s, if the disk is full, and if `now` is more than a
    /// minute before the newest record, for a log in which time runs backwards proves nothing.
    pub fn append(&self, now: u64, record: &Record, sync: bool) -> Result<()> {
        self.append_all(now, std::slice::from_ref(record), sync)
    }

    /// As `append`, for many records in one write: all of them are in the log, or none.
    pub fn append_all(&self, now: u64, records: &[Record], sync: bool) -> Result<()> {
        self.write(now, records, sync, false)
    }

    /// As `append`, with the clock taken as right, however old it makes this record; it is marked
    /// `"clock":"accepted"` and `verify` lets it pass. For the operator only.
    pub fn append_accepting_clock(&self, now: u64, record: &Record, sync: bool) -> Result<()> {
        self.write(now, std::slice::from_ref(record), sync, true)
    }

    /// The newest record, if there is any.
    pub fn newest(&self) -> Result<Option<Newest>> {
        let Some(log) = self.open()? else { return Ok(None) };
        let _lock = log.lock()?;
        Ok(log.tail(&log.months()?)?.newest)
    }

    /// Opens the newest file as [`AuditLog::append`] would, and changes nothing. An attribute or a mount may forbid it
    /// whatever the modes say.
    pub fn check_writable(&self) -> Result<()> {
        let Some(log) = self.open()? else { return Ok(()) };
        let Some(name) = log.months()?.pop() else { return Ok(()) };
        log.open_month(&name, OFlags::RDWR | OFlags::APPEND).map(drop)
    }

    /// Walks the whole log and names every line at which the chain, the numbers or the time do not hold.
    pub fn verify(&self) -> Result<Report> {
        let mut walk = Walk::default();
        for month in self.snapshot()? {
            walk.report.files = walk.report.files.saturating_add(1);
            month.each_line(|line, bytes| walk.line(&month.name, line, bytes))?;
        }
        Ok(walk.end())
    }

    /// The records that match, the newest last.
    pub fn read(&self, filter: &Filter) -> Result<Vec<Value>> {
        // A file holds no record of a later month than its name's, so older files can't have what is asked for.
        let since = filter.since.map(|s| Ok::<_, Error>(month_file(&rfc3339(s)?))).transpose()?;
        let limit = filter.limit.unwrap_or(usize::MAX);
        let mut found: Vec<Value> = Vec::new();
        for month in self.snapshot()?.into_iter().rev() {
            if found.len() >= limit || since.as_ref().is_some_and(|s| month.name < *s) {
                break;
            }
            let mut older = Vec::new();
            month.each_line(|_, bytes| {
                // What isn't a record is for `verify` to name.
                if let Ok(record) = serde_json::from_slice::<Value>(bytes)
                    && filter.matches(&record)
                {
                    older.push(record);
                }
            })?;
            older.append(&mut found);
            found = older;
        }
        Ok(found.split_off(found.len().saturating_sub(limit)))
    }

    /// The files as they are now, up to the end of a record, for a backup.
    pub fn segments(&self) -> Result<Vec<Segment>> {
        let months = self.snapshot()?;
        Ok(months.into_iter().map(|m| Segment { path: m.path, name: m.name, length: m.length }).collect())
    }

    fn write(&self, now: u64, records: &[Record], sync: bool, accept_clock: bool) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let log = match self.open()? {
            Some(log) => log,
            None => {
                files::create_dir(&self.dir, files::PRIVATE_DIR)?;
                self.open()?.ok_or_else(|| error::io("open", &self.dir, &io::ErrorKind::NotFound.into()))?
            }
        };
        let _lock = log.lock()?;
        let months = log.months()?;
        let tail = log.tail(&months)?;
        let time = rfc3339(now)?;
        if !accept_clock
            && let Some(newest) = &tail.newest
            && now.saturating_add(TOLERANCE) < newest.at
        {
            return Err(Error::internal(format!(
                "the clock ({time}) is before the newest audit record ({})",
                rfc3339(newest.at)?
            ))
            .hint("set the clock, or `seamless audit accept-clock REALM` when that record itself is wrong"));
        }
        let Tail { newest, mut prev } = tail;
        let mut seq = newest.map_or(0, |newest| newest.seq);
        let mut lines = Vec::new();
        for record in records {
            seq = seq.saturating_add(1);
            let line = Line {
                seq,
                at: now,
                time: &time,
                action: record.action,
                subject: record.subject.as_deref(),
                fingerprint: record.fingerprint.as_deref(),
                door: record.door.as_str(),
                address: record.address.as_deref(),
                asked: &record.asked,
                given: &record.given,
                outcome: record.outcome,
                id: record.id.as_deref(),
                clock: accept_clock.then_some("accepted"),
                prev: &prev,
            }
            .encode()?;
            prev = hash(&line);
            lines.extend_from_slice(&line);
            lines.push(b'\n');
        }
        // Never a file before the newest one, or the order of the files would not be the order of the records.
        let month = month_file(&time);
        let name = months.into_iter().next_back().map_or(month.clone(), |newest| max(newest, month));
        log.append(&name, lines, sync)
    }

    /// The directory, opened; none where there is none.
    fn open(&self) -> Result<Option<OpenLog<'_>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&self.dir, flags, Mode::empty()) {
            Ok(fd) => {
                let dir = File::from(fd);
                let metadata = dir.metadata().map_err(|e| error::io("open", &self.dir, &e))?;
                files::check_ours(&self.dir, &metadata, files::PRIVATE_DIR)?;
                Ok(Some(OpenLog { path: &self.dir, dir }))
            }
            Err(Errno::NOENT) => Ok(None),
            // Linux says ENOTDIR of a link that it shall not follow.
            Err(Errno::NOTDIR | Errno::LOOP) if self.dir.is_symlink() => Err(files::is_a_link(&self.dir)),
            Err(e) => Err(error::io("open", &self.dir, &e.into())),
        }
    }

    /// The files as they are now, with their lengths: what is appended meanwhile is not read, so no half line is.
    fn snapshot(&self) -> Result<Vec<Month>> {
        let Some(log) = self.open()? else { return Ok(Vec::new()) };
        let _lock = log.lock()?;
        log.months()?
            .into_iter()
            .map(|name| {
                let (_, length) = log.open_month(&name, OFlags::RDONLY)?;
                Ok(Month { path: log.path.join(&name), name, length })
            })
            .collect()
    }
}

/// The directory of a log.
struct OpenLog<'a> {
    path: &'a Path,
    dir: File,
}

/// Where the log ends.
struct Tail {
    newest: Option<Newest>,
    /// The next record's `prev`.
    prev: String,
}

/// Lets go of the lock when dropped.
struct Lock<'a>(&'a File);

impl OpenLog<'_> {
    fn lock(&self) -> Result<Lock<'_>> {
        let deadline = Instant::now() + LOCK_WAIT;
        let mut pause = Duration::from_micros(100);
        loop {
            match rustix::fs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(&self.dir)),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(5));
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::internal(format!(
                        "the audit log {} is busy: another process has locked it for {} s",
                        self.path.display(),
                        LOCK_WAIT.as_secs()
                    ))
                    .hint("repeat it; nothing was recorded or done"));
                }
                Err(e) => return Err(error::io("lock", self.path, &e.into())),
            }
        }
    }

    /// The names of the log's files, the oldest first.
    fn months(&self) -> Result<Vec<String>> {
        let failed = |e: Errno| error::io("read", self.path, &e.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && is_month_file(name)
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open_month(&self, name: &str, flags: OFlags) -> Result<(File, u64)> {
        let path = self.path.join(name);
        // NONBLOCK: a FIFO in the file's place must not hang a log-in.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => File::from(fd),
            Err(Errno::LOOP) => return Err(files::is_a_link(&path)),
            Err(e) => return Err(error::io("open", &path, &e.into())),
        };
        let metadata = file.metadata().map_err(|e| error::io("open", &path, &e))?;
        if !metadata.is_file() {
            return Err(Error::internal(format!("{} is not a regular file", path.display())));
        }
        files::check_ours(&path, &metadata, files::PRIVATE_FILE)?;
        Ok((file, metadata.len()))
    }

    /// Reads back from the end to the newest record, mostly one block of one file.
    fn tail(&self, months: &[String]) -> Result<Tail> {
        let mut spans: Vec<Vec<u8>> = Vec::new();
        let mut newest = None;
        for name in months.iter().rev() {
            let (file, length) = self.open_month(name, OFlags::RDONLY)?;
            let (head, span) =
                last_record(&file, length).map_err(|e| error::io("read", &self.path.join(name), &e))?;
            spans.extend(span);
            if let Some(head) = head {
                newest = Some(Newest { seq: head.seq, at: head.at });
                break;
            }
        }
        spans.reverse();
        let prev = if spans.is_empty() { NOTHING_BEFORE.to_owned() } else { hash(&spans.join(&b'\n')) };
        Ok(Tail { newest, prev })
    }

    fn append(&self, name: &str, mut line: Vec<u8>, sync: bool) -> Result<()> {
        let path = self.path.join(name);
        let failed = |e: io::Error| error::io("write", &path, &e);
        let (file, length) = self.open_month(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)?;
        if length == 0 {
            // The umask has taken its share of the mode.
            file.set_permissions(Permissions::from_mode(files::PRIVATE_FILE)).map_err(failed)?;
        } else if !ends_line(&file, length).map_err(failed)? {
            line.insert(0, b'\n');
        }
        let done = write_once(&file, &line).and_then(|()| {
            if sync {
                file.sync_data()?;
            }
            // A synced record in a file whose name is not on the disk would be lost with it.
            if length == 0 { self.dir.sync_all() } else { Ok(()) }
        });
        done.or_else(|e| {
            // Nothing half-written, and no record of what is now not going to happen. The lock is still ours.
            file.set_len(length).map_err(failed)?;
            Err(failed(e))
        })
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Closing the directory would do, but a forked child could keep it open.
        let _ = rustix::fs::flock(self.0, FlockOperation::Unlock);
    }
}

/// A file of the log up to some length.
struct Month {
    path: PathBuf,
    name: String,
    length: u64,
}

impl Month {
    fn each_line(&self, mut each: impl FnMut(u64, &[u8])) -> Result<()> {
        let failed = |e: io::Error| error::io("read", &self.path, &e);
        let file = File::open(&self.path).map_err(failed)?;
        let mut reader = BufReader::with_capacity(64 * 1024, file.take(self.length));
        let mut bytes = Vec::new();
        let mut line: u64 = 0;
        while reader.read_until(b'\n', &mut bytes).map_err(failed)? > 0 {
            line = line.saturating_add(1);
            each(line, bytes.strip_suffix(b"\n").unwrap_or(&bytes));
            bytes.clear();
        }
        Ok(())
    }
}

/// The state of a verification between two lines.
#[derive(Default)]
struct Walk {
    report: Report,
    /// Over the last record and the lines after it; none before the first line.
    chain: Option<Sha256>,
    /// Lines since the last record that are none: torn, if the next record covers them.
    pending: Vec<Problem>,
}

impl Walk {
    fn line(&mut self, file: &str, line: u64, bytes: &[u8]) {
        let Some(head) = Head::parse(bytes) else {
            match &mut self.chain {
                Some(chain) => {
                    chain.update(b"\n");
                    chain.update(bytes);
                }
                None => self.chain = Some(Sha256::new_with_prefix(bytes)),
            }
            self.pending.push(Problem { file: file.to_owned(), line, what: "is not a record".to_owned() });
            return;
        };
        let before = self.chain.replace(Sha256::new_with_prefix(bytes));
        let before = before.map_or_else(|| NOTHING_BEFORE.to_owned(), |chain| hex(&chain.finalize()));
        let chained = head.prev == before;
        if chained {
            self.pending_is_torn();
        } else {
            self.report.problems.append(&mut self.pending);
        }

        let mut problem = |what: String| {
            self.report.problems.push(Problem { file: file.to_owned(), line, what });
        };
        let last = self.report.newest.as_ref();
        let expected = last.map_or(0, |newest| newest.seq).saturating_add(1);
        if head.seq != expected {
            problem(match last {
                Some(newest) => format!("is record {} and follows record {}", head.seq, newest.seq),
                None => format!("is record {} and begins the log: older ones are missing", head.seq),
            });
        }
        if !chained {
            problem("does not match what comes before it: that was edited, removed or moved".to_owned());
        }
        if let Some(newest) = last
            && head.clock.is_none()
            && head.at.saturating_add(TOLERANCE) < newest.at
        {
            problem(format!("is of {} s before the record before it", newest.at.saturating_sub(head.at)));
        }
        self.report.records = self.report.records.saturating_add(1);
        self.report.newest = Some(Newest { seq: head.seq, at: head.at });
    }

    fn end(mut self) -> Report {
        // After the last record, the next one will cover them.
        self.pending_is_torn();
        self.report
    }

    fn pending_is_torn(&mut self) {
        self.report.torn.extend(self.pending.drain(..).map(|problem| Problem {
            what: "is torn: the process or the machine stopped while writing it".to_owned(),
            ..problem
        }));
    }
}

impl Filter {
    fn matches(&self, record: &Value) -> bool {
        let is = |field: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|w| record.get(field).and_then(Value::as_str) == Some(w))
        };
        let at = record.get("at").and_then(Value::as_u64);
        is("action", &self.action)
            && is("subject", &self.subject)
            && self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
    }
}

impl Door {
    /// The word in the log.
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

/// A line as it is written.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    at: u64,
    time: &'a str,
    action: &'a str,
    subject: Option<&'a str>,
    fingerprint: Option<&'a str>,
    door: &'a str,
    address: Option<&'a str>,
    asked: &'a Value,
    given: &'a Value,
    outcome: &'a str,
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'a str>,
    prev: &'a str,
}

impl Line<'_> {
    fn encode(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_string(self)
            .map_err(|e| Error::internal(format!("can't write an audit record: {e}")))?;
        let line = escape(&json).into_bytes();
        if line.len() >= MOST_LINE_BYTES {
            return Err(Error::internal(format!("an audit record of {} bytes is too long", line.len())));
        }
        Ok(line)
    }
}

/// What the chain needs of a line. A line without it is no record.
#[derive(Deserialize)]
struct Head {
    seq: u64,
    at: u64,
    prev: String,
    clock: Option<String>,
}

impl Head {
    fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// The newest record of a file, and the bytes from its beginning to the end without the last newline; where there is
/// no record, all bytes; none of an empty file.
fn last_record(file: &File, length: u64) -> io::Result<(Option<Head>, Option<Vec<u8>>)> {
    let mut block = 4096;
    loop {
        let start = length.saturating_sub(block);
        let size = usize::try_from(length.saturating_sub(start)).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, start)?;
        let lines: &[u8] = match bytes.iter().position(|&b| b == b'\n') {
            _ if start == 0 => &bytes,
            // The block begins within a line; that one is left to a larger block.
            Some(end) => bytes.get(end.saturating_add(1)..).unwrap_or_default(),
            None => &[],
        };
        if !lines.is_empty() {
            let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
            let mut begin = lines.len();
            for line in lines.rsplit(|&b| b == b'\n') {
                begin = begin.saturating_sub(line.len());
                if let Some(head) = Head::parse(line) {
                    return Ok((Some(head), lines.get(begin..).map(<[u8]>::to_vec)));
                }
                begin = begin.saturating_sub(1); // its newline
            }
            if start == 0 {
                return Ok((None, Some(lines.to_vec())));
            }
        }
        if start == 0 {
            return Ok((None, None));
        }
        block = block.saturating_mul(8);
    }
}

fn ends_line(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, length.saturating_sub(1))?;
    Ok(last == *b"\n")
}

/// One `write`: other processes, and `tail -f`, see the whole lines or nothing of them.
fn write_once(file: &File, line: &[u8]) -> io::Result<()> {
    loop {
        match rustix::io::write(file, line) {
            Ok(written) if written == line.len() => return Ok(()),
            // A regular file takes less than it is given when the disk is full or a limit is reached.
            Ok(_) => return Err(io::ErrorKind::StorageFull.into()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Escapes what serde_json leaves as it is and a terminal or an editor does not: DEL, the C1 controls, the line
/// separators and the marks that turn the direction of text. All of them can only stand inside strings.
fn escape(json: &str) -> String {
    let special = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if special(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn rfc3339(at: u64) -> Result<String> {
    i64::try_from(at)
        .ok()
        .and_then(|at| jiff::Timestamp::from_second(at).ok())
        .map(|time| time.to_string())
        .ok_or_else(|| {
            Error::internal(format!("the clock is beyond all years: {at} s")).hint("set the clock")
        })
}

/// `YYYY-MM.jsonl` of a time of RFC 3339.
fn month_file(time: &str) -> String {
    format!("{}.jsonl", time.get(..7).unwrap_or(time))
}

/// Whether a file of the log may have this name.
#[must_use]
pub fn is_month_file(name: &str) -> bool {
    matches!(
        name.as_bytes(),
        [y1, y2, y3, y4, b'-', m1, m2, b'.', b'j', b's', b'o', b'n', b'l']
            if [y1, y2, y3, y4, m1, m2].iter().all(|b| b.is_ascii_digit())
    )
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    /// 2026-11-23T09:00:00Z.
    const NOW: u64 = 1_795_424_400;
    const MONTH: &str = "2026-11.jsonl";

    fn new_log() -> (tempfile::TempDir, AuditLog) {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::at(&dir.path().join("audit"));
        (dir, log)
    }

    fn record(subject: &str) -> Record {
        Record {
            action: "mint",
            subject: Some(subject.to_owned()),
            fingerprint: Some("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".to_owned()),
            door: Door::SshForced,
            address: Some("192.0.2.1".to_owned()),
            asked: json!({"ttl": 300}),
            given: json!({"audiences": ["https://api.example"], "expires_in": 300}),
            outcome: "ok",
            id: None,
        }
    }

    fn filled(subjects: &[&str]) -> (tempfile::TempDir, AuditLog) {
        let (dir, log) = new_log();
        for subject in subjects {
            log.append(NOW, &record(subject), false).unwrap();
        }
        (dir, log)
    }

    fn text(log: &AuditLog) -> String {
        fs::read_to_string(log.dir.join(MONTH)).unwrap()
    }

    fn rewrite(log: &AuditLog, lines: &[&str]) {
        fs::write(log.dir.join(MONTH), lines.join("\n") + "\n").unwrap();
    }

    fn add_bytes(log: &AuditLog, bytes: &[u8]) {
        OpenOptions::new().append(true).open(log.dir.join(MONTH)).unwrap().write_all(bytes).unwrap();
    }

    /// A log with nothing wrong.
    fn sound(log: &AuditLog) -> Report {
        let report = log.verify().unwrap();
        assert_eq!(report.problems, []);
        report
    }

    fn subjects(records: &[Value]) -> Vec<&str> {
        records.iter().map(|r| r["subject"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_record_is_one_line_of_a_fixed_shape() {
        let (_dir, log) = new_log();
        log.append(NOW, &Record { id: Some("01J".to_owned()), ..record("ada") }, false).unwrap();
        assert_eq!(
            text(&log),
            concat!(
                r#"{"seq":1,"at":1795424400,"time":"2026-11-23T09:00:00Z","action":"mint","subject":"ada","#,
                r#""fingerprint":"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU","door":"sshd","#,
                r#""address":"192.0.2.1","asked":{"ttl":300},"#,
                r#""given":{"audiences":["https://api.example"],"expires_in":300},"outcome":"ok","id":"01J","#,
                r#""prev":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
                "\n"
            )
        );
        log.append(NOW + 1, &record("bob"), true).unwrap();
        let written = text(&log);
        let lines: Vec<_> = written.lines().collect();
        assert!(lines[1].ends_with(&format!(r#""id":null,"prev":"{}"}}"#, hash(lines[0].as_bytes()))));
        let report = sound(&log);
        assert_eq!((report.records, report.files), (2, 1));
        assert_eq!(report.newest, Some(Newest { seq: 2, at: NOW + 1 }));
        assert_eq!(log.newest().unwrap(), report.newest);
    }

    #[test]
    fn what_is_missing_is_made_private_and_an_empty_log_is_sound() {
        let (_dir, log) = new_log();
        assert_eq!(sound(&log), Report::default());
        assert_eq!(log.newest().unwrap(), None);
        assert_eq!(log.read(&Filter::default()).unwrap(), Vec::<Value>::new());
        assert!(!log.dir.exists());

        log.append(NOW, &record("ada"), false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&log.dir), 0o700);
        assert_eq!(mode(&log.dir.join(MONTH)), 0o600);
    }

    #[test]
    fn nothing_is_recorded_through_links_or_where_others_reach() {
        let (dir, log) = filled(&["ada"]);
        let path = log.dir.join(MONTH);

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = log.append(NOW, &record("bob"), false).unwrap_err();
        assert_eq!(error.hint_text(), Some(&*format!("chmod 0600 {}", path.display())));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();

        fs::set_permissions(&log.dir, Permissions::from_mode(0o755)).unwrap();
        let error = log.append(NOW, &record("bob"), false).unwrap_err();
        assert_eq!(error.hint_text(), Some(&*format!("chmod 0700 {}", log.dir.display())));
        fs::set_permissions(&log.dir, Permissions::from_mode(0o700)).unwrap();

        let elsewhere = dir.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let error = log.append(NOW, &record("bob"), false).unwrap_err();
        assert_eq!(error.message(), format!("{} is a symbolic link", path.display()));

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&log.dir, &link).unwrap();
        let error = AuditLog::at(&link).append(NOW, &record("bob"), false).unwrap_err();
        assert_eq!(error.message(), format!("{} is a symbolic link", link.display()));
        assert_eq!(fs::read_to_string(elsewhere).unwrap().lines().count(), 1);
    }

    #[test]
    fn nothing_can_end_a_line_or_reach_a_terminal() {
        let (_dir, log) = new_log();
        let nasty = "a\n\r\t\0\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\"\\ é 🔑";
        log.append(NOW, &Record { asked: json!({ nasty: nasty }), ..record(nasty) }, false).unwrap();
        let written = text(&log);
        assert_eq!(written.lines().count(), 1);
        assert!(written.trim_end().chars().all(|c| !c.is_control() && (c.is_ascii() || "é🔑".contains(c))));
        assert!(written.contains(r"\u007f\u0085\u009b\u2028\u2029\u202e\u2066\ufeff"));
        let read = log.read(&Filter::default()).unwrap();
        assert_eq!(read[0]["subject"], nasty);
        assert_eq!(read[0]["asked"][nasty], nasty);
        assert_eq!(sound(&log).records, 1);
    }

    #[test]
    fn a_record_that_is_too_long_is_refused() {
        let (_dir, log) = filled(&["ada"]);
        let worst = "\u{1}".repeat(8 * 1024);
        log.append(NOW, &Record { asked: json!(worst), given: json!(worst), ..record("ada") }, false)
            .unwrap();
        let long = "a".repeat(MOST_LINE_BYTES);
        log.append(NOW, &Record { asked: json!(long), ..record("ada") }, false).unwrap_err();
        log.append(NOW, &record("ada"), false).unwrap();
        assert_eq!(sound(&log).records, 3);
    }

    #[test]
    fn every_kind_of_tampering_is_seen() {
        let (_dir, log) = filled(&["ada", "bob", "eve", "joe"]);
        let written = text(&log);
        let lines: Vec<&str> = written.lines().collect();
        let edited = [0, 1].map(|n| lines[n].replacen("300", "900", 1));
        let forged = lines[3].replace("joe", "mallory").replace(r#""seq":4"#, r#""seq":5"#);
        let cases: [(&str, Vec<&str>, &[u64]); 9] = [
            ("edited", vec![lines[0], &edited[1], lines[2], lines[3]], &[3]),
            ("first edited", vec![&edited[0], lines[1], lines[2], lines[3]], &[2]),
            ("deleted", vec![lines[0], lines[2], lines[3]], &[2, 2]),
            ("first deleted", vec![lines[1], lines[2], lines[3]], &[1, 1]),
            ("inserted", vec![lines[0], lines[1], lines[1], lines[2], lines[3]], &[3, 3]),
            ("swapped", vec![lines[0], lines[2], lines[1], lines[3]], &[2, 2, 3, 3, 4, 4]),
            ("blanked", vec![lines[0], "", lines[2], lines[3]], &[2, 3, 3]),
            ("made no record", vec![lines[0], "{}", lines[2], lines[3]], &[2, 3, 3]),
            ("added", vec![lines[0], lines[1], lines[2], lines[3], &forged], &[5]),
        ];
        for (what, tampered, expected) in cases {
            rewrite(&log, &tampered);
            let report = log.verify().unwrap();
            let found: Vec<u64> = report.problems.iter().map(|p| p.line).collect();
            assert_eq!(found, expected, "{what}: {:?}", report.problems);
            assert!(report.problems.iter().all(|p| p.file == MONTH));
            assert_eq!(report.torn, [], "{what}");
        }
        rewrite(&log, &lines);
        assert_eq!(sound(&log).records, 4);
    }

    #[test]
    fn the_chain_runs_across_months() {
        let (_dir, log) = filled(&["ada"]);
        let december = NOW + 8 * 86_400;
        let next_year = NOW + 40 * 86_400;
        log.append(december, &record("bob"), false).unwrap();
        // A process that read the clock before midnight and came second.
        log.append(december - 30, &record("eve"), false).unwrap();
        log.append(next_year, &record("joe"), true).unwrap();
        let names: Vec<_> = log.open().unwrap().unwrap().months().unwrap();
        assert_eq!(names, [MONTH, "2026-12.jsonl", "2027-01.jsonl"]);
        let report = sound(&log);
        assert_eq!((report.records, report.files), (4, 3));
        assert_eq!(subjects(&log.read(&Filter::default()).unwrap()), ["ada", "bob", "eve", "joe"]);

        fs::remove_file(log.dir.join("2026-12.jsonl")).unwrap();
        let problems = log.verify().unwrap().problems;
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!((&*problems[0].file, problems[0].line), ("2027-01.jsonl", 1));
        fs::remove_file(log.dir.join(MONTH)).unwrap();
        assert!(log.verify().unwrap().problems[0].what.contains("older ones are missing"));
    }

    #[test]
    fn a_torn_line_stays_and_is_named() {
        for torn in [&b"{\"seq\":3,\"at\":17954"[..], &[0; 9000], b"x"] {
            let (_dir, log) = filled(&["ada", "bob"]);
            add_bytes(&log, torn);
            let report = sound(&log);
            assert_eq!((report.records, report.torn.len()), (2, 1), "before the next record");
            assert_eq!(log.newest().unwrap(), Some(Newest { seq: 2, at: NOW }));

            log.append(NOW, &record("eve"), false).unwrap();
            log.append(NOW, &record("joe"), false).unwrap();
            let report = sound(&log);
            assert_eq!(report.records, 4);
            assert_eq!(report.torn.len(), 1);
            assert_eq!((&*report.torn[0].file, report.torn[0].line), (MONTH, 3));
            assert!(report.torn[0].what.contains("torn"));
            assert_eq!(subjects(&log.read(&Filter::default()).unwrap()), ["ada", "bob", "eve", "joe"]);

            // What lies before and inside a torn line is still covered.
            let bytes = fs::read(log.dir.join(MONTH)).unwrap();
            for (from, to) in [(&b"bob"[..], &b"bab"[..]), (&torn[..1], b"y")] {
                let second = bytes.iter().position(|&b| b == b'\n').unwrap();
                let third = second + 1 + bytes[second + 1..].iter().position(|&b| b == b'\n').unwrap();
                let begin = if from == b"bob" { second } else { third };
                let at = begin + bytes[begin..].windows(from.len()).position(|w| w == from).unwrap();
                let mut edited = bytes.clone();
                edited[at..at + to.len()].copy_from_slice(to);
                fs::write(log.dir.join(MONTH), edited).unwrap();
                assert!(!log.verify().unwrap().problems.is_empty(), "{from:?}");
            }
        }
    }

    #[test]
    fn torn_lines_may_be_first_follow_each_other_and_end_a_month() {
        let (_dir, log) = filled(&["ada"]);
        fs::write(log.dir.join(MONTH), "torn").unwrap();
        log.append(NOW, &record("bob"), false).unwrap();
        add_bytes(&log, b"torn\n\ntorn again");
        log.append(NOW + 30 * 86_400, &record("eve"), false).unwrap();
        log.append(NOW + 30 * 86_400, &record("joe"), false).unwrap();
        let report = sound(&log);
        assert_eq!((report.records, report.torn.len()), (3, 4));
        assert!(text(&log).ends_with("torn again"), "a month that is over is not written to");
    }

    #[test]
    fn a_record_that_lost_only_its_newline_is_one() {
        let (_dir, log) = filled(&["ada", "bob"]);
        let written = text(&log);
        fs::write(log.dir.join(MONTH), written.trim_end()).unwrap();
        assert_eq!(log.newest().unwrap(), Some(Newest { seq: 2, at: NOW }));
        log.append(NOW, &record("eve"), false).unwrap();
        let report = sound(&log);
        assert_eq!((report.records, report.torn.len()), (3, 0));
    }

    #[test]
    fn an_empty_file_is_passed_over() {
        let (_dir, log) = filled(&["ada"]);
        fs::write(log.dir.join("2026-12.jsonl"), "").unwrap();
        fs::set_permissions(log.dir.join("2026-12.jsonl"), Permissions::from_mode(0o600)).unwrap();
        log.append(NOW + 30 * 86_400, &record("bob"), false).unwrap();
        assert_eq!(sound(&log).records, 2);
    }

    #[test]
    fn time_may_run_back_a_minute_and_no_further() {
        let (_dir, log) = filled(&["ada"]);
        log.append(NOW - 60, &record("bob"), false).unwrap();
        log.append(NOW + 3600, &record("eve"), false).unwrap();
        let error = log.append(NOW + 3539, &record("joe"), false).unwrap_err();
        assert_eq!(
            error.message(),
            "the clock (2026-11-23T09:58:59Z) is before the newest audit record (2026-11-23T10:00:00Z)"
        );
        assert!(error.hint_text().unwrap().contains("accept-clock"));
        assert_eq!(sound(&log).records, 3);
    }

    #[test]
    fn an_operator_may_accept_the_clock_after_a_record_from_the_future() {
        let (_dir, log) = filled(&["ada"]);
        let future = NOW + 400 * 86_400;
        log.append(future, &record("bob"), false).unwrap();
        log.append(NOW, &record("eve"), false).unwrap_err();
        log.append_accepting_clock(NOW, &Record { action: "audit.accept-clock", ..record("root") }, true)
            .unwrap();
        log.append(NOW + 1, &record("eve"), false).unwrap();
        let report = sound(&log);
        assert_eq!(report.files, 2, "no file before the newest one is written to");
        assert_eq!(report.newest, Some(Newest { seq: 4, at: NOW + 1 }));

        // Without the mark the same time is a problem.
        let path = log.dir.join("2027-12.jsonl");
        let unmarked = fs::read_to_string(&path).unwrap().replace(r#""clock":"accepted","#, "");
        fs::write(&path, unmarked).unwrap();
        assert!(
            log.verify().unwrap().problems.iter().any(|p| p.what.contains("before the record before it"))
        );
    }

    #[test]
    fn a_held_lock_ends_in_an_error_after_two_seconds() {
        let (_dir, log) = filled(&["ada"]);
        let open = log.open().unwrap().unwrap();
        let held = open.lock().unwrap();
        let begin = Instant::now();
        let error = log.append(NOW, &record("bob"), false).unwrap_err();
        assert!(begin.elapsed() >= LOCK_WAIT);
        assert!(error.message().contains("is busy"), "{error}");
        drop(held);
        log.append(NOW, &record("bob"), false).unwrap();
        assert_eq!(sound(&log).records, 2);
    }

    #[test]
    fn many_writers_make_one_chain_and_readers_see_whole_lines() {
        let (_dir, log) = new_log();
        std::thread::scope(|scope| {
            for thread in 0..20 {
                let log = AuditLog::at(&log.dir);
                scope.spawn(move || {
                    for n in 0..25 {
                        log.append(NOW + n, &record(&format!("u{thread}")), false).unwrap();
                    }
                });
            }
            for _ in 0..20 {
                assert_eq!(sound(&log).torn, []);
            }
        });
        let report = sound(&log);
        assert_eq!((report.records, report.newest.unwrap().seq), (500, 500));
        assert_eq!(log.read(&Filter::default()).unwrap().len(), 500);
    }

    #[test]
    fn reading_filters_and_takes_the_newest() {
        let (_dir, log) = filled(&["ada", "bob"]);
        let later = NOW + 60 * 86_400;
        log.append(later, &Record { action: "key.add", ..record("ada") }, false).unwrap();
        log.append(later + 1, &record("ada"), false).unwrap();
        let read = |filter: Filter| {
            log.read(&filter).unwrap().iter().map(|r| r["seq"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        let ada = || Some("ada".to_owned());
        assert_eq!(read(Filter::default()), [1, 2, 3, 4]);
        assert_eq!(read(Filter { subject: ada(), ..Filter::default() }), [1, 3, 4]);
        assert_eq!(read(Filter { action: Some("mint".to_owned()), ..Filter::default() }), [1, 2, 4]);
        assert_eq!(read(Filter { since: Some(NOW + 1), ..Filter::default() }), [3, 4]);
        assert_eq!(read(Filter { since: Some(later + 1), ..Filter::default() }), [4]);
        assert_eq!(read(Filter { limit: Some(3), ..Filter::default() }), [2, 3, 4]);
        assert_eq!(read(Filter { limit: Some(0), ..Filter::default() }), Vec::<u64>::new());
        assert_eq!(read(Filter { limit: Some(2), subject: ada(), since: Some(1), action: None }), [3, 4]);
    }
}
