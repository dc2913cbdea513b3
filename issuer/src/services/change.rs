//! Every change to keys or policy is one audit record and one transaction: both happen or neither.

use serde_json::Value;

use crate::backends::audit::{Door, Record};
use crate::backends::store::{Change, Fingerprint};
use crate::error::Result;
use crate::names::UserName;
use crate::realm::Realm;

/// What the audit log says of a change.
#[derive(Clone, Debug)]
pub struct Deed<'a> {
    /// Such as `key.add`.
    pub action: &'static str,
    /// Whom it is about.
    pub user: Option<&'a UserName>,
    /// Which key it is about.
    pub fingerprint: Option<Fingerprint>,
    /// The particulars.
    pub given: Value,
}

impl Deed<'_> {
    /// As the audit log has it.
    pub(super) fn record(self) -> Record {
        Record {
            action: self.action,
            subject: self.user.map(ToString::to_string),
            fingerprint: self.fingerprint.map(|f| f.to_string()),
            door: Door::Cli,
            address: None,
            asked: Value::Null,
            given: self.given,
            outcome: "ok",
            id: None,
        }
    }
}

/// Applies the changes and records the deed, durably, in one step.
pub fn commit(realm: &Realm, deed: Deed<'_>, changes: &[Change]) -> Result<()> {
    let record = deed.record();
    let now = realm.now();
    realm.store.apply(changes, &mut || realm.audit.append(now, &record, true))
}
