//! A ssh client that says what a stock one never would, against both of our doors.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::home::Home;
use crate::peers::Peer;
use crate::process::{Done, run};
use crate::realm;
use crate::serve::Served;
use crate::sshd::HostRealm;

/// SSH_MSG_UNIMPLEMENTED: the message was passed over.
pub const UNIMPLEMENTED: u64 = 3;
/// SSH_MSG_USERAUTH_FAILURE.
pub const FAILURE: u64 = 51;
/// SSH_MSG_USERAUTH_SUCCESS.
pub const SUCCESS: u64 = 52;
/// SSH_MSG_USERAUTH_PK_OK: a key would do, if it were proven.
pub const PK_OK: u64 = 60;

/// A door to attack, with the realm behind it.
#[derive(Debug)]
pub enum Target {
    /// `seamless serve`.
    Embedded(Box<Served>),
    /// OpenSSH's sshd with our forced command.
    Sshd(Box<HostRealm>),
}

impl Target {
    /// Both doors; sshd only where throw-away accounts are allowed.
    #[track_caller]
    #[must_use]
    pub fn both() -> Vec<Self> {
        let own = Self::Embedded(Box::new(Served::start()));
        let sshd = HostRealm::init(&["--format", "jwt"], "").map(|realm| Self::Sshd(Box::new(realm)));
        std::iter::once(own).chain(sshd).collect()
    }

    /// Where its clients' keys lie.
    #[must_use]
    pub fn home(&self) -> &Home {
        match self {
            Self::Embedded(served) => &served.home,
            Self::Sshd(realm) => &realm.home,
        }
    }

    /// Makes a key of this user's and enrols it.
    #[track_caller]
    #[must_use]
    pub fn enrolled(&self, user: &str) -> PathBuf {
        let key = self.home().key(user, crate::home::ED25519);
        let _ = match self {
            Self::Embedded(served) => run(&mut realm::add(&served.home, &served.dir, &key, user)).ok(),
            Self::Sshd(realm) => realm.enrol(user, &key, &[]),
        };
        key
    }

    /// The attacker's steps on one connection, as `tests/peers/ssh_attacker.py` describes them, and what each was
    /// answered.
    #[track_caller]
    #[must_use]
    pub fn attack(&self, attacker: &Peer, steps: &[Value]) -> Vec<Value> {
        let (user, port) = match self {
            Self::Embedded(served) => (served.ssh.user.clone(), served.ssh.port),
            Self::Sshd(realm) => (realm.name.clone(), realm.server().port),
        };
        let answer = attacker.ask(&json!({"user": user, "port": port, "steps": steps}));
        answer["steps"].as_array().cloned().unwrap_or_default()
    }

    /// The audit log as JSON.
    #[track_caller]
    #[must_use]
    pub fn audit(&self) -> Value {
        let show: Done = match self {
            Self::Embedded(served) => run(&mut served.verb(&["audit", "show", "--json"])),
            Self::Sshd(realm) => run(realm.verb(&["audit", "show"]).arg("--json")),
        };
        show.ok().json()
    }
}

/// `{"offer": KEY}` and the like.
#[must_use]
pub fn step(what: &str, key: &Path) -> Value {
    json!({ what: key.display().to_string() })
}

/// The same under another login name.
#[must_use]
pub fn step_as(what: &str, key: &Path, user: &str) -> Value {
    json!({ what: key.display().to_string(), "user": user })
}
