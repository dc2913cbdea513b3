//! Challenges that were answered, in a file of their own beside the realm's.
//!
//! Not in `realm.db`: every log-in would be a durable write there, and would tell all who watch it that the realm has
//! changed. What is lost with the machine's power is good for 20 s, and a machine takes longer to come back.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, params};

use super::{BUSY, Mode, prepare_file, trouble};
use crate::error::{Error, Result};

/// The file's name in a realm's directory.
const FILE: &str = "spent.db";
/// The most that are remembered: log-ins of 20 s.
const MOST: u64 = 1_000_000;

/// Opened at the first log-in.
pub(super) struct Spent {
    path: PathBuf,
    inner: Mutex<Option<Inner>>,
}

struct Inner {
    connection: Connection,
    /// When the lapsed ones were last swept out, and how many there are since.
    swept: u64,
    held: u64,
}

impl Spent {
    pub(super) fn beside(database: &Path) -> Self {
        Self { path: database.with_file_name(FILE), inner: Mutex::new(None) }
    }

    /// Whether nobody had spent it before.
    pub(super) fn spend(&self, nonce: &[u8], until: u64, now: u64) -> Result<bool> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.is_none() {
            *inner = Some(Inner { connection: self.open()?, swept: 0, held: 0 });
        }
        let Some(inner) = inner.as_mut() else { return Err(Error::internal("no file of spent challenges")) };
        inner.spend(nonce, until, now).map_err(|e| trouble(&self.path, &e))?.ok_or_else(|| {
            Error::internal("too many log-ins at once")
                .hint("log-ins of 20 s are remembered, a million of them")
        })
    }

    fn open(&self) -> Result<Connection> {
        prepare_file(&self.path, Mode::Create)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA trusted_schema = OFF;
                 CREATE TABLE IF NOT EXISTS spent (nonce BLOB PRIMARY KEY, until INTEGER NOT NULL)
                 STRICT, WITHOUT ROWID;",
            )?;
            Ok(connection)
        };
        open().map_err(|e| trouble(&self.path, &e))
    }
}

impl Inner {
    /// None where there is no room.
    fn spend(&mut self, nonce: &[u8], until: u64, now: u64) -> rusqlite::Result<Option<bool>> {
        if self.swept != now {
            let sql = i64::try_from(now).unwrap_or(i64::MAX);
            self.connection.prepare_cached("DELETE FROM spent WHERE until < ?1")?.execute(params![sql])?;
            let mut count = self.connection.prepare_cached("SELECT count(*) FROM spent")?;
            self.held = count.query_row([], |row| row.get::<_, i64>(0))?.try_into().unwrap_or(MOST);
            self.swept = now;
        }
        if self.held >= MOST {
            return Ok(None);
        }
        let sql = i64::try_from(until).unwrap_or(i64::MAX);
        let mut insert =
            self.connection.prepare_cached("INSERT INTO spent VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        let fresh = insert.execute(params![nonce, sql])? == 1;
        self.held += u64::from(fresh);
        Ok(Some(fresh))
    }
}
