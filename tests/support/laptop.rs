//! What somebody has who logs in from elsewhere: a home with a key that a running realm knows, and an `ssh` that finds it.

use std::path::PathBuf;
use std::process::Command;

use crate::home::{ED25519, Home, public};
use crate::process::run;
use crate::serve::Served;

/// A home beside a running realm.
#[derive(Debug)]
pub struct Laptop {
    /// The realm, with its own home.
    pub served: Served,
    /// Of ada.
    pub home: Home,
    /// Her private key.
    pub key: PathBuf,
}

impl Laptop {
    /// Beside a realm that answers over ssh, with more in its realm.toml.
    ///
    /// # Panics
    /// If it cannot be set up.
    #[track_caller]
    #[must_use]
    pub fn new(realm_toml: &str) -> Self {
        Self::beside(|text| format!("{text}\n{realm_toml}"))
    }

    /// Beside a realm that answers over HTTP too.
    ///
    /// # Panics
    /// If it cannot be set up.
    #[track_caller]
    #[must_use]
    pub fn with_http() -> Self {
        Self::beside(|text| {
            let (before, table) = text.split_once("\n[crtauth]\n").expect("the template has the table");
            format!("{before}\n[crtauth]\n{}", table.replacen("enabled = false", "enabled = true", 1))
        })
    }

    #[track_caller]
    fn beside(edit: impl FnOnce(String) -> String) -> Self {
        let (served_home, dir, first) = Served::start().interrupt();
        let toml = dir.join("realm.toml");
        let text = std::fs::read_to_string(&toml).expect("realm.toml");
        std::fs::write(&toml, edit(text)).expect("write realm.toml");
        let home = Home::new();
        let key = home.key("ada-key", ED25519);
        let _ = run(&mut crate::realm::add(&served_home, &dir, &key, "ada")).ok();
        let served = Served::start_in(served_home, dir, first, &[]);
        let laptop = Self { served, home, key };
        laptop.know_the_host();
        laptop
    }

    /// An `ssh` first on the `PATH` that knows the realm's host key, and ada's key.
    fn know_the_host(&self) {
        let ssh = crate::skip::find("ssh").unwrap_or_else(|| "ssh".into());
        let options: String = self.served.ssh.options().iter().map(|word| format!("'{word}' ")).collect();
        let script = format!(
            "#!/bin/sh\nexec {} {options} -o IdentityAgent=none -o IdentitiesOnly=yes -i {} \"$@\"\n",
            ssh.display(),
            self.key.display()
        );
        let script = self.home.write("tmp/ssh", script);
        let _ =
            run(Command::new("install").args(["-m", "755"]).arg(script).arg(self.home.join("bin/ssh"))).ok();
    }

    /// Where she logs in over ssh.
    #[must_use]
    pub fn login(&self) -> String {
        format!("{}@127.0.0.1:{}", self.served.ssh.user, self.served.ssh.port)
    }

    /// Where she logs in over HTTP.
    #[must_use]
    pub fn login_http(&self) -> String {
        format!("http://{}", self.served.http.address)
    }

    /// The program as she calls it.
    #[must_use]
    pub fn seamless(&self, words: &[&str]) -> Command {
        let mut command = self.home.seamless(words);
        command.env("USER", "ada");
        command
    }

    /// An entry in her servers.toml.
    ///
    /// # Panics
    /// If it cannot be written.
    #[track_caller]
    pub fn trusts(&self, service: &str, more: &[&str]) {
        let login = self.login();
        let words = ["credential", "install", "service", "--yes", "--for", service, "--login", &login];
        let _ = run(self.seamless(&words).args(more)).ok();
    }

    /// The public half of her key.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        public(&self.key)
    }
}
