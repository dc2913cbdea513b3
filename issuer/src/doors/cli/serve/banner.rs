//! What `serve` prints when it starts: what it serves, and three lines to paste.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::backends::store::Fingerprint;
use crate::doors::ssh;
use crate::error::Result;
use crate::names::RealmName;
use crate::realm::Realm;
use crate::services::enrol::{self, Found};
use crate::services::{hosting, keys};

use super::own_keys::{Own, own_name};
use super::sockets::At;

/// Writes the known_hosts file that the printed lines use.
pub(super) fn known_hosts(realm: &Realm, address: SocketAddr) -> Result<PathBuf> {
    let key = ssh::server::host_key(&realm.dir)?;
    let hosts: &[&str] = if address.ip().is_loopback() {
        &["127.0.0.1", "localhost", "::1"]
    } else {
        &["127.0.0.1", "localhost"]
    };
    let mut text = String::new();
    for host in hosts.iter().map(ToString::to_string).chain([address.ip().to_string(), hosting::host_name()])
    {
        let line = ssh::server::known_hosts_line(key.public_key(), &host, address.port());
        if !text.contains(&line) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    hosting::write_known_hosts(realm, &text)
}

pub(super) struct Banner {
    head: String,
    name: RealmName,
    /// Whether the realm has no keys at all.
    pub(super) empty: bool,
    /// The private key that ssh must be told of.
    identity: Option<PathBuf>,
    pub(super) ssh: Option<(SocketAddr, PathBuf)>,
    /// Where HTTP is, with the scheme of each.
    pub(super) http: Vec<(&'static str, At)>,
}

impl Banner {
    pub(super) fn new(realm: &Realm, own: Own, new: &[Fingerprint], fresh: bool) -> Result<Self> {
        let made = if fresh { "made" } else { "is" };
        let mut head = format!(
            "seamless {}: the realm {} {made} in {}\nissuer  {}\n",
            env!("CARGO_PKG_VERSION"),
            realm.name,
            realm.dir.display(),
            realm.config.issuer
        );
        for one in own.found.iter().filter(|one| new.contains(&one.key.fingerprint)) {
            let place = one.file.as_ref().map_or_else(|| "the agent".to_owned(), |f| f.display().to_string());
            head.push_str(&format!("enrolled  {}  {}  from {place}\n", one.key.fingerprint, own_name()));
        }
        // Our server can't see an authenticator's touch and refuses such keys, so another one is offered first.
        let mut mine = enrol::enrolled(realm, own.found)?;
        mine.retain(|one| !one.key.is_sk());
        let private = |one: &Found| one.file.as_ref().map(|f| f.with_extension(""));
        let without_words = |one: &Found| private(one).is_none_or(|p| own.tried.contains(&p));
        let identity = if mine.iter().any(without_words) { None } else { mine.first().and_then(private) };
        let empty = keys::totals(realm)?.keys == 0;
        Ok(Self { head, name: realm.name.clone(), empty, identity, ssh: None, http: Vec::new() })
    }

    pub(super) fn text(&self) -> String {
        let mut text = self.head.clone();
        if let Some((address, _)) = &self.ssh {
            text.push_str(&format!("ssh     {address}\n"));
        }
        for (scheme, at) in &self.http {
            match at {
                At::Unix(path) => text.push_str(&format!("http    unix:{}\n", path.display())),
                At::Tcp(address) => text.push_str(&format!("http    {scheme}://{address}\n")),
            }
        }
        text.push_str("\nPaste into another terminal:\n");
        let mut number = 0;
        let mut line = |title: &str, command: String| {
            number += 1;
            text.push_str(&format!("{number}. {title}\n{command}\n"));
        };
        if let Some((address, known_hosts)) = &self.ssh {
            let host =
                if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
            let identity = self
                .identity
                .as_ref()
                .map(|p| format!("-i {} ", quote(&p.display().to_string())))
                .unwrap_or_default();
            let known = quote(&format!("UserKnownHostsFile={}", quote_for_ssh(known_hosts)));
            line(
                "get a token",
                format!(
                    "TOKEN=$(ssh -T -p {} {identity}-o {known} -o StrictHostKeyChecking=yes {}@{host})",
                    address.port(),
                    self.name
                ),
            );
        }
        if let Some((scheme, at)) = self.http.first() {
            let (base, socket) = match at {
                At::Tcp(address) => (format!("{scheme}://{address}"), String::new()),
                At::Unix(path) => (
                    "http://localhost".to_owned(),
                    format!("--unix-socket {} ", quote(&path.display().to_string())),
                ),
            };
            // By standard input: an argument could be read by every user of this machine.
            let call = |token: &str, options: &str| {
                format!(
                    "printf 'Authorization: Bearer %s' \"{token}\" | curl -sS {options}{socket}-H @- {base}/verify"
                )
            };
            line("a call that is accepted, and who it speaks for", call("$TOKEN", ""));
            line("a call that is refused", call("x$TOKEN", "-i "));
        }
        text.push('\n');
        text
    }
}

/// A shell word.
fn quote(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%=:,".contains(&b);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// ssh splits the value of UserKnownHostsFile at spaces.
fn quote_for_ssh(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(' ') { format!("\"{text}\"") } else { text }
}
