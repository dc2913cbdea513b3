//! What is asked for, and how.

use std::path::PathBuf;
use std::time::Duration;

/// What the token is for; whatever is absent, the realm's settings decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whom it is for.
    pub audiences: Vec<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// `jwt` or `seamless`.
    pub format: Option<String>,
    /// How long it lasts, in seconds.
    pub ttl: Option<u64>,
}

/// How to log in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who one is there, over HTTP; absent: the name here, `$USER`.
    pub user: Option<String>,
    /// A private key file in place of the agent's keys, or a public one that names one of them.
    pub identity: Option<PathBuf>,
    /// The agent's key to use, `SHA256:…`; absent: the first one that the server knows.
    pub fingerprint: Option<String>,
    /// Go on with a server that speaks nothing newer than crtauth's version 0.
    pub allow_v0: bool,
    /// How long to wait for a server, and for whoever must not be asked.
    pub timeout: Duration,
    /// Whether somebody is there to type a passphrase.
    pub interactive: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user: None,
            identity: None,
            fingerprint: None,
            allow_v0: false,
            timeout: Duration::from_secs(20),
            interactive: true,
        }
    }
}
