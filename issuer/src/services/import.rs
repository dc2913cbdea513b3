//! Many keys at once, from a CSV or an authorized_keys file: a stream in, a report out.
//!
//! Each line is judged by itself; what can't come in is named with its line and why. Keys are committed in batches,
//! each with an audit record for every key, so a crash leaves whole batches and the same import run again does the
//! rest: what is there already is unchanged.

mod authorized_keys;
mod csv;
mod when;

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{BufReader, Cursor, Read};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::backends::store::{Enrolled, Enrolment, KeyFate, Then, Unsaid};
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::progress::Progress;
use crate::public_key::PublicKey;
use crate::realm::Realm;
use crate::services::change::Deed;
use crate::services::keys::{self, Conditions};

pub use self::csv::COLUMNS;

/// Where the keys of an import came from, as the store and the audit log have it.
const SOURCE: &str = "import";

/// Keys in one transaction. More would keep mints waiting for the audit log, fewer would write each page of the
/// database more often.
const BATCH: usize = 20_000;

/// The most keys that go in together or not at all: they are one transaction, and are held until the last is read.
pub const MOST_AT_ONCE: usize = 100_000;

/// The most lines of one import. Of each key about 70 bytes are kept, to know it when it comes again.
pub const MOST_LINES: u64 = 2_000_000;

/// The longest line, with its newlines where a cell has some.
const MOST_LINE_BYTES: usize = 64 * 1024;

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a header of [`COLUMNS`].
    Csv,
    /// sshd(8), AUTHORIZED_KEYS FILE FORMAT.
    AuthorizedKeys,
}

/// Whose the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The column `user` says.
    Column,
    /// All of this one.
    All(UserName),
    /// The part of the key's comment before its first `@`.
    CommentBeforeAt,
    /// The key's whole comment.
    WholeComment,
}

/// What is asked of an import.
#[derive(Clone, Debug)]
pub struct Ask {
    /// None: by its content.
    pub format: Option<Format>,
    /// Whose the keys are.
    pub whose: Whose,
    /// Say what would happen, and change nothing.
    pub dry_run: bool,
    /// Change nothing if one line is refused.
    pub all_or_nothing: bool,
    /// The bytes to come, where that is known.
    pub size: Option<u64>,
}

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that hold something.
    pub lines: u64,
    /// Keys that are new.
    pub added: u64,
    /// Keys whose conditions, or whose user's lists, are other than before.
    pub changed: u64,
    /// Keys that were there as the line has them.
    pub unchanged: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Lines with options of sshd that mean nothing here and were left out.
    pub left_out: u64,
    /// Whether nothing was done after all: a dry run, or all or nothing.
    pub undone: bool,
}

/// A line that did not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// From 1, as an editor counts.
    pub line: u64,
    /// Whose key it would have been, if that could be read.
    pub user: Option<UserName>,
    /// `SHA256:…`, if the key could be read.
    pub fingerprint: Option<String>,
    /// Why. Never has what the line holds but for names.
    pub why: String,
}

/// A line that could be read.
struct Entry {
    line: u64,
    user: UserName,
    key: PublicKey,
    conditions: Conditions,
    /// What the line says nothing of: an import never lifts such a condition.
    unsaid: Unsaid,
    groups: Vec<String>,
    scopes: Vec<String>,
    left_out: bool,
}

/// What reads the lines of a format.
trait Lines {
    /// The next line that holds something; none at the end.
    fn next(&mut self) -> Result<Option<Result<Entry, Refusal>>>;
}

/// Imports. `refuse` is told of each refused line, in their order within a batch.
pub fn import(
    realm: &Realm,
    input: &mut dyn Read,
    ask: &Ask,
    refuse: &mut dyn FnMut(&Refusal) -> Result<()>,
    progress: &dyn Progress,
) -> Result<Summary> {
    let bytes = Cell::new(0);
    let mut input = Hashed { input, hash: Sha256::new(), bytes: &bytes };
    let mut head = Vec::new();
    let most = u64::try_from(MOST_LINE_BYTES).unwrap_or(u64::MAX);
    (&mut input).take(most).read_to_end(&mut head).map_err(|e| unreadable(&e))?;
    let format = format_of(&head, ask.format)?;
    let mut work = Work::new(realm, ask, refuse);
    {
        let rest = BufReader::with_capacity(256 * 1024, &mut input);
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
        let mut lines: Box<dyn Lines + '_> = match format {
            Format::Csv => Box::new(csv::Csv::open(Cursor::new(head).chain(rest), &ask.whose)?),
            Format::AuthorizedKeys => {
                Box::new(authorized_keys::AuthorizedKeys::open(Cursor::new(head).chain(rest), &ask.whose)?)
            }
        };
        while let Some(line) = lines.next().map_err(|e| work.so_far(e))? {
            work.take(line)?;
            progress.at(work.summary.lines, expected(work.summary.lines, bytes.get(), ask.size));
        }
    }
    work.flush()?;
    let summary = work.summary;
    if !summary.undone {
        let sha256: String = input.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let given = json!({"bytes": bytes.get(), "sha256": sha256, "added": summary.added,
                           "changed": summary.changed, "unchanged": summary.unchanged,
                           "refused": summary.refused});
        let deed = Deed { action: "key.import", user: None, fingerprint: None, given };
        realm.audit.append(realm.now(), &deed.record(), true)?;
    }
    Ok(summary)
}

/// Between reading and committing.
struct Work<'a> {
    realm: &'a Realm,
    ask: &'a Ask,
    refuse: &'a mut dyn FnMut(&Refusal) -> Result<()>,
    now: u64,
    summary: Summary,
    seen: HashMap<[u8; 16], Seen>,
    waiting: Vec<(u64, Enrolment)>,
    refused: Vec<Refusal>,
}

/// A key of an earlier line.
struct Seen {
    line: u64,
    /// Of all else that its line says.
    rest: [u8; 8],
}

impl<'a> Work<'a> {
    fn new(realm: &'a Realm, ask: &'a Ask, refuse: &'a mut dyn FnMut(&Refusal) -> Result<()>) -> Self {
        Self {
            realm,
            ask,
            refuse,
            now: realm.now(),
            summary: Summary::default(),
            seen: HashMap::new(),
            waiting: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn take(&mut self, line: Result<Entry, Refusal>) -> Result<()> {
        self.summary.lines += 1;
        if self.summary.lines > MOST_LINES {
            let error = Error::failed(format!("more than {MOST_LINES} lines")).hint("split the file");
            return Err(self.so_far(error));
        }
        match line.and_then(|entry| self.judge(entry)) {
            Ok(Some((line, enrolment))) => self.waiting.push((line, enrolment)),
            Ok(None) => self.summary.unchanged += 1,
            Err(refusal) => {
                self.summary.refused += 1;
                self.refused.push(refusal);
            }
        }
        if self.ask.all_or_nothing {
            if self.waiting.len() > MOST_AT_ONCE {
                return Err(Error::usage(format!("--all-or-nothing takes up to {MOST_AT_ONCE} keys"))
                    .hint("split the file, or try it with --dry-run and import it without"));
            }
        } else if self.waiting.len() + self.refused.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// What the store is to be asked; nothing for a line that an earlier one has said already.
    fn judge(&mut self, entry: Entry) -> Result<Option<(u64, Enrolment)>, Refusal> {
        let Entry { line, user, key, conditions, unsaid, groups, scopes, left_out } = entry;
        let refused = |why: String| Refusal {
            line,
            user: Some(user.clone()),
            fingerprint: Some(key.fingerprint.to_string()),
            why,
        };
        keys::check(&key, &conditions, self.now).map_err(|e| refused(e.message().to_owned()))?;
        let id = key.fingerprint.0.first_chunk().copied().unwrap_or_default();
        let rest = digest(&user, &conditions, &groups, &scopes);
        match self.seen.get(&id) {
            Some(before) if before.rest == rest => return Ok(None),
            Some(before) => {
                let why = format!("the key stands in line {} already, with other particulars", before.line);
                return Err(refused(why));
            }
            None => self.seen.insert(id, Seen { line, rest }),
        };
        self.summary.left_out += u64::from(left_out);
        let mut enrolment = keys::enrolment(&user, &key, &conditions, SOURCE, self.now);
        (enrolment.groups, enrolment.scopes, enrolment.unsaid) = (groups, scopes, unsaid);
        Ok(Some((line, enrolment)))
    }

    /// Commits what waits, and tells of what was refused.
    fn flush(&mut self) -> Result<()> {
        let (lines, batch): (Vec<u64>, Vec<Enrolment>) =
            std::mem::take(&mut self.waiting).into_iter().unzip();
        let (mut added, mut changed, mut unchanged) = (0, 0, 0);
        let (ask, refused) = (self.ask, &mut self.refused);
        let mut all_refused = self.summary.refused;
        let mut undone = ask.dry_run || (ask.all_or_nothing && all_refused > 0);
        let mut decide = |fates: &[Enrolled]| {
            for ((line, one), fate) in lines.iter().zip(&batch).zip(fates) {
                match fate {
                    Enrolled { key: KeyFate::Taken(owner), .. } => {
                        all_refused += 1;
                        refused.push(Refusal {
                            line: *line,
                            user: Some(one.key.user.clone()),
                            fingerprint: Some(one.key.fingerprint.to_string()),
                            why: format!("the key belongs to {owner} already"),
                        });
                    }
                    Enrolled { key: KeyFate::Added, .. } => added += 1,
                    Enrolled { key: KeyFate::Unchanged, groups, scopes, .. }
                        if groups.is_empty() && scopes.is_empty() =>
                    {
                        unchanged += 1;
                    }
                    Enrolled { .. } => changed += 1,
                }
            }
            undone |= ask.all_or_nothing && all_refused > 0;
            Ok(if undone { Then::RollBack } else { Then::Commit })
        };
        if !batch.is_empty() {
            keys::enrol(self.realm, &batch, &mut decide).map_err(|e| self.so_far(e))?;
        }
        self.summary.refused = all_refused;
        self.summary.undone |= undone;
        self.summary.added += added;
        self.summary.changed += changed;
        self.summary.unchanged += unchanged;
        self.refused.sort_by_key(|r| r.line);
        self.refused.drain(..).try_for_each(|refusal| (self.refuse)(&refusal))
    }

    /// An error in the middle says what is in already.
    fn so_far(&self, error: Error) -> Error {
        let done = self.summary.added + self.summary.changed;
        if done == 0 || self.ask.dry_run {
            return error;
        }
        let message = format!("{}; {done} keys of the lines before are in", error.message());
        let again = "then run the same import again: it goes on where this one ended";
        let hint = error.hint_text().map_or_else(|| again.to_owned(), |hint| format!("{hint}; {again}"));
        Error::new(error.kind(), message).hint(hint)
    }
}

/// Keeps count of what goes through, and its hash.
struct Hashed<'a> {
    input: &'a mut dyn Read,
    hash: Sha256,
    bytes: &'a Cell<u64>,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.bytes.set(self.bytes.get() + u64::try_from(read).unwrap_or_default());
        Ok(read)
    }
}

impl Refusal {
    fn line(line: u64, why: impl Into<String>) -> Self {
        Self { line, user: None, fingerprint: None, why: why.into() }
    }
}

/// What the first bytes look like. What is neither is refused before anything is read.
fn format_of(head: &[u8], said: Option<Format>) -> Result<Format> {
    let refused = |what: &str, hint: &str| Err(Error::usage(what.to_owned()).hint(hint.to_owned()));
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return refused("the file is UTF-16", "save it as UTF-8: in a spreadsheet, `CSV UTF-8`");
    }
    let text = String::from_utf8_lossy(head);
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
        return refused("the file holds a private key", "it must never leave its owner; import public keys");
    }
    let first = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty() && !l.starts_with('#'));
    let Some(first) = first else {
        return refused("the file is empty", "it holds no line but comments");
    };
    if let Some(format) = said {
        return Ok(format);
    }
    let cells = first.split([',', ';', '\t']).map(|c| c.trim_matches(['"', ' ']).to_ascii_lowercase());
    if cells.into_iter().any(|cell| COLUMNS.contains(&cell.as_str())) {
        return Ok(Format::Csv);
    }
    if first.split([' ', '\t']).any(|word| word.starts_with("AAAA")) {
        return Ok(Format::AuthorizedKeys);
    }
    refused(
        "the file looks like neither a CSV with a header nor authorized_keys",
        "a CSV begins with a line such as `user,key`; or say --format",
    )
}

/// The name in a comment, or why it has none.
fn user_in_comment(comment: &str, whose: &Whose) -> Result<UserName, String> {
    if comment.is_empty() {
        return Err("the key has no comment that could name its user".to_owned());
    }
    let name = match whose {
        Whose::CommentBeforeAt => comment.split('@').next().unwrap_or_default(),
        _ => comment,
    };
    name.parse().map_err(|e: Error| format!("its comment names no user: {}", e.message()))
}

fn digest(user: &UserName, conditions: &Conditions, groups: &[String], scopes: &[String]) -> [u8; 8] {
    let mut hash = Sha256::new();
    let lists = [&conditions.from, groups, scopes];
    for part in std::iter::once(user.as_str())
        .chain(lists.into_iter().flat_map(|l| l.iter().map(String::as_str).chain([""])))
    {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(conditions.expires_at.unwrap_or(u64::MAX).to_be_bytes());
    hash.update([u8::from(conditions.require_touch), u8::from(conditions.require_verify)]);
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// How many lines there will be, by the lines so far.
fn expected(lines: u64, bytes: u64, size: Option<u64>) -> Option<u64> {
    let all = u128::from(lines) * u128::from(size?) / u128::from(bytes.max(1));
    Some(u64::try_from(all).unwrap_or(u64::MAX).max(lines))
}

fn unreadable(e: &std::io::Error) -> Error {
    Error::failed(format!("the file can't be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeysBy;
    use crate::progress::Unseen;
    use crate::services::fixture::{NOW, realm};

    /// Public keys that nobody has the private half of.
    fn key(n: u8) -> String {
        use base64::Engine as _;
        let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        blob.extend([n; 32]);
        format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))
    }

    const ASK: Ask =
        Ask { format: None, whose: Whose::Column, dry_run: false, all_or_nothing: false, size: None };

    fn run(realm: &Realm, text: &str, ask: &Ask) -> (Summary, Vec<String>) {
        let mut refused = Vec::new();
        let mut refuse = |r: &Refusal| {
            refused.push(format!("{}: {}", r.line, r.why));
            Ok(())
        };
        let summary = import(realm, &mut text.as_bytes(), ask, &mut refuse, &Unseen).unwrap();
        (summary, refused)
    }

    fn counts(s: &Summary) -> [u64; 4] {
        [s.added, s.changed, s.unchanged, s.refused]
    }

    #[test]
    fn an_import_run_again_changes_nothing() {
        let (_parent, clock, realm) = realm(KeysBy::File);
        let text = format!(
            "user,key,expires,from,groups,scopes\nada,{} a,2030-01-01,\"10.0.0.0/8, ::1\",staff ops,read\nbob,{},,,,\nbob,{},,,,\nbob,{},,,,\neve,{},,,,\n",
            key(1),
            key(2),
            key(3),
            key(3),
            key(1)
        );
        let trial = Ask { dry_run: true, ..ASK };
        let (said, _) = run(&realm, &text, &trial);
        assert_eq!((counts(&said), said.undone), ([3, 0, 1, 1], true));
        assert_eq!(keys::totals(&realm).unwrap().keys, 0);
        let records = realm.audit.verify().unwrap().records;

        let (done, refused) = run(&realm, &text, &ASK);
        assert_eq!((counts(&done), done.undone), ([3, 0, 1, 1], false));
        assert_eq!(refused, ["6: the key stands in line 2 already, with other particulars"]);
        let ada = realm.store.user(&"ada".parse().unwrap()).unwrap().unwrap();
        assert_eq!(
            (ada.groups, ada.scopes),
            (vec!["ops".to_owned(), "staff".into()], vec!["read".to_owned()])
        );
        let report = realm.audit.verify().unwrap();
        assert_eq!(report.problems, []);
        assert_eq!(report.records - records, 3 + 2 + 1, "each key, ada's lists, the import");

        clock.set(NOW + 100);
        let (again, _) = run(&realm, &text, &ASK);
        assert_eq!(counts(&again), [0, 0, 4, 1]);
        let longer = text.replace("2030-01-01", "2031-01-01").replace("staff ops", "staff ops new");
        assert_eq!(counts(&run(&realm, &longer, &ASK).0), [0, 1, 3, 1]);
        let bare = format!("user,key\nada,{}\n", key(1));
        assert_eq!(counts(&run(&realm, &bare, &ASK).0), [0, 0, 1, 0], "what a file does not speak of stays");
        let lifted = format!("user,key,expires\nada,{},\n", key(1));
        assert_eq!(counts(&run(&realm, &lifted, &ASK).0), [0, 1, 0, 0]);
        let ada = &realm.store.keys(Some(&"ada".parse().unwrap())).unwrap()[0];
        assert_eq!((ada.expires_at, ada.from.len()), (None, 2));
        let taken = format!("user,key\neve,{}\n", key(1));
        let (summary, refused) = run(&realm, &taken, &ASK);
        assert_eq!(
            (counts(&summary), refused),
            ([0, 0, 0, 1], vec!["2: the key belongs to ada already".to_owned()])
        );
        assert!(realm.store.user(&"eve".parse().unwrap()).unwrap().is_none());
    }

    #[test]
    fn all_or_nothing_is_nothing_for_one_bad_line() {
        let (_parent, _clock, realm) = realm(KeysBy::File);
        let all = Ask { all_or_nothing: true, ..ASK };
        for bad in ["eve,hello".to_owned(), format!("eve,{}", key(1))] {
            let (summary, refused) = run(&realm, &format!("user,key\nada,{}\n{bad}\n", key(1)), &all);
            assert_eq!((counts(&summary), refused.len(), summary.undone), ([1, 0, 0, 1], 1, true));
            assert_eq!(keys::totals(&realm).unwrap().users, 0);
        }
        let (summary, _) = run(&realm, &format!("user,key\nada,{}\n", key(1)), &all);
        assert_eq!((counts(&summary), summary.undone), ([1, 0, 0, 0], false));
        let (summary, _) = run(&realm, &format!("user,key\nbob,{}\neve,{}\n", key(2), key(1)), &all);
        assert_eq!((counts(&summary), summary.undone), ([1, 0, 0, 1], true));
        assert_eq!(keys::totals(&realm).unwrap().users, 1);
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused_before_anything_is_read() {
        let (_parent, _clock, realm) = realm(KeysBy::File);
        for (text, expected) in [
            (b"".as_slice(), "is empty"),
            (b"# only this\n\n", "is empty"),
            (b"\xff\xfeu\0s\0", "UTF-16"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3B\n", "private key"),
            (b"hello\n", "neither"),
            (b"user;key\n", "not a column"),
        ] {
            let error = import(&realm, &mut &*text, &ASK, &mut |_| Ok(()), &Unseen).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
        let by_comment = Ask { whose: Whose::CommentBeforeAt, ..ASK };
        let (summary, _) = run(&realm, &format!("\u{feff}{} ada@x\n{} bob@y\n", key(1), key(2)), &by_comment);
        assert_eq!(counts(&summary), [2, 0, 0, 0]);
        let (summary, _) = run(&realm, &format!("\u{feff}key,user\r\n{},ada\r\n", key(3)), &ASK);
        assert_eq!(counts(&summary), [1, 0, 0, 0]);
    }

    #[test]
    fn a_batch_more_does_not_lose_the_line() {
        let (_parent, _clock, realm) = realm(KeysBy::File);
        let mut text = "user,key\n".to_owned();
        let junk = "x,y\n".repeat(BATCH + 5);
        text.push_str(&junk);
        text.push_str(&format!("ada,{}\neve,{}\n", key(1), key(1)));
        let (summary, refused) = run(&realm, &text, &ASK);
        assert_eq!(counts(&summary), [1, 0, 0, u64::try_from(BATCH).unwrap() + 6]);
        assert_eq!(refused[0], "2: the key is not an OpenSSH public key");
        assert!(refused.last().unwrap().starts_with(&format!(
            "{}: the key stands in line {} already",
            BATCH + 8,
            BATCH + 7
        )));
    }
}
