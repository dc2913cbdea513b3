//! OpenSSH's sshd on loopback, with forced commands for whoever runs this program: no account is made.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use russh::keys::PublicKey;
use rustix::process::geteuid;
use seamless_bench::edge::{Error, free_port};
use tempfile::TempDir;

use crate::issuer::{Installed, Realm, find, run, wait_for};
use crate::ssh::Login;

/// How it learns of keys.
pub(crate) enum Keys<'a> {
    /// From lines.
    File(&'a Path),
    /// By asking the realm.
    Command,
}

/// A running sshd. It ends with this value.
pub(crate) struct Sshd {
    child: Child,
    _folder: TempDir,
    /// ada of the realm.
    pub(crate) login: Login,
}

impl Sshd {
    /// Starts it and waits until it listens.
    pub(crate) fn start(installed: &Installed, realm: &Realm, keys: &Keys<'_>) -> Result<Self, Error> {
        let sshd = find("sshd")?;
        if geteuid().is_root() {
            fs::create_dir_all("/run/sshd")?;
        }
        let folder = TempDir::with_prefix("seamless-load-sshd-")?;
        let host_key = folder.path().join("host_key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let user = run(Command::new("id").arg("-un"))?.trim().to_owned();
        let keys = match keys {
            Keys::File(file) => format!("AuthorizedKeysFile {}", file.display()),
            Keys::Command => format!(
                "AuthorizedKeysFile none\nAuthorizedKeysCommandUser {user}\nAuthorizedKeysCommand {} \
                 authorized-keys --dir {} %t %k",
                installed.command([""; 0]).get_program().display(),
                realm.dir.display()
            ),
        };
        let config = folder.path().join("sshd_config");
        // Its defaults turn clients away from the tenth on that has not logged in yet.
        let text = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nMaxStartups 1000\nUseDNS no\nLogLevel ERROR\n{keys}\n",
            address.port(),
            host_key.display()
        );
        fs::write(&config, text)?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut command =
            if geteuid().is_root() { with_small_shell(folder.path(), &user)? } else { Command::new("env") };
        command.arg(sshd).args(["-D", "-e", "-f"]).arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn()?;
        let line = fs::read_to_string(host_key.with_extension("pub"))?;
        let login = Login::new(address, &user, Arc::clone(&realm.key), PublicKey::from_openssh(&line)?);
        let mut sshd = Self { child, _folder: folder, login };
        wait_for(address, || match sshd.child.try_wait() {
            Ok(Some(status)) => Some(format!("sshd ended with {status}")),
            _ => None,
        })?;
        Ok(sshd)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What runs a program that sees this user with the shell of a realm's account: bash would read all of ~/.bashrc at each
/// log-in. Only that program's mounts differ.
fn with_small_shell(folder: &Path, user: &str) -> Result<Command, Error> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    let accounts: String = accounts
        .lines()
        .map(|line| match line.rsplit_once(':') {
            Some((rest, _)) if line.split(':').next() == Some(user) => format!("{rest}:/bin/sh\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let file = folder.join("passwd");
    fs::write(&file, accounts)?;
    fs::set_permissions(&file, Permissions::from_mode(0o644))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/passwd && exec \"$@\""]).arg(file);
    Ok(command)
}

/// The authorized_keys line of ada's key, as `seamless sync` writes it.
pub(crate) fn line(installed: &Installed, realm: &Realm) -> Result<String, Error> {
    Ok(format!(
        "restrict,command=\"{} forced --dir {} --user ada --key {}\" {}\n",
        installed.command([""; 0]).get_program().display(),
        realm.dir.display(),
        realm.fingerprint(),
        realm.public().to_openssh()?
    ))
}
