//! Looking a realm over: its files, keys, log and clock, its issuer URL, and what sshd makes of it.
//!
//! Each finding says how to mend it. Nothing is changed, and nothing here asks the host: what it found is handed in.

mod crtauth;
mod sources;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::backends::files::Room;
use crate::backends::store::{KeyState, SigningAlgorithm, SigningKey, UserKey};
use crate::backends::system::accounts::{self, Account};
use crate::backends::system::fence;
use crate::backends::system::layout::{Entry, Kind};
use crate::backends::system::sshd::{self, DropIn, Facts};
use crate::config::{self, Format, KeysBy};
use crate::error::{Error, Result, io};
use crate::progress::Progress;
use crate::realm::{Realm, SIGNING};
use crate::services::handshake::secrets;
use crate::services::{signing, trust};

/// How long before its end a key is named.
const SOON: u64 = 30 * 86_400;

/// So many of a kind are named one by one; of the others, how many there are.
const MOST: u32 = 10;

/// How far the clock may be behind the newest record, as the audit log itself has it.
const TOLERANCE: u64 = 60;

/// This was written after that, so every clock that is right is.
const NO_EARLIER: u64 = 1_700_000_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, but not for long, or not as somebody may expect.
    Warning,
    /// Doesn't work, or lets somebody do what they shouldn't.
    Error,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub mend: Option<String>,
}

/// What the host knows of the realm.
pub struct Surroundings<'a> {
    /// The realm's directory.
    pub dir: PathBuf,
    /// Whose it has to be.
    pub uid: u32,
    /// What lies in it.
    pub entries: Vec<Entry>,
    /// The directories above it.
    pub parents: Vec<Entry>,
    /// What its file system has left.
    pub room: Result<Room>,
    /// Realms beside it that were begun and not finished.
    pub beside: Vec<PathBuf>,
    /// The Unix account, if the realm is one's home.
    pub account: Option<Account>,
    /// What sshd makes of it; only root can ask.
    pub sshd: Option<Facts>,
    /// The program that sshd would run.
    pub binary: Result<PathBuf>,
    /// `.ssh/authorized_keys`, opened.
    pub authorized_keys: Result<Option<File>>,
    /// Fetches a text from a URL.
    pub fetch: &'a dyn Fn(&str) -> Result<String>,
    /// Is told how far the looking at keys has come.
    pub progress: &'a dyn Progress,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Looks everything over.
#[must_use]
pub fn examine(realm: &Realm, around: &Surroundings<'_>) -> Vec<Finding> {
    let mut list = List::new(around);
    list.files();
    list.leftovers();
    list.room();
    list.database(realm);
    list.clock_and_log(realm);
    list.signing_keys(realm);
    list.user_keys(realm);
    list.sources(realm);
    list.crtauth(realm);
    list.issuer(realm);
    list.rules(realm);
    list.sshd(realm);
    list.findings
}

/// Looks over what can be looked over in a realm that does not open.
#[must_use]
pub fn examine_closed(why: &Error, around: &Surroundings<'_>) -> Vec<Finding> {
    let mut list = List::new(around);
    list.files();
    list.leftovers();
    list.room();
    // A mode that keeps it shut has been named already.
    if !list.findings.iter().any(|f| f.severity == Severity::Error && f.what.starts_with(why.message())) {
        list.push(Severity::Error, why.message().to_owned(), why.hint_text().map(str::to_owned));
    }
    list.findings
}

struct List<'a> {
    around: &'a Surroundings<'a>,
    findings: Vec<Finding>,
}

impl<'a> List<'a> {
    const fn new(around: &'a Surroundings<'a>) -> Self {
        Self { around, findings: Vec::new() }
    }

    fn push(&mut self, severity: Severity, what: String, mend: Option<String>) {
        self.findings.push(Finding { severity, what, mend });
    }

    fn error(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.push(Severity::Error, what.into(), Some(mend.into()));
    }

    fn warning(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.push(Severity::Warning, what.into(), Some(mend.into()));
    }

    fn trouble(&mut self, error: &Error, mend: &str) {
        self.push(
            Severity::Error,
            error.message().to_owned(),
            Some(error.hint_text().unwrap_or(mend).to_owned()),
        );
    }

    /// One area; where it finds nothing, that is said.
    fn part(&mut self, fine: impl Into<String>, look: impl FnOnce(&mut Self)) {
        let before = self.findings.len();
        look(self);
        if self.findings.len() == before {
            self.push(Severity::Ok, fine.into(), None);
        }
    }

    fn rules(&mut self, realm: &Realm) {
        match trust::rules(realm) {
            Ok(None) => {}
            Ok(Some(rules)) => {
                self.push(Severity::Ok, format!("the rules of /verify are readable: {}", rules.len()), None);
            }
            Err(error) => {
                self.trouble(&error, "mend the file, or take `rules` out of [verify] in realm.toml")
            }
        }
    }

    /// A call of ours for this realm: `seamless VERB REALM REST`.
    fn call(&self, verb: &str, rest: &str) -> String {
        let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
        match &self.around.account {
            Some(account) => format!("sudo seamless {verb} {}{rest}", account.name),
            None => format!("seamless {verb} --dir {}{rest}", self.around.dir.display()),
        }
    }

    fn files(&mut self) {
        self.part("every file is its owner's alone", |list| {
            let uid = list.around.uid;
            for entry in &list.around.entries {
                let path = entry.path.display();
                if entry.kind == Kind::Other {
                    list.error(
                        format!("{path} is a link or a special file"),
                        format!("look where it leads, then: rm {path}"),
                    );
                    continue;
                }
                if entry.uid != uid {
                    list.error(
                        format!("{path} belongs to uid {}, not to uid {uid}", entry.uid),
                        format!("chown -h {uid} {path}"),
                    );
                }
                let open = entry.mode & if is_public(&entry.path) { 0o022 } else { 0o077 };
                if open != 0 {
                    let mode = if entry.kind == Kind::Folder { 0o700 } else { entry.mode & 0o700 };
                    let how = if open & 0o022 == 0 { "read" } else { "written" };
                    list.error(
                        format!("{path} can be {how} by others (mode {:04o})", entry.mode),
                        format!(
                            "chmod {mode:04o} {path}; if others had a secret in it, put another in its place"
                        ),
                    );
                }
            }
            for entry in &list.around.parents {
                let path = entry.path.display();
                // In a sticky directory, as /tmp is, nobody moves what is another's.
                let open = entry.mode & 0o022 != 0 && entry.mode & 0o1000 == 0;
                if open || (entry.uid != 0 && entry.uid != uid) {
                    list.error(
                        format!("{path} belongs to others or can be written by them, who can swap the realm"),
                        format!("chown root {path}; chmod 0755 {path}"),
                    );
                }
            }
        });
    }

    /// Without an audit record there is no token.
    fn room(&mut self) {
        const SOON_FULL: u64 = 16 * 1024 * 1024;
        self.part("there is room for the audit log", |list| {
            let dir = list.around.dir.display();
            match list.around.room {
                Ok(Room { read_only: true, .. }) => list.error(
                    format!("the file system of {dir} takes no changes, so nothing is minted"),
                    format!(
                        "see why (dmesg, mount), then: mount -o remount,rw $(findmnt -no TARGET -T {dir})"
                    ),
                ),
                Ok(room) if room.has_no_files() => list.error(
                    format!("the disk of {dir} takes no new file, so nothing is minted"),
                    format!("remove some, whatever their size: df -i {dir}"),
                ),
                Ok(room) if room.is_full() => list.error(
                    format!("no space left on the disk of {dir}, so nothing is minted"),
                    format!("free some: df -h {dir}"),
                ),
                Ok(Room { free, .. }) if free < SOON_FULL => list.warning(
                    format!("the disk of {dir} is nearly full: {} KiB are left", free / 1024),
                    format!("free some: df -h {dir}"),
                ),
                Ok(_) => {}
                Err(ref error) => list.trouble(&error.clone(), &format!("df -h {dir}")),
            }
        });
    }

    /// Files that a killed process was still writing. Whatever they were to become is as it was before.
    fn leftovers(&mut self) {
        self.part("no process that was killed has left files behind", |list| {
            let left: Vec<_> = list
                .around
                .entries
                .iter()
                .map(|e| &e.path)
                .chain(&list.around.beside)
                .filter(|path| is_left(path))
                .collect();
            for path in left {
                let path = path.display();
                list.warning(
                    format!("{path} is left from a process that was killed"),
                    format!("if no seamless is at work here just now: rm -r {path}"),
                );
            }
        });
    }

    /// A page that the disk gave back wrong may be one that hardly anybody reads.
    fn database(&mut self, realm: &Realm) {
        self.part("realm.toml and realm.db are readable", |list| {
            if let Err(error) = realm.store.check() {
                list.trouble(&error, "restore it from a backup");
            }
        });
    }

    fn clock_and_log(&mut self, realm: &Realm) {
        let now = realm.now();
        self.part("the clock is after the newest audit record", |list| match realm.audit.newest() {
            Err(error) => list.trouble(&error, &list.call("audit verify", "")),
            Ok(newest) => {
                if now < NO_EARLIER {
                    list.error(format!("the clock says {}", time(now)), "set the clock");
                } else if let Some(newest) = newest.filter(|newest| now + TOLERANCE < newest.at) {
                    list.error(
                        format!(
                            "the clock ({}) is before the newest audit record ({}), so nothing is minted",
                            time(now),
                            time(newest.at)
                        ),
                        format!(
                            "set the clock; if it was wrong then and is right now: {}",
                            list.call("audit accept-clock", "")
                        ),
                    );
                }
            }
        });
        self.part("the audit log takes records", |list| {
            if let Err(error) = realm.audit.check_writable() {
                let mend = "see what forbids it: lsattr, mount; then take that away";
                list.push(Severity::Error, error.message().to_owned(), Some(mend.to_owned()));
            }
        });
        self.part("the audit log is whole", |list| match realm.audit.verify() {
            Err(error) => list.trouble(&error, &list.call("audit verify", "")),
            Ok(report) => {
                for torn in &report.torn {
                    list.warning(
                        format!("audit/{} line {}: {}", torn.file, torn.line, torn.what),
                        "nothing is to be mended; see what happened to the host then",
                    );
                }
                for problem in report.problems.iter().take(10) {
                    list.error(
                        format!("audit/{} line {}: this record {}", problem.file, problem.line, problem.what),
                        "somebody changed the log: compare it with a backup, and ask who had access",
                    );
                }
            }
        });
    }

    fn signing_keys(&mut self, realm: &Realm) {
        self.part("the signing keys are in order", |list| match realm.store.signing_keys() {
            Err(error) => list.trouble(&error, &list.call("signing-key list", "")),
            Ok(keys) => {
                for algorithm in needed(&realm.config) {
                    if !keys.iter().any(|k| k.algorithm == algorithm && k.state == KeyState::Active) {
                        let mend =
                            list.call("signing-key rotate", &format!("--algorithm {}", algorithm.as_str()));
                        list.error(format!("no signing key is active for {}", algorithm.as_str()), mend);
                    }
                }
                for key in &keys {
                    list.signing_key(realm, key);
                }
                list.strays(&keys);
            }
        });
    }

    fn signing_key(&mut self, realm: &Realm, key: &SigningKey) {
        let SigningKey { kid, algorithm, state, .. } = key;
        let now = realm.now();
        if matches!(state, KeyState::Active | KeyState::Next)
            && let Some(at) = key.expires_at
        {
            let mend = self.call("signing-key rotate", &format!("--algorithm {}", algorithm.as_str()));
            if at <= now {
                self.error(
                    format!("signing key {kid} ({}) has expired {}", algorithm.as_str(), time(at)),
                    format!("{mend} --now"),
                );
            } else if at - now < SOON {
                self.warning(
                    format!("signing key {kid} ({}) expires {}", algorithm.as_str(), time(at)),
                    mend,
                );
            }
        }
        if !signing::is_published(key, now, realm.config.longest_life()) {
            return;
        }
        // Of a pair, a retired key's private half is of no more use; a secret verifies what it signed.
        let half = match (algorithm, state) {
            (SigningAlgorithm::Hmac, _) => signing::secret(realm, key).map(drop),
            (_, KeyState::Retired) => Ok(()),
            _ => signing::signer(&realm.dir, key).map(drop),
        };
        if let Err(error) = half {
            let mend = format!(
                "restore the file from a backup; else: {}",
                self.call("signing-key retire", &format!("{kid} --compromised"))
            );
            self.trouble(&error, &mend);
        }
        let public = key.jwk.as_deref().map(token::PublicKey::from_jwk);
        if public.is_some_and(|public| public.map_or(true, |p| p.kid() != kid)) {
            let mend = self.call("signing-key retire", &format!("{kid} --compromised"));
            self.error(
                format!("the public half of signing key {kid} is not the one of its name"),
                format!("restore realm.db from a backup; else: {mend}"),
            );
        }
    }

    /// Private halves without a key: left from a crash, or put there.
    fn strays(&mut self, keys: &[SigningKey]) {
        let folder = self.around.dir.join(SIGNING);
        let mut known: HashSet<_> = keys.iter().map(|key| signing::path(&self.around.dir, key)).collect();
        known.extend([secrets::OWN, secrets::FOR_VERIFIERS].map(|name| folder.join(name)));
        let inside =
            self.around.entries.iter().filter(|e| {
                e.path.parent() == Some(&folder) && !known.contains(&e.path) && !is_left(&e.path)
            });
        for entry in inside.collect::<Vec<_>>() {
            let path = entry.path.display();
            self.warning(
                format!("{path} belongs to no signing key of this realm"),
                format!("nothing reads it; if you do not need it: rm {path}"),
            );
        }
    }

    fn user_keys(&mut self, realm: &Realm) {
        let now = realm.now();
        let soon = now.saturating_add(SOON);
        self.part("no key of a user ends within 30 days", |list| match realm.store.keys_ending(soon, MOST) {
            Err(error) => list.trouble(&error, &list.call("key list", "")),
            Ok((keys, all)) => {
                for (key, at) in keys.iter().filter_map(|key| key.expires_at.map(|at| (key, at))) {
                    let UserKey { fingerprint, user, .. } = key;
                    if at <= now {
                        let mend = list.call("key remove", &fingerprint.to_string());
                        list.warning(
                            format!("key {fingerprint} of {user} expired {}", time(at)),
                            format!("enrol a new one with `seamless add`, and: {mend}"),
                        );
                    } else {
                        let mend = list.call("add", &format!("KEY.pub --user {user} --expires 90d"));
                        list.warning(format!("key {fingerprint} of {user} expires {}", time(at)), mend);
                    }
                }
                if let Some(more) = all.checked_sub(u64::from(MOST)).filter(|more| *more > 0) {
                    let mend = list.call("key list", "");
                    list.warning(format!("{more} more keys have expired or do so within 30 days"), mend);
                }
            }
        });
    }

    fn issuer(&mut self, realm: &Realm) {
        let url = format!("{}/.well-known/jwks.json", realm.config.issuer);
        self.part(format!("{url} has this realm's keys"), |list| {
            let ours = match trust::jwks(realm) {
                Ok(text) => by_kid(&text).unwrap_or_default(),
                Err(error) => return list.trouble(&error, &list.call("signing-key list", "")),
            };
            let theirs = match (list.around.fetch)(&url) {
                Ok(text) => text,
                Err(error) => {
                    let mend = format!(
                        "serve it ({}), let your proxy pass it on, or change `issuer` in realm.toml",
                        list.call("serve", "")
                    );
                    // Nobody who has only tokens of the original's format needs it.
                    let severity = if realm.config.tokens.default_format == Format::Jwt {
                        Severity::Error
                    } else {
                        Severity::Warning
                    };
                    return list.push(severity, error.message().to_owned(), Some(mend));
                }
            };
            let Some(theirs) = by_kid(&theirs) else {
                return list.error(
                    format!("{url} answers no JWK set"),
                    "look at what is served there, and at `issuer` in realm.toml",
                );
            };
            for (kid, jwk) in &ours {
                if theirs.get(kid) != Some(jwk) {
                    list.error(
                        format!("{url} lacks key {kid}, so verifiers refuse its tokens"),
                        "restart what is served there; a cache forgets after 5 minutes",
                    );
                }
            }
            for kid in theirs.keys().filter(|kid| !ours.contains_key(*kid)) {
                list.error(
                    format!("{url} has key {kid}, which is not of this realm"),
                    "whoever holds it can mint for this issuer: find out what is served there",
                );
            }
        });
    }

    fn sshd(&mut self, realm: &Realm) {
        let Some(account) = &self.around.account else { return };
        if account.shell != Path::new(accounts::SHELL) {
            self.error(
                format!(
                    "the shell of {} is {}; sshd runs the forced command with it",
                    account.name,
                    account.shell.display()
                ),
                format!("usermod --shell {} {}", accounts::SHELL, account.name),
            );
        }
        self.part("sshd would run this program", |list| {
            if let Err(error) = &list.around.binary {
                list.trouble(error, "install it below /usr/local/bin");
            }
        });
        self.part("sshd knows the realm's keys and no others", |list| list.authorized_keys(realm));
        let fenced = format!("sshd gives {} its forced commands and nothing else", account.name);
        self.part(fenced, |list| match &list.around.sshd {
            Some(facts) => list.fence(realm, account, facts),
            None => {
                list.warning("sshd's settings were not looked at, which takes root", list.call("doctor", ""))
            }
        });
    }

    fn authorized_keys(&mut self, realm: &Realm) {
        let sync = self.call("sync", "");
        let path = realm.dir.join(".ssh/authorized_keys");
        let file = match &self.around.authorized_keys {
            Ok(file) => file.as_ref(),
            Err(error) => return self.trouble(error, &sync),
        };
        if realm.config.sshd.keys == KeysBy::Command {
            if file.is_some() {
                self.error(
                    format!(
                        "{} is there although AuthorizedKeysCommand serves; a line in it could get in",
                        path.display()
                    ),
                    sync,
                );
            }
            return;
        }
        let Ok(binary) = &self.around.binary else { return };
        let mut found = match file.map_or_else(|| Ok(HashMap::new()), lines_of) {
            Ok(found) => found,
            Err(e) => return self.trouble(&io("read", &path, &e), &sync),
        };
        let (mut missing, now) = (0_u64, realm.now());
        let (mut seen, all) = (0, realm.store.totals().ok().map(|totals| totals.keys));
        let walked = realm.store.each_key(None, &mut |key| {
            seen += 1;
            self.around.progress.at(seen, all);
            let line = sshd::authorized_keys_line(binary, &realm.dir, &key)?;
            if found.remove(&short_hash(line.as_bytes())).is_none()
                && key.expires_at.is_none_or(|at| now < at)
            {
                missing += 1;
                if missing <= u64::from(MOST) {
                    self.error(
                        format!("{} has no line for key {} of {}", path.display(), key.fingerprint, key.user),
                        sync.clone(),
                    );
                }
            }
            Ok(())
        });
        if let Err(error) = walked {
            return self.trouble(&error, &sync);
        }
        if let Some(more) = missing.checked_sub(u64::from(MOST)).filter(|more| *more > 0) {
            self.error(format!("{} has no line for {more} keys more", path.display()), sync.clone());
        }
        let mut strange: Vec<u64> = found.into_values().collect();
        strange.sort_unstable();
        let most = usize::try_from(MOST).unwrap_or(usize::MAX);
        for number in strange.iter().take(most) {
            self.error(
                format!("{} line {number} is not of an enrolled key", path.display()),
                format!("find out who wrote it, then: {sync}"),
            );
        }
        if let Some(more) = strange.len().checked_sub(most).filter(|more| *more > 0) {
            self.error(
                format!("{} has {more} more lines that are not of enrolled keys", path.display()),
                format!("find out who wrote them, then: {sync}"),
            );
        }
    }

    fn fence(&mut self, realm: &Realm, account: &Account, facts: &Facts) {
        let shut = facts.expires.is_some_and(|days| days.saturating_mul(86_400) <= realm.now());
        // One call mends all of it.
        let sync = self.call(if shut { "realm open" } else { "sync" }, "");
        if shut {
            self.error(format!("the account {} is shut: sshd lets nobody in", account.name), sync.clone());
        }
        let wanted = self
            .around
            .binary
            .as_ref()
            .ok()
            .map(|b| DropIn::new(&realm.name, realm.config.sshd.keys, b, &account.home).text());
        match (&facts.drop_in, wanted) {
            (None, _) => self.error("sshd is told nothing of this realm", sync.clone()),
            (Some(found), Some(wanted)) if *found != wanted => {
                self.warning("what sshd is told of this realm is out of date", sync.clone())
            }
            _ => {}
        }
        let settings = match &facts.settings {
            Ok(settings) => settings,
            Err(why) => return self.error(why.clone(), "see it with: sshd -t"),
        };
        for gap in fence::gaps(settings, &realm.name, realm.config.sshd.keys) {
            let severity = if gap.opens { Severity::Error } else { Severity::Warning };
            let mend = if facts.drop_in.is_none() {
                sync.clone()
            } else if gap.opens {
                format!(
                    "a Match block before the realm's drop-in says so; exempt the realm there: Match User *,!{}",
                    realm.name
                )
            } else {
                format!("let it name {} too", realm.name)
            };
            self.push(
                severity,
                format!("sshd's setting for {} is `{}`: {}", realm.name, gap.setting, gap.allows),
                Some(mend),
            );
        }
        for file in &facts.earlier {
            self.warning(
                format!(
                    "{} has Match blocks that sshd reads before the realm's, and their values come first",
                    file.display()
                ),
                format!("see that none matches {0}, or exempt it: Match User *,!{0}", realm.name),
            );
        }
    }
}

/// Which lines are in authorized_keys, and where. There may be a million, so of each only a hash is kept.
fn lines_of(mut file: &File) -> std::io::Result<HashMap<[u8; 16], u64>> {
    file.rewind()?;
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut found, mut line, mut number) = (HashMap::new(), Vec::new(), 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        let text = line.trim_ascii();
        if !text.is_empty() && !text.starts_with(b"#") {
            found.entry(short_hash(text)).or_insert(number);
        }
        line.clear();
    }
    Ok(found)
}

fn short_hash(bytes: &[u8]) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// What others may read: what is told to everybody anyway.
/// Whether a file has a name that nothing keeps when it ends by itself.
fn is_left(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    [".new-", ".backup-"].iter().any(|begin| name.starts_with(begin))
}

fn is_public(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "pub")
        || path.file_name().is_some_and(|n| n == "known_hosts" || n == "authorized_keys" || n == "rules.json")
}

/// The algorithms of the tokens that the settings let people ask for.
fn needed(config: &config::Config) -> BTreeSet<SigningAlgorithm> {
    let mut needed: BTreeSet<_> = config.audiences.values().map(|a| a.algorithm.signing()).collect();
    match config.tokens.default_format {
        Format::Seamless => needed.insert(SigningAlgorithm::Hmac),
        Format::Jwt => {
            needed.insert(config.audience(config.default_audience()).unwrap_or_default().algorithm.signing())
        }
    };
    needed
}

fn by_kid(text: &str) -> Option<BTreeMap<String, Value>> {
    let set: Value = serde_json::from_str(text).ok()?;
    let keys = set.get("keys")?.as_array()?;
    keys.iter().map(|key| Some((key.get("kid")?.as_str()?.to_owned(), sorted(key)))).collect()
}

/// Members in one order, so that sets compare by what they say.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(k, v)| (k.clone(), sorted(v)))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect(),
        other => other.clone(),
    }
}

fn time(at: u64) -> String {
    i64::try_from(at)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok())
        .map_or_else(|| at.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use super::*;
    use crate::backends::files;
    use crate::backends::store::Change;
    use crate::backends::system::layout;
    use crate::clock::FixedClock;
    use crate::progress::Unseen;
    use crate::public_key::PublicKey;
    use crate::realm::Access;
    use crate::services::fixture::{self, NOW};
    use crate::services::keys::{self, Conditions};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    struct Bench {
        realm: Realm,
        clock: Arc<FixedClock>,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        fn new(keys: KeysBy) -> Self {
            let (parent, clock, realm) = fixture::realm(keys);
            Self { realm, clock, _dir: parent }
        }

        fn around(&self, fetch: &'static dyn Fn(&str) -> Result<String>) -> Surroundings<'static> {
            Surroundings {
                dir: self.realm.dir.clone(),
                uid: rustix::process::geteuid().as_raw(),
                entries: layout::entries(&self.realm.dir),
                parents: layout::parents(&self.realm.dir),
                beside: layout::unfinished_beside(&self.realm.dir),
                room: files::room(&self.realm.dir),
                account: None,
                sshd: None,
                binary: Ok("/usr/bin/seamless".into()),
                authorized_keys: sshd::open_authorized_keys(&self.realm.dir),
                fetch,
                progress: &Unseen,
            }
        }

        /// As the account's home, with sshd as it should be.
        fn hosted(&self) -> Surroundings<'static> {
            let uid = rustix::process::geteuid().as_raw();
            let account = Account {
                name: "corp".into(),
                uid,
                gid: 0,
                home: self.realm.dir.clone(),
                shell: accounts::SHELL.into(),
            };
            let keys = self.realm.config.sshd.keys;
            let drop_in =
                DropIn::new(&self.realm.name, keys, Path::new("/usr/bin/seamless"), &account.home).text();
            // The drop-in's own words are what a good sshd gives back.
            let word =
                |line: &str| line.trim().split_once(' ').map(|(k, v)| (k.to_lowercase(), v.to_owned()));
            let mut settings: Vec<_> =
                drop_in.lines().filter(|l| l.starts_with(' ')).filter_map(word).collect();
            settings.retain(|(k, _)| k != "pubkeyacceptedalgorithms");
            settings.push(("pubkeyacceptedalgorithms".into(), "ssh-ed25519".into()));
            settings.push(("permituserenvironment".into(), "no".into()));
            let facts =
                Facts { settings: Ok(settings), drop_in: Some(drop_in), earlier: vec![], expires: None };
            Surroundings { account: Some(account), sshd: Some(facts), ..self.around(&unreachable) }
        }

        fn enrol(&self, expires_at: Option<u64>) {
            let key = PublicKey::parse(KEY.as_bytes(), "key").unwrap();
            let conditions = Conditions { expires_at, ..Conditions::default() };
            keys::add(&self.realm, &"ada".parse().unwrap(), &key, &conditions, "file").unwrap();
        }

        fn line(&self) -> String {
            let key = self.realm.store.keys(None).unwrap().remove(0);
            sshd::authorized_keys_line(Path::new("/usr/bin/seamless"), &self.realm.dir, &key).unwrap()
        }

        fn active(&self, algorithm: SigningAlgorithm) -> SigningKey {
            signing::active(&self.realm, algorithm).unwrap()
        }

        fn put(&self, key: SigningKey) {
            self.realm.store.apply(&[Change::PutSigningKey(key)], &mut || Ok(())).unwrap();
        }
    }

    fn unreachable(url: &str) -> Result<String> {
        Err(Error::failed(format!("can't fetch {url}")))
    }

    /// What is wrong, without what the test has no host for.
    fn wrong(findings: Vec<Finding>) -> Vec<Finding> {
        let wrong =
            findings.into_iter().filter(|f| f.severity != Severity::Ok && !f.what.starts_with("can't fetch"));
        wrong.inspect(|f| assert!(f.mend.as_ref().is_some_and(|m| !m.is_empty()), "no mend: {f:?}")).collect()
    }

    #[track_caller]
    fn only(findings: Vec<Finding>, severity: Severity, what: &str, mend: &str) {
        let found = wrong(findings);
        assert!(
            found.len() == 1
                && found[0].severity == severity
                && found[0].what.contains(what)
                && found[0].mend.as_ref().unwrap().contains(mend),
            "{found:#?}"
        );
    }

    fn write_keys(bench: &Bench, text: &str) {
        sshd::write_authorized_keys(&bench.realm.dir, &mut |file| {
            file.write_all(text.as_bytes()).unwrap();
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_new_realm_is_well() {
        let bench = Bench::new(KeysBy::File);
        let findings = examine(&bench.realm, &bench.around(&unreachable));
        assert_eq!(wrong(findings.clone()), []);
        assert!(findings.iter().filter(|f| f.severity == Severity::Ok).count() >= 6, "{findings:#?}");
        bench.enrol(None);
        write_keys(&bench, &format!("# head\n{}\n", bench.line()));
        assert_eq!(wrong(examine(&bench.realm, &bench.hosted())), []);
        let bench = Bench::new(KeysBy::Command);
        assert_eq!(wrong(examine(&bench.realm, &bench.hosted())), []);
    }

    #[test]
    fn files_that_others_reach_are_named() {
        let bench = Bench::new(KeysBy::File);
        let secret = signing::path(&bench.realm.dir, &bench.active(SigningAlgorithm::Hmac));
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o440)).unwrap();
        let found = wrong(examine(&bench.realm, &bench.around(&unreachable)));
        assert!(found[0].what.contains("can be read by others (mode 0440)"), "{found:#?}");
        assert!(found[0].mend.as_ref().unwrap().starts_with("chmod 0400 "), "{found:#?}");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o400)).unwrap();

        std::os::unix::fs::symlink("/etc/passwd", bench.realm.dir.join("known_hosts")).unwrap();
        only(examine(&bench.realm, &bench.around(&unreachable)), Severity::Error, "is a link", "rm ");
        std::fs::remove_file(bench.realm.dir.join("known_hosts")).unwrap();

        let other = Surroundings { uid: 4_000_000, ..bench.around(&unreachable) };
        assert!(wrong(examine(&bench.realm, &other)).iter().any(|f| f.what.contains("not to uid 4000000")));

        let parent = bench.realm.dir.parent().unwrap();
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o777)).unwrap();
        only(
            examine(&bench.realm, &bench.around(&unreachable)),
            Severity::Error,
            "who can swap the realm",
            "chmod 0755",
        );
    }

    #[test]
    fn a_realm_that_does_not_open_is_looked_over_all_the_same() {
        let bench = Bench::new(KeysBy::File);
        let path = bench.realm.dir.join(config::FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\ncolour = \"red\"\n")).unwrap();
        let open = || Realm::open(&bench.realm.dir, Access::Read, bench.clock.clone()).err().unwrap();
        let findings = examine_closed(&open(), &bench.around(&unreachable));
        assert!(
            findings.iter().any(|f| f.severity == Severity::Error && f.what.contains("colour")),
            "{findings:#?}"
        );
        std::fs::set_permissions(&bench.realm.dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let findings = examine_closed(&open(), &bench.around(&unreachable));
        assert!(
            findings.iter().any(|f| f.mend.as_ref().is_some_and(|m| m.contains("chmod 0700"))),
            "{findings:#?}"
        );
    }

    /// What is asked for every day may lie on pages that are whole.
    #[test]
    fn a_page_that_the_disk_gave_back_wrong_is_found() {
        use std::os::unix::fs::FileExt as _;
        let Bench { realm, clock, _dir } = Bench::new(KeysBy::File);
        let dir = realm.dir.clone();
        // The last one out puts all into the one file.
        drop(realm);
        let file = std::fs::File::options().write(true).open(dir.join(crate::realm::DATABASE)).unwrap();
        // The root page of the first table or index.
        file.write_all_at(&[0x5a; 512], 4096).unwrap();
        let bench = Bench { realm: Realm::open(&dir, Access::Read, clock.clone()).unwrap(), clock, _dir };
        only(
            examine(&bench.realm, &bench.around(&unreachable)),
            Severity::Error,
            "realm.db is damaged",
            "from a backup",
        );
    }

    #[test]
    fn a_clock_that_is_wrong_and_a_log_that_was_changed() {
        let bench = Bench::new(KeysBy::File);
        bench.clock.set(NOW - 3600);
        only(
            examine(&bench.realm, &bench.around(&unreachable)),
            Severity::Error,
            "before the newest audit record",
            "accept-clock --dir",
        );
        bench.clock.set(12);
        only(
            examine(&bench.realm, &bench.around(&unreachable)),
            Severity::Error,
            "the clock says 1970",
            "set the clock",
        );
        bench.clock.set(NOW);
        bench.enrol(None);
        let file = bench.realm.dir.join("audit/2027-01.jsonl");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("realm.init", "realm.lint", 1)).unwrap();
        only(
            examine(&bench.realm, &bench.around(&unreachable)),
            Severity::Error,
            "audit/2027-01.jsonl line 2",
            "backup",
        );
    }

    #[test]
    fn signing_keys_that_end_are_lost_or_are_not_what_they_say() {
        let bench = Bench::new(KeysBy::File);
        let key = bench.active(SigningAlgorithm::EdDsa);
        let look = || examine(&bench.realm, &bench.around(&unreachable));
        bench.put(SigningKey { expires_at: Some(NOW + 86_400), ..key.clone() });
        only(look(), Severity::Warning, "expires 2027-01-16", "signing-key rotate --dir");
        bench.put(SigningKey { expires_at: Some(NOW), ..key.clone() });
        only(look(), Severity::Error, "has expired", "--algorithm EdDSA --now");
        bench.put(SigningKey { state: KeyState::Retired, retired_at: Some(NOW), ..key.clone() });
        only(look(), Severity::Error, "no signing key is active for EdDSA", "signing-key rotate");
        bench.put(key.clone());

        let path = signing::path(&bench.realm.dir, &key);
        let pem = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        only(look(), Severity::Error, "no such file", "restore the file");
        // Another key under its name.
        let other = signing::generate(&bench.realm.dir, SigningAlgorithm::EdDsa, NOW).unwrap();
        let stray = signing::path(&bench.realm.dir, &other);
        only(
            look().into_iter().filter(|f| f.severity == Severity::Warning).collect(),
            Severity::Warning,
            "belongs to no signing key",
            "rm ",
        );
        std::fs::rename(&stray, &path).unwrap();
        only(look(), Severity::Error, "is not the private key it should be", "backup");
        std::fs::remove_file(&path).unwrap();
        crate::backends::files::create_private(&path, &pem).unwrap();
        bench.put(SigningKey { kid: "another".into(), state: KeyState::Next, ..other });
        assert!(look().iter().any(|f| f.what.contains("the public half of signing key")));
    }

    #[test]
    fn user_keys_that_end_are_named() {
        let bench = Bench::new(KeysBy::File);
        bench.enrol(Some(NOW + 86_400));
        only(
            examine(&bench.realm, &bench.around(&unreachable)),
            Severity::Warning,
            "of ada expires 2027-01-16",
            "--user ada --expires",
        );
        bench.clock.set(NOW + 2 * 86_400);
        only(
            examine(&bench.realm, &bench.around(&unreachable)),
            Severity::Warning,
            "of ada expired",
            "key remove --dir",
        );
        bench.clock.set(NOW);
        bench.enrol(Some(NOW + 31 * 86_400));
        assert_eq!(wrong(examine(&bench.realm, &bench.around(&unreachable))), []);
    }

    #[test]
    fn the_published_keys_are_compared_with_ours() {
        let bench = Bench::new(KeysBy::File);
        let fetched = |text: String| {
            let fetch = move |url: &str| {
                assert_eq!(url, "https://login.example/corp/.well-known/jwks.json");
                Ok(text.clone())
            };
            let around = Surroundings { fetch: &fetch, ..bench.around(&unreachable) };
            wrong(examine(&bench.realm, &around))
        };
        let ours = trust::jwks(&bench.realm).unwrap();
        let mut set: Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(fetched(ours), []);
        // Members in another order say the same.
        let turned: serde_json::Map<_, _> =
            set["keys"][0].as_object().unwrap().clone().into_iter().rev().collect();
        assert_eq!(fetched(serde_json::json!({"keys": [turned]}).to_string()), []);
        set["keys"][0]["x"] = "AAAA".into();
        assert!(fetched(set.to_string())[0].what.contains("lacks key"));
        set["keys"][0]["kid"] = "evil".into();
        let found = fetched(set.to_string());
        assert!(
            found.len() == 2 && found[1].what.contains("has key evil, which is not of this realm"),
            "{found:#?}"
        );
        assert!(fetched("<html>".into())[0].what.contains("answers no JWK set"));
        let silent = examine(&bench.realm, &bench.around(&unreachable));
        let silent: Vec<_> = silent.iter().filter(|f| f.severity == Severity::Error).collect();
        assert!(
            silent.len() == 1 && silent[0].mend.as_ref().unwrap().contains("seamless serve --dir"),
            "{silent:#?}"
        );
    }

    #[test]
    fn lines_that_sshd_reads_follow_the_store() {
        let bench = Bench::new(KeysBy::File);
        bench.enrol(None);
        let look = |bench: &Bench| examine(&bench.realm, &bench.hosted());
        only(look(&bench), Severity::Error, "has no line for key SHA256:", "sudo seamless sync corp");
        let line = bench.line();
        write_keys(&bench, &format!("{line}\nssh-ed25519 AAAA evil\n"));
        only(
            look(&bench),
            Severity::Error,
            "authorized_keys line 2 is not of an enrolled key",
            "find out who wrote it",
        );
        write_keys(&bench, &line.replace("restrict,", ""));
        assert_eq!(wrong(look(&bench)).len(), 2);

        let bench = Bench::new(KeysBy::Command);
        write_keys(&bench, "");
        only(
            look(&bench),
            Severity::Error,
            "although AuthorizedKeysCommand serves",
            "sudo seamless sync corp",
        );
    }

    #[test]
    fn an_sshd_that_does_not_hold_the_fence_is_named() {
        let bench = Bench::new(KeysBy::Command);
        let around = |change: &dyn Fn(&mut Surroundings<'static>)| {
            let mut around = bench.hosted();
            change(&mut around);
            examine(&bench.realm, &around)
        };
        let set = |around: &mut Surroundings<'static>, name: &str, value: &str| {
            let settings = around.sshd.as_mut().unwrap().settings.as_mut().unwrap();
            settings.retain(|(k, _)| k != name);
            settings.push((name.to_owned(), value.to_owned()));
        };
        only(
            around(&|a| set(a, "trustedusercakeys", "/ca")),
            Severity::Error,
            "trustedusercakeys /ca",
            "Match User *,!corp",
        );
        only(
            around(&|a| set(a, "permituserenvironment", "yes")),
            Severity::Error,
            "permituserenvironment yes",
            "exempt",
        );
        only(
            around(&|a| set(a, "allowusers", "ada")),
            Severity::Warning,
            "allowusers ada",
            "let it name corp too",
        );
        only(
            around(&|a| a.sshd.as_mut().unwrap().earlier.push("/x.conf".into())),
            Severity::Warning,
            "/x.conf has Match blocks",
            "exempt",
        );
        only(
            around(&|a| a.sshd.as_mut().unwrap().drop_in = None),
            Severity::Error,
            "told nothing",
            "sudo seamless sync corp",
        );
        only(
            around(&|a| a.sshd.as_mut().unwrap().expires = Some(1)),
            Severity::Error,
            "the account corp is shut",
            "sudo seamless realm open corp",
        );
        only(
            around(&|a| a.sshd.as_mut().unwrap().drop_in = Some(String::new())),
            Severity::Warning,
            "out of date",
            "sync",
        );
        only(
            around(&|a| a.sshd.as_mut().unwrap().settings = Err("sshd refuses".into())),
            Severity::Error,
            "sshd refuses",
            "sshd -t",
        );
        only(around(&|a| a.sshd = None), Severity::Warning, "takes root", "sudo seamless doctor corp");
        only(
            around(&|a| a.account.as_mut().unwrap().shell = "/bin/bash".into()),
            Severity::Error,
            "/bin/bash",
            "usermod --shell /bin/sh corp",
        );
    }
}
