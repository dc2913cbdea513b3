#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod agent;
mod challenge;
pub mod client;
mod hints;
mod keys;
mod msgpack;
mod proof;
mod request;
mod response;
mod text;
mod wish;
mod xdr;

pub use challenge::{CHALLENGE_LIFE, CLOCK_FUDGE, Challenge, NONCE_LENGTH, Terms, challenge};
pub use hints::MOST_KEYS;
pub use keys::{FakeDigest, Keys};
pub use proof::{NAMESPACE, Proof};
pub use request::Request;
pub use response::Response;
pub use wish::Wish;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// XDR, HMAC-SHA1.
    V0,
    /// msgpack, HMAC-SHA256; `ssh-rsa` keys alone, signed over SHA-1.
    V1,
    /// Ours: any key, SSHSIG, and what the token is for.
    V2,
}

impl Version {
    /// `0`, `1` or `2`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// A message that is not one, in words for whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl Malformed {
    /// Why, in one line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.0
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}
