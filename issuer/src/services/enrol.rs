//! The first start without root: the realm of one person, with that person's own keys.

use std::path::{Path, PathBuf};

use crate::backends::store::Fingerprint;
use crate::error::Result;
use crate::names::UserName;
use crate::public_key::PublicKey;
use crate::realm::Realm;
use crate::services::keys::{self, Conditions};

/// A key that was found, and where.
pub struct Found {
    /// The key.
    pub key: PublicKey,
    /// The public key file; none for a key that an agent holds.
    pub file: Option<PathBuf>,
}

/// Public key files whose private half lies beside them. Certificates, and whatever can't mint, are passed over.
#[must_use]
pub fn in_folder(dir: &Path) -> Vec<Found> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| of_file(path)).collect()
}

/// The key of one `.pub` file, if its private half lies beside it.
#[must_use]
pub fn of_file(path: &Path) -> Option<Found> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".pub")?;
    if stem.ends_with("-cert") || !path.with_file_name(stem).is_file() {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let key = PublicKey::parse(&bytes, name).ok()?;
    Some(Found { key, file: Some(path.to_owned()) })
}

/// Enrols what was found for the user; gives the fingerprints that are new.
pub fn enrol(realm: &Realm, user: &UserName, found: &[Found]) -> Result<Vec<Fingerprint>> {
    let mut new = Vec::new();
    for one in found {
        if realm.store.key(&one.key.fingerprint)?.is_none() {
            let source = if one.file.is_some() { "file" } else { "agent" };
            keys::add(realm, user, &one.key, &Conditions::default(), source)?;
            new.push(one.key.fingerprint);
        }
    }
    Ok(new)
}

/// Those of the found keys that are enrolled, under whatever name.
pub fn enrolled(realm: &Realm, found: Vec<Found>) -> Result<Vec<Found>> {
    let known = |one: &Found| realm.store.key(&one.key.fingerprint).map(|k| k.is_some());
    found
        .into_iter()
        .map(|one| Ok((known(&one)?, one)))
        .filter_map(|r: Result<_>| match r {
            Ok((true, one)) => Some(Ok(one)),
            Ok((false, _)) => None,
            Err(error) => Some(Err(error)),
        })
        .collect()
}
