//! A realm for tests: made as `init` makes one, on a clock that stands still.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::backends::store::{
    Change, Enrolled, Enrolment, Fingerprint, Mode, SigningKey, SqliteStore, Store, StoredRevocation, Then,
    Totals, User, UserKey,
};
use crate::clock::FixedClock;
use crate::config::{Digest, Format, KeysBy};
use crate::error::Result;
use crate::names::UserName;
use crate::realm::{DATABASE, Realm};
use crate::services::init::{self, Plan};

/// When it is made.
pub(crate) const NOW: u64 = 1_800_000_000;

/// The realm, its clock, and the folder that it is gone with.
pub(crate) fn realm(keys: KeysBy) -> (tempfile::TempDir, Arc<FixedClock>, Realm) {
    let parent = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::at(NOW));
    let plan = Plan {
        name: "corp".parse().unwrap(),
        issuer: "https://login.example/corp".into(),
        format: Format::Jwt,
        digest: Digest::Sha1,
        keys,
        secret: None,
    };
    let realm = init::create(&parent.path().join("corp"), &plan, clock.clone()).unwrap();
    (parent, clock, realm)
}

/// A store that counts what it is asked, and lets a test do something just before a change.
pub(crate) struct Watched {
    inner: SqliteStore,
    asked: Arc<AtomicUsize>,
    before_apply: Mutex<Box<dyn FnMut() + Send>>,
}

impl Watched {
    /// Over the database of a realm.
    pub(crate) fn over(realm: &Realm) -> Self {
        let inner = SqliteStore::open(&realm.dir.join(DATABASE), Mode::ReadWrite).unwrap();
        Self { inner, asked: Arc::default(), before_apply: Mutex::new(Box::new(|| ())) }
    }

    /// How often it was asked so far.
    pub(crate) fn asked(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.asked)
    }

    /// What happens while a change waits.
    pub(crate) fn before_apply(&self, act: impl FnMut() + Send + 'static) {
        *self.before_apply.lock().unwrap() = Box::new(act);
    }

    fn counted(&self) -> &SqliteStore {
        self.asked.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }
}

impl Store for Watched {
    fn spend(&self, nonce: &[u8], until: u64, now: u64) -> Result<bool> {
        self.counted().spend(nonce, until, now)
    }

    fn user(&self, name: &UserName) -> Result<Option<User>> {
        self.counted().user(name)
    }

    fn each_user(&self, each: &mut dyn FnMut(User) -> Result<()>) -> Result<()> {
        self.counted().each_user(each)
    }

    fn key(&self, fingerprint: &Fingerprint) -> Result<Option<UserKey>> {
        self.counted().key(fingerprint)
    }

    fn each_key(&self, user: Option<&UserName>, each: &mut dyn FnMut(UserKey) -> Result<()>) -> Result<()> {
        self.counted().each_key(user, each)
    }

    fn keys_ending(&self, at: u64, most: u32) -> Result<(Vec<UserKey>, u64)> {
        self.counted().keys_ending(at, most)
    }

    fn totals(&self) -> Result<Totals> {
        self.counted().totals()
    }

    fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        self.counted().signing_keys()
    }

    fn revocations(&self, now: u64) -> Result<Vec<StoredRevocation>> {
        self.counted().revocations(now)
    }

    fn check(&self) -> Result<()> {
        self.counted().check()
    }

    fn version(&self) -> Result<u64> {
        self.counted().version()
    }

    fn apply(&self, changes: &[Change], before_commit: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        (self.before_apply.lock().unwrap())();
        self.counted().apply(changes, before_commit)
    }

    fn enrol(
        &self,
        batch: &[Enrolment],
        now: u64,
        before_commit: &mut dyn FnMut(&[Enrolled]) -> Result<Then>,
    ) -> Result<()> {
        self.counted().enrol(batch, now, before_commit)
    }

    fn copy_to(&self, to: &Path, frozen: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.counted().copy_to(to, frozen)
    }
}
