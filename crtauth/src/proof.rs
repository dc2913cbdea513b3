//! What a key's signature proves.

use ed25519_dalek::VerifyingKey;
use rsa::{BoxedUint, Pkcs1v15Sign, RsaPublicKey};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use signature::Verifier as _;
use ssh_key::encoding::{Decode as _, Encode as _};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Signature, SshSig};

use crate::agent::put;

/// The SSHSIG namespace of version 2. No signature made for anything else can be used here, nor the other way round.
pub const NAMESPACE: &str = "seamless-auth-v2";

/// The shortest RSA modulus that counts, in bits.
const SHORTEST_RSA: u32 = 2048;
/// The longest, so that checking a signature has a bound.
const LONGEST_RSA: u32 = 16_384;

/// A signature was good.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// An authenticator says that somebody touched it; `false` for keys that no authenticator holds.
    pub touched: bool,
    /// An authenticator says that it knew them, by a PIN or biometrics.
    pub verified: bool,
}

/// Versions 0 and 1: RSASSA-PKCS1-v1_5 with SHA-1. The Python client strips leading zero bytes of signatures.
pub(crate) fn rsa_sha1(blob: &[u8], message: &[u8], signature: &[u8]) -> Option<Proof> {
    let KeyData::Rsa(key) = KeyData::decode(&mut &*blob).ok()? else { return None };
    let modulus = key.n().as_positive_bytes()?;
    let bits = u32::try_from(modulus.len()).ok()?.checked_mul(8)?;
    if !(SHORTEST_RSA..=LONGEST_RSA).contains(&bits)
        || signature.is_empty()
        || signature.len() > modulus.len()
    {
        return None;
    }
    let mut padded = vec![0; modulus.len() - signature.len()];
    padded.extend(signature);
    let n = BoxedUint::from_be_slice(modulus, bits).ok()?;
    let e = BoxedUint::from_be_slice_vartime(key.e().as_positive_bytes()?);
    let key = RsaPublicKey::new_with_max_size(n, e, usize::try_from(LONGEST_RSA).ok()?).ok()?;
    let digest = Sha1::digest(message);
    key.verify(Pkcs1v15Sign::new::<Sha1>(), &digest, &padded).ok()?;
    Some(Proof::default())
}

/// The blob of an RSA key of 2048 bits that nobody has: an odd number of no known factors, made from a hash.
pub(crate) fn nobody() -> Vec<u8> {
    let mut modulus: Vec<u8> = (0_u8..8).flat_map(|part| Sha256::digest([part])).collect();
    if let Some(first) = modulus.first_mut() {
        *first |= 0x80;
    }
    if let Some(last) = modulus.last_mut() {
        *last |= 1;
    }
    let mut blob = Vec::new();
    put(&mut blob, b"ssh-rsa");
    put(&mut blob, &[1, 0, 1]);
    // A positive number whose first bit is set has a zero byte in front.
    modulus.insert(0, 0);
    put(&mut blob, &modulus);
    blob
}

/// Version 2: an SSHSIG over the whole challenge, made by exactly this key.
pub(crate) fn sshsig(blob: &[u8], message: &[u8], signature: &SshSig) -> Option<Proof> {
    let key = signature.public_key();
    if signature.namespace() != NAMESPACE
        || !signature.reserved().is_empty()
        || key.encode_vec().ok()? != blob
    {
        return None;
    }
    let signed = SshSig::signed_data(NAMESPACE, signature.hash_alg(), message).ok()?;
    if !is_strong(key) {
        return None;
    }
    key.verify(&signed, signature.signature()).ok()?;
    Some(flags(key, signature.signature()))
}

/// A key under which anybody could sign is none: RSA too short, or a point of small order.
fn is_strong(key: &KeyData) -> bool {
    match key {
        KeyData::Rsa(key) => (SHORTEST_RSA..=LONGEST_RSA).contains(&key.key_size()),
        KeyData::Ed25519(key) => is_strong_point(key),
        KeyData::SkEd25519(key) => is_strong_point(key.public_key()),
        KeyData::Ecdsa(_) | KeyData::SkEcdsaSha2NistP256(_) => true,
        _ => false,
    }
}

fn is_strong_point(key: &Ed25519PublicKey) -> bool {
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| !key.is_weak())
}

/// An authenticator's signature ends in its flags and a counter (PROTOCOL.u2f).
fn flags(key: &KeyData, signature: &Signature) -> Proof {
    const TOUCHED: u8 = 0x01;
    const VERIFIED: u8 = 0x04;
    if !matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_)) {
        return Proof::default();
    }
    let flags = signature.as_bytes().iter().nth_back(4).copied().unwrap_or(0);
    Proof { touched: flags & TOUCHED != 0, verified: flags & VERIFIED != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_a_key_that_costs_a_check() {
        let blob = nobody();
        assert!(matches!(KeyData::decode(&mut &*blob), Ok(KeyData::Rsa(key)) if key.key_size() == 2048));
        assert_eq!(rsa_sha1(&blob, b"message", &[1; 256]), None);
    }
}
