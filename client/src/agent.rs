//! The user's ssh-agent.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use crtauth::agent::{self as frames, AgentError, Identity, MAX_FRAME};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};

/// How long listing may take; nobody is asked anything for it.
const LIST: Duration = Duration::from_secs(5);
/// How long somebody may take to touch a key or to say yes.
const SIGN: Duration = Duration::from_secs(120);

/// A connection to an agent.
#[derive(Debug)]
pub(crate) struct Agent {
    stream: UnixStream,
}

impl Agent {
    /// The one that `SSH_AUTH_SOCK` names.
    pub(crate) fn of_environment() -> Result<Self> {
        let Some(path) = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
        else {
            return Err(Error::new(Kind::NoAgent, "no ssh-agent: SSH_AUTH_SOCK is not set")
                .hint("start one: eval $(ssh-agent) && ssh-add; or name a key file with --identity"));
        };
        Self::at(&path)
    }

    /// The one behind this socket.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).map_err(|e| {
            Error::new(Kind::NoAgent, format!("no ssh-agent answers at {}: {e}", path.display()))
                .hint("start one: eval $(ssh-agent) && ssh-add; or name a key file with --identity")
        })?;
        Ok(Self { stream })
    }

    /// The keys that it holds. None are signed with for being shown.
    pub(crate) fn list(&mut self) -> Result<Vec<Identity>> {
        let answer = self.ask(&frames::request_identities(), LIST)?;
        frames::identities(&answer).map_err(|e| self::Error::new(Kind::NoAgent, e.to_string()))
    }

    /// One signature with that key.
    pub(crate) fn sign(&mut self, key: &Identity, data: &[u8], flags: u32) -> Result<Vec<u8>> {
        let answer = self.ask(&frames::sign_request(&key.blob, data, flags), SIGN)?;
        frames::signature(&answer).map_err(|error| match error {
            AgentError::Refused => {
                let sha1 = if flags == 0 && key.algorithm() == "ssh-rsa" { ", or that SHA-1 is forbidden here" } else { "" };
                Error::new(
                    Kind::NoAgent,
                    format!("the ssh-agent refuses to sign with {}", fingerprint(&key.blob)),
                )
                .hint(format!(
                    "it never says why: that nobody confirmed (ssh-add -c), that the key is for certain hosts alone \
                     (ssh-add -h), that the agent is locked (ssh-add -x){sha1}"
                ))
            }
            AgentError::Malformed => Error::new(Kind::NoAgent, error.to_string()),
        })
    }

    fn ask(&mut self, frame: &[u8], patience: Duration) -> Result<Vec<u8>> {
        let failed = |e: std::io::Error| {
            let why = match e.kind() {
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                    format!("no answer within {} s", patience.as_secs())
                }
                _ => e.to_string(),
            };
            Error::new(Kind::NoAgent, format!("the ssh-agent does not answer: {why}"))
        };
        let length = u32::try_from(frame.len())
            .map_err(|_| Error::new(Kind::Internal, "the message to the ssh-agent is too long"))?;
        let mut message = length.to_be_bytes().to_vec();
        message.extend(frame);
        self.stream.set_read_timeout(Some(patience)).map_err(failed)?;
        self.stream.set_write_timeout(Some(LIST)).map_err(failed)?;
        self.stream.write_all(&message).map_err(failed)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(failed)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(Error::new(Kind::NoAgent, "the ssh-agent's answer is too long"));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).map_err(failed)?;
        Ok(answer)
    }
}

/// `SHA256:…`, as ssh-keygen prints it.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// An agent that answers every message with this, and what listing made of it.
    fn lists(answer: &'static [u8]) -> Result<Vec<Identity>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 5];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(request, [0, 0, 0, 1, 11]);
            stream.write_all(answer).unwrap();
        });
        let listed = Agent::at(&path).unwrap().list();
        server.join().unwrap();
        listed
    }

    #[test]
    fn an_agent_may_say_anything() {
        assert_eq!(lists(b"\0\0\0\x05\x0c\0\0\0\0").unwrap(), []);
        for (answer, says) in [
            (&b"\xff\xff\xff\xff\x0c"[..], "too long"),
            (b"\0\0\0\x09\x0c\0\0\0\0", "does not answer"),
            (b"\0\0\0\x01\x05", "refuses"),
            (b"\0\0\0\x05\x0c\xff\xff\xff\xff", "makes no sense"),
            (b"\0\0\0\0", "makes no sense"),
            (b"", "does not answer"),
        ] {
            let error = lists(answer).unwrap_err();
            assert!(error.kind == Kind::NoAgent && error.message.contains(says), "{error}");
        }
    }

    #[test]
    fn nobody_at_home() {
        let error = Agent::at(Path::new("/nonexistent/agent")).unwrap_err();
        assert!(error.message.contains("no ssh-agent answers") && error.hint.is_some());
    }
}
