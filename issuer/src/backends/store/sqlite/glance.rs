//! Whether anything was committed since somebody last looked, without asking SQLite.
//!
//! `/verify` wants to know for every request. `PRAGMA data_version` takes and gives back a lock on the file, which is three
//! system calls under the connection's mutex, and costs more than a token's HMAC and everything around it. The header of
//! the WAL index changes with every commit, in the moment in which readers begin to see it: one small read tells.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

use crate::error::Result;

/// The first of the header's two copies (`WalIndexHdr` in SQLite's wal.c), which is written last. Its change counter,
/// number of frames and checksum are in it.
type Header = [u8; 48];

/// Whoever asks more often than this goes on asking.
const SELDOM: u32 = 8;

/// The version as of a header.
pub(super) struct Glance {
    path: PathBuf,
    asked: AtomicU32,
    /// Never closed: closing any handle of a file gives up all locks that the process has on it, SQLite's among them.
    index: OnceLock<Option<ManuallyDrop<File>>>,
    known: RwLock<Option<(Header, u64)>>,
}

impl Glance {
    /// At the WAL index beside this database.
    pub(super) fn at(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-shm");
        Self { path: path.into(), asked: AtomicU32::new(0), index: OnceLock::new(), known: RwLock::new(None) }
    }

    /// The version, from `ask` unless it is certain that nothing was committed since that was last called.
    pub(super) fn version(&self, ask: impl FnOnce() -> Result<u64>) -> Result<u64> {
        // Before asking: what is committed in between is then found the next time.
        let Some(header) = self.header() else { return ask() };
        if let Some((then, version)) = *self.known.read().unwrap_or_else(PoisonError::into_inner)
            && then == header
        {
            return Ok(version);
        }
        let version = ask()?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((header, version));
        Ok(version)
    }

    /// None for who asks seldom, and where a file that is mapped may be read otherwise than what was written into it.
    fn header(&self) -> Option<Header> {
        if !cfg!(target_os = "linux") || self.asked.load(Ordering::Relaxed) < SELDOM {
            self.asked.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        // Our connection has been asked before, so SQLite holds the file open and nobody removes it.
        let index = self.index.get_or_init(|| File::open(&self.path).ok().map(ManuallyDrop::new));
        let mut header: Header = [0; 48];
        index.as_ref()?.read_exact_at(&mut header, 0).ok()?;
        Some(header)
    }
}
