//! The third message: the challenge back, signed.

use ssh_key::SshSig;
use ssh_key::encoding::{Decode as _, Encode as _};

use crate::challenge::Challenge;
use crate::hints::fingerprint;
use crate::msgpack::Reader;
use crate::{Keys, Malformed, Proof, Version, proof, text, xdr};

/// A challenge that came back with a signature. Nothing in it counts before [`is_of`](Self::is_of) said that the
/// challenge is ours, and nobody is logged in before [`proof`](Self::proof) said that the signature is good.
#[derive(Clone, Debug)]
pub struct Response {
    challenge: Challenge,
    signature: Signed,
}

#[derive(Clone, Debug)]
enum Signed {
    Rsa(Vec<u8>),
    Ssh(Box<SshSig>),
}

impl Response {
    /// Reads what stands after `response:`.
    pub fn parse(value: &str) -> Result<Self, Malformed> {
        let bytes = text::decode(value)?;
        let (version, challenge, signature) = match bytes.first() {
            Some(b'r') => {
                let mut reader = xdr::Reader::new(&bytes);
                reader.letter(b'r')?;
                let signature = reader.string()?;
                (Version::V0, reader.string()?, signature)
            }
            Some(version @ (1 | 2)) => {
                let version = if *version == 1 { Version::V1 } else { Version::V2 };
                let mut reader = Reader::new(&bytes);
                reader.uint()?;
                if reader.uint()? != u64::from(b'r') {
                    return Err(Malformed("a response is expected"));
                }
                (version, reader.bytes()?, reader.bytes()?)
            }
            _ => return Err(Malformed("the response is of an unknown version")),
        };
        let challenge = Challenge::parse(challenge)?;
        if challenge.version != version {
            return Err(Malformed("the response and its challenge are of different versions"));
        }
        let signature = match version {
            Version::V0 | Version::V1 => Signed::Rsa(signature.to_vec()),
            Version::V2 => Signed::Ssh(Box::new(sshsig(signature)?)),
        };
        Ok(Self { challenge, signature })
    }

    /// The challenge.
    #[must_use]
    pub const fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// Whether these keys made the challenge.
    #[must_use]
    pub fn is_of(&self, keys: &Keys) -> bool {
        self.challenge.is_of(keys)
    }

    /// Whether the signature claims to be this key's: what is to be tried of several keys.
    #[must_use]
    pub fn names(&self, blob: &[u8]) -> bool {
        match &self.signature {
            Signed::Rsa(_) => fingerprint(blob) == *self.challenge.hints,
            Signed::Ssh(signature) => signature.public_key().encode_vec().is_ok_and(|own| own == blob),
        }
    }

    /// Costs what checking a signature costs, for a response of somebody who has no such key: the answer's time must not
    /// tell. The result is nobody's.
    pub fn check_in_vain(&self) {
        let checked = match &self.signature {
            Signed::Rsa(signature) => proof::rsa_sha1(&proof::nobody(), self.challenge.signed(), signature),
            Signed::Ssh(signature) => signature
                .public_key()
                .encode_vec()
                .ok()
                .and_then(|own| proof::sshsig(&own, self.challenge.signed(), signature)),
        };
        std::hint::black_box(checked);
    }

    /// What the signature proves, if it is this key's.
    #[must_use]
    pub fn proof(&self, blob: &[u8]) -> Option<Proof> {
        if !self.names(blob) {
            return None;
        }
        match &self.signature {
            Signed::Rsa(signature) => proof::rsa_sha1(blob, self.challenge.signed(), signature),
            Signed::Ssh(signature) => proof::sshsig(blob, self.challenge.signed(), signature),
        }
    }
}

fn sshsig(bytes: &[u8]) -> Result<SshSig, Malformed> {
    const WRONG: Malformed = Malformed("the signature is no SSHSIG");
    let mut reader = bytes;
    let signature = SshSig::decode(&mut reader).map_err(|_| WRONG)?;
    if reader.is_empty() { Ok(signature) } else { Err(WRONG) }
}
