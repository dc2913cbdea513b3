//! The issuer under load: its binary, a realm of its own, and `serve`.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use seamless_bench::edge::{Error, free_port, given};
use tempfile::TempDir;

use crate::ssh::Login;

/// The binary, in a folder of its own.
pub(crate) struct Installed {
    binary: PathBuf,
    _folder: TempDir,
    /// For realms and logs.
    pub(crate) work: TempDir,
    /// sshd would run it: it is root's, below folders that are root's.
    pub(crate) trusted: bool,
}

impl Installed {
    /// Copies it to where sshd would run it, if we may.
    pub(crate) fn new() -> Result<Self, Error> {
        let trusted = geteuid().is_root();
        let folder = if trusted {
            TempDir::with_prefix_in("seamless-bench-", "/usr/local/lib")?
        } else {
            TempDir::with_prefix("seamless-bench-")?
        };
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let binary = folder.path().join("seamless");
        fs::copy(given("SEAMLESS_BIN")?, &binary)?;
        Ok(Self { binary, _folder: folder, work: TempDir::with_prefix("seamless-load-")?, trusted })
    }

    /// The binary with nothing of our environment.
    pub(crate) fn command<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).env_clear().env("HOME", self.work.path()).env("PATH", "/usr/bin:/bin");
        command.current_dir(self.work.path()).stdin(Stdio::null());
        command
    }

    /// A new realm, whose key set is served on `http`, with one key of ours.
    pub(crate) fn realm(&self, name: &str, format: &str) -> Result<Realm, Error> {
        let dir = self.work.path().join(name);
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let issuer = format!("http://{http}/{name}");
        let mut init = self.command(["init", "--format", format, "--issuer", &issuer, "--dir"]);
        run(init.arg(&dir))?;
        // A measurement may take longer than a token lives.
        let settings = fs::read_to_string(dir.join("realm.toml"))?;
        let longer = settings
            .replace("\nmax_age = \"60s\"", "\nmax_age = \"1h\"")
            .replace("\nttl = \"5m\"", "\nttl = \"1h\"");
        if settings == longer {
            return Err("realm.toml has other lifetimes than it had".into());
        }
        fs::write(dir.join("realm.toml"), longer)?;
        let pair = Ed25519Keypair::from_seed(&rand());
        let realm = Realm { name: name.to_owned(), dir, http, key: Arc::new(PrivateKey::from(pair)) };
        let file = self.work.path().join(format!("{name}.pub"));
        fs::write(&file, format!("{}\n", realm.public().to_openssh()?))?;
        run(realm.verb(self, &["add", "--user", "ada"]).arg(&file))?;
        Ok(realm)
    }
}

/// A realm with the user `ada`, who has one key.
pub(crate) struct Realm {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) key: Arc<PrivateKey>,
}

impl Realm {
    /// ada's key.
    pub(crate) fn public(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// Its `SHA256:…`.
    pub(crate) fn fingerprint(&self) -> String {
        self.public().fingerprint(HashAlg::Sha256).to_string()
    }

    /// A verb with this realm's folder.
    pub(crate) fn verb(&self, installed: &Installed, words: &[&str]) -> Command {
        let mut command = installed.command(words);
        command.arg("--dir").arg(&self.dir);
        command
    }
}

/// A running `seamless serve`. It ends with this value.
pub(crate) struct Serve {
    child: Child,
    /// ada at the ssh server.
    pub(crate) login: Login,
    log: PathBuf,
}

impl Serve {
    /// Starts it, with more options, and waits until it listens.
    pub(crate) fn start(installed: &Installed, realm: &Realm, options: &[&OsStr]) -> Result<Self, Error> {
        let ssh = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let log = installed.work.path().join(format!("{}.log", realm.name));
        let out = File::create(&log)?;
        let mut command = realm.verb(installed, &["serve", "--ssh", &ssh.to_string()]);
        command.args(["--http", &realm.http.to_string()]).args(options);
        let child = command.stdout(out.try_clone()?).stderr(out).spawn()?;
        let mut serve = Self { child, login: Login::unknown(ssh), log };
        for door in [ssh, realm.http] {
            serve.listens(door)?;
        }
        // Its sockets are there before its host key is.
        let known_hosts = realm.dir.join("known_hosts");
        let start = Instant::now();
        while !known_hosts.exists() && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let host_key = PublicKey::from_openssh(known_key(&fs::read_to_string(known_hosts)?)?)?;
        serve.login = Login::new(ssh, &realm.name, Arc::clone(&realm.key), host_key);
        Ok(serve)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as a service manager would. It must end in good order.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("serve ended with {status}:\n{}", self.said()).into());
        }
        Ok(())
    }

    /// The end of what it printed.
    pub(crate) fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text[text.len().saturating_sub(2000)..].to_owned()
    }

    fn listens(&mut self, door: SocketAddr) -> Result<(), Error> {
        wait_for(door, || match self.child.try_wait() {
            Ok(Some(status)) => Some(format!("serve ended with {status}:\n{}", self.said())),
            _ => None,
        })
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until somebody listens there, or `ended` says why nobody will.
pub(crate) fn wait_for(door: SocketAddr, mut ended: impl FnMut() -> Option<String>) -> Result<(), Error> {
    let start = Instant::now();
    while let Err(error) = TcpStream::connect(door) {
        if let Some(why) = ended() {
            return Err(why.into());
        }
        if start.elapsed() > Duration::from_secs(30) {
            return Err(format!("nobody listens on {door}: {error}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// `TYPE KEY` of the first line of a known_hosts file.
pub(crate) fn known_key(text: &str) -> Result<&str, Error> {
    let line = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
    Ok(line.split_once(' ').ok_or("no host key")?.1)
}

/// Runs to the end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let done = command.output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(format!("{command:?}: {}: {said}", done.status).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}

/// What a command took.
pub(crate) struct Took {
    /// Seconds to the end.
    pub(crate) seconds: f64,
    /// Seconds of CPU, which other programs on the machine do not stretch.
    pub(crate) cpu: f64,
}

/// Runs to the end.
pub(crate) fn timed(command: &mut Command) -> Result<Took, Error> {
    let (start, before) = (Instant::now(), children()?);
    run(command)?;
    Ok(Took { seconds: start.elapsed().as_secs_f64(), cpu: children()? - before })
}

/// CPU seconds of all children that have ended.
fn children() -> Result<f64, Error> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Where a program lies; sshd's folder counts too.
pub(crate) fn find(program: &str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin"].map(PathBuf::from))
        .map(|folder: PathBuf| folder.join(program))
        .find(|file| Path::is_file(file))
        .ok_or_else(|| format!("{program} is not installed").into())
}

/// A key that nobody else has.
fn rand() -> [u8; 32] {
    use std::hash::{BuildHasher as _, RandomState};
    let mut seed = [0; 32];
    for (at, eight) in seed.chunks_exact_mut(8).enumerate() {
        eight.copy_from_slice(&RandomState::new().hash_one(at).to_le_bytes());
    }
    seed
}
