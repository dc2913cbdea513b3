//! A realm that is open: its directory, settings, store and audit log. Every service takes one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::json;

use crate::backends::audit::{AuditLog, Record};
use crate::backends::files;
use crate::backends::store::{Mode, SCHEMA, SqliteStore, Store};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::names::RealmName;
use crate::services::session::Strangers;
use crate::services::sources::Sources;
use crate::services::trust::TrustCache;

/// The database's name in a realm's directory.
pub const DATABASE: &str = "realm.db";
/// Where the private keys and secrets lie.
pub const SIGNING: &str = "signing";
/// Where the audit log lies.
pub const AUDIT: &str = "audit";

/// What the opener is going to do. A forced command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Opens the store read-only.
    Read,
    /// Opens it for changes.
    Write,
}

/// An open realm, shared by the doors of a `serve`.
pub struct Realm {
    /// Its name.
    pub name: RealmName,
    /// Its directory.
    pub dir: PathBuf,
    /// `realm.toml`.
    pub config: Config,
    /// `realm.db`.
    pub store: Box<dyn Store>,
    /// `audit/`.
    pub audit: AuditLog,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// What verifiers trust, kept until the store changes.
    pub(crate) trust: TrustCache,
    /// How many unknown keys were proven of late.
    pub(crate) strangers: Strangers,
    /// Where keys come from beside the store.
    pub(crate) sources: Sources,
    /// What `serve` counts; nothing elsewhere.
    pub metrics: OnceLock<Arc<Metrics>>,
    /// The schema of its database, if opening it took that forward.
    pub upgraded_from: Option<i64>,
}

impl Realm {
    /// Opens the realm in `dir`.
    pub fn open(dir: &Path, access: Access, clock: Arc<dyn Clock>) -> Result<Self> {
        refuse_no_realm(dir)?;
        files::check_private_dir(dir)?;
        let config = Config::load(dir)?;
        let mode = match access {
            Access::Read => Mode::ReadOnly,
            Access::Write => Mode::ReadWrite,
        };
        let store = SqliteStore::open(&dir.join(DATABASE), mode)?;
        let from = store.taken_forward();
        let realm = Self::assemble(dir, config, store, clock)?;
        if let Some(from) = from {
            let record =
                Record::of_the_realm("realm.upgrade", json!({"from_schema": from, "to_schema": SCHEMA}));
            realm.audit.append(realm.now(), &record, true)?;
        }
        Ok(Self { upgraded_from: from, ..realm })
    }

    /// Puts an open store and settings together.
    pub(crate) fn assemble(
        dir: &Path,
        config: Config,
        store: impl Store + 'static,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Ok(Self {
            name: config.name()?,
            dir: dir.to_owned(),
            sources: Sources::new(&config.sources, dir),
            config,
            store: Box::new(store),
            audit: AuditLog::at(&dir.join(AUDIT)),
            clock,
            trust: TrustCache::default(),
            strangers: Strangers::default(),
            metrics: OnceLock::new(),
            upgraded_from: None,
        })
    }

    /// Leaves the tidying to the end of the process: freeing a read-only database page by page would be a tenth of
    /// what a mint costs.
    pub fn abandon(self) {
        std::mem::forget(self);
    }

    /// Unix seconds now.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now()
    }
}

fn refuse_no_realm(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        return Err(Error::failed(format!("there is no realm in {}: no such directory", dir.display()))
            .hint(format!("make one: seamless init --dir {}", dir.display())));
    }
    if dir.join(config::FILE).symlink_metadata().is_err() {
        let original = dir.join("secret").exists() && dir.join("keys").is_dir();
        let error = Error::failed(format!("{} is not a realm: it has no {}", dir.display(), config::FILE));
        return Err(if original {
            error.hint(format!(
                "it looks like one of the Python seamless; adopt it: seamless adopt --dir {}",
                dir.display()
            ))
        } else {
            error.hint(format!("make one: seamless init --dir {}", dir.display()))
        });
    }
    Ok(())
}
