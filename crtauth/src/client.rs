//! A client's side: what it asks, what it is willing to sign, what it sends back.

use std::fmt;

use ssh_key::encoding::{Decode as _, Encode as _};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, Signature, SshSig};
use zeroize::Zeroizing;

use crate::agent::{self, RSA_SHA2_512};
use crate::challenge::is_rsa;
use crate::hints::{HINT, fingerprint, hint};
use crate::msgpack::Writer;
use crate::{Malformed, NAMESPACE, Request, Version, Wish, text, xdr};

/// The longest that a challenge may be answerable, in seconds: the originals give 22.
const LONGEST_LIFE: u64 = 120;

/// What the client knows before it looks at a challenge.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The host that it went to, without a port.
    pub server_name: &'a str,
    /// The user that it named.
    pub user: &'a str,
    /// What it asked for.
    pub wish: &'a Wish,
    /// Unix seconds.
    pub now: u64,
    /// The oldest version that it takes part in.
    pub lowest: Version,
}

/// Why a client goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The answer is no message of the protocol.
    Malformed(&'static str),
    /// The challenge is another server's: somebody passes it on.
    ServerName(String),
    /// The challenge is for another user.
    User(String),
    /// The server speaks an older version than is allowed.
    TooOld(Version),
    /// Audience, scope, format or lifetime are not those that were asked for.
    OtherWish,
    /// The clocks differ by this many seconds at least; positive where the server's is ahead.
    Clock {
        /// Server's time minus ours.
        skew: i64,
    },
    /// The challenge could be answered for too long, or never.
    Life,
    /// The key is of a kind that this version cannot use.
    KeyType(Version),
    /// The agent signed otherwise than it was asked to: SHA-1 may be forbidden.
    SignedOtherwise(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the server's answer makes no sense: {why}"),
            Self::ServerName(name) => write!(f, "the challenge is one of {name:?}, not of this server"),
            Self::User(name) => write!(f, "the challenge is for the user {name:?}"),
            Self::TooOld(version) => write!(f, "the server speaks version {version} of crtauth alone"),
            Self::OtherWish => f.write_str("the challenge is for another token than was asked for"),
            Self::Clock { skew } => {
                let side = if *skew > 0 { "ahead of" } else { "behind" };
                write!(f, "the server's clock is {} s {side} this one", skew.unsigned_abs())
            }
            Self::Life => f.write_str("the challenge's times make no sense"),
            Self::KeyType(version) => write!(f, "version {version} of crtauth can use ssh-rsa keys alone"),
            Self::SignedOtherwise(name) => {
                write!(f, "the key signed with {name:?}, which is not what was asked")
            }
        }
    }
}

impl std::error::Error for ClientError {}

impl From<Malformed> for ClientError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

/// The first message: the whole of the `X-CHAP` header. `highest` is what the server may answer in at most.
#[must_use]
pub fn request(user: &str, highest: Version, wish: &Wish) -> String {
    let request = Request { version: highest, user: user.to_owned(), wish: wish.clone() };
    format!("request:{}", request.to_text())
}

/// Reads the second message, and decides whether to have anything to do with it.
///
/// Whoever signs what a server chose signs what an attacker chose, so what is signed has fixed lengths, this server's
/// name, and times around now.
pub fn challenge(value: &str, expect: &Expect<'_>) -> Result<Challenge, ClientError> {
    let value = after(value, "challenge:")?;
    let challenge = crate::Challenge::parse(&text::decode(value)?)?;
    if challenge.version < expect.lowest {
        return Err(ClientError::TooOld(challenge.version));
    }
    if !challenge.server_name.eq_ignore_ascii_case(expect.server_name) {
        return Err(ClientError::ServerName(challenge.server_name));
    }
    if challenge.user != expect.user {
        return Err(ClientError::User(challenge.user));
    }
    if challenge.version == Version::V2 && challenge.wish != *expect.wish {
        return Err(ClientError::OtherWish);
    }
    let life = challenge.valid_to.checked_sub(challenge.valid_from).ok_or(ClientError::Life)?;
    if life == 0 || life > LONGEST_LIFE {
        return Err(ClientError::Life);
    }
    if expect.now < challenge.valid_from || expect.now > challenge.valid_to {
        return Err(ClientError::Clock { skew: skew(challenge.valid_from, expect.now) });
    }
    Ok(Challenge(challenge))
}

/// The token in the fourth message.
pub fn token(value: &str) -> Result<Zeroizing<String>, ClientError> {
    let token = after(value, "token:")?;
    if token.is_empty()
        || token.len() > token::MAX_TOKEN_LENGTH
        || !token.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(ClientError::Malformed("the token is none"));
    }
    Ok(Zeroizing::new(token.to_owned()))
}

/// A challenge that may be signed.
#[derive(Clone, Debug)]
pub struct Challenge(crate::Challenge);

/// What to hand to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToSign {
    /// The bytes.
    pub data: Vec<u8>,
    /// The flags of the sign request.
    pub flags: u32,
}

impl Challenge {
    /// The version that the server chose.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.0.version
    }

    /// Whether the server knows this key, as far as it says.
    #[must_use]
    pub fn wants(&self, blob: &[u8]) -> bool {
        match self.0.version {
            Version::V0 | Version::V1 => is_rsa(blob) && fingerprint(blob) == *self.0.hints,
            Version::V2 => self.0.hints.chunks(HINT).any(|known| known == hint(&self.0.nonce, blob)),
        }
    }

    /// What this key is to sign.
    pub fn to_sign(&self, blob: &[u8]) -> Result<ToSign, ClientError> {
        match self.0.version {
            Version::V0 | Version::V1 if is_rsa(blob) => {
                Ok(ToSign { data: self.0.signed().to_vec(), flags: 0 })
            }
            Version::V0 | Version::V1 => Err(ClientError::KeyType(self.0.version)),
            Version::V2 => {
                let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, self.0.signed());
                let data = data.map_err(|_| ClientError::Malformed("the challenge can't be signed"))?;
                Ok(ToSign { data, flags: if is_rsa(blob) { RSA_SHA2_512 } else { 0 } })
            }
        }
    }

    /// The third message, from the agent's signature: the whole of the `X-CHAP` header.
    pub fn response(&self, blob: &[u8], signature: &[u8]) -> Result<String, ClientError> {
        const NONE: ClientError = ClientError::Malformed("the signature is none");
        let (algorithm, raw) = agent::split_signature(signature).map_err(|_| NONE)?;
        let bytes = match self.0.version {
            Version::V0 | Version::V1 if algorithm != b"ssh-rsa" => {
                return Err(ClientError::SignedOtherwise(String::from_utf8_lossy(algorithm).into_owned()));
            }
            Version::V0 => {
                let mut writer = xdr::Writer::default();
                writer.fixed(b"r").string(raw).string(&self.0.bytes);
                writer.0
            }
            Version::V1 => {
                let mut writer = Writer::default();
                writer.uint(1).uint(u64::from(b'r')).bytes(&self.0.bytes).bytes(raw);
                writer.0
            }
            Version::V2 => {
                let key = KeyData::decode(&mut &*blob).map_err(|_| ClientError::KeyType(Version::V2))?;
                let signature = Signature::decode(&mut &*signature).map_err(|_| NONE)?;
                let signature = SshSig::new(key, NAMESPACE, HashAlg::Sha512, signature).map_err(|_| NONE)?;
                let mut armoured = Vec::new();
                signature.encode(&mut armoured).map_err(|_| NONE)?;
                let mut writer = Writer::default();
                writer.uint(2).uint(u64::from(b'r')).bytes(&self.0.bytes).bytes(&armoured);
                writer.0
            }
        };
        Ok(format!("response:{}", text::encode(&bytes)))
    }
}

/// The requests plugin strips spaces behind the colon, so they are let pass here too.
fn after<'v>(value: &'v str, word: &str) -> Result<&'v str, ClientError> {
    let rest =
        value.strip_prefix(word).ok_or(ClientError::Malformed("the header X-CHAP says something else"))?;
    Ok(rest.trim_start_matches(' '))
}

fn skew(valid_from: u64, now: u64) -> i64 {
    let server = valid_from.saturating_add(crate::CLOCK_FUDGE);
    i64::try_from(server).unwrap_or(i64::MAX).saturating_sub(i64::try_from(now).unwrap_or(i64::MAX))
}
