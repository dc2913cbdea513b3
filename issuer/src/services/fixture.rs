//! A realm for tests: made as `init` makes one, on a clock that stands still.

use std::sync::Arc;

use crate::clock::FixedClock;
use crate::config::{Digest, Format, KeysBy};
use crate::realm::Realm;
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
