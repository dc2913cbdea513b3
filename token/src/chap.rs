//! The `chap` format, crtauth's: a name and two times with a MAC, in msgpack (version 1) or XDR (version 0).
//!
//! ```text
//! version 1   01 74, valid_from, valid_to, name, HMAC-SHA256 of all before it
//! version 0   "v", HMAC-SHA1 of the payload, payload: "t", valid_from, valid_to, name
//! ```
//!
//! As with `seamless`, whoever can verify can mint. The MAC is over the bytes that came; nothing is written again to
//! be compared. The Python original packs names of 32 bytes and more in the old way, which is read as well.

use alloc::string::String;

use crate::verdict::{Code, Format, Identity, Rejection, Verdict};
use crate::{Digest, KeyError, Secret, base64url, items::Items, text};

/// The longest life of a token, in seconds. The originals issue 60 and refuse over 600.
const LONGEST_LIFE: u64 = 600;

/// A secret shared with servers of crtauth. It makes the MACs of both versions.
#[derive(Clone, Debug)]
pub struct ChapSecret {
    sha1: Secret,
    sha256: Secret,
}

impl ChapSecret {
    /// A secret of these bytes; none at all are refused.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { sha1: Secret::new(bytes, Digest::Sha1)?, sha256: Secret::new(bytes, Digest::Sha256)? })
    }

    /// Binds tokens of this secret to audiences: the format carries none. Without it they have none.
    #[must_use]
    pub fn with_audiences<I>(mut self, audiences: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.sha256 = self.sha256.with_audiences(audiences);
        self
    }

    /// Gives tokens of this secret scopes: the format carries none. Without it they have none.
    #[must_use]
    pub fn with_scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.sha256 = self.sha256.with_scopes(scopes);
        self
    }

    /// The MAC of that version.
    pub(crate) const fn of(&self, version: ChapVersion) -> &Secret {
        match version {
            ChapVersion::V0 => &self.sha1,
            ChapVersion::V1 => &self.sha256,
        }
    }
}

/// A version of the format. Servers of the Python original know 0 alone, of the Java original 1 alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChapVersion {
    /// XDR, HMAC-SHA1.
    V0,
    /// msgpack, HMAC-SHA256.
    V1,
}

/// Judges a token of this format. Any one of the secrets may have signed it. Both ends of its life count in whole
/// seconds and inclusively, without leeway: the issuer dates it back by two seconds instead.
///
/// Audience, scope and revocation are [`Verifier`](crate::Verifier)'s.
pub(crate) fn verify<'a>(
    token: &'a [u8],
    secrets: &'a [ChapSecret],
    now: u64,
    room: &'a mut [u8],
) -> Verdict<'a> {
    let bytes = decode(token, room)?;
    let parsed = Parsed::read(bytes)?;
    let secret = secrets
        .iter()
        .find(|secret| secret.of(parsed.version).verify(parsed.signed, parsed.mac))
        .ok_or(Code::BadSignature)?;
    // The originals forget the check at minting, so a life that is too long may have a good MAC.
    if parsed.valid_to.checked_sub(parsed.valid_from).is_none_or(|life| life > LONGEST_LIFE) {
        return Err(Code::Malformed.into());
    }
    if now < parsed.valid_from {
        return Err(Rejection { code: Code::NotYetValid, skew: Some(parsed.valid_from - now) });
    }
    if now > parsed.valid_to {
        return Err(Code::Expired.into());
    }
    Ok(Identity {
        format: Format::Chap,
        subject: parsed.subject()?,
        issued_at: parsed.valid_from,
        expires_at: parsed.valid_to,
        issuer: None,
        client_id: None,
        jti: None,
        ssh_fp: None,
        kid: None,
        audiences: Items::Owned(secret.sha256.audiences()),
        scopes: Items::Owned(secret.sha256.scopes()),
        groups: Items::NONE,
        amr: Items::NONE,
    })
}

/// Decodes base64url. Canonical only, unlike the originals: one text for one token.
pub(crate) fn decode<'r>(token: &[u8], room: &'r mut [u8]) -> Result<&'r [u8], Rejection> {
    base64url::decode(token, room).map(|bytes| &*bytes).ok_or_else(|| Code::Malformed.into())
}

/// What a token says, whether anybody vouches for it or not.
pub(crate) struct Parsed<'a> {
    version: ChapVersion,
    signed: &'a [u8],
    mac: &'a [u8],
    name: &'a [u8],
    pub(crate) valid_from: u64,
    pub(crate) valid_to: u64,
}

impl<'a> Parsed<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let parsed = match bytes.first() {
            Some(b'v') => Self::xdr(bytes),
            _ => Self::msgpack(bytes),
        };
        parsed.ok_or_else(|| Code::Malformed.into())
    }

    pub(crate) fn subject(&self) -> Result<&'a str, Rejection> {
        let name = core::str::from_utf8(self.name).map_err(|_| Code::Malformed)?;
        if text::is_subject(name) { Ok(name) } else { Err(Code::Malformed.into()) }
    }

    fn msgpack(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[1, b't'])?;
        let valid_from = uint(&mut rest)?;
        let valid_to = uint(&mut rest)?;
        let name = string(&mut rest)?;
        let signed = bytes.get(..bytes.len() - rest.len())?;
        let mac = string(&mut rest)?;
        // Nothing follows, and no MAC of another length passes.
        (rest.is_empty() && mac.len() == 32).then_some(Self {
            version: ChapVersion::V1,
            signed,
            mac,
            name,
            valid_from,
            valid_to,
        })
    }

    fn xdr(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"v\0\0\0")?;
        let mac = take(&mut rest, 20)?;
        let signed = xdr_string(&mut rest)?;
        let mut payload = signed.strip_prefix(b"t\0\0\0")?;
        let valid_from = big_endian(&mut payload, 4)?;
        let valid_to = big_endian(&mut payload, 4)?;
        let name = xdr_string(&mut payload)?;
        // What the MAC does not cover would be a second text for the same token.
        (rest.is_empty() && payload.is_empty()).then_some(Self {
            version: ChapVersion::V0,
            signed,
            mac,
            name,
            valid_from,
            valid_to,
        })
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

fn big_endian(rest: &mut &[u8], width: usize) -> Option<u64> {
    Some(take(rest, width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn xdr_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(big_endian(rest, 4)?).ok()?;
    let (text, padding) = take(rest, length.checked_next_multiple_of(4)?)?.split_at_checked(length)?;
    padding.iter().all(|b| *b == 0).then_some(text)
}

fn uint(rest: &mut &[u8]) -> Option<u64> {
    match big_endian(rest, 1)? {
        small @ 0..=0x7f => Some(small),
        0xcc => big_endian(rest, 1),
        0xcd => big_endian(rest, 2),
        0xce => big_endian(rest, 4),
        0xcf => big_endian(rest, 8),
        _ => None,
    }
}

/// A text, or bytes.
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = match big_endian(rest, 1)? {
        short @ 0xa0..=0xbf => short - 0xa0,
        0xc4 | 0xd9 => big_endian(rest, 1)?,
        0xc5 | 0xda => big_endian(rest, 2)?,
        _ => return None,
    };
    take(rest, usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::vec;

    const NOW: u64 = 1_700_000_000;
    /// Of the originals: secret `server_secret`, user `test`, for 60 seconds.
    const PYTHON: &[u8] = b"dgAAAIcn-WZRYctZWZBOgPplZH3ZSNfHAAAAFHQAAABlU_D-ZVPxPAAAAAR0ZXN0";
    const JAVA: &[u8] = b"AXTOZVPw_s5lU_E8pHRlc3TEIAjrEiqZk-oV6Wx0SGX0xj9WHFtS11b8SGjCDkf2Ul0H";

    fn judge(token: &[u8], now: u64) -> Result<String, Code> {
        let secrets = [ChapSecret::new(b"another").unwrap(), ChapSecret::new(b"server_secret").unwrap()];
        let mut room = [0; 512];
        verify(token, &secrets, now, &mut room).map(|identity| identity.subject().into()).map_err(|r| r.code)
    }

    #[test]
    fn both_originals_are_understood() {
        for token in [PYTHON, JAVA] {
            assert_eq!(Format::of(token), Format::Chap);
            assert_eq!(judge(token, NOW), Ok("test".into()));
            assert_eq!(judge(token, NOW - 2), Ok("test".into()));
            assert_eq!(judge(token, NOW - 3), Err(Code::NotYetValid));
            assert_eq!(judge(token, NOW + 60), Ok("test".into()));
            assert_eq!(judge(token, NOW + 61), Err(Code::Expired));
            let mut room = [0; 512];
            let secrets = [ChapSecret::new(b"wrong_secret").unwrap()];
            assert_eq!(verify(token, &secrets, NOW, &mut room).unwrap_err().code, Code::BadSignature);
        }
        let utf8 = b"dgAAADke6NmMg9baWjlALgzc2ipaAsN3AAAAGHQAAABlU_D-ZVPxPAAAAAduw7Zh4oKsAA";
        assert_eq!(judge(utf8, NOW), Ok("nöa€".into()));
    }

    #[test]
    fn any_changed_bit_is_seen() {
        for token in [PYTHON, JAVA] {
            let bytes = base64url::decode_vec(token).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                let mut text = String::new();
                base64url::encode(&other, &mut text);
                assert!(judge(text.as_bytes(), NOW).is_err(), "bit {bit}");
            }
            for other in [[&bytes[..], b"\0"].concat(), bytes[..bytes.len() - 1].to_vec()] {
                let mut text = String::new();
                base64url::encode(&other, &mut text);
                assert_eq!(judge(text.as_bytes(), NOW), Err(Code::Malformed));
            }
        }
    }

    /// Attack: lengths that point past the end, or whose sum wraps round on a 32-bit machine.
    #[test]
    fn a_length_may_lie() {
        let mut lies: Vec<Vec<u8>> = vec![
            [b"v\0\0\0", &[0; 20][..], &[0xff; 4]].concat(),
            [b"v\0\0\0", &[0; 20][..], &[0xff, 0xff, 0xff, 0xfd]].concat(),
            [b"v\0\0\0", &[0; 20][..], &[0, 0, 0, 16], b"t\0\0\0", &[0; 8], &[0xff; 4]].concat(),
            vec![1, b't', 0xce, 1],
            vec![1, b't', 0, 0, 0xda, 0xff, 0xff],
            vec![1, b't', 0, 0, 0xa1, b'a', 0xc5, 0xff, 0xff],
            vec![1, b't', 0, 0, 0xa1, b'a', 0xdb, 0xff, 0xff, 0xff, 0xff],
        ];
        lies.extend((0..40).map(|length| vec![0xff; length]));
        for lie in lies {
            assert!(Parsed::read(&lie).is_err(), "{lie:x?}");
        }
    }
}
