//! Turning a realm of the Python seamless into one of ours, in its place.
//!
//! That realm is a home with `secret`, `keys/NAME` and a generated `.ssh/authorized_keys`. Its secret, users and
//! keys come over; what can't is reported and kept, never dropped in silence.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::backends::files;
use crate::backends::store::{Change, User, UserKey};
use crate::clock::Clock;
use crate::config::{self, Digest, Format, KeysBy};
use crate::error::{Error, Result, io};
use crate::names::{RealmName, UserName};
use crate::progress::Progress;
use crate::public_key::{MOST_BYTES, PublicKey};
use crate::realm::{Access, DATABASE, Realm, SIGNING};
use crate::services::init::{self, Plan};

/// What came over, and what did not.
pub struct Adopted {
    /// The realm, open.
    pub realm: Realm,
    /// Keys that came over.
    pub keys: usize,
    /// `FILE: why` of what did not.
    pub left: Vec<String>,
    /// Where lines of authorized_keys that seamless had not written are kept.
    pub foreign_lines: Option<(PathBuf, usize)>,
}

/// Whether a directory looks like one of the original's realms.
#[must_use]
pub fn is_original(dir: &Path) -> bool {
    let is = |name: &str, test: fn(&std::fs::Metadata) -> bool| {
        dir.join(name).symlink_metadata().is_ok_and(|m| test(&m))
    };
    is("secret", std::fs::Metadata::is_file)
        && is("keys", std::fs::Metadata::is_dir)
        && !dir.join(config::FILE).exists()
}

/// Adopts the realm in `dir`. One whose adoption was killed is gone on with.
pub fn adopt(
    dir: &Path,
    name: &RealmName,
    issuer: &str,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<Adopted> {
    config::check_issuer(issuer)?;
    if dir.join(config::FILE).exists() && dir.join("secret").exists() {
        let realm = Realm::open(dir, Access::Write, clock.clone())?;
        if init::holds_secret(&realm, &files::read_private(&dir.join("secret"))?)? {
            let (_, left) =
                users(&dir.join("keys"), realm.now(), &mut Vec::new(), progress).unwrap_or_default();
            let keys = usize::try_from(realm.store.totals()?.keys).unwrap_or(usize::MAX);
            let foreign_lines = put_away(dir)?;
            return Ok(Adopted { realm, keys, left, foreign_lines });
        }
    }
    if !is_original(dir) {
        return Err(Error::failed(format!("{} is no realm of the Python seamless", dir.display()))
            .hint("it would hold `secret` and `keys/`; a new realm is made by: seamless init"));
    }
    // Without realm.toml there was no realm yet: what is there is begun and was never used. The log goes on.
    for begun in [DATABASE, "realm.db-wal", "realm.db-shm"] {
        let _ = std::fs::remove_file(dir.join(begun));
    }
    let _ = std::fs::remove_dir_all(dir.join(SIGNING));
    let secret = files::read_private(&dir.join("secret"))?;
    // The original left the home open to its group.
    files::set_mode(dir, 0o700)?;
    let plan = Plan {
        name: name.clone(),
        issuer: issuer.to_owned(),
        format: Format::Seamless,
        digest: Digest::Sha1,
        keys: KeysBy::File,
        secret: Some(secret),
    };
    let mut changes = Vec::new();
    let (keys, left) = users(&dir.join("keys"), clock.now(), &mut changes, progress)?;
    let given = |_: [&str; 2]| json!({"realm": name.as_str(), "issuer": issuer, "keys": keys, "left": left});
    init::found(dir, &plan, clock.clone(), "realm.adopt", changes, given)?;
    let realm = Realm::open(dir, Access::Write, clock)?;
    let foreign_lines = put_away(dir)?;
    Ok(Adopted { realm, keys, left, foreign_lines })
}

/// What the realm no longer needs. The secret goes last, since it says that this is not done.
fn put_away(dir: &Path) -> Result<Option<(PathBuf, usize)>> {
    let foreign_lines = keep_foreign_lines(dir)?;
    let keys = dir.join("keys");
    if keys.is_dir() {
        files::set_mode(&keys, files::PRIVATE_DIR)?;
        std::fs::rename(&keys, dir.join("keys.adopted")).map_err(|e| io("rename", &keys, &e))?;
    }
    // From here on `signing/` has the secret; a second copy would outlive its rotation.
    std::fs::remove_file(dir.join("secret")).map_err(|e| io("remove", &dir.join("secret"), &e))?;
    Ok(foreign_lines)
}

fn users(
    dir: &Path,
    now: u64,
    changes: &mut Vec<Change>,
    progress: &dyn Progress,
) -> Result<(usize, Vec<String>)> {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).map_err(|e| io("read", dir, &e))?.flatten().map(|e| e.path()).collect();
    entries.sort();
    let mut left = Vec::new();
    let mut seen = std::collections::BTreeMap::<_, UserName>::new();
    let all = u64::try_from(entries.len()).ok();
    for (done, path) in (1..).zip(entries) {
        progress.at(done, all);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        match one(&path, &name) {
            Err(error) => left.push(format!("keys/{}: {}", name.escape_debug(), error.message())),
            Ok((user, key)) => {
                if let Some(owner) = seen.insert(key.fingerprint, user.clone()) {
                    left.push(format!("keys/{name}: the same key as {owner}'s; one key, one user"));
                    seen.insert(key.fingerprint, owner);
                    continue;
                }
                let fresh = User {
                    name: user.clone(),
                    locked: false,
                    groups: vec![],
                    scopes: vec![],
                    created_at: now,
                };
                changes.push(Change::EnsureUser(fresh));
                changes.push(Change::AddKey(UserKey {
                    fingerprint: key.fingerprint,
                    user,
                    algorithm: key.algorithm.to_owned(),
                    blob: key.blob,
                    comment: key.comment,
                    expires_at: None,
                    from: vec![],
                    require_touch: false,
                    require_verify: false,
                    added_at: now,
                    source: Some("adopted".to_owned()),
                }));
            }
        }
    }
    Ok((seen.len(), left))
}

fn one(path: &Path, name: &str) -> Result<(UserName, PublicKey)> {
    let user = name.parse::<UserName>()?;
    let bytes = files::read_small(path, MOST_BYTES)?;
    Ok((user, PublicKey::parse(&bytes, "the file")?))
}

/// Lines that somebody else put into authorized_keys are kept beside it: `sync` will write the file anew.
fn keep_foreign_lines(dir: &Path) -> Result<Option<(PathBuf, usize)>> {
    let path = dir.join(".ssh/authorized_keys");
    let Ok(bytes) = files::read_small(&path, 16 * 1024 * 1024) else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let ours =
        |line: &str| line.contains("seamless.cli token ") || line.starts_with("# autogenerated by seamless");
    let foreign: Vec<_> = text.lines().filter(|l| !l.trim().is_empty() && !ours(l)).collect();
    if foreign.is_empty() {
        return Ok(None);
    }
    let kept = dir.join(".ssh/authorized_keys.before-seamless");
    files::write_atomic(&kept, format!("{}\n", foreign.join("\n")).as_bytes(), 0o600)?;
    Ok(Some((kept, foreign.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::store::SigningAlgorithm;
    use crate::clock::FixedClock;
    use crate::progress::Unseen;
    use crate::services::signing;
    use std::os::unix::fs::PermissionsExt as _;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@example\n";

    #[test]
    fn an_original_realm_comes_over_with_what_can() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("corp");
        std::fs::create_dir_all(dir.join("keys")).unwrap();
        std::fs::create_dir_all(dir.join(".ssh")).unwrap();
        std::fs::write(dir.join("secret"), "0f0f0f0f0f0f0f0f0f0f").unwrap();
        std::fs::set_permissions(dir.join("secret"), std::fs::Permissions::from_mode(0o400)).unwrap();
        std::fs::write(dir.join("keys/ada"), KEY).unwrap();
        std::fs::write(dir.join("keys/twin"), KEY).unwrap();
        std::fs::write(dir.join("keys/a b"), KEY).unwrap();
        std::fs::write(dir.join("keys/junk"), "hello").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("keys/link")).unwrap();
        std::fs::write(
            dir.join(".ssh/authorized_keys"),
            format!("# autogenerated by seamless. do not edit.\ncommand=\"python -m seamless.cli token corp --user ada\" {KEY}{KEY}"),
        )
        .unwrap();
        let clock = Arc::new(FixedClock::at(1_800_000_000));
        let adopted =
            adopt(&dir, &"corp".parse().unwrap(), "https://login.example/corp", clock.clone(), &Unseen)
                .unwrap();
        assert_eq!((adopted.keys, adopted.left.len()), (1, 4), "{:?}", adopted.left);
        assert_eq!(adopted.foreign_lines.unwrap().1, 1);
        assert!(!dir.join("secret").exists());
        let secret = signing::active(&adopted.realm, SigningAlgorithm::Hmac).unwrap();
        assert_eq!(&**files::read_private(&signing::path(&dir, &secret)).unwrap(), b"0f0f0f0f0f0f0f0f0f0f");
        assert!(adopt(&dir, &"corp".parse().unwrap(), "https://login.example/corp", clock, &Unseen).is_err());
    }

    #[test]
    fn an_adoption_that_was_killed_is_repeated() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("corp");
        let original = || {
            std::fs::create_dir_all(dir.join("keys")).unwrap();
            std::fs::write(dir.join("keys/ada"), KEY).unwrap();
            let path = dir.join("secret");
            std::fs::write(&path, "0f0f0f0f0f0f0f0f0f0f").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).unwrap();
        };
        let clock = Arc::new(FixedClock::at(1_800_000_000));
        let adopt =
            || adopt(&dir, &"corp".parse().unwrap(), "https://login.example/corp", clock.clone(), &Unseen);
        original();
        drop(adopt().unwrap());
        // After the commit, before realm.toml: everything of the original is there yet.
        std::fs::remove_file(dir.join(config::FILE)).unwrap();
        std::fs::remove_dir_all(dir.join("keys.adopted")).unwrap();
        original();
        let again = adopt().unwrap();
        assert_eq!((again.keys, again.left.len()), (1, 0));
        assert_eq!(again.realm.store.signing_keys().unwrap().len(), 2);
        assert_eq!(std::fs::read_dir(dir.join(SIGNING)).unwrap().count(), 2, "none of the first try");
        assert_eq!(again.realm.audit.verify().unwrap().problems, []);
        drop(again);
        // After realm.toml: what is left is put away.
        original();
        std::fs::remove_dir_all(dir.join("keys.adopted")).unwrap();
        let again = adopt().unwrap();
        assert_eq!(again.keys, 1);
        assert!(
            !dir.join("secret").exists()
                && !dir.join("keys").exists()
                && dir.join("keys.adopted/ada").exists()
        );
        assert!(adopt().is_err(), "and now it is done");
    }
}
