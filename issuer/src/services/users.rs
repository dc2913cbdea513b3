//! Users: listing, locking, groups and scopes.

use serde_json::json;

use crate::backends::store::{Change, Revoked, User};
use crate::error::{Error, Result};
use crate::names::{self, UserName};
use crate::realm::Realm;
use crate::services::change::{Deed, commit, commit_revoking};

/// Every user by name, one after the other.
pub fn each(realm: &Realm, each: &mut dyn FnMut(User) -> Result<()>) -> Result<()> {
    realm.store.each_user(each)
}

/// One user, or an error that says how to make it.
pub fn find(realm: &Realm, name: &UserName) -> Result<User> {
    realm.store.user(name)?.ok_or_else(|| {
        Error::failed(format!("there is no user {name} in this realm")).hint(format!(
            "a user is made with its first key: seamless add {} KEYFILE --user {name}",
            realm.name
        ))
    })
}

/// Locks a user: no new tokens, and those that live are revoked.
pub fn lock(realm: &Realm, name: &UserName) -> Result<()> {
    if find(realm, name)?.locked {
        return Err(Error::failed(format!("{name} is locked already")));
    }
    let deed = Deed { action: "user.lock", user: Some(name), fingerprint: None, given: json!({}) };
    commit_revoking(realm, deed, vec![Change::SetLocked(name.clone(), true)], all_of(realm, name)).map(drop)
}

/// Unlocks a user. Tokens from before the lock stay revoked.
pub fn unlock(realm: &Realm, name: &UserName) -> Result<()> {
    if !find(realm, name)?.locked {
        return Err(Error::failed(format!("{name} is not locked")));
    }
    let deed = Deed { action: "user.unlock", user: Some(name), fingerprint: None, given: json!({}) };
    commit(realm, deed, &[Change::SetLocked(name.clone(), false)])
}

/// Removes a user with all its keys, and revokes its tokens.
pub fn remove(realm: &Realm, name: &UserName) -> Result<usize> {
    find(realm, name)?;
    let keys = realm.store.keys(Some(name))?.len();
    let deed =
        Deed { action: "user.remove", user: Some(name), fingerprint: None, given: json!({"keys": keys}) };
    commit_revoking(realm, deed, vec![Change::RemoveUser(name.clone())], all_of(realm, name))?;
    Ok(keys)
}

/// Joins and leaves groups.
pub fn edit_groups(realm: &Realm, name: &UserName, add: &[String], remove: &[String]) -> Result<User> {
    find(realm, name)?;
    add.iter().try_for_each(|g| names::check_group(g))?;
    let deed = Deed {
        action: "user.groups",
        user: Some(name),
        fingerprint: None,
        given: json!({"add": add, "remove": remove}),
    };
    let change = Change::EditGroups { user: name.clone(), add: add.to_vec(), remove: remove.to_vec() };
    commit(realm, deed, &[change])?;
    find(realm, name)
}

/// Grants and takes away scopes.
pub fn edit_scopes(realm: &Realm, name: &UserName, add: &[String], remove: &[String]) -> Result<User> {
    find(realm, name)?;
    add.iter().try_for_each(|s| names::check_scope(s))?;
    let deed = Deed {
        action: "user.scopes",
        user: Some(name),
        fingerprint: None,
        given: json!({"add": add, "remove": remove}),
    };
    let change = Change::EditScopes { user: name.clone(), add: add.to_vec(), remove: remove.to_vec() };
    commit(realm, deed, &[change])?;
    find(realm, name)
}

/// Whatever the user was issued up to now, in either format.
fn all_of(realm: &Realm, name: &UserName) -> Revoked {
    Revoked::Subject { sub: name.to_string(), issued_before: realm.now() }
}
