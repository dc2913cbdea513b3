//! User keys: enrolling, listing, removing, and the lines that sshd reads.

use serde_json::json;

use crate::backends::store::{Change, Fingerprint, Revoked, StoredRevocation, User, UserKey};
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::public_key::PublicKey;
use crate::realm::Realm;
use crate::services::change::{Deed, commit};

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
/// again changes its conditions and says so by `false`. `source` says where the key came from.
pub fn add(
    realm: &Realm,
    user: &UserName,
    key: &PublicKey,
    conditions: &Conditions,
    source: &str,
) -> Result<bool> {
    check(key, conditions, realm.now())?;
    let now = realm.now();
    let before = realm.store.key(&key.fingerprint)?;
    if let Some(owner) = before.as_ref().map(|k| &k.user).filter(|owner| *owner != user) {
        return Err(Error::failed(format!("key {} already belongs to {owner}", key.fingerprint)).hint(
            format!(
                "one key, one user; take it from {owner} first: seamless key remove {} {}",
                realm.name, key.fingerprint
            ),
        ));
    }
    let new = UserKey {
        fingerprint: key.fingerprint,
        user: user.clone(),
        algorithm: key.algorithm.to_owned(),
        blob: key.blob.clone(),
        comment: key.comment.clone(),
        expires_at: conditions.expires_at,
        from: conditions.from.clone(),
        require_touch: conditions.require_touch,
        require_verify: conditions.require_verify,
        added_at: before.as_ref().map_or(now, |k| k.added_at),
        source: Some(source.to_owned()),
    };
    let fresh = User { name: user.clone(), locked: false, groups: vec![], scopes: vec![], created_at: now };
    let mut changes = vec![Change::EnsureUser(fresh)];
    if before.is_some() {
        changes.push(Change::RemoveKey(key.fingerprint));
    }
    changes.extend(lift_revocation(realm, key.fingerprint)?);
    changes.push(Change::AddKey(new));
    let deed = Deed {
        action: if before.is_some() { "key.change" } else { "key.add" },
        user: Some(user),
        fingerprint: Some(key.fingerprint),
        given: json!({"type": key.algorithm, "expires_at": conditions.expires_at, "from": conditions.from,
                      "require_touch": conditions.require_touch, "require_verify": conditions.require_verify,
                      "source": source}),
    };
    commit(realm, deed, &changes)?;
    Ok(before.is_none())
}

/// All keys, or one user's.
pub fn list(realm: &Realm, user: Option<&UserName>) -> Result<Vec<UserKey>> {
    realm.store.keys(user)
}

/// The enrolled key of this wire form. Whoever offers it has proven nothing yet.
pub fn offered(realm: &Realm, blob: &[u8]) -> Result<Option<UserKey>> {
    realm.store.key(&Fingerprint::of(blob))
}

/// Removes a key, and revokes the tokens that it fetched.
pub fn remove(realm: &Realm, fingerprint: Fingerprint) -> Result<UserName> {
    let now = realm.now();
    let key = realm.store.key(&fingerprint)?.ok_or_else(|| {
        Error::failed(format!("there is no key {fingerprint} in this realm"))
            .hint(format!("list them: seamless key list {}", realm.name))
    })?;
    let revocation = Change::Revoke(StoredRevocation {
        what: Revoked::SshKey { fingerprint: fingerprint.to_string(), user: key.user.to_string() },
        created_at: now,
        keep_until: now + realm.config.longest_life(),
    });
    let deed = Deed {
        action: "key.remove",
        user: Some(&key.user),
        fingerprint: Some(fingerprint),
        given: json!({}),
    };
    commit(realm, deed, &[Change::RemoveKey(fingerprint), revocation])?;
    Ok(key.user)
}

/// A key that was removed and is enrolled again must be able to fetch tokens that verify: its revocation, which
/// knows no time, gives way to one of its former user's tokens up to now.
fn lift_revocation(realm: &Realm, fingerprint: Fingerprint) -> Result<Vec<Change>> {
    let now = realm.now();
    let text = fingerprint.to_string();
    let mut changes = Vec::new();
    for old in realm.store.revocations(now)? {
        let Revoked::SshKey { fingerprint, user } = &old.what else { continue };
        if *fingerprint != text {
            continue;
        }
        let what = Revoked::Subject { sub: user.clone(), issued_before: now.saturating_sub(1) };
        changes.push(Change::Revoke(StoredRevocation { what, created_at: now, keep_until: old.keep_until }));
        changes.push(Change::Lift(old.what));
    }
    Ok(changes)
}

fn check(key: &PublicKey, conditions: &Conditions, now: u64) -> Result<()> {
    if (conditions.require_touch || conditions.require_verify) && !key.is_sk() {
        let option = if conditions.require_touch { "--require-touch" } else { "--require-verify" };
        return Err(Error::usage(format!(
            "{option} needs a key that an authenticator holds, this one is {}",
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
mod tests {
    use super::*;
    use crate::backends::audit::Door;
    use crate::config::KeysBy;
    use crate::services::fixture::{NOW, realm};
    use crate::services::mint::{self, Ask, Caller};
    use crate::services::trust;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn token(realm: &Realm, user: &str, key: &PublicKey) -> String {
        let caller = Caller {
            user: user.parse().unwrap(),
            key: Some(key.fingerprint),
            door: Door::SshOwn,
            address: None,
        };
        mint::mint(realm, &caller, &Ask::default()).unwrap().token.to_string()
    }

    fn verdict(realm: &Realm, token: &str) -> String {
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
        assert!(add(&realm, &ada, &key, &Conditions::default(), "file").unwrap());
        assert!(
            !add(&realm, &ada, &key, &Conditions::default(), "file").unwrap(),
            "the same again is a change"
        );
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
        assert_eq!(list(&realm, None).unwrap(), []);
    }
}
