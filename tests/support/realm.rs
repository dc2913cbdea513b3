//! A realm in a folder, worked on by the administrator's verbs without root.
//!
//! The command lines are the issue's; a test that needs another verb adds it here, so that there is one place to
//! change when a verb does.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::{ED25519, Home, public};
use crate::process::{Done, run};

/// A realm named `demo` with the user `ada`.
#[derive(Debug)]
pub struct Realm {
    /// Whose it is.
    pub home: Home,
    /// Its folder.
    pub dir: PathBuf,
    /// ada's private key.
    pub key: PathBuf,
}

impl Realm {
    /// `seamless init --dir DIR …`, then `seamless add` for ada.
    ///
    /// # Panics
    /// If it cannot be made.
    #[track_caller]
    #[must_use]
    pub fn init(options: &[&str]) -> Self {
        let home = Home::new();
        let dir = home.join("demo");
        let key = home.key("ada", ED25519);
        let _ = run(home.seamless(["init", "--dir"]).arg(&dir).args(options)).ok();
        let realm = Self { home, dir, key };
        let _ = run(&mut add(&realm.home, &realm.dir, &realm.key, "ada")).ok();
        realm
    }

    /// A verb with the realm's folder: `verb(&["user", "lock", "ada"])`.
    #[must_use]
    pub fn verb(&self, words: &[&str]) -> Command {
        verb(&self.home, &self.dir, words)
    }

    /// `seamless token --dir DIR --user USER …`.
    #[must_use]
    pub fn token(&self, user: &str, options: &[&str]) -> Done {
        run(self.verb(&["token", "--user", user]).args(options))
    }
}

/// A verb with `--dir`.
#[must_use]
pub fn verb(home: &Home, dir: &Path, words: &[&str]) -> Command {
    let mut command = home.seamless(words);
    command.arg("--dir").arg(dir);
    command
}

/// `seamless add --dir DIR KEY.pub --user USER`.
#[must_use]
pub fn add(home: &Home, dir: &Path, key: &Path, user: &str) -> Command {
    let mut command = home.seamless(["add", "--dir"]);
    command.arg(dir).arg(public(key)).args(["--user", user]);
    command
}

/// `seamless token revoke --dir DIR --jti JTI`.
#[must_use]
pub fn revoke_jti(home: &Home, dir: &Path, jti: &str) -> Command {
    verb(home, dir, &["token", "revoke", "--jti", jti])
}

/// `seamless user lock --dir DIR USER`.
#[must_use]
pub fn lock(home: &Home, dir: &Path, user: &str) -> Command {
    verb(home, dir, &["user", "lock", user, "--yes"])
}

/// `seamless key remove --dir DIR FINGERPRINT`.
#[must_use]
pub fn remove_key(home: &Home, dir: &Path, fingerprint: &str) -> Command {
    verb(home, dir, &["key", "remove", fingerprint, "--yes"])
}
