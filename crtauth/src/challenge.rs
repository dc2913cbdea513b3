//! The second message: what the client is to sign.

use crate::hints::{HINTS, fingerprint_for, hints_for};
use crate::msgpack::{Reader, Writer};
use crate::{Keys, Malformed, Request, Version, Wish, text, xdr};

/// How long a challenge can be answered, in seconds.
pub const CHALLENGE_LIFE: u64 = 20;
/// How far before now a challenge or token begins, in seconds: the only forgiveness for clocks that differ.
pub const CLOCK_FUDGE: u64 = 2;
/// How many random bytes a challenge takes; versions 0 and 1 use the first 20 of them.
pub const NONCE_LENGTH: usize = 32;

/// What a server says in every challenge.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The name that clients know it by: a host without a port.
    pub server_name: &'a str,
    /// Random bytes, never the same twice.
    pub nonce: &'a [u8; NONCE_LENGTH],
    /// Unix seconds.
    pub now: u64,
}

/// Answers a request: the whole of the `X-CHAP` header.
///
/// `blobs` are the user's public keys that may log in, none for a user who is unknown, locked or has none. The answer
/// is of the same shape for all of them and costs the same hashes and MACs.
pub fn challenge(
    keys: &Keys,
    terms: &Terms<'_>,
    request: &Request,
    blobs: &[&[u8]],
) -> Result<String, Malformed> {
    let from = terms.now.saturating_sub(CLOCK_FUDGE);
    let to = terms.now.saturating_add(CHALLENGE_LIFE);
    let rsa = blobs.iter().find(|blob| is_rsa(blob)).copied();
    let bytes = match request.version {
        Version::V0 => {
            // Its times are 32 bits wide, until 2106.
            let time = |time: u64| u32::try_from(time).map_err(|_| Malformed("version 0 is over"));
            let mut payload = xdr::Writer::default();
            payload.fixed(b"c").fixed(&short(terms.nonce)).uint(time(from)?).uint(time(to)?);
            payload.string(&fingerprint_for(keys, &request.user, rsa));
            payload.string(terms.server_name.as_bytes()).string(request.user.as_bytes());
            let mut whole = xdr::Writer::default();
            whole.fixed(b"v").fixed(&keys.sha1(&payload.0)).string(&payload.0);
            whole.0
        }
        Version::V1 => {
            let mut writer = Writer::default();
            writer.uint(1).uint(u64::from(b'c')).bytes(&short(terms.nonce)).uint(from).uint(to);
            writer.bytes(&fingerprint_for(keys, &request.user, rsa));
            writer.text(terms.server_name).text(&request.user);
            let mac = keys.sha256(&writer.0);
            writer.bytes(&mac);
            writer.0
        }
        Version::V2 => {
            let mut writer = Writer::default();
            writer.uint(2).uint(u64::from(b'c')).bytes(terms.nonce).uint(from).uint(to);
            writer.bytes(&hints_for(keys, &request.user, terms.nonce, blobs.iter().copied()));
            writer.text(terms.server_name).text(&request.user);
            request.wish.write(&mut writer);
            let mac = keys.sha256(&writer.0);
            writer.bytes(&mac);
            writer.0
        }
    };
    Ok(format!("challenge:{}", text::encode(&bytes)))
}

fn short(nonce: &[u8; NONCE_LENGTH]) -> [u8; 20] {
    let mut short = [0; 20];
    short.iter_mut().zip(nonce).for_each(|(to, from)| *to = *from);
    short
}

/// Whether a public key blob is of the one kind that versions 0 and 1 can use.
pub(crate) fn is_rsa(blob: &[u8]) -> bool {
    blob.starts_with(b"\0\0\0\x07ssh-rsa")
}

/// A challenge as it was received. Nobody vouches for it until its MAC was checked.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// Its version.
    pub version: Version,
    /// Random bytes: 20, or 32 in version 2.
    pub nonce: Vec<u8>,
    /// Unix seconds from which on it can be answered.
    pub valid_from: u64,
    /// Unix seconds until which it can be answered.
    pub valid_to: u64,
    /// The server's name.
    pub server_name: String,
    /// The user's name.
    pub user: String,
    /// What the token is for; only version 2 says.
    pub wish: Wish,
    /// Which keys will do: six bytes of a fingerprint, or the hints.
    pub(crate) hints: Vec<u8>,
    /// As received: versions 1 and 2 sign all of it.
    pub(crate) bytes: Vec<u8>,
    /// What the MAC is over; all that version 0 signs.
    pub(crate) covered: std::ops::Range<usize>,
    pub(crate) mac: Vec<u8>,
}

impl Challenge {
    /// Reads a challenge of whatever version.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.first() {
            Some(b'v') => Self::parse_xdr(bytes),
            Some(1) => Self::parse_msgpack(bytes, Version::V1),
            Some(2) => Self::parse_msgpack(bytes, Version::V2),
            _ => Err(Malformed("the challenge is of an unknown version")),
        }
    }

    /// Whether these keys made it.
    pub(crate) fn is_of(&self, keys: &Keys) -> bool {
        let covered = self.bytes.get(self.covered.clone()).unwrap_or_default();
        match self.version {
            Version::V0 => keys.is_sha1(covered, &self.mac),
            Version::V1 | Version::V2 => keys.is_sha256(covered, &self.mac),
        }
    }

    /// What a key signs, before any SSHSIG.
    pub(crate) fn signed(&self) -> &[u8] {
        match self.version {
            Version::V0 => self.bytes.get(self.covered.clone()).unwrap_or_default(),
            Version::V1 | Version::V2 => &self.bytes,
        }
    }

    fn parse_xdr(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut wrapper = xdr::Reader::new(bytes);
        wrapper.letter(b'v')?;
        let mac = wrapper.fixed::<20>()?.to_vec();
        let payload = wrapper.string()?;
        let mut reader = xdr::Reader::new(payload);
        reader.letter(b'c')?;
        // `v` and its padding, the digest, the length.
        let begin = 4 + 20 + 4;
        Ok(Self {
            version: Version::V0,
            nonce: reader.fixed::<20>()?.to_vec(),
            valid_from: u64::from(reader.uint()?),
            valid_to: u64::from(reader.uint()?),
            hints: six(reader.string()?)?,
            server_name: reader.text()?.to_owned(),
            user: reader.text()?.to_owned(),
            wish: Wish::default(),
            covered: begin..begin + payload.len(),
            bytes: bytes.to_vec(),
            mac,
        })
    }

    fn parse_msgpack(bytes: &[u8], version: Version) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.uint()?;
        if reader.uint()? != u64::from(b'c') {
            return Err(Malformed("a challenge is expected"));
        }
        let two = version == Version::V2;
        let challenge = Self {
            version,
            nonce: if two {
                reader.array::<NONCE_LENGTH>()?.to_vec()
            } else {
                reader.array::<20>()?.to_vec()
            },
            valid_from: reader.uint()?,
            valid_to: reader.uint()?,
            hints: if two { reader.array::<HINTS>()?.to_vec() } else { six(reader.bytes()?)? },
            server_name: reader.text()?.to_owned(),
            user: reader.text()?.to_owned(),
            wish: if two { Wish::read(&mut reader)? } else { Wish::default() },
            covered: 0..reader.position(),
            mac: reader.array::<32>()?.to_vec(),
            bytes: bytes.to_vec(),
        };
        // The Python original takes the last 34 bytes for the MAC, so with it too nothing can follow.
        if reader.is_at_end() { Ok(challenge) } else { Err(Malformed("something follows the challenge")) }
    }
}

fn six(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    if bytes.len() == 6 { Ok(bytes.to_vec()) } else { Err(Malformed("a field has the wrong length")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::MACS;

    const RSA: &[u8] = b"\0\0\0\x07ssh-rsa and so on";

    fn made(version: Version, user: &str, blobs: &[&[u8]]) -> (Challenge, usize) {
        let keys = Keys::derived(b"secret");
        let terms = Terms { server_name: "localhost", nonce: &[7; 32], now: 1_700_000_000 };
        let request = Request { version, user: user.into(), wish: Wish::default() };
        let before = MACS.with(std::cell::Cell::get);
        let value = challenge(&keys, &terms, &request, blobs).unwrap();
        let macs = MACS.with(std::cell::Cell::get) - before;
        let challenge =
            Challenge::parse(&text::decode(value.strip_prefix("challenge:").unwrap()).unwrap()).unwrap();
        assert!(challenge.is_of(&keys) && !challenge.is_of(&Keys::derived(b"other")));
        (challenge, macs)
    }

    /// Attack: ask for challenges for a list of names, and tell from shape or cost which of them have an account.
    #[test]
    fn nobody_is_told_apart() {
        for version in [Version::V0, Version::V1, Version::V2] {
            let (known, cost) = made(version, "ada", &[RSA, b"another"]);
            let none: [&[u8]; 0] = [];
            for blobs in [&none[..], &[b"\0\0\0\x0bssh-ed25519 alone"]] {
                let (other, other_cost) = made(version, "bob", blobs);
                assert_eq!(other.bytes.len(), known.bytes.len());
                assert_eq!(other_cost, cost, "as many MACs");
            }
            assert_eq!(made(version, "bob", &[]).0.hints, made(version, "bob", &[]).0.hints, "stable");
            assert_eq!((known.valid_from, known.valid_to), (1_699_999_998, 1_700_000_020));
        }
    }

    #[test]
    fn one_changed_byte_is_seen() {
        let keys = Keys::derived(b"secret");
        for version in [Version::V0, Version::V1, Version::V2] {
            let (challenge, _) = made(version, "ada", &[RSA]);
            for place in 0..challenge.bytes.len() {
                let mut bytes = challenge.bytes.clone();
                bytes[place] ^= 1;
                let same = Challenge::parse(&bytes).is_ok_and(|c| c.is_of(&keys));
                // XDR's padding of the `v` is not covered, and not looked at.
                assert!(!same || (version == Version::V0 && (1..4).contains(&place)), "{version:?} {place}");
            }
            let mut longer = challenge.bytes.clone();
            longer.push(0);
            assert!(version == Version::V0 || Challenge::parse(&longer).is_err());
            assert!(Challenge::parse(&challenge.bytes[..challenge.bytes.len() - 1]).is_err());
        }
    }
}
