//! A realm that answers log-ins over HTTP, and people who try.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::Home;
use crate::http::free_port;
use crate::process::{Done, run};
use crate::serve::Served;

/// A realm in a home, before it is served.
#[derive(Debug)]
pub struct LoginRealm {
    /// Whose it is.
    pub home: Home,
    /// Its folder.
    pub dir: PathBuf,
    port: u16,
}

impl LoginRealm {
    /// A realm named `demo` without users, whose challenges name 127.0.0.1.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn new() -> Self {
        let home = Home::new();
        let dir = home.join("demo");
        let port = free_port();
        let issuer = format!("http://127.0.0.1:{port}/demo");
        let _ = run(home.seamless(["init", "--format", "jwt", "--issuer", &issuer, "--dir"]).arg(&dir)).ok();
        let realm = Self { home, dir, port };
        realm.set("[crtauth]", "enabled = false", "enabled = true");
        realm
    }

    /// Changes a line of realm.toml behind that heading.
    ///
    /// # Panics
    /// If there is no such line.
    pub fn set(&self, heading: &str, from: &str, to: &str) {
        let path = self.dir.join("realm.toml");
        let text = std::fs::read_to_string(&path).expect("realm.toml");
        let at = text.find(heading).unwrap_or_else(|| panic!("no {heading}"));
        let (before, after) = text.split_at(at);
        let with = after.replacen(from, to, 1);
        assert_ne!(with, after, "no {from:?} behind {heading}");
        std::fs::write(&path, format!("{before}{with}")).expect("write realm.toml");
    }

    /// Adds to realm.toml.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn append(&self, text: &str) {
        let path = self.dir.join("realm.toml");
        let before = std::fs::read_to_string(&path).expect("realm.toml");
        std::fs::write(&path, format!("{before}\n{text}")).expect("write realm.toml");
    }

    /// Serves it.
    #[must_use]
    pub fn serve(self) -> Logins {
        self.serve_with(|command| command)
    }

    /// Serves it, with more in its environment.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn serve_with(self, more: impl FnOnce(&mut Command) -> &mut Command) -> Logins {
        let (url, http) = (format!("http://127.0.0.1:{}", self.port), format!("127.0.0.1:{}", self.port));
        let served = Served::start_with(self.home, self.dir, PathBuf::new(), |command| {
            more(command.args(["--http", &http]))
        });
        Logins { served, url }
    }
}

impl Default for LoginRealm {
    fn default() -> Self {
        Self::new()
    }
}

/// A served realm that people log in to.
#[derive(Debug)]
pub struct Logins {
    /// It.
    pub served: Served,
    /// Where to log in.
    pub url: String,
}

impl Logins {
    /// `seamless login URL --user NAME --identity KEY …`.
    #[must_use]
    pub fn login(&self, user: &str, key: &Path, words: &[&str]) -> Done {
        let mut command = self.served.home.seamless(["login", &self.url, "--no-cache", "--user", user]);
        run(command.arg("--identity").arg(key).args(words))
    }

    /// Why the last handshake failed, by the audit log.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn last_refusal(&self) -> String {
        let records = run(&mut self.served.verb(&["audit", "show", "--json"])).ok().json();
        let records = records.as_array().expect("a list of records");
        let last = records.iter().rev().find(|record| record["action"] == "login").expect("a failed log-in");
        last["given"]["reason"].as_str().unwrap_or_default().to_owned()
    }
}
