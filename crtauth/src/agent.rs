//! The ssh-agent protocol's frames (draft-ietf-sshm-ssh-agent): what is asked, what comes back.
//!
//! A frame here is what stands behind the four bytes of its length.

use std::fmt;

/// The longest answer that is read, as OpenSSH has it.
pub const MAX_FRAME: usize = 256 * 1024;

/// Sign with SHA-256, of RSA keys.
pub const RSA_SHA2_256: u32 = 2;
/// Sign with SHA-512, of RSA keys.
pub const RSA_SHA2_512: u32 = 4;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// A key that the agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The public key in its wire form.
    pub blob: Vec<u8>,
    /// What stands beside it.
    pub comment: String,
}

impl Identity {
    /// The name in the blob: `ssh-ed25519`, `ssh-rsa`, …
    #[must_use]
    pub fn algorithm(&self) -> &str {
        Reader(&self.blob).string().ok().and_then(|name| std::str::from_utf8(name).ok()).unwrap_or("?")
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentError {
    /// The agent says no, and never why.
    Refused,
    /// It is no answer to what was asked.
    Malformed,
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the ssh-agent refuses",
            Self::Malformed => "the ssh-agent's answer makes no sense",
        })
    }
}

impl std::error::Error for AgentError {}

/// Asks which keys there are.
#[must_use]
pub fn request_identities() -> Vec<u8> {
    vec![REQUEST_IDENTITIES]
}

/// Asks for a signature.
#[must_use]
pub fn sign_request(blob: &[u8], data: &[u8], flags: u32) -> Vec<u8> {
    let mut frame = vec![SIGN_REQUEST];
    put(&mut frame, blob);
    put(&mut frame, data);
    frame.extend(flags.to_be_bytes());
    frame
}

/// The keys in an answer.
pub fn identities(frame: &[u8]) -> Result<Vec<Identity>, AgentError> {
    let mut reader = answer(frame, IDENTITIES_ANSWER)?;
    let count = reader.uint()?;
    // Each takes two lengths at least, so a count that lies ends with the frame.
    let keys = (0..count)
        .map(|_| {
            let blob = reader.string()?.to_vec();
            let comment = String::from_utf8_lossy(reader.string()?).into_owned();
            Ok(Identity { blob, comment })
        })
        .collect::<Result<Vec<_>, AgentError>>()?;
    reader.end()?;
    Ok(keys)
}

/// The signature in an answer: its algorithm's name and its bytes, each as a string (RFC 4253 section 6.6).
pub fn signature(frame: &[u8]) -> Result<Vec<u8>, AgentError> {
    let mut reader = answer(frame, SIGN_RESPONSE)?;
    let blob = reader.string()?.to_vec();
    reader.end()?;
    Ok(blob)
}

/// A signature blob's two parts. Behind an authenticator's own stand its flags and counter, which stay with the second.
pub(crate) fn split_signature(blob: &[u8]) -> Result<(&[u8], &[u8]), AgentError> {
    let mut reader = Reader(blob);
    Ok((reader.string()?, reader.string()?))
}

pub(crate) fn put(frame: &mut Vec<u8>, bytes: &[u8]) {
    frame.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(bytes);
}

fn answer(frame: &[u8], wanted: u8) -> Result<Reader<'_>, AgentError> {
    match frame.split_first() {
        Some((kind, rest)) if *kind == wanted => Ok(Reader(rest)),
        Some((&FAILURE, _)) => Err(AgentError::Refused),
        _ => Err(AgentError::Malformed),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn uint(&mut self) -> Result<u32, AgentError> {
        let (bytes, rest) = self.0.split_first_chunk::<4>().ok_or(AgentError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Result<&'a [u8], AgentError> {
        let length = usize::try_from(self.uint()?).map_err(|_| AgentError::Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(AgentError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    const fn end(&self) -> Result<(), AgentError> {
        if self.0.is_empty() { Ok(()) } else { Err(AgentError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames() {
        assert_eq!(sign_request(b"k", b"data", 4), b"\x0d\0\0\0\x01k\0\0\0\x04data\0\0\0\x04");
        let frame = b"\x0c\0\0\0\x01\0\0\0\x0f\0\0\0\x0bssh-ed25519\0\0\0\x03ada";
        let keys = identities(frame).unwrap();
        assert_eq!((keys[0].algorithm(), &*keys[0].comment), ("ssh-ed25519", "ada"));
        assert_eq!(identities(&[5]), Err(AgentError::Refused));
        assert_eq!(signature(&[5]), Err(AgentError::Refused));
        for bad in [
            &b""[..],
            b"\x0e",
            b"\x0c\xff\xff\xff\xff",
            b"\x0c\0\0\0\0extra",
            b"\x0c\0\0\0\x01\xff\xff\xff\xff",
        ] {
            assert_eq!(identities(bad), Err(AgentError::Malformed));
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(frame: Vec<u8>) {
            let _ = identities(&frame);
            let _ = signature(&frame);
            let _ = split_signature(&frame);
        }
    }
}
