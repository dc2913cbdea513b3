//! User keys: enrolling, listing, removing, and the lines that sshd reads.

use serde_json::json;

use crate::backends::audit::Record;
use crate::backends::store::{
    Change, Enrolled, Enrolment, Fingerprint, KeyFate, Revoked, Then, Totals, Unsaid, UserKey,
};
use crate::error::{Error, Result};
use crate::names::{RealmName, UserName};
use crate::public_key::PublicKey;
use crate::realm::Realm;
use crate::services::change::{Deed, commit_revoking};
use crate::services::sources;

/// What may be asked of a key beyond its signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Unix seconds after which it mints no more.
    pub expires_at: Option<u64>,
    /// Addresses and CIDRs it may come from.
    pub from: Vec<String>,
    /// Refused for keys that no authenticator holds; sshd asks `sk-*` keys for a touch anyway.
    pub require_touch: bool,
    /// sshd asks for a PIN or biometric.
    pub require_verify: bool,
}

/// Enrols a key for a user, who is made if there is none of that name. Enrolling the same key for the same user
/// again changes its conditions. `source` says where the key came from.
pub fn add(
    realm: &Realm,
    user: &UserName,
    key: &PublicKey,
    conditions: &Conditions,
    source: &str,
) -> Result<KeyFate> {
    let mut fates = add_all(realm, user, std::slice::from_ref(key), conditions, source)?;
    fates.pop().ok_or_else(|| Error::internal("the key was neither enrolled nor refused"))
}

/// As [`add`], for several keys of one user: all of them or none.
pub fn add_all(
    realm: &Realm,
    user: &UserName,
    keys: &[PublicKey],
    conditions: &Conditions,
    source: &str,
) -> Result<Vec<KeyFate>> {
    let now = realm.now();
    keys.iter().try_for_each(|key| check(key, conditions, now))?;
    let batch: Vec<_> = keys.iter().map(|key| enrolment(user, key, conditions, source, now)).collect();
    let mut fates = Vec::new();
    enrol(realm, &batch, &mut |all| {
        for (key, fate) in keys.iter().zip(all) {
            if let KeyFate::Taken(owner) = &fate.key {
                return Err(taken(&realm.name, &key.fingerprint, owner));
            }
            fates.push(fate.key.clone());
        }
        Ok(Then::Commit)
    })?;
    Ok(fates)
}

/// What the store is to be given for a key.
#[must_use]
pub(super) fn enrolment(
    user: &UserName,
    key: &PublicKey,
    conditions: &Conditions,
    source: &str,
    now: u64,
) -> Enrolment {
    let key = UserKey {
        fingerprint: key.fingerprint,
        user: user.clone(),
        algorithm: key.algorithm.to_owned(),
        blob: key.blob.clone(),
        comment: key.comment.clone(),
        expires_at: conditions.expires_at,
        from: conditions.from.clone(),
        require_touch: conditions.require_touch,
        require_verify: conditions.require_verify,
        added_at: now,
        source: Some(source.to_owned()),
    };
    Enrolment { key, unsaid: Unsaid::default(), groups: vec![], scopes: vec![] }
}

/// Enrols a batch in one transaction, with one audit record for each key that is added or changed and each list
/// that grows. `decide` learns what became of each, before anything is recorded.
pub(super) fn enrol(
    realm: &Realm,
    batch: &[Enrolment],
    decide: &mut dyn FnMut(&[Enrolled]) -> Result<Then>,
) -> Result<()> {
    let now = realm.now();
    realm.store.enrol(batch, now, &mut |fates| {
        let then = decide(fates)?;
        if then == Then::Commit {
            let records: Vec<_> =
                batch.iter().zip(fates).flat_map(|(one, fate)| records(one, fate)).collect();
            realm.audit.append_all(now, &records, true)?;
        }
        Ok(then)
    })
}

fn records<'a>(one: &'a Enrolment, fate: &'a Enrolled) -> impl Iterator<Item = Record> + use<'a> {
    let key = fate.kept.as_deref().unwrap_or(&one.key);
    let action = match fate.key {
        KeyFate::Added => Some("key.add"),
        KeyFate::Changed => Some("key.change"),
        KeyFate::Unchanged | KeyFate::Taken(_) => None,
    };
    let written = action.map(|action| {
        let given = json!({"type": key.algorithm, "expires_at": key.expires_at, "from": key.from,
                           "require_touch": key.require_touch, "require_verify": key.require_verify,
                           "source": key.source});
        Deed { action, user: Some(&key.user), fingerprint: Some(key.fingerprint), given }.record()
    });
    let lists = [("user.groups", &fate.groups), ("user.scopes", &fate.scopes)];
    let grown = lists.into_iter().filter(|(_, new)| !new.is_empty()).map(|(action, new)| {
        let given = json!({"add": new, "remove": [], "source": key.source});
        Deed { action, user: Some(&key.user), fingerprint: None, given }.record()
    });
    written.into_iter().chain(grown)
}

/// What is said of a key that another user has.
pub(super) fn taken(realm: &RealmName, fingerprint: &Fingerprint, owner: &UserName) -> Error {
    Error::failed(format!("key {fingerprint} already belongs to {owner}")).hint(format!(
        "one key, one user; take it from {owner} first: seamless key remove {realm} {fingerprint}"
    ))
}

/// Every key, or one user's, one after the other.
pub fn each(
    realm: &Realm,
    user: Option<&UserName>,
    each: &mut dyn FnMut(UserKey) -> Result<()>,
) -> Result<()> {
    realm.store.each_key(user, each)
}

/// How many users and keys the realm has.
pub fn totals(realm: &Realm) -> Result<Totals> {
    realm.store.totals()
}

/// The enrolled key of this wire form. Whoever offers it has proven nothing yet.
pub fn offered(realm: &Realm, blob: &[u8]) -> Result<Option<UserKey>> {
    sources::key(realm, &Fingerprint::of(blob))
}

/// Removes a key, and revokes the tokens that it fetched.
pub fn remove(realm: &Realm, fingerprint: Fingerprint) -> Result<UserName> {
    let key = realm.store.key(&fingerprint)?.ok_or_else(|| {
        Error::failed(format!("there is no key {fingerprint} in this realm"))
            .hint(format!("list them: seamless key list {}", realm.name))
    })?;
    let what = Revoked::SshKey { fingerprint: fingerprint.to_string(), user: key.user.to_string() };
    let deed = Deed {
        action: "key.remove",
        user: Some(&key.user),
        fingerprint: Some(fingerprint),
        given: json!({}),
    };
    commit_revoking(realm, deed, vec![Change::RemoveKey(fingerprint)], what)?;
    Ok(key.user)
}

/// Whether a key can meet the conditions.
pub(super) fn check(key: &PublicKey, conditions: &Conditions, now: u64) -> Result<()> {
    if (conditions.require_touch || conditions.require_verify) && !key.is_sk() {
        let what = if conditions.require_touch { "a touch" } else { "a PIN or biometric" };
        return Err(Error::usage(format!(
            "{what} can only be asked of a key that an authenticator holds, this one is {}",
            key.algorithm
        ))
        .hint("make one: ssh-keygen -t ed25519-sk"));
    }
    if conditions.expires_at.is_some_and(|at| at <= now) {
        return Err(Error::usage("the key would have expired already"));
    }
    for from in &conditions.from {
        if from.parse::<ipnet::IpNet>().is_err() && from.parse::<std::net::IpAddr>().is_err() {
            return Err(Error::usage(format!("{:?} is not an address or CIDR", crate::names::shorten(from)))
                .hint("such as 10.0.0.0/8 or 2001:db8::1"));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::backends::audit::Door;
    use crate::config::KeysBy;
    use crate::services::fixture::{NOW, realm};
    use crate::services::mint::{self, Ask, Caller};
    use crate::services::trust;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    pub(crate) fn enrol(realm: &Realm, user: &str) -> PublicKey {
        let key = PublicKey::parse_line(KEY, "key").unwrap();
        add(realm, &user.parse().unwrap(), &key, &Conditions::default(), "file").unwrap();
        key
    }

    pub(crate) fn token(realm: &Realm, user: &str, key: &PublicKey) -> String {
        let caller = Caller {
            user: user.parse().unwrap(),
            key: Some(key.fingerprint),
            door: Door::SshOwn,
            address: None,
        };
        mint::mint(realm, &caller, &Ask::default()).unwrap().token.to_string()
    }

    pub(crate) fn verdict(realm: &Realm, token: &str) -> String {
        let verifier = trust::verifier(realm).unwrap();
        let mut scratch = token::Scratch::new();
        match verifier.verify(token.as_bytes(), realm.now(), &mut scratch) {
            Ok(identity) => identity.subject().to_owned(),
            Err(rejection) => rejection.code.to_string(),
        }
    }

    #[test]
    fn a_key_that_comes_back_mints_anew_and_its_old_tokens_stay_dead() {
        let (_parent, clock, realm) = realm(KeysBy::File);
        let key = PublicKey::parse_line(KEY, "key").unwrap();
        let (ada, bob) = ("ada".parse().unwrap(), "bob".parse().unwrap());
        let from = Conditions { from: vec!["::1".into()], ..Conditions::default() };
        for (conditions, fate) in [
            (Conditions::default(), KeyFate::Added),
            (Conditions::default(), KeyFate::Unchanged),
            (from, KeyFate::Changed),
            (Conditions::default(), KeyFate::Changed),
        ] {
            assert_eq!(add(&realm, &ada, &key, &conditions, "file").unwrap(), fate);
        }
        assert_eq!(realm.audit.verify().unwrap().records, 4, "the realm, and each change");
        let old = token(&realm, "ada", &key);
        assert_eq!(verdict(&realm, &old), "ada");
        assert!(add(&realm, &bob, &key, &Conditions::default(), "file").is_err(), "one key, one user");

        assert_eq!(remove(&realm, key.fingerprint).unwrap(), ada);
        assert_eq!(verdict(&realm, &old), "revoked");
        clock.set(NOW + 10);
        add(&realm, &bob, &key, &Conditions::default(), "file").unwrap();
        assert_eq!(verdict(&realm, &token(&realm, "bob", &key)), "bob");
        assert_eq!(verdict(&realm, &old), "revoked");
        assert_eq!(realm.audit.verify().unwrap().problems, []);
    }

    #[test]
    fn conditions_that_nobody_could_meet_are_refused() {
        let (_parent, _clock, realm) = realm(KeysBy::File);
        let key = PublicKey::parse_line(KEY, "key").unwrap();
        let ada = "ada".parse().unwrap();
        for conditions in [
            Conditions { require_touch: true, ..Conditions::default() },
            Conditions { require_verify: true, ..Conditions::default() },
            Conditions { expires_at: Some(NOW), ..Conditions::default() },
            Conditions { from: vec!["*.example".into()], ..Conditions::default() },
            Conditions { from: vec!["10.0.0.0/8,::/0".into()], ..Conditions::default() },
        ] {
            assert_eq!(
                add(&realm, &ada, &key, &conditions, "file").unwrap_err().kind().exit_code(),
                2,
                "{conditions:?}"
            );
        }
        assert_eq!(totals(&realm).unwrap().keys, 0);
    }
}
