//! Looking at the audit log, and going on after a clock that was wrong.

use serde_json::{Value, json};

use crate::backends::audit::{Door, Filter, Record, Report};
use crate::error::{Error, Result};
use crate::realm::Realm;

/// The records that pass the filter, the newest last.
pub fn read(realm: &Realm, filter: &Filter) -> Result<Vec<Value>> {
    realm.audit.read(filter)
}

/// Walks the whole chain.
pub fn verify(realm: &Realm) -> Result<Report> {
    realm.audit.verify()
}

/// Takes the clock's time as right although a record is newer, and records that.
pub fn accept_clock(realm: &Realm) -> Result<()> {
    let now = realm.now();
    let newest = realm.audit.newest()?;
    if newest.as_ref().is_none_or(|newest| newest.at <= now) {
        return Err(Error::failed("no record is newer than the clock; there is nothing to accept"));
    }
    let record = Record {
        action: "audit.accept-clock",
        subject: None,
        fingerprint: None,
        door: Door::Cli,
        address: None,
        asked: Value::Null,
        given: json!({"newest_before": newest.as_ref().map(|n| n.at)}),
        outcome: "ok",
        id: None,
    };
    realm.audit.append_accepting_clock(now, &record, true)
}
