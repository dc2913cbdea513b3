//! Tokens that were fetched before and are still good.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::{Destination, Options, Token, Wish, fetch};

/// The longest file that is one of ours.
const MOST_BYTES: u64 = 64 * 1024;

/// A folder of tokens, one file each, for the user alone.
///
/// A token lies under all that was asked for: log-in, user, audience, scope, format, lifetime and key. So one that was
/// fetched for one service is never handed to another.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// What lies in a file.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// So that `forget_all` finds those of one log-in.
    login: String,
    access_token: Zeroizing<String>,
    token_type: String,
    fetched_at: u64,
    expires_at: u64,
    subject: Option<String>,
}

impl Cache {
    /// Opens the folder, `seamless/tokens` in the user's cache where none is named, and makes it if need be.
    pub fn open(dir: Option<&Path>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => default_dir()?,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|e| Error::file("make", &dir, &e))?;
        let metadata = dir.symlink_metadata().map_err(|e| Error::file("look at", &dir, &e))?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(Error::new(Kind::Internal, format!("{} is no folder of yours", dir.display())));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(Error::new(Kind::Internal, format!("others can get into {}", dir.display()))
                .hint(format!("chmod 700 {}", dir.display())));
        }
        Ok(Self { dir })
    }

    /// A token with some life left at `now`, in Unix seconds: the kept one, or a new one. Of several that ask at once for
    /// the same, one fetches.
    pub fn token(
        &self,
        destination: &Destination,
        wish: &Wish,
        options: &Options,
        now: u64,
    ) -> Result<Token> {
        self.token_by(destination, wish, options, now, || fetch(destination, wish, options))
    }

    /// Forgets the token that these words would get.
    pub fn forget(&self, destination: &Destination, wish: &Wish, options: &Options) -> Result<()> {
        remove(&self.file(destination, wish, options))
    }

    /// Forgets all tokens, or those of one log-in; says how many there were.
    pub fn forget_all(&self, destination: Option<&Destination>) -> Result<usize> {
        let login = destination.map(ToString::to_string);
        let mut forgotten = 0;
        let entries = std::fs::read_dir(&self.dir).map_err(|e| Error::file("read", &self.dir, &e))?;
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let entry = read(&path);
            if login.is_none() || entry.is_none_or(|entry| login.as_ref() == Some(&entry.login)) {
                remove(&path)?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    fn token_by(
        &self,
        destination: &Destination,
        wish: &Wish,
        options: &Options,
        now: u64,
        fetch: impl FnOnce() -> Result<Token>,
    ) -> Result<Token> {
        let path = self.file(destination, wish, options);
        if let Some(token) = read(&path).filter(|entry| entry.is_good(now)) {
            return Ok(token.into());
        }
        let _lock = self.lock(&path)?;
        // Somebody else may have fetched it while we waited.
        if let Some(token) = read(&path).filter(|entry| entry.is_good(now)) {
            return Ok(token.into());
        }
        let token = fetch()?;
        if let Some(expires_at) = token.expires_at {
            let entry = Entry {
                login: destination.to_string(),
                access_token: token.access_token.clone(),
                token_type: token.token_type.clone(),
                fetched_at: now,
                expires_at,
                subject: token.subject.clone(),
            };
            self.write(&path, &entry)?;
        }
        Ok(token)
    }

    fn file(&self, destination: &Destination, wish: &Wish, options: &Options) -> PathBuf {
        let asked = serde_json::json!([
            destination.to_string(),
            options.user,
            options.fingerprint,
            options.identity.as_ref().map(|file| file.as_os_str().as_encoded_bytes()),
            std::env::var("USER").ok(),
            wish.audiences,
            wish.scopes,
            wish.format,
            wish.ttl,
        ]);
        let digest = Sha256::digest(asked.to_string());
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(name + ".json")
    }

    fn lock(&self, path: &Path) -> Result<File> {
        let path = path.with_extension("lock");
        let failed = |e: std::io::Error| Error::file("lock", &path, &e);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nofollow())
            .open(&path)
            .map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
        Ok(file)
    }

    fn write(&self, path: &Path, entry: &Entry) -> Result<()> {
        let failed = |e: std::io::Error| Error::file("write", path, &e);
        let text = Zeroizing::new(serde_json::to_vec(entry).map_err(|e| failed(e.into()))?);
        // Made 0600 by itself, and renamed when it is whole.
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.dir).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.persist(path).map_err(|e| failed(e.error))?;
        Ok(())
    }
}

impl Entry {
    /// Used until a tenth of its life is left, and 10 s at least; of a very short one half of it.
    fn is_good(&self, now: u64) -> bool {
        let life = self.expires_at.saturating_sub(self.fetched_at);
        let margin = (life / 10).max(10).min(life / 2);
        // A clock that was set back makes nothing younger.
        self.fetched_at <= now && now.saturating_add(margin) < self.expires_at
    }
}

impl From<Entry> for Token {
    fn from(entry: Entry) -> Self {
        Self {
            access_token: entry.access_token,
            token_type: entry.token_type,
            expires_at: Some(entry.expires_at),
            subject: entry.subject,
        }
    }
}

fn default_dir() -> Result<PathBuf> {
    let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let cache =
        of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache"))).ok_or_else(|| {
            Error::new(Kind::Internal, "neither XDG_CACHE_HOME nor HOME says where your cache is")
        })?;
    Ok(cache.join("seamless").join("tokens"))
}

/// None where there is no whole entry that is ours alone: it is fetched anew.
fn read(path: &Path) -> Option<Entry> {
    let file = OpenOptions::new().read(true).custom_flags(nofollow()).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let ours = metadata.is_file()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o077 == 0
        && metadata.len() <= MOST_BYTES;
    if !ours {
        return None;
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MOST_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path, &e)),
        _ => Ok(()),
    }
}

fn nofollow() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const NOW: u64 = 1_700_000_000;

    fn token(text: &str, life: u64) -> Token {
        Token {
            access_token: Zeroizing::new(text.to_owned()),
            token_type: "Bearer".into(),
            expires_at: Some(NOW + life),
            subject: Some("ada".into()),
        }
    }

    fn login() -> Destination {
        "https://login.example.com".parse().unwrap()
    }

    fn get(cache: &Cache, wish: &Wish, now: u64, fresh: &str) -> String {
        let options = Options::default();
        cache
            .token_by(&login(), wish, &options, now, || Ok(token(fresh, 300)))
            .unwrap()
            .access_token
            .to_string()
    }

    #[test]
    fn a_token_is_used_until_it_is_nearly_over() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&folder.path().join("a/b"))).unwrap();
        let wish = Wish::default();
        assert_eq!(get(&cache, &wish, NOW, "one"), "one");
        assert_eq!(get(&cache, &wish, NOW + 269, "two"), "one");
        assert_eq!(get(&cache, &wish, NOW + 270, "two"), "two");
        assert_eq!(get(&cache, &wish, NOW - 10, "three"), "three", "a clock that was set back");
        let other = Wish { audiences: vec!["https://api.example".into()], ..Wish::default() };
        assert_eq!(get(&cache, &other, NOW, "four"), "four", "another's token is another's");
        cache.forget(&login(), &other, &Options::default()).unwrap();
        assert_eq!(get(&cache, &other, NOW, "five"), "five");
        assert_eq!(cache.forget_all(Some(&"corp@h".parse().unwrap())).unwrap(), 0);
        assert_eq!(cache.forget_all(Some(&login())).unwrap(), 2);
        assert_eq!(cache.forget_all(None).unwrap(), 0);
        for (life, good_for) in [(20, 9), (60, 49), (4, 1)] {
            let entry = Entry {
                login: String::new(),
                access_token: Zeroizing::default(),
                token_type: String::new(),
                fetched_at: NOW,
                expires_at: NOW + life,
                subject: None,
            };
            assert!(entry.is_good(NOW + good_for) && !entry.is_good(NOW + good_for + 1), "{life}");
        }
    }

    #[test]
    fn only_its_user_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("tokens");
        let cache = Cache::open(Some(&dir)).unwrap();
        get(&cache, &Wish::default(), NOW, "one");
        let file = cache.file(&login(), &Wish::default(), &Options::default());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            get(&cache, &Wish::default(), NOW, "two"),
            "two",
            "others could read it, or have written it"
        );
        std::fs::write(&file, "{").unwrap();
        assert_eq!(get(&cache, &Wish::default(), NOW, "three"), "three", "a broken one is fetched anew");
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert_eq!(get(&cache, &Wish::default(), NOW, "four"), "four", "a link is not followed");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(Some(&dir)).unwrap_err().message.contains("others can get into"));
    }

    #[test]
    fn of_many_at_once_one_fetches() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&folder.path().join("tokens"))).unwrap();
        let fetched = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let fetch = || {
                        fetched.fetch_add(1, Ordering::SeqCst);
                        Ok(token("one", 300))
                    };
                    cache.token_by(&login(), &Wish::default(), &Options::default(), NOW, fetch).unwrap();
                });
            }
        });
        assert_eq!(fetched.into_inner(), 1);
    }

    #[test]
    fn what_says_no_end_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&folder.path().join("tokens"))).unwrap();
        let endless = || Ok(Token { expires_at: None, ..token("one", 0) });
        cache.token_by(&login(), &Wish::default(), &Options::default(), NOW, endless).unwrap();
        assert_eq!(get(&cache, &Wish::default(), NOW, "two"), "two");
    }
}
