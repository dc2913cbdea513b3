//! A private key file, by way of an ssh-agent of its own: OpenSSH reads every format there is, and asks for the
//! passphrase where people expect it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::error::{Error, Kind, Result};
use crate::options::Options;

/// How long the key stays should this process be killed before it can end the agent.
const LIFE: &str = "300";

/// An agent that holds one key, and ends with this value.
pub(crate) struct PrivateAgent {
    socket: PathBuf,
    child: Child,
    _folder: tempfile::TempDir,
}

impl PrivateAgent {
    /// Starts one with the key in `file`.
    pub(crate) fn with(file: &Path, options: &Options) -> Result<Self> {
        // Nobody but us gets into it.
        let folder = tempfile::Builder::new()
            .prefix("seamless-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir();
        let folder = folder.map_err(|e| Error::file("make a folder in", &std::env::temp_dir(), &e))?;
        let socket = folder.path().join("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| missing("ssh-agent", &e))?;
        let agent = Self { socket, child, _folder: folder };
        agent.wait_until_up()?;
        agent.add(file, options)?;
        Ok(agent)
    }

    pub(crate) fn connect(&self) -> Result<Agent> {
        Agent::at(&self.socket)
    }

    fn wait_until_up(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Agent::at(&self.socket).is_err() {
            if Instant::now() > deadline {
                return Err(Error::new(Kind::NoAgent, "an ssh-agent of our own does not start"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn add(&self, file: &Path, options: &Options) -> Result<()> {
        let mut command = Command::new("ssh-add");
        command.args(["-q", "-t", LIFE, "--"]).arg(file).env("SSH_AUTH_SOCK", &self.socket);
        if !options.interactive {
            // Where nobody is there to type, nobody is asked.
            command.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force");
        }
        let output = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|e| missing("ssh-add", &e))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        Err(Error::new(
            Kind::NoKey,
            format!("the key in {} can't be used: {}", file.display(), crate::error::shorten(why.trim())),
        )
        .hint("a private key that you alone can read (chmod 600), and its passphrase"))
    }
}

impl Drop for PrivateAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The public key that a `.pub` file names, as its wire form.
pub(crate) fn public_blob(file: &Path) -> Result<Option<Vec<u8>>> {
    use base64::Engine as _;
    use std::io::Read as _;
    const MOST: u64 = 64 * 1024;
    let mut text = String::new();
    let opened = std::fs::File::open(file)
        .map_err(|e| Error { kind: Kind::Usage, ..Error::file("read", file, &e) })?;
    if opened.take(MOST).read_to_string(&mut text).is_err() {
        return Ok(None);
    }
    let mut words = text.lines().next().unwrap_or_default().split_ascii_whitespace();
    let (Some(kind), Some(base64)) = (words.next(), words.next()) else { return Ok(None) };
    if !(kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-")) {
        return Ok(None);
    }
    Ok(base64::engine::general_purpose::STANDARD.decode(base64).ok())
}

fn missing(program: &str, error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, format!("can't run {program}: {error}"))
        .hint("a key file is read by OpenSSH's own tools: install openssh-client")
}
