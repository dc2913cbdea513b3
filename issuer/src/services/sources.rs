//! Whose keys may log in: the realm's own store.

use crate::backends::store::{Fingerprint, User, UserKey};
use crate::error::Result;
use crate::names::UserName;
use crate::realm::Realm;

/// A user and the keys that it may log in with.
#[derive(Clone, Debug)]
pub struct Person {
    /// The user.
    pub user: User,
    /// Its keys, the oldest first, expired ones among them.
    pub keys: Vec<UserKey>,
}

/// The user of that name. Asks the same for every name, known or not, so that the answer's time tells nothing.
pub fn person(realm: &Realm, name: &UserName) -> Result<Option<Person>> {
    let user = realm.store.user(name)?;
    let keys = realm.store.keys(Some(name))?;
    Ok(user.map(|user| Person { user, keys }))
}

/// The key with that fingerprint.
pub fn key(realm: &Realm, fingerprint: &Fingerprint) -> Result<Option<UserKey>> {
    realm.store.key(fingerprint)
}
