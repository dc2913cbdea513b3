//! ssh-agent, and one that lies.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::home::{Home, public};
use crate::process::{Running, run};

/// The stock agent, which ends with this value.
#[derive(Debug)]
pub struct Agent {
    /// What `SSH_AUTH_SOCK` is set to.
    pub socket: PathBuf,
    _running: Running,
}

impl Agent {
    /// Starts it without keys.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(home: &Home) -> Self {
        let socket = home.join("agent");
        // A program that says no, for keys that are to be confirmed.
        let mut command = home.command("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).env("SSH_ASKPASS", "/bin/false").env("DISPLAY", "none:0");
        let mut running = Running::start(&mut command);
        running.wait_for("the agent's socket", |_| UnixStream::connect(&socket).is_ok().then_some(()));
        Self { socket, _running: running }
    }

    /// Adds a key.
    ///
    /// # Panics
    /// If it is not taken.
    pub fn add(&self, home: &Home, key: &Path) {
        let _ = run(home.command("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket)).ok();
    }

    /// A signature by the key whose public half lies beside this file: the bytes alone, without the algorithm's name.
    ///
    /// # Panics
    /// If the agent does not sign.
    #[track_caller]
    #[must_use]
    pub fn sign(&self, key: &Path, data: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(&self.socket).expect("connect to the agent");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set a time-out");
        // Without flags, an RSA key signs with SHA-1.
        let ask = [&[13], string(&blob(key)).as_slice(), &string(data), &[0; 4]].concat();
        stream.write_all(&string(&ask)).expect("ask the agent");
        let answer = frame(&mut stream).expect("the agent's answer");
        assert_eq!(answer.first(), Some(&14), "a signature was expected");
        // Strings in strings: the signature, which is a name and bytes.
        let name = usize::from(answer[8]);
        answer[13 + name..].to_vec()
    }

    /// Adds a key that the agent shows, but will not sign with.
    ///
    /// # Panics
    /// If it is not taken.
    pub fn add_refusing(&self, home: &Home, key: &Path) {
        let _ =
            run(home.command("ssh-add").args(["-q", "-c"]).arg(key).env("SSH_AUTH_SOCK", &self.socket)).ok();
    }
}

/// An agent that shows one key and signs with another: what an attacker has who knows a public key.
///
/// Returns the socket; it is served until the process ends.
///
/// # Panics
/// If it cannot be set up.
#[must_use]
pub fn lying_agent(home: &Home, shown: &Path, own: &Path, honest: &Agent) -> PathBuf {
    let socket = home.join("lying-agent");
    let (shown, own) = (blob(shown), blob(own));
    let upstream = honest.socket.clone();
    let listener = UnixListener::bind(&socket).expect("bind the lying agent's socket");
    home.own(&socket);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (shown, own, upstream) = (shown.clone(), own.clone(), upstream.clone());
            std::thread::spawn(move || lie(client, &shown, &own, &upstream));
        }
    });
    socket
}

/// The agent protocol (draft-ietf-sshm-ssh-agent): 11 asks for the keys, 12 answers, 13 asks for a signature.
fn lie(mut client: UnixStream, shown: &[u8], own: &[u8], upstream: &Path) -> Option<()> {
    let limit = Some(Duration::from_secs(20));
    client.set_read_timeout(limit).ok()?;
    while let Some(request) = frame(&mut client) {
        let answer = match request.first()? {
            11 => [&[12, 0, 0, 0, 1], string(shown).as_slice(), &string(b"lie")].concat(),
            13 if request.get(5..5 + shown.len()) == Some(shown) => {
                let forged = [&[13], string(own).as_slice(), request.get(5 + shown.len()..)?].concat();
                let mut honest = UnixStream::connect(upstream).ok()?;
                honest.set_read_timeout(limit).ok()?;
                honest.write_all(&string(&forged)).ok()?;
                frame(&mut honest)?
            }
            _ => vec![5],
        };
        client.write_all(&string(&answer)).ok()?;
    }
    Some(())
}

fn frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body =
        vec![0; usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length < 1 << 18)?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    [&length.to_be_bytes(), bytes].concat()
}

fn blob(key: &Path) -> Vec<u8> {
    let line = std::fs::read_to_string(public(key)).expect("read a public key");
    STANDARD.decode(line.split(' ').nth(1).unwrap_or_default()).expect("base64 in a public key")
}
