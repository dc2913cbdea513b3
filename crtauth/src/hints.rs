//! How a challenge tells the client which key to use.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::Keys;

/// How many of a user's keys a challenge of version 2 hints at.
pub const MOST_KEYS: usize = 16;
pub(crate) const HINT: usize = 8;
pub(crate) const HINTS: usize = MOST_KEYS * HINT;

/// Versions 0 and 1: the first six bytes of the SHA-1 of the whole public key blob.
pub(crate) fn fingerprint(blob: &[u8]) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = <[u8; 20]>::from(Sha1::digest(blob));
    [a, b, c, d, e, f]
}

/// Version 2: salted with the nonce, so that it says nothing to whoever has no public key to try, not even whether two
/// challenges hint at the same one.
pub(crate) fn hint(nonce: &[u8], blob: &[u8]) -> [u8; HINT] {
    let hash =
        Sha256::new_with_prefix("seamless-auth-v2 hint").chain_update(nonce).chain_update(blob).finalize();
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash);
    [a, b, c, d, e, f, g, h]
}

/// The fingerprint of a key, or the made-up one: both are worked out for everybody.
pub(crate) fn fingerprint_for(keys: &Keys, user: &str, blob: Option<&[u8]>) -> [u8; 6] {
    let fake = keys.fake_fingerprint(user);
    // As long as an RSA key of 2048 bits, so that hashing it takes as long.
    let real = fingerprint(blob.unwrap_or(&[0; 279]));
    if blob.is_some() { real } else { fake }
}

/// As many hints for everybody, in an order that tells nothing. What a user has no key for is made up.
pub(crate) fn hints_for<'a>(
    keys: &Keys,
    user: &str,
    nonce: &[u8],
    blobs: impl IntoIterator<Item = &'a [u8]>,
) -> [u8; HINTS] {
    let seed = keys.fake_seed(user);
    let mut blobs = blobs.into_iter();
    let mut hints = [[0; HINT]; MOST_KEYS];
    for (number, place) in (0_u8..).zip(&mut hints) {
        // As long as an Ed25519 key.
        let mut filler = [number; 51];
        filler.iter_mut().skip(1).zip(seed).for_each(|(to, from)| *to = from);
        *place = hint(nonce, blobs.next().unwrap_or(&filler));
    }
    hints.sort_unstable();
    let mut bytes = [0; HINTS];
    bytes.iter_mut().zip(hints.as_flattened()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_keys_to_whoever_has_them() {
        let keys = Keys::derived(b"secret");
        let (one, two) = (&b"one"[..], &b"two"[..]);
        let hints = hints_for(&keys, "ada", &[1; 32], [one, two]);
        let has = |hints: &[u8], nonce, blob| hints.chunks(HINT).any(|h| h == hint(nonce, blob));
        assert!(has(&hints, &[1; 32], one) && has(&hints, &[1; 32], two));
        assert!(!has(&hints, &[1; 32], b"three") && !has(&hints, &[2; 32], one));
        assert!(hints.chunks(HINT).is_sorted());
        let none = hints_for(&keys, "ada", &[1; 32], []);
        assert_eq!(none.chunks(HINT).filter(|h| hints.chunks(HINT).any(|o| o == *h)).count(), 14);
        assert_ne!(none, hints_for(&keys, "bob", &[1; 32], []));
    }
}
