//! Making a realm: the directory, its settings, its first keys, and the record that says so.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::backends::files;
use crate::backends::store::{Change, KeyState, Mode, SigningAlgorithm, SqliteStore};
use crate::clock::Clock;
use crate::config::{self, Config, Digest, Format, KeysBy};
use crate::error::{Error, Result, io};
use crate::names::RealmName;
use crate::realm::{AUDIT, Access, DATABASE, Realm, SIGNING};
use crate::services::change::{Deed, commit};
use crate::services::signing;

/// What a new realm is to be.
pub struct Plan {
    /// Its name.
    pub name: RealmName,
    /// Its issuer URL.
    pub issuer: String,
    /// What a mint without words gives.
    pub format: Format,
    /// The HMAC's hash.
    pub digest: Digest,
    /// How sshd learns its keys.
    pub keys: KeysBy,
    /// A shared secret to take over; a new one where there is none.
    pub secret: Option<Zeroizing<Vec<u8>>>,
}

/// Makes the realm in `dir`, which is made too or must be empty.
///
/// A directory that is not there yet appears whole, by a rename. In one that is (an account's home), `realm.toml`
/// comes last: a directory without it is no realm.
pub fn create(dir: &Path, plan: &Plan, clock: Arc<dyn Clock>) -> Result<Realm> {
    config::check_issuer(&plan.issuer)
        .map_err(|e| Error::usage(e.message()).hint(e.hint_text().unwrap_or_default()))?;
    occupy(dir, |at| fill(at, plan, clock.clone()))?;
    Realm::open(dir, Access::Write, clock)
}

/// Has `fill` put a realm into a directory that is not there yet, or is empty.
pub(super) fn occupy(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    refuse_occupied(dir)?;
    if dir.is_dir() {
        files::check_private_dir(dir)?;
        return fill(dir);
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| io("make", parent, &e))?;
    // Gone again with whatever is in it, should anything fail.
    let private = std::fs::Permissions::from_mode(files::PRIVATE_DIR);
    let new = tempfile::Builder::new().prefix(".new-").permissions(private).tempdir_in(parent);
    let new = new.map_err(|e| io("write into", parent, &e))?;
    fill(new.path())?;
    std::fs::rename(new.path(), dir).map_err(|e| io("make", dir, &e))?;
    // What it names is gone from there.
    let _ = new.keep();
    Ok(())
}

fn fill(dir: &Path, plan: &Plan, clock: Arc<dyn Clock>) -> Result<()> {
    let given = |kids: [&str; 2]| json!({"realm": plan.name.as_str(), "issuer": plan.issuer, "keys": kids});
    found(dir, plan, clock, "realm.init", Vec::new(), given)
}

/// Puts a realm into a directory of ours: database, first keys, the `more` that comes with them and the record in
/// one step, and `realm.toml` last. `given` is told the new keys' ids.
pub(super) fn found(
    dir: &Path,
    plan: &Plan,
    clock: Arc<dyn Clock>,
    action: &'static str,
    more: Vec<Change>,
    given: impl FnOnce([&str; 2]) -> Value,
) -> Result<()> {
    files::create_dir(&dir.join(SIGNING), 0o700)?;
    files::create_dir(&dir.join(AUDIT), 0o700)?;
    let store = SqliteStore::open(&dir.join(DATABASE), Mode::Create)?;

    let now = clock.now();
    let mut ed25519 = signing::generate(dir, SigningAlgorithm::EdDsa, now)?;
    let mut secret = match &plan.secret {
        Some(bytes) => signing::import_secret(dir, bytes, now)?,
        None => signing::generate(dir, SigningAlgorithm::Hmac, now)?,
    };
    for key in [&mut ed25519, &mut secret] {
        key.state = KeyState::Active;
        key.activated_at = Some(now);
    }

    let text = config::template(&plan.name, &plan.issuer, plan.format, plan.digest, plan.keys);
    let realm = Realm::assemble(dir, Config::parse(&text)?, store, clock)?;
    let deed = Deed { action, user: None, fingerprint: None, given: given([&ed25519.kid, &secret.kid]) };
    let mut changes = vec![Change::PutSigningKey(ed25519), Change::PutSigningKey(secret)];
    changes.extend(more);
    commit(&realm, deed, &changes)?;
    files::write_atomic(&dir.join(config::FILE), text.as_bytes(), 0o600)
}

/// Whether a realm holds this shared secret: one secret, one realm.
pub fn holds_secret(realm: &Realm, secret: &[u8]) -> Result<bool> {
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    for key in realm.store.signing_keys()? {
        if key.algorithm != SigningAlgorithm::Hmac {
            continue;
        }
        let bytes = files::read_private(&signing::path(&realm.dir, &key))?;
        if bool::from(bytes.strip_suffix(b"\n").unwrap_or(&bytes).ct_eq(secret)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn refuse_occupied(dir: &Path) -> Result<()> {
    if dir.join(config::FILE).symlink_metadata().is_ok() {
        return Err(Error::failed(format!("there is a realm in {} already", dir.display()))
            .hint(format!("look at it: seamless realm show --dir {}", dir.display())));
    }
    let occupied = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(e) => return Err(io("read", dir, &e)),
        Ok(mut entries) => entries.next().is_some(),
    };
    if !occupied {
        return Ok(());
    }
    if dir.join(DATABASE).exists() {
        return Err(Error::failed(format!("{} holds a realm that was never finished", dir.display()))
            .hint(format!("it has minted nothing; remove it and repeat: rm -r {}", dir.display())));
    }
    Err(Error::failed(format!("{} is not empty", dir.display())).hint("a realm wants a directory of its own"))
}
