//! What a server makes MACs with.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The keys of the handshake, of tokens and of made-up fingerprints.
///
/// Derived from one secret they are different keys, so that what one of them does tells nothing about another. With a
/// secret that is shared with servers of the originals, it is each of them as it stands: their bytes come out.
#[derive(Clone)]
pub struct Keys {
    handshake: Zeroizing<Vec<u8>>,
    token: Zeroizing<Vec<u8>>,
    fake: Zeroizing<Vec<u8>>,
    fake_digest: FakeDigest,
}

/// What the originals make fingerprints of unknown users with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FakeDigest {
    /// HMAC-SHA1: crtauth, in Python.
    #[default]
    Sha1,
    /// HMAC-SHA256: crtauth-java.
    Sha256,
}

impl Keys {
    /// Three keys from one secret.
    #[must_use]
    pub fn derived(secret: &[u8]) -> Self {
        let key = |label: &str| Zeroizing::new(hmac_sha256(secret, &[label.as_bytes()]).to_vec());
        Self {
            handshake: key("seamless crtauth handshake"),
            token: Zeroizing::new(hex(&key("seamless crtauth token"))),
            fake: key("seamless crtauth fake fingerprint"),
            fake_digest: FakeDigest::Sha256,
        }
    }

    /// The secret itself for all three: the originals' bytes.
    #[must_use]
    pub fn shared(secret: &[u8], fake_digest: FakeDigest) -> Self {
        let key = || Zeroizing::new(secret.to_vec());
        Self { handshake: key(), token: key(), fake: key(), fake_digest }
    }

    /// What tokens are signed with: of a derived key 64 hexadecimal digits, which fit into a setting. Whoever verifies
    /// them needs it, and can mint.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Version 0's digest of a challenge.
    pub(crate) fn sha1(&self, payload: &[u8]) -> [u8; 20] {
        hmac_sha1(&self.handshake, payload)
    }

    /// Versions 1 and 2's MAC of a challenge.
    pub(crate) fn sha256(&self, payload: &[u8]) -> [u8; 32] {
        hmac_sha256(&self.handshake, &[payload])
    }

    pub(crate) fn is_sha1(&self, payload: &[u8], digest: &[u8]) -> bool {
        self.sha1(payload).ct_eq(digest).into()
    }

    pub(crate) fn is_sha256(&self, payload: &[u8], mac: &[u8]) -> bool {
        self.sha256(payload).ct_eq(mac).into()
    }

    /// The fingerprint that a user without a key seems to have: always the same one, on every node.
    pub(crate) fn fake_fingerprint(&self, user: &str) -> [u8; 6] {
        let mut fingerprint = [0; 6];
        let copy = |to: &mut [u8; 6], from: &[u8]| to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        match self.fake_digest {
            FakeDigest::Sha1 => copy(&mut fingerprint, &hmac_sha1(&self.fake, user.as_bytes())),
            FakeDigest::Sha256 => copy(&mut fingerprint, &hmac_sha256(&self.fake, &[user.as_bytes()])),
        }
        fingerprint
    }

    /// What the hints of a user without keys are made from.
    pub(crate) fn fake_seed(&self, user: &str) -> [u8; 32] {
        hmac_sha256(&self.fake, &[b"hints", user.as_bytes()])
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("fake_digest", &self.fake_digest).finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

// HMAC takes keys of any length, so the error cannot be; a MAC that nothing equals is the safe answer to it.

fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    count();
    Hmac::<Sha1>::new_from_slice(key)
        .map_or([0; 20], |mac| mac.chain_update(message).finalize().into_bytes().into())
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    count();
    Hmac::<Sha256>::new_from_slice(key).map_or([0; 32], |mac| {
        parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
    })
}

#[cfg(not(test))]
const fn count() {}

#[cfg(test)]
fn count() {
    tests::MACS.with(|macs| macs.set(macs.get() + 1));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// How many MACs were made: one user must not cost more than another.
        pub(crate) static MACS: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn derived_keys_differ_and_are_never_printed() {
        let keys = Keys::derived(b"a secret of some length");
        assert_ne!(keys.handshake, keys.token);
        assert!(keys.token.len() == 64 && keys.token.is_ascii());
        assert_ne!(keys.token, keys.fake);
        assert_ne!(keys.handshake, keys.fake);
        assert_eq!(format!("{keys:?}"), "Keys { fake_digest: Sha256, .. }");
    }

    #[test]
    fn made_up_fingerprints_of_the_originals() {
        let hex = |bytes: [u8; 6]| bytes.map(|b| format!("{b:02x}")).concat();
        let python = Keys::shared(b"server_secret", FakeDigest::Sha1);
        assert_eq!(hex(python.fake_fingerprint("nobody")), "49f5661f017f");
        assert_eq!(hex(python.fake_fingerprint("another")), "80282d5157a6");
        let java = Keys::shared(b"server_secret", FakeDigest::Sha256);
        assert_eq!(hex(java.fake_fingerprint("nobody")), "312747d8166f");
        assert_eq!(hex(java.fake_fingerprint("noa")), "e5172317866d");
    }
}
