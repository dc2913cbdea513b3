//! Where keys come from beside the realm's own store: folders, directory services, pages.

mod directory;
mod ldap;
pub mod local;
mod pages;

use std::path::Path;

use crate::config::Source;
use crate::error::Result;
use crate::names::UserName;
use crate::public_key::PublicKey;

pub use directory::Directory;
pub use ldap::Ldap;
pub use pages::Pages;

/// A place that knows users and their keys.
///
/// A source that can't be asked is an error that says so. It is never "no such user": whoever turned to the next source
/// then would let in those whom this one keeps out.
pub trait KeySource: Send + Sync {
    /// What errors and records call it.
    fn name(&self) -> &str;

    /// The keys of a user. `known`: the realm's own store has a user of that name.
    fn keys_of(&self, user: &UserName, known: bool, now: u64) -> Result<Answer>;

    /// Everybody who has a key here, for who offers a key over ssh and says no name; of `known`, the names in the store,
    /// where there is no list.
    fn each(&self, known: &[UserName], now: u64, each: &mut dyn FnMut(UserName, PublicKey)) -> Result<()>;

    /// The group that every user must be in, if there is one; later sources must not let in those who are not.
    fn restriction(&self) -> Option<&str> {
        None
    }

    /// Whether it can be asked.
    fn check(&self) -> Result<()>;
}

/// What a source knows of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: the next one is asked.
    Unknown,
    /// The user is here, and may not log in. Nobody else is asked.
    Refused(&'static str),
    /// The user is here.
    User {
        /// Those keys that will do.
        keys: Vec<PublicKey>,
        /// Groups that the source says it is in.
        groups: Vec<String>,
    },
}

/// The source that the settings describe. Paths are relative to the realm in `dir`. Reaches for nothing yet.
pub fn open(source: &Source, dir: &Path) -> Result<Box<dyn KeySource>> {
    Ok(match source {
        Source::Directory(directory) => Box::new(Directory::new(directory, dir)),
        Source::Ldap(ldap) => Box::new(Ldap::new(ldap, dir)),
        Source::Url(pages) => Box::new(Pages::new(pages)?),
        Source::Github(github) => Box::new(Pages::new(&github.pages())?),
    })
}

/// The keys on these lines that may log in. Others are passed over: what an administrator would be told of one by one
/// has no reader here.
fn usable(text: &str, name: &str) -> Vec<PublicKey> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| PublicKey::parse_line(line, name).ok()).take(MOST_KEYS).collect()
}

/// The most keys of one user that are looked at.
const MOST_KEYS: usize = 64;
