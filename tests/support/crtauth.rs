//! The originals of crtauth: their server, their client and their plugin for requests, and realms that log in so.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::agent::Agent;
use crate::home::{ECDSA, Home, KeyType, RSA, public};
use crate::http::Http;
use crate::process::{Running, run};
use crate::realm;
use crate::serve::Served;
use crate::skip::{skip, skip_anywhere};

/// A secret that both sides have.
pub const SECRET: &str = "a secret of twenty-six bytes";

/// CPython 2.7 with the originals.
#[derive(Debug)]
pub struct Originals {
    python: PathBuf,
}

/// The original's server, which ends with this value.
#[derive(Debug)]
pub struct OriginalServer {
    /// Where it listens.
    pub http: Http,
    _running: Running,
}

impl Originals {
    /// None, said aloud, where there is no CPython 2.7: even in CI, since nobody packages it any more.
    #[must_use]
    pub fn find() -> Option<Self> {
        if let Some(python) = std::env::var_os("SEAMLESS_PYTHON2") {
            return Some(Self { python: python.into() });
        }
        if std::env::var_os("SEAMLESS_NO_PYTHON2").is_some() {
            skip_anywhere("the originals of crtauth need CPython 2.7, which is not here");
        } else {
            skip(
                "the originals of crtauth are not installed; `cargo xtask test` does it where CPython 2.7 is",
            );
        }
        None
    }

    /// A client logs in: `library`, `plugin`, `relay` or `short`, as crtauth_client.py says.
    ///
    /// # Panics
    /// If it does not run.
    #[track_caller]
    #[must_use]
    pub fn client(&self, home: &Home, agent: &Agent, words: &[&str]) -> Value {
        let mut command = self.script(home, "crtauth_client.py");
        run(command.args(words).env("SSH_AUTH_SOCK", &agent.socket)).ok().json()
    }

    /// Starts their server over a folder of `NAME_id_rsa.pub`; `versions` is what it speaks: `0`, `01` or `1`.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn server(&self, home: &Home, keys: &Path, name: &str, versions: &str) -> OriginalServer {
        let secret = home.write("secret-of-the-original", SECRET);
        let mut command = self.script(home, "crtauth_server.py");
        let mut running = Running::start(command.arg(secret).arg(keys).args([name, versions]));
        let port = running.wait_for("the original server's port", |server| {
            server.stdout().trim().strip_prefix("listening on ").and_then(|port| port.parse().ok())
        });
        OriginalServer { http: Http::local(port), _running: running }
    }

    fn script(&self, home: &Home, name: &str) -> Command {
        let mut command = home.command(&self.python);
        command.arg(crate::root().join("tests/peers").join(name));
        command
    }
}

impl OriginalServer {
    /// `http://localhost:PORT` and this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.http.address.port())
    }
}

/// A `serve` that answers `/_auth` as `localhost`, with a user for each kind of key, all of them in one agent.
#[derive(Debug)]
pub struct Door {
    /// The server; its key is the one that the first start enrolled, ed25519.
    pub served: Served,
    /// Holds every key below, the one that fits last.
    pub agent: Agent,
    /// ada's, RSA.
    pub rsa: PathBuf,
    /// bob's, on P-256.
    pub ecdsa: PathBuf,
    /// The realm's issuer URL, which is what its tokens are for.
    pub issuer: String,
}

impl Door {
    /// With more lines under `[crtauth]`.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn start(settings: &str) -> Self {
        Self::start_with(settings, |command| command)
    }

    /// With more lines under `[crtauth]`, and more on the server's command line or in its environment.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn start_with(settings: &str, more: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let (home, dir, key) = Served::start().interrupt();
        let _ = home.write("demo/shared.secret", SECRET);
        let issuer = settings_of(&dir, settings);
        let stranger = home.key("stranger", RSA);
        let (rsa, ecdsa) = (home.key("ada", RSA), home.key("bob", ECDSA));
        for (key, user) in [(&rsa, "ada"), (&ecdsa, "bob")] {
            let _ = run(&mut realm::add(&home, &dir, key, user)).ok();
        }
        let agent = Agent::start(&home);
        let served = Served::start_with(home, dir, key, more);
        for key in [&served.key, &stranger, &ecdsa, &rsa] {
            agent.add(&served.home, key);
        }
        Self { served, agent, rsa, ecdsa, issuer }
    }

    /// Enrols a fresh key of that kind for a user, and gives it to the agent.
    ///
    /// # Panics
    /// If it is not taken.
    #[track_caller]
    pub fn enrol(&self, user: &str, file: &str, kind: KeyType) -> PathBuf {
        let key = self.served.home.key(file, kind);
        let _ = run(&mut realm::add(&self.served.home, &self.served.dir, &key, user)).ok();
        self.agent.add(&self.served.home, &key);
        key
    }

    /// `http://localhost:PORT` and this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.served.http.address.port())
    }

    /// `seamless login URL`, as whoever is at home here with the agent.
    #[must_use]
    pub fn login(&self, url: &str, words: &[&str]) -> Command {
        login(&self.served.home, &self.agent, url, words)
    }
}

/// `seamless login URL` with this agent; nothing is kept.
#[must_use]
pub fn login(home: &Home, agent: &Agent, url: &str, words: &[&str]) -> Command {
    let mut command = home.seamless(["login", "--no-cache"]);
    command.arg(url).args(words).env("SSH_AUTH_SOCK", &agent.socket);
    command
}

/// A folder of keys as the original's FileKeyProvider has them, with this one key.
#[must_use]
pub fn keys_folder(home: &Home, user: &str, key: &Path) -> PathBuf {
    let line = std::fs::read(public(key)).unwrap_or_default();
    let file = home.write(format!("keys/{user}_id_rsa.pub"), line);
    file.parent().map(PathBuf::from).unwrap_or_default()
}

/// Turns the door on in `realm.toml`, with these lines in place of the template's; the issuer URL.
fn settings_of(dir: &Path, settings: &str) -> String {
    let toml = dir.join("realm.toml");
    let text = std::fs::read_to_string(&toml).expect("realm.toml");
    let (before, _) = text.split_once("\n[crtauth]\n").expect("the template has the table");
    // So that its tokens pass `/verify`, which demands the realm's own audience.
    let issuer = text.lines().find_map(|line| line.strip_prefix("issuer = ")).expect("the issuer");
    let with = format!(
        "{before}\n[crtauth]\nenabled = true\nserver_name = \"localhost\"\naudiences = [{issuer}]\n{settings}\n"
    );
    std::fs::write(&toml, with).expect("write realm.toml");
    issuer.trim_matches('"').to_owned()
}
