//! OpenSSH's sshd under test, as root: a private one on loopback, and realms with throw-away accounts.
//!
//! Its host is a careless one: passwords, forwarding, X11 and terminals are all allowed. What is refused to a realm's
//! account is refused by what `seamless init` wrote.

use std::fs::{self, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::home::{Home, public};
use crate::http::free_port;
use crate::process::{Done, LIMIT, Running, run, run_with};
use crate::skip::{needs, skip};
use crate::ssh::SshServer;

/// A running sshd with a configuration of its own. It ends with this value.
#[derive(Debug)]
pub struct Sshd {
    folder: TempDir,
    port: u16,
    running: Running,
}

impl Sshd {
    /// With these lines after the Include of its drop-ins. None, said so, where throw-away accounts are not allowed.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn start(lines: &str) -> Option<Self> {
        let sshd = allowed()?;
        fs::create_dir_all("/run/sshd").expect("make sshd's privilege separation directory");
        let folder = TempDir::with_prefix("seamless-sshd-").expect("a temporary folder");
        let host_key = folder.path().join("host_key");
        let keygen = &mut Command::new("ssh-keygen");
        let _ = run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key)).ok();
        let port = free_port();
        let config = folder.path().join("sshd_config");
        let drop_ins = folder.path().join("sshd_config.d");
        fs::create_dir(&drop_ins).expect("make the drop-ins' folder");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nUsePAM no\nStrictModes yes\n\
             LogLevel DEBUG1\nMaxAuthTries 20\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes\n\
             PermitRootLogin prohibit-password\nX11Forwarding yes\nPermitTunnel yes\nSubsystem sftp internal-sftp\n\
             Include {}/*.conf\n{lines}\n",
            host_key.display(),
            folder.path().join("pid").display(),
            drop_ins.display()
        );
        fs::write(&config, text).expect("write sshd_config");
        let mut command = Command::new(&sshd);
        command.args(["-D", "-e", "-f"]).arg(&config);
        // From OpenSSH 9.8 on, refusals in a row have the whole of loopback wait.
        let mild = ["-o", "PerSourcePenalties=no"];
        if run(Command::new(&sshd).arg("-t").arg("-f").arg(&config).args(mild)).code == Some(0) {
            command.args(mild);
        }
        let mut running = Running::start(&mut command);
        running.wait_for("sshd to listen", |sshd| (listenings(&sshd.stderr()) > 0).then_some(()));
        let line = fs::read_to_string(public(&host_key)).expect("read the host key");
        fs::write(folder.path().join("known_hosts"), format!("[127.0.0.1]:{port} {line}"))
            .expect("write known_hosts");
        Some(Self { folder, port, running })
    }

    /// Its `sshd_config`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("sshd_config")
    }

    /// The file of a drop-in.
    #[must_use]
    pub fn drop_in(&self, name: &str) -> PathBuf {
        self.folder.path().join("sshd_config.d").join(name)
    }

    /// The drop-in of a realm.
    #[must_use]
    pub fn realm_drop_in(&self, realm: &str) -> PathBuf {
        self.drop_in(&format!("60-seamless-{realm}.conf"))
    }

    /// A path of its own folder, for files that its configuration names.
    #[must_use]
    pub fn join(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// As this user's server.
    #[must_use]
    pub fn server(&self, user: &str) -> SshServer {
        SshServer { user: user.to_owned(), port: self.port, known_hosts: self.join("known_hosts") }
    }

    /// What it has logged, at DEBUG1.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.stderr()
    }

    /// Has it read its configuration anew.
    pub fn reload(&mut self) {
        self.while_it_reloads(|sshd| sshd.running.signal(Signal::HUP));
    }

    /// Does what has it reload, and waits until it listens again.
    fn while_it_reloads<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let before = listenings(&self.log());
        let result = act(self);
        self.running
            .wait_for("sshd to listen again", |sshd| (listenings(&sshd.stderr()) > before).then_some(()));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < LIMIT, "sshd does not listen again:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        result
    }
}

/// A realm with an account of its own, served by an sshd of its own; both go away with this value.
#[derive(Debug)]
pub struct HostRealm {
    /// Its name, and its account's.
    pub name: String,
    /// The sshd.
    pub sshd: Sshd,
    /// Who logs in.
    pub home: Home,
    installed: Arc<Installed>,
}

impl HostRealm {
    /// `sudo seamless init REALM …`, under an sshd with these lines.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    #[must_use]
    pub fn init(options: &[&str], lines: &str) -> Option<Self> {
        let mut realm = Self::without_init(lines)?;
        let _ = realm.reloading(&[&["init"], options].concat()).ok();
        Some(realm)
    }

    /// Nothing but a free name and an sshd.
    #[track_caller]
    #[must_use]
    pub fn without_init(lines: &str) -> Option<Self> {
        let sshd = Sshd::start(lines)?;
        Some(Self { name: throw_away_name(), sshd, home: Home::new(), installed: Installed::shared() })
    }

    /// A verb as root, with nothing of our environment: `verb(&["user", "lock"])` is `seamless user lock REALM`.
    /// More words are added to it.
    #[must_use]
    pub fn verb(&self, words: &[&str]) -> Command {
        let mut command = self.bare();
        // The realm's name stands after the verb's own words: before the first option.
        let at = words.iter().position(|w| w.starts_with('-')).unwrap_or(words.len());
        command.args(&words[..at]).arg(&self.name).args(&words[at..]);
        if matches!(words.first(), Some(&("init" | "adopt" | "sync" | "delete" | "doctor"))) {
            command.arg("--sshd-config").arg(self.sshd.config());
        }
        command
    }

    /// The installed binary as root.
    #[must_use]
    pub fn bare(&self) -> Command {
        let mut command = Command::new(&self.installed.binary);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .current_dir("/");
        command
    }

    /// A verb after which sshd reads its configuration anew.
    #[track_caller]
    pub fn reloading(&mut self, words: &[&str]) -> Done {
        let command = self.verb(words);
        self.reloading_by(command)
    }

    /// The same for any call.
    #[track_caller]
    pub fn reloading_by(&mut self, mut command: Command) -> Done {
        let before = fs::read(self.sshd.realm_drop_in(&self.name)).ok();
        let drop_in = self.sshd.realm_drop_in(&self.name);
        let mut done = None;
        self.sshd.while_it_reloads(|sshd| {
            let result = run(&mut command);
            if fs::read(&drop_in).ok() == before {
                // It changed nothing, so nothing was reloaded; what it did is judged by the caller.
                sshd.running.signal(Signal::HUP);
            }
            done = Some(result);
        });
        done.expect("the verb was run")
    }

    /// Makes a key pair of this person and enrols it: `seamless add REALM - --user USER …`.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn enrol(&self, user: &str, key: &Path, options: &[&str]) -> Done {
        let line = fs::read(public(key)).expect("read the public key");
        let mut command = self.bare();
        command.args(["add", &self.name, "-", "--user", user]).args(options);
        run_with(&mut command, &line).ok()
    }

    /// The realm's account as a login.
    #[must_use]
    pub fn server(&self) -> SshServer {
        self.sshd.server(&self.name)
    }

    /// `ssh -T REALM@host WORDS…` with this key.
    #[must_use]
    pub fn login(&self, key: &Path, words: &[&str]) -> Done {
        run(&mut self.server().ssh(&self.home, key, words))
    }

    /// `ssh OPTIONS REALM@host WORDS…` with this key.
    #[must_use]
    pub fn login_with(&self, key: &Path, options: &[&str], words: &[&str]) -> Done {
        run(&mut self.server().ssh_with(&self.home, key, options, words))
    }

    /// The account's home.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        Path::new("/var/lib/seamless").join(&self.name)
    }

    /// A path in the account's home.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.dir().join(path)
    }

    /// A line of the account database: `getent DATABASE REALM`.
    #[must_use]
    pub fn entry(&self, database: &str) -> Option<String> {
        let done = run(Command::new("getent").args([database, &self.name]));
        (done.code == Some(0)).then(|| done.stdout.trim_end().to_owned())
    }

    /// The account's uid.
    ///
    /// # Panics
    /// If there is no account.
    #[must_use]
    pub fn uid(&self) -> u32 {
        let entry = self.entry("passwd").expect("an account");
        entry.split(':').nth(2).and_then(|uid| uid.parse().ok()).expect("a uid")
    }

    /// Writes a file as whoever runs code as the account could.
    ///
    /// # Panics
    /// If it can't.
    pub fn plant(&self, path: &str, text: &str, mode: u32) {
        let path = self.file(path);
        if let Some(folder) = path.parent() {
            let _ = fs::create_dir(folder);
            chown(folder, Some(self.uid()), None).expect("own a folder");
        }
        fs::write(&path, text).expect("write a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set a mode");
        chown(&path, Some(self.uid()), None).expect("own a file");
    }
}

impl Drop for HostRealm {
    fn drop(&mut self) {
        if self.entry("passwd").is_none() {
            return;
        }
        let _ = run(&mut self.verb(&["delete", "--yes"]));
        // Whatever the test or the binary left.
        if self.entry("passwd").is_some() {
            let _ = run(Command::new("userdel").args(["--force", &self.name]));
            let _ = fs::remove_dir_all(self.dir());
        }
    }
}

/// The binary under test where sshd would run it: root's, below folders that are root's.
#[derive(Debug)]
pub struct Installed {
    /// Its path, which sshd would run.
    pub binary: PathBuf,
    _folder: TempDir,
}

impl Installed {
    /// One copy for all tests that run at a time.
    ///
    /// # Panics
    /// If it cannot be made: it takes root.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Installed>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(installed) = shared.upgrade() {
            return installed;
        }
        let folder =
            TempDir::with_prefix_in("seamless-test-", "/usr/local/lib").expect("a folder in /usr/local/lib");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("open the folder");
        let binary = folder.path().join("seamless");
        fs::copy(crate::binary(), &binary).expect("install the binary under test");
        fs::set_permissions(&binary, Permissions::from_mode(0o755)).expect("set a mode");
        let installed = Arc::new(Self { binary, _folder: folder });
        *shared = Arc::downgrade(&installed);
        installed
    }
}

/// sshd, where a test may make accounts.
fn allowed() -> Option<PathBuf> {
    if !crate::system_allowed() || !rustix::process::geteuid().is_root() {
        skip("it makes throw-away accounts; as root, CI=true or --system allows it");
        return None;
    }
    let _ = needs("useradd")?;
    needs("sshd")
}

/// `smt` and six random letters.
fn throw_away_name() -> String {
    let mut number = RandomState::new().hash_one(std::process::id());
    let mut name = "smt".to_owned();
    for _ in 0..6 {
        name.push(char::from(b'a' + u8::try_from(number % 26).unwrap_or(0)));
        number /= 26;
    }
    name
}

fn listenings(log: &str) -> usize {
    log.lines().filter(|line| line.starts_with("Server listening on ")).count()
}
