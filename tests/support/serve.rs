//! `seamless serve`, started as the README says and ended with the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::home::{ED25519, Home};
use crate::http::{Http, free_port};
use crate::process::{Done, Running, run};
use crate::realm;
use crate::ssh::SshServer;

/// A running `serve` with the realm that it made.
#[derive(Debug)]
pub struct Served {
    /// Whose it is.
    pub home: Home,
    /// The realm's folder.
    pub dir: PathBuf,
    /// The private key that the first start enrolled.
    pub key: PathBuf,
    /// Its ssh door.
    pub ssh: SshServer,
    /// Its HTTP door.
    pub http: Http,
    /// What it printed until the third numbered line.
    pub banner: String,
    running: Running,
}

impl Served {
    /// On free ports, in a new home that has one Ed25519 key.
    ///
    /// # Panics
    /// If the banner does not come.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let home = Home::new();
        let key = home.default_key(ED25519);
        let dir = home.join("demo");
        Self::start_in(home, dir, key, &[])
    }

    /// On free ports, in this home.
    ///
    /// # Panics
    /// If the banner does not come.
    #[track_caller]
    #[must_use]
    pub fn start_in(home: Home, dir: PathBuf, key: PathBuf, options: &[&str]) -> Self {
        Self::start_with(home, dir, key, |command| command.args(options))
    }

    /// On free ports, in this home, with more on its command line or in its environment.
    ///
    /// # Panics
    /// If the banner does not come.
    #[track_caller]
    #[must_use]
    pub fn start_with(
        home: Home,
        dir: PathBuf,
        key: PathBuf,
        more: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let (ssh, http) = (free_port(), free_port());
        let mut running = Running::start(more(&mut command(&home, &dir, ssh, http, &[])));
        let banner = running.wait_for("the banner's third line", |serve| {
            let text = format!("{}{}", serve.stdout(), serve.stderr());
            pasted(&text).map(|_| text)
        });
        let user = login_name(&banner);
        let ssh = SshServer { user, port: ssh, known_hosts: dir.join("known_hosts") };
        Self { home, dir, key, ssh, http: Http::local(http), banner, running }
    }

    /// The same, with a realm whose `/verify` judges by these rules.
    ///
    /// # Panics
    /// If the banner does not come.
    #[track_caller]
    #[must_use]
    pub fn by_rules(rules: &str) -> Self {
        let (home, dir, key) = Self::start().interrupt();
        let toml = dir.join("realm.toml");
        let text = std::fs::read_to_string(&toml).expect("realm.toml");
        let with = text.replacen("# rules = \"rules.json\"", "rules = \"rules.json\" #", 1);
        assert_ne!(text, with, "the template has the key");
        std::fs::write(&toml, with).expect("write realm.toml");
        std::fs::write(dir.join("rules.json"), rules).expect("write rules.json");
        Self::start_in(home, dir, key, &[])
    }

    /// The three numbered lines of the banner, as they are to be pasted.
    ///
    /// # Panics
    /// If they are not there.
    #[track_caller]
    #[must_use]
    pub fn pasted(&self) -> [String; 3] {
        pasted(&self.banner).expect("three numbered lines")
    }

    /// Logs in with the enrolled key.
    #[must_use]
    pub fn login(&self, words: &[&str]) -> Done {
        run(&mut self.ssh.ssh(&self.home, &self.key, words))
    }

    /// A fresh token of the enrolled user.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn token(&self) -> String {
        self.login(&[]).ok().line()
    }

    /// `ssh … token --json`.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    #[must_use]
    pub fn token_json(&self, options: &[&str]) -> Value {
        self.login(&[&["token", "--json"], options].concat()).ok().json()
    }

    /// A verb on the realm while it is served.
    #[must_use]
    pub fn verb(&self, words: &[&str]) -> Command {
        realm::verb(&self.home, &self.dir, words)
    }

    /// What `/verify` says to a token.
    #[track_caller]
    #[must_use]
    pub fn verify(&self, token: &str) -> crate::http::Response {
        self.http.get("/verify", &[("Authorization", &format!("Bearer {token}"))])
    }

    /// What it has printed so far.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.running.transcript()
    }

    /// Waits for a line that it logs.
    #[track_caller]
    pub fn wait_for_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.running.wait_for(what, |serve| {
            let text = format!("{}{}", serve.stdout(), serve.stderr());
            text.lines().find(|line| wanted(line)).map(str::to_owned)
        })
    }

    /// Waits until a text has been printed so many times.
    #[track_caller]
    pub fn wait_for_lines(&mut self, what: &str, text: &str, count: usize) {
        self.running.wait_for(what, |serve| (serve.stdout().matches(text).count() >= count).then_some(()));
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Ctrl-C; the home and the folder stay, for a second start.
    ///
    /// # Panics
    /// If it does not end cleanly within ten seconds.
    #[track_caller]
    pub fn interrupt(mut self) -> (Home, PathBuf, PathBuf) {
        assert!(self.running.alive(), "it ended by itself:\n{}", self.transcript());
        self.running.signal(Signal::INT);
        let code = self.running.wait(Duration::from_secs(10));
        assert_eq!(code, Some(0), "Ctrl-C ends it with exit code 0:\n{}", self.transcript());
        assert!(!self.transcript().contains("panicked at"), "no panic:\n{}", self.transcript());
        (self.home, self.dir, self.key)
    }
}

/// Rules for a proxy to be tried with: one of every need, a scope, a method and a host.
pub const RULES: &str = r#"{"rules": [
    {"path_prefix": "/open", "need": "open"},
    {"path_prefix": "/maybe", "need": "optional"},
    {"path_prefix": "/admin", "need": "required", "scopes": ["admin"]},
    {"path_prefix": "/open", "methods": ["POST"], "need": "required"},
    {"path_prefix": "/open/b", "host": "b.example", "need": "required"}
]}"#;

/// `seamless serve --dir DIR --ssh … --http …`.
#[must_use]
pub fn command(home: &Home, dir: &Path, ssh: u16, http: u16, options: &[&str]) -> Command {
    let mut command = home.seamless(["serve", "--dir"]);
    command
        .arg(dir)
        .args(["--ssh", &format!("127.0.0.1:{ssh}"), "--http", &format!("127.0.0.1:{http}")])
        .args(options);
    command
}

/// The banner's numbered lines: `1. COMMAND`, `COMMAND   # 1: what it does`, or a numbered title over the command.
#[must_use]
pub fn pasted(banner: &str) -> Option<[String; 3]> {
    let lines: Vec<&str> = banner.lines().collect();
    // A command is whole when its line has ended.
    let whole = banner.ends_with('\n');
    let is_command = |text: &str| text.contains("ssh ") || text.contains("curl ");
    let find = |number: &str| {
        lines.iter().enumerate().find_map(|(at, line)| {
            if at + 1 == lines.len() && !whole {
                return None;
            }
            let line = line.trim();
            if let Some((command, comment)) = line.rsplit_once(" # ")
                && comment.starts_with(number)
            {
                return Some(command.trim().to_owned());
            }
            let rest = line.strip_prefix(number)?;
            let rest = rest.strip_prefix(['.', ')', ':', ' '])?.trim();
            if is_command(rest) {
                return Some(rest.to_owned());
            }
            let next = lines.get(at + 1)?.trim();
            (is_command(next) && (at + 2 < lines.len() || whole)).then(|| next.to_owned())
        })
    };
    Some([find("1")?, find("2")?, find("3")?])
}

/// `demo` of `demo@127.0.0.1` in the banner.
fn login_name(banner: &str) -> String {
    let command = pasted(banner).map(|[first, _, _]| first).unwrap_or_default();
    command
        .split([' ', '(', ')', '"', '\'', '`'])
        .find_map(|word| word.split_once('@'))
        .map_or_else(|| "demo".to_owned(), |(user, _)| user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::pasted;

    #[test]
    fn banners() {
        let want = ["TOKEN=$(ssh -p 2222 demo@h)", "curl a", "curl b"].map(str::to_owned);
        for banner in [
            "seamless\n  1. TOKEN=$(ssh -p 2222 demo@h)\n  2. curl a\n  3. curl b\n",
            "1  TOKEN=$(ssh -p 2222 demo@h)\n2  curl a\n3  curl b\n",
            "TOKEN=$(ssh -p 2222 demo@h)  # 1. a token\ncurl a  # 2. yes\ncurl b  # 3. no\n",
            "1. get a token:\n\tTOKEN=$(ssh -p 2222 demo@h)\n2. yes\n\tcurl a\n3. no\n\tcurl b\n",
        ] {
            assert_eq!(pasted(banner), Some(want.clone()), "{banner}");
            assert_eq!(pasted(banner.trim_end()), None, "its last line has not ended: {banner}");
        }
        assert_eq!(pasted("1. TOKEN=$(ssh x)\n2. curl a\n"), None);
    }
}
