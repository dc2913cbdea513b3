//! Every change to keys or policy is one audit record and one transaction: both happen or neither.

use serde_json::Value;

use crate::backends::audit::{Door, Record};
use crate::backends::store::{Change, Fingerprint, Revoked, StoredRevocation};
use crate::config;
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

/// As [`commit`], and takes tokens back in the same step. Gives the revocation as it is kept.
///
/// Whoever read the store before this was committed may have minted up to then, and waiting for the disk and for
/// other writers takes seconds: what counts for a subject is the time after the commit, not the one before.
pub(super) fn commit_revoking(
    realm: &Realm,
    deed: Deed<'_>,
    changes: Vec<Change>,
    what: Revoked,
) -> Result<StoredRevocation> {
    let mut revocation = revocation(what, realm.now());
    let mut changes = changes;
    changes.push(Change::Revoke(revocation.clone()));
    commit(realm, deed, &changes)?;
    let after = realm.now();
    if let Revoked::Subject { sub, issued_before } = &revocation.what
        && *issued_before < after
    {
        let hint = format!(
            "it is done, but tokens of its last seconds may live: seamless token revoke --user {sub}"
        );
        revocation = self::revocation(Revoked::Subject { sub: sub.clone(), issued_before: after }, after);
        let later = [Change::Revoke(revocation.clone())];
        realm.store.apply(&later, &mut || Ok(())).map_err(|e| e.hint(hint))?;
    }
    Ok(revocation)
}

/// A revocation from `now` on.
pub(super) fn revocation(what: Revoked, now: u64) -> StoredRevocation {
    StoredRevocation { what, created_at: now, keep_until: now + config::REVOKED_FOR }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeysBy;
    use crate::services::fixture::{NOW, Watched, realm};
    use crate::services::keys::tests::{enrol, token, verdict};
    use crate::services::{revoke, users};

    /// Attack: keep asking while the administrator locks, removes or revokes, and hope for a token of the second
    /// between that decision and its commit.
    #[test]
    fn what_is_minted_while_a_revocation_waits_is_revoked_too() {
        type Verb = fn(&Realm, &UserName) -> Result<()>;
        let verbs: [Verb; 3] = [
            users::lock,
            |realm, user| users::remove(realm, user).map(drop),
            |realm, user| revoke::revoke(realm, revoke::Which::User(user.clone())).map(drop),
        ];
        for verb in verbs {
            let (_parent, clock, mut realm) = realm(KeysBy::File);
            let key = enrol(&realm, "ada");
            let other = Realm::open(&realm.dir, crate::realm::Access::Read, clock.clone()).unwrap();
            let late = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
            let minted = std::sync::Arc::clone(&late);
            let watched = Watched::over(&realm);
            watched.before_apply(move || {
                // The lock of another writer was waited for; meanwhile another process mints.
                clock.set(clock.0.load(std::sync::atomic::Ordering::SeqCst) + 3);
                let mut minted = minted.lock().unwrap();
                if minted.is_empty() {
                    *minted = token(&other, "ada", &key);
                }
            });
            realm.store = Box::new(watched);
            verb(&realm, &"ada".parse().unwrap()).unwrap();
            assert_eq!(verdict(&realm, &late.lock().unwrap()), "revoked");
        }
    }

    /// A clock that was days ahead for a while: what was revoked before is revoked when it is right again.
    #[test]
    fn a_revocation_outlives_a_clock_that_went_ahead() {
        let (_parent, clock, realm) = realm(KeysBy::File);
        let key = enrol(&realm, "ada");
        let old = token(&realm, "ada", &key);
        revoke::revoke(&realm, revoke::Which::User("ada".parse().unwrap())).unwrap();
        clock.set(NOW + 7 * 86_400);
        revoke::revoke(&realm, revoke::Which::Jti("another".to_owned())).unwrap();
        clock.set(NOW + 10);
        assert_eq!(verdict(&realm, &old), "revoked");
    }

    /// Attack: a token of long life, a revocation, and settings that are made shorter between the two: the
    /// revocation must not be forgotten before the token has ended.
    #[test]
    fn a_revocation_outlives_every_token_whatever_the_settings() {
        let (_parent, clock, mut realm) = realm(KeysBy::File);
        let key = enrol(&realm, "ada");
        realm.config.tokens.max_ttl.0 = 86_400;
        realm.config.tokens.ttl.0 = 86_400;
        let old = token(&realm, "ada", &key);
        realm.config.tokens.max_ttl.0 = 60;
        realm.config.tokens.ttl.0 = 60;
        let ada = "ada".parse().unwrap();
        users::lock(&realm, &ada).unwrap();
        users::unlock(&realm, &ada).unwrap();
        clock.set(NOW + 80_000);
        let which = revoke::Which::Jti("another".to_owned());
        revoke::revoke(&realm, which).unwrap();
        assert_eq!(verdict(&realm, &old), "revoked");
    }
}
