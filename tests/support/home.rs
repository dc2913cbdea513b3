//! A person's home: a folder of its own, or as root a throw-away account.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::process::run;
use crate::skip::find;

/// A home that goes away with this value.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    account: Option<Account>,
    _folder: TempDir,
}

#[derive(Debug)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

/// What `ssh-keygen -t … -b …` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyType {
    /// `-t`.
    pub name: &'static str,
    /// `-b`.
    pub bits: Option<&'static str>,
}

/// The usual one.
pub const ED25519: KeyType = KeyType { name: "ed25519", bits: None };
/// On P-256.
pub const ECDSA: KeyType = KeyType { name: "ecdsa", bits: Some("256") };
/// Long enough.
pub const RSA: KeyType = KeyType { name: "rsa", bits: Some("3072") };

impl Home {
    /// An empty home in a temporary folder. Stock `ssh` looks for keys in the account's real home, whatever `HOME`
    /// says, so an `ssh` that is first on the `PATH` is told where this one is.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("seamless-").expect("a temporary folder");
        let path = folder.path().join("home");
        let home = Self { path, account: None, _folder: folder };
        home.lay_out();
        if let Some(ssh) = find("ssh") {
            let shim = format!(
                "#!/bin/sh\nset -- -F none -o GlobalKnownHostsFile=/dev/null \"$@\"\n\
                 for key in \"$HOME\"/.ssh/id_*; do case $key in *.pub | *'*') ;; *) set -- -i \"$key\" \"$@\" ;; esac; done\n\
                 exec {} \"$@\"\n",
                ssh.display()
            );
            install(&home.write("tmp/ssh", shim), &home.join("bin/ssh"));
        }
        home
    }

    /// The empty home of a new account, where that is allowed; otherwise as [`Home::new`]. Its `ssh` is the stock one.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn real() -> Self {
        if !crate::system_allowed() {
            return Self::new();
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sl-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = TempDir::with_prefix("seamless-").expect("a temporary folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("open the temporary folder");
        let path = folder.path().join("home");
        let _ = run(Command::new("useradd")
            .args(["--shell", "/bin/bash", "--password", "*", "--no-create-home", "--home-dir"])
            .arg(&path)
            .arg(&name))
        .ok();
        let id =
            |flag: &str| run(Command::new("id").args([flag, &name])).ok().line().parse().expect("a number");
        let account = Account { uid: id("-u"), gid: id("-g"), name };
        let home = Self { path, account: Some(account), _folder: folder };
        home.lay_out();
        home
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below it.
    #[must_use]
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }

    /// Whether it is a throw-away account's.
    #[must_use]
    pub fn is_account(&self) -> bool {
        self.account.is_some()
    }

    /// A program as the person at home here would start it: nothing of our own environment but the `PATH`.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("HOME", &self.path)
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", self.join("bin").display()))
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", self.join("tmp"))
            .current_dir(&self.path);
        if let Some(account) = &self.account {
            command
                .env("USER", &account.name)
                .env("LOGNAME", &account.name)
                .uid(account.uid)
                .gid(account.gid);
        }
        command
    }

    /// The binary under test, with arguments.
    #[must_use]
    pub fn seamless<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(self.join("bin/seamless"));
        command.args(args);
        command
    }

    /// Writes a file, private and owned by whoever lives here.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("make a folder");
        }
        fs::write(&path, bytes).expect("write a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set a mode");
        self.own(&path);
        path
    }

    /// Makes `~/.ssh/id_TYPE` without a passphrase; the path of its private half.
    pub fn default_key(&self, kind: KeyType) -> PathBuf {
        self.key(&format!(".ssh/id_{}", kind.name), kind)
    }

    /// Makes a key pair without a passphrase; the path of its private half.
    pub fn key(&self, path: &str, kind: KeyType) -> PathBuf {
        let file = self.join(path);
        let mut keygen = self.command("ssh-keygen");
        keygen.args(["-q", "-t", kind.name, "-N", "", "-C", "test"]);
        if let Some(bits) = kind.bits {
            keygen.args(["-b", bits]);
        }
        let _ = run(keygen.arg("-f").arg(&file)).ok();
        file
    }

    /// The `SHA256:…` of a key.
    #[must_use]
    pub fn fingerprint(&self, key: &Path) -> String {
        let shown = run(self.command("ssh-keygen").args(["-l", "-E", "sha256", "-f"]).arg(key)).ok().line();
        shown.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    fn lay_out(&self) {
        for folder in ["", "bin", "tmp", ".ssh"] {
            let path = self.join(folder);
            fs::create_dir_all(&path).expect("make a folder at home");
            fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("set a mode");
            self.own(&path);
        }
        // A copy that another account can reach, unlike one in the clone of whoever runs this.
        install(&crate::binary(), &self.join("bin/seamless"));
    }

    /// Gives a file to whoever lives here.
    ///
    /// # Panics
    /// If that fails.
    pub fn own(&self, path: &Path) {
        if let Some(account) = &self.account {
            chown(path, Some(account.uid), Some(account.gid)).expect("give a file to the account");
        }
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = run(Command::new("pkill").args(["-KILL", "-u", &self.uid.to_string()]));
        let _ = run(Command::new("userdel").args(["--force", &self.name]));
    }
}

/// Copies a program. Another process does it: a file that we held open to write while some thread of ours started a
/// child could not be run for a moment ("text file busy").
fn install(from: &Path, to: &Path) {
    let _ = run(Command::new("install").args(["-m", "755"]).arg(from).arg(to)).ok();
}

/// The public half beside a private key.
#[must_use]
pub fn public(key: &Path) -> PathBuf {
    let mut path = key.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}
