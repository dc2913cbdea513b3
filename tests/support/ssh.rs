//! Stock `ssh`, `sftp` and `scp`, with nothing of the user's own configuration.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::Home;

/// A server that a stock client logs in to.
#[derive(Clone, Debug)]
pub struct SshServer {
    /// The login name, which is the realm.
    pub user: String,
    /// On loopback.
    pub port: u16,
    /// With the server's host key, so that nothing is asked.
    pub known_hosts: PathBuf,
}

impl SshServer {
    /// Options that every client of the family takes. No key, no agent: see [`SshServer::ssh`].
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let mut words = vec!["-F".to_owned(), "none".to_owned()];
        for option in [
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("UserKnownHostsFile={}", self.known_hosts.display()),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "ConnectTimeout=10".to_owned(),
            "LogLevel=INFO".to_owned(),
        ] {
            words.extend(["-o".to_owned(), option]);
        }
        words
    }

    /// `user@127.0.0.1`.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    /// `ssh -T` with just this key; `words` follow the host.
    #[must_use]
    pub fn ssh(&self, home: &Home, key: &Path, words: &[&str]) -> Command {
        self.ssh_with(home, key, &["-T"], words)
    }

    /// `ssh` with just this key and more options.
    #[must_use]
    pub fn ssh_with(&self, home: &Home, key: &Path, options: &[&str], words: &[&str]) -> Command {
        let mut command = self.bare(home, "ssh");
        command
            .args(only(key))
            .args(options)
            .arg("-p")
            .arg(self.port.to_string())
            .arg(self.target())
            .args(words);
        command
    }

    /// `ssh -T` with whatever keys the agent behind this socket shows.
    #[must_use]
    pub fn ssh_agent(&self, home: &Home, socket: &Path, options: &[&str]) -> Command {
        let mut command = self.bare(home, "ssh");
        command
            .args(["-T", "-o", "IdentityFile=none"])
            .args(options)
            .arg("-p")
            .arg(self.port.to_string())
            .arg(self.target())
            .env("SSH_AUTH_SOCK", socket);
        command
    }

    /// `sftp` or `scp` with just this key; the port has to be among `words`, since they spell it alike: `-P`.
    #[must_use]
    pub fn transfer(&self, home: &Home, program: &str, key: &Path, words: &[&str]) -> Command {
        let mut command = self.bare(home, program);
        command.args(only(key)).arg("-P").arg(self.port.to_string()).args(words);
        command
    }

    fn bare(&self, home: &Home, program: &str) -> Command {
        let program = crate::skip::find(program).unwrap_or_else(|| program.into());
        let mut command = home.command(program);
        command.args(self.options());
        command
    }
}

fn only(key: &Path) -> Vec<String> {
    let identity = format!("IdentityFile={}", key.display());
    ["IdentitiesOnly=yes", "IdentityAgent=none", &identity]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option.to_owned()])
        .collect()
}
