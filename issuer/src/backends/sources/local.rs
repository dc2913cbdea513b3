//! The running `serve`, asked over its socket in the realm by processes that do no network: forced commands, and what
//! sshd asks for keys.
//!
//! One line of JSON each way. Nobody but the realm's account gets at the socket: it is 0600 in a folder that is 0700.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Answer, usable};
use crate::backends::store::Fingerprint;
use crate::error::{Error, Result, io};
use crate::names::UserName;

/// The socket's name in a realm's directory.
pub const SOCKET: &str = "serve.sock";
/// The longest line.
const MOST_BYTES: u64 = 1024 * 1024;
/// How long an answer may take: a source may be slow, and a client waits at an ssh prompt.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Question {
    /// What the sources know of a user.
    User {
        /// Who.
        name: String,
        /// Whether the store has a user of that name.
        known: bool,
    },
    /// Whose this key is: `SHA256:…`.
    Key(String),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Reply {
    /// Nobody.
    Unknown,
    /// A user's keys, as lines of a public key file, and groups.
    User {
        /// The keys.
        keys: Vec<String>,
        /// The groups.
        groups: Vec<String>,
    },
    /// Whose key it is.
    Owner(String),
    /// A source is down.
    Error(String),
}

/// What the sources of the running `serve` know of a user.
pub fn keys_of(realm: &Path, user: &UserName, known: bool) -> Result<Answer> {
    match ask(realm, &Question::User { name: user.to_string(), known })? {
        Reply::Unknown => Ok(Answer::Unknown),
        Reply::User { keys, groups } => Ok(Answer::User { keys: usable(&keys.join("\n"), "serve"), groups }),
        Reply::Owner(_) => Err(strange()),
        Reply::Error(why) => Err(Error::internal(why)),
    }
}

/// Whose key it is, by the sources of the running `serve`.
pub fn owner(realm: &Path, fingerprint: &Fingerprint) -> Result<Option<UserName>> {
    match ask(realm, &Question::Key(fingerprint.to_string()))? {
        Reply::Unknown => Ok(None),
        Reply::Owner(name) => name.parse().map(Some).map_err(|_| strange()),
        Reply::User { .. } => Err(strange()),
        Reply::Error(why) => Err(Error::internal(why)),
    }
}

fn ask(realm: &Path, question: &Question) -> Result<Reply> {
    let path = realm.join(SOCKET);
    let mut stream = UnixStream::connect(&path).map_err(|_| {
        Error::internal("`seamless serve` does not run, and only it asks the key sources of this realm")
            .hint("start it: systemctl start seamless@REALM")
    })?;
    let failed = |e: std::io::Error| io("ask", &path, &e);
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut line = serde_json::to_string(question).map_err(|_| strange())?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(failed)?;
    read_line(&stream).map_err(failed)?.ok_or_else(strange)
}

/// Listens at the socket; one that an older process left, or still has, gives way.
pub fn listen(realm: &Path) -> Result<UnixListener> {
    let path = realm.join(SOCKET);
    // Under another name until its mode is right, and then in one step.
    let new = realm.join(format!(".{SOCKET}.{}", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new).map_err(|e| io("listen on", &new, &e))?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| io("make", &new, &e))?;
    std::fs::rename(&new, &path).map_err(|e| io("listen on", &path, &e))?;
    Ok(listener)
}

/// Answers one connection's question.
pub fn answer(mut stream: UnixStream, reply: impl FnOnce(Question) -> Reply) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(question) = read_line(&stream)? else { return Ok(()) };
    let mut line = serde_json::to_string(&reply(question))?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}

fn read_line<T: serde::de::DeserializeOwned>(stream: &UnixStream) -> std::io::Result<Option<T>> {
    let mut line = String::new();
    BufReader::new(stream.take(MOST_BYTES)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line).ok())
}

fn strange() -> Error {
    Error::internal("the running `seamless serve` answers what this program does not understand")
        .hint("after an upgrade start it anew: systemctl restart seamless@REALM")
}
