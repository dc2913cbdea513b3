//! The store in one SQLite file.
//!
//! WAL with synchronous=FULL: readers never wait for a writer, and a change is on the disk when it is acknowledged.
//! Opening is what a forced command pays for on every log-in, so a read-only open does as little as it can.

mod glance;
mod spent;

use std::collections::HashSet;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, params,
};

use super::{
    Change, Enrolled, Enrolment, Fingerprint, KeyFate, KeyState, Revoked, SigningAlgorithm, SigningKey,
    Store, StoredRevocation, Then, Totals, User, UserKey,
};
use crate::backends::files;
use crate::error::{Error, Result, io};
use crate::names::UserName;
use glance::Glance;
use spent::Spent;

/// `slms`: tells our file from any other SQLite database.
const APPLICATION_ID: i32 = 0x736c_6d73;

/// Each entry takes the schema one version on. Never edit one that was released; add another.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE users (
        name       TEXT PRIMARY KEY,
        locked     INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE user_groups (
        user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
        name TEXT NOT NULL,
        PRIMARY KEY (user, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE user_scopes (
        user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
        name TEXT NOT NULL,
        PRIMARY KEY (user, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE user_keys (
        fingerprint    BLOB PRIMARY KEY,
        user           TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
        algorithm      TEXT NOT NULL,
        blob           BLOB NOT NULL,
        comment        TEXT NOT NULL,
        expires_at     INTEGER,
        origins        TEXT NOT NULL,
        require_touch  INTEGER NOT NULL,
        require_verify INTEGER NOT NULL,
        added_at       INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX user_keys_by_user ON user_keys (user, added_at);
    CREATE TABLE signing_keys (
        kid          TEXT PRIMARY KEY,
        algorithm    TEXT NOT NULL,
        state        TEXT NOT NULL,
        jwk          TEXT,
        created_at   INTEGER NOT NULL,
        activated_at INTEGER,
        retired_at   INTEGER,
        expires_at   INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX one_active_key ON signing_keys (algorithm) WHERE state = 'active';
    CREATE TABLE revocations (
        kind          TEXT NOT NULL,
        value         TEXT NOT NULL,
        owner         TEXT,
        issued_before INTEGER,
        created_at    INTEGER NOT NULL,
        keep_until    INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX revocations_by_end ON revocations (keep_until);
",
    "
    ALTER TABLE user_keys ADD COLUMN source TEXT;
",
];

/// How long one waits for another's change.
const BUSY: Duration = Duration::from_secs(5);

/// The version of the schema that this program writes.
pub const SCHEMA: usize = MIGRATIONS.len();

/// How to open the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For look-ups; makes and changes nothing, but takes an older schema forward first.
    ReadOnly,
    /// For changes; takes an older schema forward.
    ReadWrite,
    /// Makes the file.
    Create,
}

/// A [`Store`] in one file.
pub struct SqliteStore {
    inner: Mutex<Inner>,
    glance: Glance,
    spent: Spent,
    path: PathBuf,
    taken_forward: Option<i64>,
}

struct Inner {
    connection: Connection,
    /// Commits of this connection, which its own `data_version` does not count.
    commits: u64,
}

impl SqliteStore {
    /// Opens `realm.db`.
    pub fn open(path: &Path, mode: Mode) -> Result<Self> {
        prepare_file(path, mode)?;
        let access = match mode {
            Mode::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Mode::ReadWrite | Mode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags(path, flags).map_err(|e| trouble(path, &e))?;
        let set_up = connection.busy_timeout(BUSY).and_then(|()| match mode {
            Mode::ReadOnly => Ok(()),
            _ => connection.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
            ),
        });
        set_up.map_err(|e| trouble(path, &e))?;
        let mut version = read_version(&connection);
        if mode == Mode::ReadOnly && version.as_ref().is_err_and(needs_a_writer) {
            drop(connection);
            if nothing_changes(path) {
                // Without this SQLite wants to make two files beside it.
                let uri = format!("file:{}?immutable=1", in_uri(path));
                connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
                    .map_err(|e| trouble(path, &e))?;
            } else {
                // A process was killed and left a journal that only a writer may roll back.
                drop(Self::open(path, Mode::ReadWrite)?);
                connection = Connection::open_with_flags(path, flags).map_err(|e| trouble(path, &e))?;
            }
            connection.busy_timeout(BUSY).map_err(|e| trouble(path, &e))?;
            version = read_version(&connection);
        }
        let before = check_version(version.map_err(|e| trouble(path, &e))?, path, mode)?;
        let mut taken_forward = None;
        if before < newest() {
            if mode == Mode::ReadOnly {
                // A new version of the program was installed, and a log-in is the first to come: it must not fail.
                drop(connection);
                let taken_forward = Self::open(path, Mode::ReadWrite)?.taken_forward;
                return Ok(Self { taken_forward, ..Self::open(path, mode)? });
            }
            let done = migrate(&mut connection, before, MIGRATIONS).map_err(|e| trouble(path, &e))?;
            taken_forward = (done && before > 0).then_some(before);
        }
        Ok(Self {
            inner: Mutex::new(Inner { connection, commits: 0 }),
            glance: Glance::at(path),
            spent: Spent::beside(path),
            path: path.to_owned(),
            taken_forward,
        })
    }

    /// The schema that the database had, if opening it took it forward.
    #[must_use]
    pub fn taken_forward(&self) -> Option<i64> {
        self.taken_forward
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere rolled its transaction back; the connection is as good as before.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SqliteStore {
    fn spend(&self, nonce: &[u8], until: u64, now: u64) -> Result<bool> {
        self.spent.spend(nonce, until, now)
    }

    fn user(&self, name: &UserName) -> Result<Option<User>> {
        read_user(&self.lock().connection, name).map_err(|e| broken(&e))
    }

    fn each_user(&self, each: &mut dyn FnMut(User) -> Result<()>) -> Result<()> {
        let inner = self.lock();
        // Neither groups nor scopes can hold a newline.
        let sql = "SELECT name, locked, created_at,
                   (SELECT group_concat(name, char(10)) FROM
                    (SELECT name FROM user_groups WHERE user = users.name ORDER BY name)),
                   (SELECT group_concat(name, char(10)) FROM
                    (SELECT name FROM user_scopes WHERE user = users.name ORDER BY name))
                   FROM users ORDER BY name";
        each_row(&inner.connection, sql, &[], &mut |row| each(user_of(row).map_err(|e| broken(&e))?))
    }

    fn key(&self, fingerprint: &Fingerprint) -> Result<Option<UserKey>> {
        let inner = self.lock();
        let mut statement = inner.connection.prepare_cached(SELECT_ONE_KEY).map_err(|e| broken(&e))?;
        statement.query_row([&fingerprint.0[..]], user_key).optional().map_err(|e| broken(&e))
    }

    fn each_key(&self, user: Option<&UserName>, each: &mut dyn FnMut(UserKey) -> Result<()>) -> Result<()> {
        let inner = self.lock();
        let mut each = |row: &Row<'_>| each(user_key(row).map_err(|e| broken(&e))?);
        match user {
            Some(user) => {
                let sql = format!("{SELECT_KEY} WHERE user = ?1 ORDER BY added_at, fingerprint");
                each_row(&inner.connection, &sql, &[&user.as_str()], &mut each)
            }
            None => {
                // In the order of an index each row lies somewhere else: mapped, a million take 4 s and not 15.
                inner.connection.execute_batch(WALK).map_err(|e| broken(&e))?;
                let sql = format!("{SELECT_KEY} ORDER BY user, added_at, fingerprint");
                let walked = each_row(&inner.connection, &sql, &[], &mut each);
                inner.connection.execute_batch(WALKED).map_err(|e| broken(&e))?;
                walked
            }
        }
    }

    fn keys_ending(&self, at: u64, most: u32) -> Result<(Vec<UserKey>, u64)> {
        let inner = self.lock();
        let sql = format!("{SELECT_KEY} WHERE expires_at < ?1 ORDER BY expires_at, fingerprint LIMIT ?2");
        let first = rows(&inner.connection, &sql, &[&signed(at), &most], user_key)?;
        let all =
            count(&inner.connection, "SELECT count(*) FROM user_keys WHERE expires_at < ?1", &[&signed(at)])?;
        Ok((first, all))
    }

    fn totals(&self) -> Result<Totals> {
        let inner = self.lock();
        Ok(Totals {
            users: count(&inner.connection, "SELECT count(*) FROM users", &[])?,
            keys: count(&inner.connection, "SELECT count(*) FROM user_keys", &[])?,
        })
    }

    fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        let sql = "SELECT kid, algorithm, state, jwk, created_at, activated_at, retired_at, expires_at FROM signing_keys";
        let mut keys = rows(&self.lock().connection, sql, &[], signing_key)?;
        keys.sort_by(|a, b| (a.algorithm, a.created_at, &a.kid).cmp(&(b.algorithm, b.created_at, &b.kid)));
        Ok(keys)
    }

    fn revocations(&self, now: u64) -> Result<Vec<StoredRevocation>> {
        let sql = "SELECT kind, value, owner, issued_before, created_at, keep_until FROM revocations
                   WHERE keep_until > ?1 ORDER BY created_at, rowid";
        rows(&self.lock().connection, sql, &[&signed(now)], revocation)
    }

    fn check(&self) -> Result<()> {
        let inner = self.lock();
        let found: String = inner
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|e| trouble(&self.path, &e))?;
        if found == "ok" { Ok(()) } else { Err(damaged(&self.path)) }
    }

    fn version(&self) -> Result<u64> {
        self.glance.version(|| {
            let inner = self.lock();
            let mut statement =
                inner.connection.prepare_cached("PRAGMA data_version").map_err(|e| broken(&e))?;
            let others: u32 = statement.query_row([], |row| row.get(0)).map_err(|e| broken(&e))?;
            Ok((u64::from(others) << 32) | (inner.commits & 0xffff_ffff))
        })
    }

    fn copy_to(&self, to: &Path, frozen: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let reader = Connection::open_with_flags(&self.path, flags).map_err(|e| trouble(&self.path, &e))?;
        {
            let mut inner = self.lock();
            let writer = inner
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(|e| broken(&e))?;
            frozen()?;
            // What this connection has read from now on is what it will see, whatever is committed.
            reader.execute_batch("BEGIN; SELECT 1 FROM users LIMIT 1").map_err(|e| broken(&e))?;
            writer.rollback().map_err(|e| broken(&e))?;
        }
        prepare_file(to, Mode::Create)?;
        let mut copy = Connection::open(to).map_err(|e| trouble(to, &e))?;
        Backup::new(&reader, &mut copy).and_then(|backup| backup.step(-1)).map_err(|e| trouble(to, &e))?;
        // One file: without this, opening it would need two more beside it.
        copy.pragma_update(None, "journal_mode", "DELETE").map_err(|e| trouble(to, &e))
    }

    fn apply(&self, changes: &[Change], before_commit: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let mut inner = self.lock();
        let transaction = inner
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| broken(&e))?;
        for change in changes {
            apply_one(&transaction, change)?;
        }
        before_commit()?;
        transaction.commit().map_err(|e| broken(&e))?;
        inner.commits += 1;
        Ok(())
    }

    fn enrol(
        &self,
        batch: &[Enrolment],
        now: u64,
        before_commit: &mut dyn FnMut(&[Enrolled]) -> Result<Then>,
    ) -> Result<()> {
        let mut inner = self.lock();
        if batch.len() >= MANY {
            inner.connection.execute_batch(FOR_MANY).map_err(|e| broken(&e))?;
        }
        let transaction = inner
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| broken(&e))?;
        let fates = enrol_all(&transaction, batch, now)?;
        if before_commit(&fates)? == Then::RollBack {
            return transaction.rollback().map_err(|e| broken(&e));
        }
        transaction.commit().map_err(|e| broken(&e))?;
        inner.commits += 1;
        Ok(())
    }
}

/// A batch from which on [`FOR_MANY`] pays.
const MANY: usize = 1000;

/// A batch touches about as many pages as it has keys. With room for them, and without copying them from the log
/// into the database after each, a million keys write half as much.
const FOR_MANY: &str = "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 32000;";

const WALK: &str = "PRAGMA mmap_size = 1073741824;";
const WALKED: &str = "PRAGMA mmap_size = 0;";

const SELECT_KEY: &str = "SELECT fingerprint, user, algorithm, blob, comment, expires_at, origins, require_touch, \
                          require_verify, added_at, source FROM user_keys";
const SELECT_ONE_KEY: &str = "SELECT fingerprint, user, algorithm, blob, comment, expires_at, origins, require_touch, \
                              require_verify, added_at, source FROM user_keys WHERE fingerprint = ?1";

fn apply_one(transaction: &Transaction<'_>, change: &Change) -> Result<()> {
    match change {
        Change::EnsureUser(user) => {
            let sql =
                "INSERT INTO users (name, locked, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            let made =
                execute(transaction, sql, params![user.name.as_str(), user.locked, signed(user.created_at)])?;
            if made == 1 {
                edit_list(transaction, "user_groups", &user.name, &user.groups, &[])?;
                edit_list(transaction, "user_scopes", &user.name, &user.scopes, &[])?;
            }
            Ok(())
        }
        Change::RemoveUser(name) => {
            let gone = execute(transaction, "DELETE FROM users WHERE name = ?1", params![name.as_str()])?;
            if gone == 1 { Ok(()) } else { Err(no_user(name)) }
        }
        Change::SetLocked(name, locked) => {
            let sql = "UPDATE users SET locked = ?2 WHERE name = ?1";
            let set = execute(transaction, sql, params![name.as_str(), locked])?;
            if set == 1 { Ok(()) } else { Err(no_user(name)) }
        }
        Change::EditGroups { user, add, remove } => edit_list(transaction, "user_groups", user, add, remove),
        Change::EditScopes { user, add, remove } => edit_list(transaction, "user_scopes", user, add, remove),
        Change::AddKey(key) => add_key(transaction, key),
        Change::RemoveKey(fingerprint) => {
            let sql = "DELETE FROM user_keys WHERE fingerprint = ?1";
            let gone = execute(transaction, sql, params![&fingerprint.0[..]])?;
            if gone == 1 {
                Ok(())
            } else {
                Err(Error::failed(format!("there is no key {fingerprint} in this realm")))
            }
        }
        Change::PutSigningKey(key) => put_signing_key(transaction, key),
        Change::Revoke(revocation) => {
            let (kind, value, owner, issued_before) = parts(&revocation.what);
            let sql = "INSERT INTO revocations (kind, value, owner, issued_before, created_at, keep_until)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (created, until) = (signed(revocation.created_at), signed(revocation.keep_until));
            execute(transaction, sql, params![kind, value, owner, issued_before, created, until]).map(drop)
        }
        Change::Lift(what) => {
            let (kind, value, _, issued_before) = parts(what);
            let sql = "DELETE FROM revocations WHERE kind = ?1 AND value = ?2 AND issued_before IS ?3";
            execute(transaction, sql, params![kind, value, issued_before]).map(drop)
        }
        Change::ForgetRevocations { now } => {
            execute(transaction, "DELETE FROM revocations WHERE keep_until <= ?1", params![signed(*now)])
                .map(drop)
        }
    }
}

/// In the order of the table: neighbours share their page.
fn enrol_all(transaction: &Transaction<'_>, batch: &[Enrolment], now: u64) -> Result<Vec<Enrolled>> {
    let mut order: Vec<(usize, &Enrolment)> = batch.iter().enumerate().collect();
    order.sort_unstable_by_key(|(at, one)| (one.key.fingerprint, *at));
    let mut fates = Vec::with_capacity(batch.len());
    for (at, one) in order {
        fates.push((at, enrol_one(transaction, one)?));
    }
    fates.sort_unstable_by_key(|(at, _)| *at);
    let fates: Vec<_> = fates.into_iter().map(|(_, fate)| fate).collect();
    let written =
        batch.iter().zip(&fates).filter(|(_, fate)| matches!(fate.key, KeyFate::Added | KeyFate::Changed));
    lift_revocations(transaction, &written.map(|(one, _)| one.key.fingerprint).collect(), now)?;
    Ok(fates)
}

fn enrol_one(transaction: &Transaction<'_>, one: &Enrolment) -> Result<Enrolled> {
    let before = transaction
        .prepare_cached(SELECT_ONE_KEY)
        .and_then(|mut s| s.query_row([&one.key.fingerprint.0[..]], user_key).optional())
        .map_err(|e| broken(&e))?;
    let kept = before.as_ref().and_then(|old| with_unsaid(one, old)).map(Box::new);
    let key = kept.as_deref().unwrap_or(&one.key);
    let fate = match &before {
        None => KeyFate::Added,
        Some(old) if old.user != key.user => {
            let fate = KeyFate::Taken(old.user.clone());
            return Ok(Enrolled { key: fate, kept: None, groups: vec![], scopes: vec![] });
        }
        Some(old) if same_conditions(old, key) => KeyFate::Unchanged,
        Some(_) => KeyFate::Changed,
    };
    match fate {
        KeyFate::Added => {
            let sql =
                "INSERT INTO users (name, locked, created_at) VALUES (?1, 0, ?2) ON CONFLICT DO NOTHING";
            execute(transaction, sql, params![key.user.as_str(), signed(key.added_at)])?;
            insert_key(transaction, key)?;
        }
        KeyFate::Changed => {
            let sql = "UPDATE user_keys SET comment = ?2, expires_at = ?3, origins = ?4, require_touch = ?5,
                       require_verify = ?6, source = ?7 WHERE fingerprint = ?1";
            let values = params![
                &key.fingerprint.0[..],
                key.comment,
                key.expires_at.map(signed),
                key.from.join(","),
                key.require_touch,
                key.require_verify,
                key.source,
            ];
            execute(transaction, sql, values)?;
        }
        KeyFate::Unchanged | KeyFate::Taken(_) => {}
    }
    Ok(Enrolled {
        key: fate,
        groups: join(
            transaction,
            "INSERT INTO user_groups (user, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            key,
            &one.groups,
        )?,
        scopes: join(
            transaction,
            "INSERT INTO user_scopes (user, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            key,
            &one.scopes,
        )?,
        kept,
    })
}

/// The key with those conditions of `old` that nothing was said of; none where that changes nothing.
fn with_unsaid(one: &Enrolment, old: &UserKey) -> Option<UserKey> {
    let (key, unsaid) = (&one.key, one.unsaid);
    let with = UserKey {
        expires_at: if unsaid.expires_at { old.expires_at } else { key.expires_at },
        from: if unsaid.from { old.from.clone() } else { key.from.clone() },
        require_touch: if unsaid.require_touch { old.require_touch } else { key.require_touch },
        require_verify: if unsaid.require_verify { old.require_verify } else { key.require_verify },
        ..key.clone()
    };
    (!same_conditions(&with, key)).then_some(with)
}

fn same_conditions(a: &UserKey, b: &UserKey) -> bool {
    (a.expires_at, &a.from, a.require_touch, a.require_verify)
        == (b.expires_at, &b.from, b.require_touch, b.require_verify)
}

/// Gives what was not there before.
fn join(transaction: &Transaction<'_>, sql: &str, key: &UserKey, names: &[String]) -> Result<Vec<String>> {
    let mut new = Vec::new();
    for name in names {
        if execute(transaction, sql, params![key.user.as_str(), name])? == 1 {
            new.push(name.clone());
        }
    }
    Ok(new)
}

fn lift_revocations(transaction: &Transaction<'_>, keys: &HashSet<Fingerprint>, now: u64) -> Result<()> {
    let sql = "SELECT kind, value, owner, issued_before, created_at, keep_until FROM revocations
               WHERE kind = 'ssh_fp' AND keep_until > ?1";
    let mut back = Vec::new();
    each_row(transaction, sql, &[&signed(now)], &mut |row| {
        let old = revocation(row).map_err(|e| broken(&e))?;
        if let Revoked::SshKey { fingerprint, .. } = &old.what
            && Fingerprint::parse(fingerprint).is_some_and(|f| keys.contains(&f))
        {
            back.push(old);
        }
        Ok(())
    })?;
    for old in back {
        let Revoked::SshKey { user, .. } = &old.what else { continue };
        let what = Revoked::Subject { sub: user.clone(), issued_before: now.saturating_sub(1) };
        let new = StoredRevocation { what, created_at: now, keep_until: old.keep_until };
        apply_one(transaction, &Change::Revoke(new))?;
        apply_one(transaction, &Change::Lift(old.what))?;
    }
    Ok(())
}

fn add_key(transaction: &Transaction<'_>, key: &UserKey) -> Result<()> {
    let owner: Option<String> = transaction
        .prepare_cached("SELECT user FROM user_keys WHERE fingerprint = ?1")
        .and_then(|mut s| s.query_row([&key.fingerprint.0[..]], |row| row.get(0)).optional())
        .map_err(|e| broken(&e))?;
    if let Some(owner) = owner {
        return Err(Error::failed(format!("key {} already belongs to {owner}", key.fingerprint))
            .hint("one key, one user; remove it there first: seamless key remove"));
    }
    require_user(transaction, &key.user)?;
    insert_key(transaction, key)
}

fn insert_key(transaction: &Transaction<'_>, key: &UserKey) -> Result<()> {
    let sql = "INSERT INTO user_keys (fingerprint, user, algorithm, blob, comment, expires_at, origins, require_touch,
               require_verify, added_at, source) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let values = params![
        &key.fingerprint.0[..],
        key.user.as_str(),
        key.algorithm,
        key.blob,
        key.comment,
        key.expires_at.map(signed),
        key.from.join(","),
        key.require_touch,
        key.require_verify,
        signed(key.added_at),
        key.source,
    ];
    execute(transaction, sql, values).map(drop)
}

fn put_signing_key(transaction: &Transaction<'_>, key: &SigningKey) -> Result<()> {
    let sql = "INSERT INTO signing_keys (kid, algorithm, state, jwk, created_at, activated_at, retired_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
               ON CONFLICT (kid) DO UPDATE SET state = excluded.state, activated_at = excluded.activated_at,
               retired_at = excluded.retired_at, expires_at = excluded.expires_at";
    let values = params![
        key.kid,
        key.algorithm.as_str(),
        key.state.as_str(),
        key.jwk,
        signed(key.created_at),
        key.activated_at.map(signed),
        key.retired_at.map(signed),
        key.expires_at.map(signed),
    ];
    match transaction.execute(sql, values) {
        Ok(_) => Ok(()),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(Error::internal(format!("another key already signs {}", key.algorithm.as_str()))
                .hint("somebody rotated at the same moment; look: seamless signing-key list"))
        }
        Err(e) => Err(broken(&e)),
    }
}

fn edit_list(
    transaction: &Transaction<'_>,
    table: &'static str,
    user: &UserName,
    add: &[String],
    remove: &[String],
) -> Result<()> {
    require_user(transaction, user)?;
    for name in remove {
        execute(
            transaction,
            &format!("DELETE FROM {table} WHERE user = ?1 AND name = ?2"),
            params![user.as_str(), name],
        )?;
    }
    for name in add {
        let sql = format!("INSERT INTO {table} (user, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING");
        execute(transaction, &sql, params![user.as_str(), name])?;
    }
    Ok(())
}

fn require_user(transaction: &Transaction<'_>, name: &UserName) -> Result<()> {
    let there = transaction
        .prepare_cached("SELECT 1 FROM users WHERE name = ?1")
        .and_then(|mut s| s.exists([name.as_str()]))
        .map_err(|e| broken(&e))?;
    if there { Ok(()) } else { Err(no_user(name)) }
}

fn read_user(connection: &Connection, name: &UserName) -> rusqlite::Result<Option<User>> {
    let row = connection
        .prepare_cached("SELECT locked, created_at FROM users WHERE name = ?1")?
        .query_row([name.as_str()], |row| Ok((row.get(0)?, unsigned(row, 1)?)))
        .optional()?;
    let list = |sql: &str| -> rusqlite::Result<Vec<String>> {
        connection.prepare_cached(sql)?.query_map([name.as_str()], |row| row.get(0))?.collect()
    };
    // Of nobody too: how long the answer takes must not tell who is there.
    let groups = list("SELECT name FROM user_groups WHERE user = ?1 ORDER BY name")?;
    let scopes = list("SELECT name FROM user_scopes WHERE user = ?1 ORDER BY name")?;
    Ok(row.map(|(locked, created_at)| User { name: name.clone(), locked, groups, scopes, created_at }))
}

fn user_of(row: &Row<'_>) -> rusqlite::Result<User> {
    let list = |column| -> rusqlite::Result<Vec<String>> {
        let text: Option<String> = row.get(column)?;
        Ok(text.map(|t| t.split('\n').map(str::to_owned).collect()).unwrap_or_default())
    };
    Ok(User {
        name: user_name(row, 0)?,
        locked: row.get(1)?,
        groups: list(3)?,
        scopes: list(4)?,
        created_at: unsigned(row, 2)?,
    })
}

fn user_key(row: &Row<'_>) -> rusqlite::Result<UserKey> {
    let origins: String = row.get(6)?;
    Ok(UserKey {
        fingerprint: Fingerprint(row.get(0)?),
        user: user_name(row, 1)?,
        algorithm: row.get(2)?,
        blob: row.get(3)?,
        comment: row.get(4)?,
        expires_at: maybe_unsigned(row, 5)?,
        from: origins.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect(),
        require_touch: row.get(7)?,
        require_verify: row.get(8)?,
        added_at: unsigned(row, 9)?,
        source: row.get(10)?,
    })
}

fn signing_key(row: &Row<'_>) -> rusqlite::Result<SigningKey> {
    let algorithm: String = row.get(1)?;
    let state: String = row.get(2)?;
    Ok(SigningKey {
        kid: kid(row)?,
        algorithm: SigningAlgorithm::parse(&algorithm).ok_or_else(|| nonsense(1, &algorithm))?,
        state: KeyState::parse(&state).ok_or_else(|| nonsense(2, &state))?,
        jwk: row.get(3)?,
        created_at: unsigned(row, 4)?,
        activated_at: maybe_unsigned(row, 5)?,
        retired_at: maybe_unsigned(row, 6)?,
        expires_at: maybe_unsigned(row, 7)?,
    })
}

/// It names a file under `signing/`; a database that somebody else made must not lead anywhere else.
fn kid(row: &Row<'_>) -> rusqlite::Result<String> {
    let kid: String = row.get(0)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=128).contains(&kid.len()) && kid.bytes().all(plain) { Ok(kid) } else { Err(nonsense(0, &kid)) }
}

fn revocation(row: &Row<'_>) -> rusqlite::Result<StoredRevocation> {
    let kind: String = row.get(0)?;
    let value: String = row.get(1)?;
    let what = match kind.as_str() {
        "jti" => Revoked::Jti(value),
        "sub" => Revoked::Subject { sub: value, issued_before: unsigned(row, 3)? },
        "ssh_fp" => Revoked::SshKey { fingerprint: value, user: row.get(2)? },
        "kid" => Revoked::Kid(value),
        _ => return Err(nonsense(0, &kind)),
    };
    Ok(StoredRevocation { what, created_at: unsigned(row, 4)?, keep_until: unsigned(row, 5)? })
}

fn parts(what: &Revoked) -> (&'static str, &str, Option<&str>, Option<i64>) {
    match what {
        Revoked::Jti(jti) => ("jti", jti, None, None),
        Revoked::Subject { sub, issued_before } => ("sub", sub, None, Some(signed(*issued_before))),
        Revoked::SshKey { fingerprint, user } => ("ssh_fp", fingerprint, Some(user), None),
        Revoked::Kid(kid) => ("kid", kid, None, None),
    }
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql).map_err(|e| broken(&e))?;
    let list = statement.query_map(values, read).and_then(Iterator::collect);
    list.map_err(|e| broken(&e))
}

/// As [`rows`], without keeping them.
fn each_row(
    connection: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
    each: &mut dyn FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql).map_err(|e| broken(&e))?;
    let mut rows = statement.query(values).map_err(|e| broken(&e))?;
    while let Some(row) = rows.next().map_err(|e| broken(&e))? {
        each(row)?;
    }
    Ok(())
}

fn count(connection: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<u64> {
    let mut statement = connection.prepare_cached(sql).map_err(|e| broken(&e))?;
    statement.query_row(values, |row| unsigned(row, 0)).map_err(|e| broken(&e))
}

fn execute(transaction: &Transaction<'_>, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<usize> {
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(|e| broken(&e))
}

/// SQLite counts in i64; our times end long before it does.
fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|t| u64::try_from(t).unwrap_or(0))
}

fn maybe_unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    row.get::<_, Option<i64>>(column).map(|t| t.map(|t| u64::try_from(t).unwrap_or(0)))
}

fn user_name(row: &Row<'_>, column: usize) -> rusqlite::Result<UserName> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| nonsense(column, &text))
}

fn nonsense(column: usize, text: &str) -> rusqlite::Error {
    let what = format!("unexpected value {:?}", crate::names::shorten(text));
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, what.into())
}

fn no_user(name: &UserName) -> Error {
    Error::failed(format!("there is no user {name} in this realm")).hint("list them: seamless user list")
}

/// Makes the file with its mode, or refuses one that isn't there.
fn prepare_file(path: &Path, mode: Mode) -> Result<()> {
    if mode == Mode::Create {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(crate::backends::files::nofollow())
            .open(path)
            .map_err(|e| io("make", path, &e))?;
        return file
            .set_permissions(std::fs::Permissions::from_mode(0o600))
            .map_err(|e| io("make", path, &e));
    }
    // SQLite says "unable to open database file" for each of these.
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(Error::internal(format!("{} is a link or no file", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(io("read", path, &e).hint("restore it from a backup"))
        }
        Err(e) => Err(io("read", path, &e)),
    }
}

/// Whether the database is as a whole in its one file, on a file system that takes no changes.
fn nothing_changes(path: &Path) -> bool {
    let journal = path.with_extension("db-wal").metadata();
    files::room(path).is_ok_and(|room| room.read_only) && journal.map_or(true, |meta| meta.len() == 0)
}

/// A path as SQLite's URIs want it (sqlite.org/uri.html).
fn in_uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.map(|b| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Whether a reader can't read, though its file is there.
fn needs_a_writer(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// The schema of the database, 0 for a new one.
fn read_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Refuses a schema that this program can't work with.
fn check_version(version: i64, path: &Path, mode: Mode) -> Result<i64> {
    if version > newest() {
        return Err(Error::internal(format!(
            "{} is of schema {version}, this seamless knows up to {}",
            path.display(),
            newest()
        ))
        .hint("it was written by a newer seamless; install that one"));
    }
    if version == 0 && mode != Mode::Create {
        return Err(Error::internal(format!("{} is no realm's database", path.display()))
            .hint("restore it from a backup"));
    }
    Ok(version)
}

fn newest() -> i64 {
    i64::try_from(SCHEMA).unwrap_or(i64::MAX)
}

/// Takes the schema from `version` to the newest, all steps or none. Says whether it was this process that did.
fn migrate(connection: &mut Connection, version: i64, migrations: &[&str]) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    let current: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(current.max(version)).unwrap_or(usize::MAX);
    if done >= migrations.len() {
        return Ok(false);
    }
    for step in migrations.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(migrations.len()).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(true)
}

fn trouble(path: &Path, error: &rusqlite::Error) -> Error {
    let place = path.display();
    if says_little(error) && files::room(path).is_ok_and(|room| room.is_full()) {
        return Error::internal(format!("can't open {place}: no space left on the disk"))
            .hint("free some space or files and repeat; nothing was changed");
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            Error::internal(format!("{place} is not a database")).hint("restore it from a backup")
        }
        Some(ErrorCode::DatabaseCorrupt) => damaged(path),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            Error::internal(format!("can't open {place}: permission denied, or its folder can't be written"))
                .hint("run it as the realm's own account, or as root")
        }
        _ => {
            let error = broken(error);
            Error::new(error.kind(), format!("{place}: {}", error.message()))
                .hint(error.hint_text().unwrap_or("see seamless doctor"))
        }
    }
}

/// Whether the files beside the database may just not have found room: SQLite has no word for that.
fn says_little(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure))
}

fn damaged(path: &Path) -> Error {
    Error::internal(format!("{} is damaged", path.display())).hint("restore it from a backup")
}

fn broken(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::internal("the database was busy for 5 s").hint("another change is under way; repeat it")
        }
        Some(ErrorCode::DiskFull) => Error::internal("no space left on the disk")
            .hint("free some space and repeat; nothing was changed"),
        Some(ErrorCode::ReadOnly) => {
            Error::internal("the database can't be written").hint("see seamless doctor")
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            Error::internal("the database is damaged").hint("restore it from a backup")
        }
        _ => Error::internal(format!("the database says: {error}")).hint("see seamless doctor"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_keeps_the_contract() {
        super::super::contract::contract(
            &|dir| Box::new(SqliteStore::open(&dir.join("realm.db"), Mode::ReadWrite).unwrap()),
            &|dir| {
                SqliteStore::open(&dir.join("realm.db"), Mode::Create).unwrap();
            },
        );
    }

    #[test]
    fn a_newer_database_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("realm.db");
        SqliteStore::open(&path, Mode::Create).unwrap();
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        for mode in [Mode::ReadOnly, Mode::ReadWrite] {
            let error = SqliteStore::open(&path, mode).err().unwrap();
            assert!(
                error.message().ends_with("realm.db is of schema 7, this seamless knows up to 2"),
                "{error}"
            );
        }
    }

    #[test]
    fn migrations_run_forward_in_order_and_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "INSERT INTO a VALUES (1)", "UPDATE a SET x = x + 1"];
        migrate(&mut connection, 0, &steps[..2]).unwrap();
        migrate(&mut connection, 2, &steps).unwrap();
        migrate(&mut connection, 0, &steps).unwrap();
        assert_eq!(connection.query_row("SELECT x FROM a", [], |r| r.get::<_, i64>(0)).unwrap(), 2);
        let broken = [
            "CREATE TABLE a (x)",
            "INSERT INTO a VALUES (1)",
            "UPDATE a SET x = x + 1",
            "DROP TABLE a",
            "nonsense",
        ];
        assert!(migrate(&mut connection, 3, &broken).is_err());
        assert_eq!(
            connection.query_row("SELECT x FROM a", [], |r| r.get::<_, i64>(0)).unwrap(),
            2,
            "rolled back"
        );
    }

    #[test]
    fn trouble_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("realm.db");
        let why = |mode| SqliteStore::open(&path, mode).err().unwrap().message().to_owned();
        assert!(why(Mode::ReadOnly).contains("no such file"));
        assert!(!path.exists(), "a look-up makes nothing");
        std::fs::write(&path, "not a database at all, but long enough to look at: ".repeat(20)).unwrap();
        assert!(why(Mode::ReadOnly).contains("is not a database"), "{}", why(Mode::ReadOnly));
        std::fs::write(&path, "").unwrap();
        assert!(why(Mode::ReadWrite).contains("no realm's database"));
    }

    #[test]
    fn a_read_only_store_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("realm.db");
        SqliteStore::open(&path, Mode::Create).unwrap();
        let store = SqliteStore::open(&path, Mode::ReadOnly).unwrap();
        let change = Change::ForgetRevocations { now: 0 };
        assert!(store.apply(&[change], &mut || Ok(())).is_err());
        assert_eq!(store.users().unwrap(), []);
    }
}
