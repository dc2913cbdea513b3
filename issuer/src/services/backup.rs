//! One file with everything that a realm is, made while it is used, and a realm made from it again.
//!
//! The moment that a backup shows is chosen while nothing can be committed: every change in the database has its
//! audit record in the backup, and no record is of a change that is not there. Private keys are left out, or
//! encrypted to whoever is to restore them.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::backends::age::{self, Recipient};
use crate::backends::archive::{self, Writer, copy_hashed, damaged};
use crate::backends::audit::Segment;
use crate::backends::files;
use crate::backends::store::{
    Change, KeyState, Mode, SCHEMA, SigningAlgorithm, SigningKey, SqliteStore, Store as _,
};
use crate::clock::{Clock, random};
use crate::config::{self, Config, KeysBy};
use crate::error::{Error, Result, io};
use crate::progress::Progress;
use crate::realm::{AUDIT, Access, DATABASE, Realm, SIGNING};
use crate::services::change::{Deed, commit};
use crate::services::handshake::secrets as chap;
use crate::services::host_key::FILE as HOST_KEY;
use crate::services::{init, revoke, signing};

/// The version of the container. A reader refuses a newer one.
const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const RULES: &str = "rules.json";
/// The private keys: a tar of its own, encrypted.
const KEYS: &str = "keys.age";

/// The most that is read of a member that is held in memory.
const MOST_HELD: u64 = 16 * 1024 * 1024;

/// What a backup says of itself, as its first member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the container.
    pub format: u32,
    /// Names this backup in audit logs.
    pub id: String,
    /// Whose it is.
    pub realm: String,
    /// The realm's issuer URL.
    pub issuer: String,
    /// The program's version.
    pub program: String,
    /// The database's schema.
    pub schema: usize,
    /// Unix seconds.
    pub created_at: u64,
    /// `file` or `command`: how sshd learns the realm's keys.
    pub sshd_keys: String,
    /// How many users there are.
    pub users: u64,
    /// How many user keys there are.
    pub keys: u64,
    /// Whom the private keys are encrypted to; empty: they are not in it.
    pub recipients: Vec<String>,
    /// The other members, in order.
    pub members: Vec<Member>,
}

/// A member of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its path, as in the realm's directory.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// What `restore` made.
pub struct Restored {
    /// The realm.
    pub realm: Realm,
    /// What it was made from.
    pub manifest: Manifest,
    /// Algorithms that sign with a new key, since the old one's private half did not come.
    pub new_keys: Vec<SigningAlgorithm>,
}

impl Manifest {
    /// How sshd learns the realm's keys.
    pub fn keys_by(&self) -> Result<KeysBy> {
        match self.sshd_keys.as_str() {
            "file" => Ok(KeysBy::File),
            "command" => Ok(KeysBy::Command),
            _ => Err(damaged("its manifest is not as we write it")),
        }
    }

    fn parse(from: &mut dyn Read, size: u64) -> Result<Self> {
        // Known before the rest is understood: a later version may look different.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let bytes = held(from, size, MANIFEST)?;
        let wrong = |_| damaged("its manifest is not as we write it");
        let version: Version = serde_json::from_slice(&bytes).map_err(wrong)?;
        if version.format > FORMAT {
            return Err(Error::failed(format!(
                "this backup is of format {}, this seamless knows up to {FORMAT}",
                version.format
            ))
            .hint("it was made by a newer seamless; install that one"));
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(wrong)?;
        if manifest.schema > SCHEMA {
            return Err(Error::failed(format!(
                "this backup is of schema {}, this seamless knows up to {SCHEMA}",
                manifest.schema
            ))
            .hint("it was made by a newer seamless; install that one"));
        }
        Ok(manifest)
    }
}

/// A member that is going to be written.
enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// Writes a backup of the realm, with its private keys if there is anybody to encrypt them to.
pub fn write(realm: &Realm, out: impl Write, to: &[Recipient], progress: &dyn Progress) -> Result<Manifest> {
    let staging = tempfile::Builder::new()
        .prefix(".backup-")
        .permissions(std::fs::Permissions::from_mode(files::PRIVATE_DIR))
        .tempdir_in(&realm.dir)
        .map_err(|e| io("write into", &realm.dir, &e))?;
    let copy = staging.path().join(DATABASE);
    let mut audit: Vec<Segment> = Vec::new();
    let mut settings = Vec::new();
    realm.store.copy_to(&copy, &mut || {
        audit = realm.audit.segments()?;
        settings = files::read_small(&realm.dir.join(config::FILE), 256 * 1024)?;
        Ok(())
    })?;
    let store = SqliteStore::open(&copy, Mode::ReadOnly)?;
    let totals = store.totals()?;

    let mut sources = vec![(config::FILE.to_owned(), Source::Bytes(settings))];
    if let Some(name) = rules_beside(&realm.config) {
        let path = realm.dir.join(name);
        if path.exists() {
            sources.push((RULES.to_owned(), Source::Bytes(files::read_small(&path, 1024 * 1024)?)));
        }
    }
    let db_size = copy.metadata().map_err(|e| io("read", &copy, &e))?.len();
    let mut sized: Vec<(String, u64, Source)> = sources
        .into_iter()
        .map(|(name, source)| {
            let size = match &source {
                Source::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                Source::File(_) => 0,
            };
            (name, size, source)
        })
        .collect();
    sized.push((DATABASE.to_owned(), db_size, Source::File(copy.clone())));
    for segment in audit {
        sized.push((format!("{AUDIT}/{}", segment.name), segment.length, Source::File(segment.path)));
    }
    if !to.is_empty() {
        let cipher = age::encrypt(&private_keys(&realm.dir, &store.signing_keys()?, realm.now())?, to)?;
        sized.push((KEYS.to_owned(), u64::try_from(cipher.len()).unwrap_or(0), Source::Bytes(cipher)));
    }
    drop(store);

    // Read twice: once for the manifest, which comes first, and once to be written.
    let all: u64 = sized.iter().map(|(_, size, _)| *size * 2).sum();
    let mut done = 0;
    let mut members = Vec::new();
    for (name, size, source) in &sized {
        let mut from = Counted { from: open(source)?, done: &mut done, all, progress };
        let sha256 = copy_hashed(&mut from, *size, &mut std::io::sink())
            .map_err(|e| Error::failed(format!("{name} can't be read: {e}")).hint("see seamless doctor"))?;
        members.push(Member { name: name.clone(), size: *size, sha256 });
    }
    let manifest = Manifest {
        format: FORMAT,
        id: random::<8>()?.iter().map(|b| format!("{b:02x}")).collect(),
        realm: realm.name.to_string(),
        issuer: realm.config.issuer.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        schema: SCHEMA,
        created_at: realm.now(),
        sshd_keys: match realm.config.sshd.keys {
            KeysBy::File => "file".to_owned(),
            KeysBy::Command => "command".to_owned(),
        },
        users: totals.users,
        keys: totals.keys,
        recipients: to.iter().map(ToString::to_string).collect(),
        members,
    };
    let mut text =
        serde_json::to_vec_pretty(&manifest).map_err(|e| Error::internal(format!("a manifest: {e}")))?;
    text.push(b'\n');
    let mut writer = Writer::new(out, manifest.created_at);
    writer.add(MANIFEST, u64::try_from(text.len()).unwrap_or(0), &text[..])?;
    for (name, size, source) in &sized {
        writer.add(name, *size, Counted { from: open(source)?, done: &mut done, all, progress })?;
    }
    writer.end()?.flush().map_err(|e| Error::failed(format!("the backup can't be written: {e}")))?;
    Ok(manifest)
}

/// Reads what a backup says of itself.
pub fn manifest(from: impl Read) -> Result<Manifest> {
    archive::first(from, |name, size, member| match name {
        MANIFEST => Manifest::parse(member, size),
        _ => Err(damaged("it does not begin with a manifest")),
    })
}

/// The private keys of a backup, decrypted by age with this identity file.
pub fn decrypt_keys(from: impl Read, identity: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut cipher = None;
    archive::read(from, |name, size, member| {
        if name == KEYS {
            cipher = Some(held(member, size, KEYS)?);
        }
        Ok(())
    })?;
    match cipher {
        Some(cipher) => age::decrypt(&cipher, identity),
        None => Err(Error::failed("this backup has no private keys in it")
            .hint("restore it without --identity; new signing keys are made")),
    }
}

/// Makes the realm again in `dir`, which is made too or must be empty. `keys` are what [`decrypt_keys`] gave.
///
/// As with a new realm, `realm.toml` comes last: a directory without it is no realm.
pub fn restore(
    dir: &Path,
    from: impl Read,
    keys: Option<&[u8]>,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<Restored> {
    let mut made = None;
    init::occupy(dir, |at| {
        let filled = fill(at, from, keys, clock.clone(), progress);
        if filled.is_err() {
            clear(at);
        }
        made = Some(filled?);
        Ok(())
    })?;
    let (manifest, new_keys) = made.ok_or_else(|| Error::internal("nothing was restored"))?;
    Ok(Restored { realm: Realm::open(dir, Access::Write, clock)?, manifest, new_keys })
}

fn fill(
    at: &Path,
    from: impl Read,
    keys: Option<&[u8]>,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<(Manifest, Vec<SigningAlgorithm>)> {
    files::create_dir(&at.join(SIGNING), files::PRIVATE_DIR)?;
    files::create_dir(&at.join(AUDIT), files::PRIVATE_DIR)?;
    let mut reading = Reading { at, manifest: None, next: 0, config: None, done: 0, progress };
    archive::read(BufReader::with_capacity(128 * 1024, from), |name, size, member| {
        reading.member(name, size, member)
    })?;
    let (manifest, text, config) = reading.end()?;

    let store = SqliteStore::open(&at.join(DATABASE), Mode::ReadWrite)?;
    let mut signing_keys = store.signing_keys()?;
    if let Some(keys) = keys {
        put_private_keys(at, keys, &signing_keys)?;
    }
    let realm = Realm::assemble(at, config, store, clock)?;
    let now = realm.now();
    let mut changes = Vec::new();
    let mut new_keys = Vec::new();
    for key in &mut signing_keys {
        if signing::path(at, key).exists() || matches!(key.state, KeyState::Compromised) {
            continue;
        }
        // A secret that is not here verifies nothing; a public half goes on until its last token has lapsed.
        if key.algorithm == SigningAlgorithm::Hmac {
            key.activated_at = None;
        } else if key.state == KeyState::Retired {
            continue;
        }
        if key.state == KeyState::Active {
            new_keys.push(key.algorithm);
        }
        key.state = KeyState::Retired;
        key.retired_at = key.retired_at.or(Some(now));
        changes.push(Change::PutSigningKey(key.clone()));
    }
    for algorithm in &new_keys {
        let mut key = signing::generate(at, *algorithm, now)?;
        key.state = KeyState::Active;
        key.activated_at = Some(now);
        changes.push(Change::PutSigningKey(key));
    }
    changes.push(revoke::forget(now));
    let deed = Deed {
        action: "realm.restore",
        user: None,
        fingerprint: None,
        given: json!({"backup": manifest.id, "made_at": manifest.created_at, "private_keys": keys.is_some(),
                      "new_keys": new_keys.iter().map(|a| a.as_str()).collect::<Vec<_>>()}),
    };
    commit(&realm, deed, &changes)?;
    files::write_atomic(&at.join(config::FILE), &text, files::PRIVATE_FILE)?;
    Ok((manifest, new_keys))
}

/// A restoration between two members.
struct Reading<'a> {
    at: &'a Path,
    manifest: Option<Manifest>,
    /// The member that has to come next.
    next: usize,
    config: Option<(Vec<u8>, Config)>,
    done: u64,
    progress: &'a dyn Progress,
}

impl Reading<'_> {
    fn member(&mut self, name: &str, size: u64, from: &mut dyn Read) -> Result<()> {
        let Some(manifest) = &self.manifest else {
            if name != MANIFEST {
                return Err(damaged("it does not begin with a manifest"));
            }
            self.manifest = Some(Manifest::parse(from, size)?);
            return Ok(());
        };
        let shown = crate::names::shorten(name);
        let Some(expected) = manifest.members.get(self.next).filter(|m| m.name == name && m.size == size)
        else {
            return Err(damaged(&format!("{shown:?} is not what its manifest says comes here")));
        };
        let expected = expected.sha256.clone();
        let all: u64 = manifest.members.iter().map(|m| m.size).sum();
        self.next += 1;
        let place = self.place(name)?;
        let mut from = Counted { from, done: &mut self.done, all, progress: self.progress };
        let short = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged(&format!("{shown:?} is cut off")),
            _ => Error::failed(format!("{shown:?} can't be restored: {e}")),
        };
        let mut text = Vec::new();
        let found = match place {
            Place::File(path) => {
                let mut file = create(&path)?;
                let found = copy_hashed(&mut from, size, &mut file).map_err(short)?;
                file.sync_all().map_err(|e| io("write", &path, &e))?;
                found
            }
            Place::Held if size > MOST_HELD => return Err(damaged(&format!("{shown:?} is too long"))),
            Place::Held => copy_hashed(&mut from, size, &mut text).map_err(short)?,
            Place::Nowhere => copy_hashed(&mut from, size, &mut std::io::sink()).map_err(short)?,
        };
        if found != expected {
            return Err(damaged(&format!("{shown:?} does not match its SHA-256")));
        }
        if name == config::FILE {
            let config =
                Config::parse(std::str::from_utf8(&text).map_err(|_| damaged("realm.toml is not text"))?)?;
            self.config = Some((text, config));
        }
        Ok(())
    }

    /// Where a member goes: a closed list.
    fn place(&self, name: &str) -> Result<Place> {
        if let Some(month) = name.strip_prefix("audit/")
            && crate::backends::audit::is_month_file(month)
        {
            return Ok(Place::File(self.at.join(AUDIT).join(month)));
        }
        match name {
            config::FILE => Ok(Place::Held),
            DATABASE => Ok(Place::File(self.at.join(DATABASE))),
            KEYS => Ok(Place::Nowhere),
            RULES => {
                let name = self.config.as_ref().and_then(|(_, config)| rules_beside(config));
                let name = name.ok_or_else(|| damaged("it has rules that its realm.toml does not name"))?;
                Ok(Place::File(self.at.join(name)))
            }
            _ => Err(damaged(&format!("{:?} is no part of one", crate::names::shorten(name)))),
        }
    }

    fn end(self) -> Result<(Manifest, Vec<u8>, Config)> {
        let manifest = self.manifest.ok_or_else(|| damaged("it is empty"))?;
        if let Some(missing) = manifest.members.get(self.next) {
            return Err(damaged(&format!("{:?} and all after it are missing", missing.name)));
        }
        let (text, config) = self.config.ok_or_else(|| damaged("it has no realm.toml"))?;
        if config.realm != manifest.realm || !self.at.join(DATABASE).exists() {
            return Err(damaged("its parts are not of one realm"));
        }
        Ok((manifest, text, config))
    }
}

enum Place {
    File(PathBuf),
    /// In memory, for its content is looked at.
    Held,
    Nowhere,
}

/// Tells how far it was read.
struct Counted<'a, R> {
    from: R,
    done: &'a mut u64,
    all: u64,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        *self.done += u64::try_from(count).unwrap_or(0);
        self.progress.at(*self.done, Some(self.all));
        Ok(count)
    }
}

/// The file of rules, where it lies in the realm's directory under a name of its own.
fn rules_beside(config: &Config) -> Option<PathBuf> {
    let path = config.verify.rules.as_ref()?;
    let mut parts = path.components();
    let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else { return None };
    let ours = [config::FILE, DATABASE, SIGNING, AUDIT, HOST_KEY, "known_hosts", ".ssh"];
    let name = name.to_str()?;
    (!ours.contains(&name) && !name.starts_with('.') && !name.starts_with(DATABASE))
        .then(|| PathBuf::from(name))
}

/// A tar of what still signs or verifies: JWT keys that are or will be active, secrets that are published.
fn private_keys(dir: &Path, keys: &[SigningKey], now: u64) -> Result<Zeroizing<Vec<u8>>> {
    let mut members: Vec<(String, Zeroizing<Vec<u8>>)> = Vec::new();
    for key in keys {
        let wanted = match key.state {
            KeyState::Active | KeyState::Next => true,
            KeyState::Retired => key.algorithm == SigningAlgorithm::Hmac,
            KeyState::Compromised => false,
        };
        let path = signing::path(dir, key);
        if wanted && (key.state != KeyState::Retired || path.exists()) {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            members.push((format!("{SIGNING}/{name}"), files::read_private(&path)?));
        }
    }
    let chap = chap::own(dir);
    if chap.exists() {
        members.push((format!("{SIGNING}/{}", chap::OWN), files::read_private(&chap)?));
    }
    let host_key = dir.join(HOST_KEY);
    if host_key.exists() {
        members.push((HOST_KEY.to_owned(), files::read_private(&host_key)?));
    }
    // As large as it can become, so that no copy is left behind where it grew.
    let room = members.iter().map(|(_, bytes)| bytes.len() + 2048).sum::<usize>() + 4096;
    let mut writer = Writer::new(Vec::with_capacity(room), now);
    for (name, bytes) in &members {
        writer.add(name, u64::try_from(bytes.len()).unwrap_or(0), &bytes[..])?;
    }
    writer.end().map(Zeroizing::new)
}

/// Puts the private halves where they belong, each only under the name of a key that the database knows.
fn put_private_keys(at: &Path, tar: &[u8], keys: &[SigningKey]) -> Result<()> {
    archive::read(tar, |name, size, member| {
        let path = if name == HOST_KEY {
            at.join(HOST_KEY)
        } else if chap::own(at).strip_prefix(at).is_ok_and(|p| p == Path::new(name)) {
            chap::own(at)
        } else {
            keys.iter()
                .map(|key| signing::path(at, key))
                .find(|path| path.strip_prefix(at).is_ok_and(|p| p == Path::new(name)))
                .ok_or_else(|| damaged("it has a private key that its database does not know"))?
        };
        files::create_private(&path, &held(member, size, name)?)
    })
}

fn held(from: &mut dyn Read, size: u64, name: &str) -> Result<Zeroizing<Vec<u8>>> {
    if size > MOST_HELD {
        return Err(damaged(&format!("{name} is too long")));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0)));
    from.take(size).read_to_end(&mut bytes).map_err(|e| damaged(&format!("{name}: {e}")))?;
    if u64::try_from(bytes.len()).ok() != Some(size) {
        return Err(damaged(&format!("{name} is cut off")));
    }
    Ok(bytes)
}

fn open(source: &Source) -> Result<Box<dyn Read + '_>> {
    Ok(match source {
        Source::Bytes(bytes) => Box::new(&bytes[..]),
        Source::File(path) => Box::new(files::open_regular(path)?),
    })
}

fn create(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(files::PRIVATE_FILE)
        .open(path)
        .map_err(|e| io("make", path, &e))
}

/// Takes away what a failed restoration has made in a directory that was empty.
fn clear(at: &Path) {
    for folder in [SIGNING, AUDIT] {
        let _ = std::fs::remove_dir_all(at.join(folder));
    }
    let Ok(entries) = std::fs::read_dir(at) else { return };
    for path in entries.flatten().map(|e| e.path()).filter(|p| !p.is_dir()) {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::audit::Door;
    use crate::backends::store::{Revoked, StoredRevocation};
    use crate::clock::FixedClock;
    use crate::progress::Unseen;
    use crate::public_key::PublicKey;
    use crate::services::fixture::{NOW, realm};
    use crate::services::keys::{self, Conditions};
    use crate::services::mint::{self, Ask, Caller};
    use crate::services::trust;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@example";

    fn mint(realm: &Realm) -> String {
        let caller = Caller { user: "ada".parse().unwrap(), key: None, door: Door::Cli, address: None };
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

    fn filled() -> (tempfile::TempDir, Arc<FixedClock>, Realm) {
        let (parent, clock, realm) = realm(KeysBy::File);
        let key = PublicKey::parse_line(KEY, "key").unwrap();
        keys::add(&realm, &"ada".parse().unwrap(), &key, &Conditions::default(), "file").unwrap();
        (parent, clock, realm)
    }

    fn backup_of(realm: &Realm) -> Vec<u8> {
        let mut out = Vec::new();
        write(realm, &mut out, &[], &Unseen).unwrap();
        out
    }

    type Members = Vec<(String, Vec<u8>)>;

    fn members(bytes: &[u8]) -> Members {
        let mut all = Vec::new();
        archive::read(bytes, |name, _, from| {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            all.push((name.to_owned(), bytes));
            Ok(())
        })
        .unwrap();
        all
    }

    fn tar_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), NOW);
        for (name, bytes) in members {
            writer.add(name, bytes.len().try_into().unwrap(), &bytes[..]).unwrap();
        }
        writer.end().unwrap()
    }

    /// The backup with another database, and a manifest that says so.
    fn crafted(backup: &[u8], database: &[u8]) -> Vec<u8> {
        let mut all = members(backup);
        let mut manifest: Manifest = serde_json::from_slice(&all[0].1).unwrap();
        let member = manifest.members.iter_mut().find(|m| m.name == DATABASE).unwrap();
        member.size = database.len().try_into().unwrap();
        member.sha256 = copy_hashed(&mut &database[..], member.size, &mut std::io::sink()).unwrap();
        all[0].1 = serde_json::to_vec(&manifest).unwrap();
        all.iter_mut().find(|(name, _)| name == DATABASE).unwrap().1 = database.to_vec();
        tar_of(&all)
    }

    #[test]
    fn with_its_keys_it_is_the_same_realm() {
        let (_parent, clock, old) = filled();
        let token = mint(&old);
        let plain = private_keys(&old.dir, &old.store.signing_keys().unwrap(), NOW).unwrap();
        let bytes = backup_of(&old);
        let elsewhere = tempfile::tempdir().unwrap();
        let dir = elsewhere.path().join("again");
        let done = restore(&dir, &bytes[..], Some(&plain), clock.clone(), &Unseen).unwrap();
        assert_eq!(done.new_keys, []);
        assert_eq!(verdict(&done.realm, &token), "ada", "made before, by the key that came along");
        assert_eq!(verdict(&old, &mint(&done.realm)), "ada", "and the other way round");
        assert_eq!(done.realm.store.users().unwrap(), old.store.users().unwrap());
        assert_eq!(done.realm.store.keys(None).unwrap(), old.store.keys(None).unwrap());
        let report = done.realm.audit.verify().unwrap();
        assert_eq!((report.problems, report.torn), (vec![], vec![]), "one chain");
        assert!(restore(&dir, &bytes[..], None, clock, &Unseen).is_err(), "there is a realm already");
    }

    /// Attack: a backup whose database names a signing key so that its private half leads out of the realm.
    #[test]
    fn a_key_id_leads_nowhere_else() {
        let (_parent, clock, old) = filled();
        let mut key = signing::active(&old, SigningAlgorithm::EdDsa).unwrap();
        key.kid = "../../planted".to_owned();
        key.state = KeyState::Next;
        old.store.apply(&[Change::PutSigningKey(key)], &mut || Ok(())).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let dir = elsewhere.path().join("again");
        // Nor does our writer make such a member.
        let name = b"signing/../../planted.pem";
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(8);
        header.set_cksum();
        let mut keys = tar::Builder::new(Vec::new());
        keys.append(&header, &b"anything"[..]).unwrap();
        let keys = keys.into_inner().unwrap();
        // Ours makes no such backup, so its database is put in by hand.
        let (_other, _, sound) = filled();
        let copy = elsewhere.path().join("copy.db");
        old.store.copy_to(&copy, &mut || Ok(())).unwrap();
        let crafted = crafted(&backup_of(&sound), &std::fs::read(&copy).unwrap());
        let error = restore(&dir, &crafted[..], Some(&keys), clock, &Unseen).err().unwrap();
        assert!(error.message().contains("planted"), "{error}");
        assert!(!elsewhere.path().join("planted.pem").exists());
    }

    #[test]
    fn without_its_keys_it_signs_with_new_ones_and_tells_no_secret() {
        let (_parent, clock, old) = filled();
        let token = mint(&old);
        let bytes = backup_of(&old);
        for entry in std::fs::read_dir(old.dir.join(SIGNING)).unwrap() {
            let secret = files::read_private(&entry.unwrap().path()).unwrap();
            for line in secret.split(|b| *b == b'\n').filter(|l| l.len() > 16) {
                assert!(!bytes.windows(line.len()).any(|w| w == line), "a private key is in it");
            }
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let done = restore(&elsewhere.path().join("corp"), &bytes[..], None, clock.clone(), &Unseen).unwrap();
        assert_eq!(done.new_keys, [SigningAlgorithm::Hmac, SigningAlgorithm::EdDsa]);
        assert_eq!(verdict(&done.realm, &mint(&done.realm)), "ada");
        assert_eq!(verdict(&done.realm, &token), "ada", "the public half stays until the token has lapsed");
        clock.set(NOW + 2 * 86_400);
        assert_ne!(verdict(&done.realm, &token), "ada");
        assert_eq!(done.realm.audit.verify().unwrap().problems, []);
    }

    #[test]
    fn revocations_come_along() {
        let (_parent, clock, old) = filled();
        let token = mint(&old);
        let what = Revoked::Subject { sub: "ada".into(), issued_before: NOW };
        let change = Change::Revoke(StoredRevocation { what, created_at: NOW, keep_until: NOW + 9999 });
        old.store.apply(&[change], &mut || Ok(())).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let done =
            restore(&elsewhere.path().join("corp"), &backup_of(&old)[..], None, clock, &Unseen).unwrap();
        assert_eq!(verdict(&done.realm, &token), "revoked");
    }

    #[test]
    fn what_is_not_whole_or_not_ours_leaves_nothing_behind() {
        let (_parent, clock, old) = filled();
        let good = backup_of(&old);
        let parts = members(&good);
        assert_eq!(
            parts.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>()[..3],
            [MANIFEST, config::FILE, DATABASE]
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let refused = |what: &str, bytes: &[u8]| -> String {
            let dir = elsewhere.path().join("corp");
            let error =
                restore(&dir, bytes, None, clock.clone(), &Unseen).err().unwrap_or_else(|| panic!("{what}"));
            assert!(!dir.exists(), "{what}: nothing is left");
            assert_eq!(
                std::fs::read_dir(elsewhere.path()).unwrap().count(),
                0,
                "{what}: nothing is left beside it"
            );
            // In a directory that was there it is empty again, and so can be tried again.
            files::create_dir(&dir, 0o700).unwrap();
            assert!(restore(&dir, bytes, None, clock.clone(), &Unseen).is_err());
            assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{what}: empty again");
            std::fs::remove_dir(&dir).unwrap();
            error.message().to_owned()
        };
        let with = |edit: &dyn Fn(&mut Members)| {
            let mut parts = members(&good);
            edit(&mut parts);
            tar_of(&parts)
        };
        for cut in [0, 300, 512, 2000, good.len() / 2, good.len() - 1536] {
            refused(&format!("cut at {cut}"), &good[..cut]);
        }
        refused("no manifest", &with(&|p| drop(p.remove(0))));
        refused("a member short", &with(&|p| drop(p.pop())));
        refused("swapped", &with(&|p| p.swap(1, 2)));
        refused("one more", &with(&|p| p.push(("audit/2027-01.jsonl".into(), b"{}".to_vec()))));
        for name in
            ["../evil", "/etc/passwd", "signing/x.pem", ".ssh/authorized_keys", "realm.db-wal", "audit/../x"]
        {
            // Named by its manifest as well: the list of names is ours, not the backup's.
            let mut manifest: Manifest = serde_json::from_slice(&parts[0].1).unwrap();
            let sha256 = copy_hashed(&mut &b"x"[..], 1, &mut std::io::sink()).unwrap();
            manifest.members.push(Member { name: name.into(), size: 1, sha256 });
            let mut writer = tar::Builder::new(Vec::new());
            let text = serde_json::to_vec(&manifest).unwrap();
            let mut all = members(&good);
            all[0].1 = text;
            all.push((name.into(), b"x".to_vec()));
            for (name, bytes) in &all {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len().try_into().unwrap());
                header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
                header.set_cksum();
                writer.append(&header, &bytes[..]).unwrap();
            }
            let why = refused(name, &writer.into_inner().unwrap());
            assert!(why.contains("is no part of one"), "{name}: {why}");
        }
        let why = refused("an edited database", &with(&|p| p[2].1[5000] ^= 1));
        assert!(why.contains("does not match its SHA-256"), "{why}");
        let why = refused(
            "a newer schema",
            &with(&|p| {
                p[0].1 = String::from_utf8(p[0].1.clone())
                    .unwrap()
                    .replace(&format!("\"schema\": {SCHEMA}"), "\"schema\": 99")
                    .into();
            }),
        );
        assert!(why.contains("schema 99"), "{why}");
        let why = refused("a newer format", &with(&|p| p[0].1 = b"{\"format\": 2, \"new\": []}".to_vec()));
        assert!(why.contains("format 2"), "{why}");
    }

    #[test]
    fn what_is_named_too_large_is_not_waited_for() {
        let (_parent, clock, old) = filled();
        let mut bytes = backup_of(&old);
        // The size of realm.db in its header, which a thief of disk space would set to 10 GiB.
        let at = bytes.windows(8).position(|w| w == b"realm.db").unwrap();
        bytes[at + 124..at + 136].copy_from_slice(b"120000000000");
        assert!(
            restore(&tempfile::tempdir().unwrap().path().join("corp"), &bytes[..], None, clock, &Unseen)
                .is_err()
        );
    }

    const SCHEMA_1: &str = include_str!("../../../tests/fixtures/schema-1/realm.sql");

    #[test]
    fn the_first_schema_is_taken_forward_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DATABASE);
        let make = || {
            for left in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{left}", path.display()));
            }
            rusqlite::Connection::open(&path).unwrap().execute_batch(SCHEMA_1).unwrap();
        };
        let rows = |table: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            rusqlite::Connection::open(&path).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        make();
        let tables = ["users", "user_groups", "user_scopes", "user_keys", "signing_keys", "revocations"];
        let before = tables.map(rows);
        assert_eq!(before, [3, 2, 2, 3, 7, 5]);
        // Whoever comes first, even one that only reads.
        for mode in [Mode::ReadWrite, Mode::ReadOnly] {
            make();
            let store = SqliteStore::open(&path, mode).unwrap();
            assert_eq!(store.taken_forward(), Some(1));
            assert_eq!(tables.map(rows), before);
            let ada = store.user(&"ada".parse().unwrap()).unwrap().unwrap();
            assert_eq!(
                (ada.groups, ada.scopes),
                (vec!["ops".into(), "staff".into()], vec!["read".into(), "write".into()])
            );
            assert!(store.user(&"bob".parse().unwrap()).unwrap().unwrap().locked);
            assert!(store.keys(None).unwrap().iter().all(|k| k.source.is_none()));
            assert_eq!(store.revocations(0).unwrap().len(), 5);
            drop(store);
            assert_eq!(SqliteStore::open(&path, mode).unwrap().taken_forward(), None, "once");
        }
        // Fifty at once: one does it, and all see it.
        make();
        let forwards: usize = std::thread::scope(|scope| {
            let opened: Vec<_> = (0..50)
                .map(|_| scope.spawn(|| SqliteStore::open(&path, Mode::ReadOnly).unwrap().taken_forward()))
                .collect();
            opened.into_iter().filter_map(|t| t.join().unwrap()).count()
        });
        assert_eq!(forwards, 1);
        assert_eq!(tables.map(rows), before);
    }
}
