//! Whether a realm could mint a token now.

use crate::backends::files;
use crate::backends::store::KeyState;
use crate::error::Error;
use crate::realm::Realm;

/// What stands in the way of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing.
    Good,
    /// No signing key is active.
    NoKey,
    /// The store does not answer. The detail is for the log.
    NoStore(Error),
    /// Nothing can be recorded, and so nothing is minted: the disk is full, or takes no changes.
    NoRoom,
}

/// Asks the store for a key that signs.
#[must_use]
pub fn health(realm: &Realm) -> Health {
    let keys = match realm.store.signing_keys() {
        Ok(keys) => keys,
        Err(error) => return Health::NoStore(error),
    };
    match files::room(&realm.dir) {
        Ok(room) if room.read_only || room.is_full() => return Health::NoRoom,
        Ok(_) => {}
        Err(error) => return Health::NoStore(error),
    }
    let now = realm.now();
    let signs = keys.iter().any(|k| k.state == KeyState::Active && k.expires_at.is_none_or(|at| now < at));
    if signs { Health::Good } else { Health::NoKey }
}
