//! A shared secret of the `seamless` format. Whoever has one can mint.

use core::fmt;
use core::str::FromStr;

#[cfg(feature = "alloc")]
use alloc::{string::String, vec::Vec};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::{KeyError, UnknownName};

/// A shared secret, kept as the two hash states that HMAC derives from it; they are wiped when it goes.
///
/// There is no way to compare two secrets, to print one or to get its bytes back.
#[derive(Clone)]
pub struct Secret {
    state: State,
    #[cfg(feature = "alloc")]
    audiences: Vec<String>,
    #[cfg(feature = "alloc")]
    scopes: Vec<String>,
}

impl Secret {
    /// A secret of these bytes; none at all are refused.
    pub fn new(bytes: &[u8], digest: Digest) -> Result<Self, KeyError> {
        if bytes.is_empty() {
            return Err(KeyError::EmptySecret);
        }
        let state = match digest {
            Digest::Sha1 => Hmac::new_from_slice(bytes).map(State::Sha1),
            Digest::Sha256 => Hmac::new_from_slice(bytes).map(State::Sha256),
            Digest::Sha512 => Hmac::new_from_slice(bytes).map(State::Sha512),
        };
        Ok(Self {
            state: state.map_err(|_| KeyError::EmptySecret)?,
            #[cfg(feature = "alloc")]
            audiences: Vec::new(),
            #[cfg(feature = "alloc")]
            scopes: Vec::new(),
        })
    }

    /// Binds tokens of this secret to audiences: the format carries none. Without it they have none.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn with_audiences<I>(mut self, audiences: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Gives tokens of this secret scopes: the format carries none. Without it they have none.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn with_scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The digest that the secret is used with.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        match self.state {
            State::Sha1(_) => Digest::Sha1,
            State::Sha256(_) => Digest::Sha256,
            State::Sha512(_) => Digest::Sha512,
        }
    }

    /// Whether `tag` is the whole HMAC of `message` under this secret, in constant time.
    #[must_use]
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        // Slices of different lengths are unequal at once: the length is no secret.
        self.tag(message).as_slice().ct_eq(tag).into()
    }

    /// The HMAC of `message` under this secret.
    pub(crate) fn tag(&self, message: &[u8]) -> Tag {
        match &self.state {
            State::Sha1(state) => Tag::Sha1(state.clone().chain_update(message).finalize().into_bytes().0),
            State::Sha256(state) => {
                Tag::Sha256(state.clone().chain_update(message).finalize().into_bytes().0)
            }
            State::Sha512(state) => {
                Tag::Sha512(state.clone().chain_update(message).finalize().into_bytes().0)
            }
        }
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("digest", &self.digest()).finish_non_exhaustive()
    }
}

/// An HMAC value.
pub(crate) enum Tag {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

impl Tag {
    pub(crate) const fn as_slice(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }
}

/// The digest below the HMAC: `digest_method` in itsdangerous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-1, the format's default. HMAC does not rest on its broken collision resistance.
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// `sha1`, `sha256` or `sha512`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Digest {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::Sha1, Self::Sha256, Self::Sha512].into_iter().find(|d| d.as_str() == name).ok_or(UnknownName)
    }
}

/// HMAC after the key's block: each is two hash states, wiped on drop by the hash crates.
#[derive(Clone)]
enum State {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new(b"correct horse battery staple", Digest::Sha256).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret { digest: Sha256, .. }");
        assert_eq!(Secret::new(b"", Digest::Sha1).unwrap_err(), KeyError::EmptySecret);
    }

    #[test]
    fn only_the_whole_tag_counts() {
        // RFC 2202, test case 2.
        let secret = Secret::new(b"Jefe", Digest::Sha1).unwrap();
        let tag = b"\xef\xfc\xdf\x6a\xe5\xeb\x2f\xa2\xd2\x74\x16\xd5\xf1\x84\xdf\x9c\x25\x9a\x7c\x79";
        assert!(secret.verify(b"what do ya want for nothing?", tag));
        assert!(!secret.verify(b"what do ya want for nothing?", &tag[..19]));
        assert!(!secret.verify(b"what do ya want for nothing?", b""));
        assert!(!secret.verify(b"what do ya want for something?", tag));
    }

    #[test]
    fn digests_have_names() {
        assert_eq!("sha512".parse(), Ok(Digest::Sha512));
        assert_eq!("SHA1".parse::<Digest>(), Err(UnknownName));
    }
}
