//! Which realm a call means, and as whom it works there.
//!
//! As root nothing inside a realm is opened: whoever runs code as the realm's account could have put a link there.
//! The call is run again as that account instead, with the files that only the caller can read on its stdin.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config;
use crate::error::{Error, Result};
use crate::names::RealmName;
use crate::realm::{Access, Realm};
use crate::services::hosting::{self, Account};

use super::Context;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Target {
    /// The realm's directory, in place of REALM
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(super) dir: Option<PathBuf>,
    /// The home of the realm account that this call was re-executed as
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    pub(super) realm_home: Option<PathBuf>,
    /// The file that the call names is on standard input
    #[arg(long, global = true, hide = true)]
    pub(super) file_on_stdin: bool,
}

/// Where a realm is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A Unix account's home.
    Account(Account),
    /// A directory of whoever calls.
    Dir(PathBuf),
}

impl Place {
    pub(super) fn dir(&self) -> &Path {
        match self {
            Self::Account(account) => &account.home,
            Self::Dir(dir) => dir,
        }
    }
}

impl Context {
    /// Splits `[REALM] REST…` where exactly `rest` other words are meant, and finds the realm.
    pub(super) fn words<'a>(&self, words: &'a [String], rest: usize) -> Result<(Place, &'a [String])> {
        if words.len() > rest {
            let (realm, rest) = words.split_at(1);
            return Ok((self.place(realm.first().map(String::as_str))?, rest));
        }
        Ok((self.place(None)?, words))
    }

    /// Finds the realm: what a re-execution says, `--dir`, REALM, or SEAMLESS_REALM, in that order.
    pub(super) fn place(&self, realm: Option<&str>) -> Result<Place> {
        if let Some(home) = &self.target.realm_home {
            return Ok(Place::Dir(home.clone()));
        }
        if let Some(dir) = &self.target.dir {
            if let Some(realm) = realm {
                return Err(Error::usage(format!("both --dir and the realm {realm:?} are given"))
                    .hint("say one of them"));
            }
            return by_dir(dir);
        }
        if let Some(realm) = realm {
            return by_name(realm);
        }
        match std::env::var_os("SEAMLESS_REALM").filter(|v| !v.is_empty()) {
            Some(value) => match value.to_str() {
                Some(name) if !name.contains('/') => by_name(name),
                _ => by_dir(Path::new(&value)),
            },
            None => {
                Err(Error::usage("which realm?").hint("name it, or say --dir DIR, or set SEAMLESS_REALM"))
            }
        }
    }

    /// Opens the realm here, or runs this very call as the realm's account and gives its exit code.
    ///
    /// `file` is what the caller alone can read; the other side finds it on its standard input.
    pub(super) fn enter(&self, place: &Place, access: Access, file: Option<&[u8]>) -> Result<Entered> {
        if let Some(code) = self.elsewhere(place, file)? {
            return Ok(Entered::Elsewhere(code));
        }
        Ok(Entered::Here(Box::new(Realm::open(place.dir(), access, self.clock.clone())?)))
    }

    /// The exit code of this call run as the realm's account, where that is not who we are.
    pub(super) fn elsewhere(&self, place: &Place, file: Option<&[u8]>) -> Result<Option<u8>> {
        let Some(account) = self.account_to_become(place) else { return Ok(None) };
        let argv = self.argv_there(&account, file.is_some());
        hosting::as_account(&account, &argv, file).map(Some)
    }

    /// As [`Context::elsewhere`], for a file of any length, which becomes the other side's standard input, and with
    /// the lines that it prints handed to `line`.
    pub(super) fn elsewhere_with(
        &self,
        place: &Place,
        file: Option<std::fs::File>,
        line: Option<hosting::EachLine<'_>>,
    ) -> Result<Option<u8>> {
        let Some(account) = self.account_to_become(place) else { return Ok(None) };
        let argv = self.argv_there(&account, file.is_some());
        hosting::as_account_with(&account, &argv, file, line).map(Some)
    }

    /// Replaces this process by the same call as the realm's account, where that is not who we are.
    pub(super) fn become_account(&self, place: &Place) -> Result<()> {
        let Some(account) = self.account_to_become(place) else { return Ok(()) };
        Err(hosting::become_account(&account, &self.argv_there(&account, false)))
    }

    /// The words of this call for the realm's account. What is added stands first: the caller may have said `--`.
    pub(super) fn argv_there(&self, account: &Account, file_on_stdin: bool) -> Vec<OsString> {
        let mut argv = vec!["--realm-home".into(), account.home.clone().into_os_string()];
        if file_on_stdin {
            argv.push("--file-on-stdin".into());
        }
        argv.extend_from_slice(&self.argv);
        argv
    }

    /// Whether this call is to be run again as another account.
    pub(super) fn goes_elsewhere(&self, place: &Place) -> bool {
        self.account_to_become(place).is_some()
    }

    /// The account that a call about this place is run as, where that is not who we are.
    pub(super) fn account_to_become(&self, place: &Place) -> Option<Account> {
        match place {
            Place::Account(account) if is_root() => Some(account.clone()),
            _ => None,
        }
    }

    /// Opens a file that the caller names, to be read as a stream; none where that is standard input.
    pub(super) fn open_file(&self, name: &str) -> Result<Option<std::fs::File>> {
        if name == "-" || self.target.file_on_stdin {
            return Ok(None);
        }
        // The caller's own file: links and pipes are welcome.
        let path = Path::new(name);
        let failed = |e: std::io::Error| Error::failed(crate::error::io("read", path, &e).message());
        let file = std::fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(Error::failed(format!("{name} is a folder")));
        }
        Ok(Some(file))
    }

    /// The bytes of a file that the caller names: `-`, or what a re-execution handed on, is standard input.
    pub(super) fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        use std::io::Read;
        let stdin = name == "-" || self.target.file_on_stdin;
        let path = Path::new(if stdin { "/dev/stdin" } else { name });
        // The caller's own file: links and pipes are welcome.
        let mut bytes = Vec::new();
        let read = if stdin {
            std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        };
        read.map_err(|e| Error::failed(crate::error::io("read", path, &e).message()))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(Error::usage(format!("{} is over {} KiB", path.display(), limit / 1024)));
        }
        Ok(bytes)
    }
}

/// Where the call goes on.
pub(super) enum Entered {
    /// In this process.
    Here(Box<Realm>),
    /// It was done by another, with this exit code.
    Elsewhere(u8),
}

/// Whether this process may do anything.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a user's own realms lie: `$XDG_DATA_HOME/seamless`, or `~/.local/share/seamless`.
pub(super) fn data_dir() -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("seamless"))
        .ok_or_else(|| {
            Error::failed("neither XDG_DATA_HOME nor HOME says where your files are").hint("say --dir DIR")
        })
}

fn by_dir(dir: &Path) -> Result<Place> {
    use std::os::unix::fs::MetadataExt as _;
    let dir = std::path::absolute(dir).map_err(|e| crate::error::io("find", dir, &e))?;
    // A directory of somebody else's is entered as that somebody, for the same reason as an account's.
    if is_root()
        && let Ok(meta) = dir.symlink_metadata()
        && meta.uid() != 0
    {
        let Some(owner) = hosting::account_of(meta.uid()) else {
            return Err(Error::failed(format!(
                "{} belongs to no account (uid {})",
                dir.display(),
                meta.uid()
            )));
        };
        return Ok(Place::Account(Account { home: dir, ..owner }));
    }
    Ok(Place::Dir(dir))
}

fn by_name(name: &str) -> Result<Place> {
    let name: RealmName = name.parse()?;
    if let Some(account) = hosting::account(name.as_str()) {
        if hosting::is_realm(&account) {
            return Ok(Place::Account(account));
        }
        if !own(&name)?.join(config::FILE).exists() {
            return Err(Error::failed(format!("the account {name} is no realm")).hint(format!(
                "it was not made by seamless, or its home is not {}",
                hosting::home_of(&name).display()
            )));
        }
    }
    let own = own(&name)?;
    if own.join(config::FILE).exists() {
        return Ok(Place::Dir(own));
    }
    Err(Error::failed(format!("there is no realm {name} here"))
        .hint(format!("make it: sudo seamless init {name}, or without root: seamless serve {name}")))
}

fn own(name: &RealmName) -> Result<PathBuf> {
    Ok(data_dir()?.join(name.as_str()))
}
