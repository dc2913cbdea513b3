//! What the server speaks, and which keys it lets prove themselves.

use std::borrow::Cow;
use std::time::Duration;

use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PublicKey};

use super::Limits;
use crate::public_key::rsa_bits;

/// Refused keys before the client is sent away; the library counts the client's first `none` too. Unknown
/// keys are refused when offered, so this is how many an agent may hold.
const ATTEMPTS: usize = 25;

/// RSA moduli in bits: under it they can be factored, over it the library does not verify.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// No Diffie-Hellman over finite fields: group 18 costs the server 465 ms of CPU before anyone has
/// authenticated. The markers are those of RFC 8308 and of OpenSSH's answer to Terrapin (CVE-2023-48795).
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// Both the host keys we might have and what user keys may sign with (`server-sig-algs`).
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

pub(super) fn config(host_key: PrivateKey, limits: Limits) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-seamless")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        // Every refusal costs the same work, so there is nothing for a delay to hide, and an agent with
        // twenty keys would wait for each.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: ATTEMPTS,
        keys: vec![host_key],
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Borrowed(KEYS),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        // What a session is sent is thrown away, so a small window will do.
        window_size: 64 * 1024,
        channel_buffer_size: 1,
        // The stream ends by itself; this is for the waits in which the library does not touch it.
        inactivity_timeout: Some(limits.life),
        ..Config::default()
    }
}

/// Whether a key of this kind may prove itself with a signature of this algorithm.
///
/// It looks at nothing but what the client sent, so it tells nothing about who is known.
pub(super) fn is_accepted(key: &PublicKey, algorithm: &Algorithm) -> bool {
    match key.key_data() {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => {
            *algorithm == key.algorithm()
        }
        // `None` is ssh-rsa, which signs with SHA-1.
        KeyData::Rsa(rsa) => {
            matches!(algorithm, Algorithm::Rsa { hash: Some(_) }) && RSA_BITS.contains(&rsa_bits(rsa))
        }
        _ => false,
    }
}

/// Whether the key lives in a security key, whose touch the library does not let us see.
pub(super) fn is_security_key(key: &PublicKey) -> bool {
    matches!(key.key_data(), KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
}

#[cfg(test)]
mod tests {
    use ssh_key::Mpint;
    use ssh_key::public::RsaPublicKey;

    use super::*;

    fn rsa(bits: usize) -> PublicKey {
        let mut n = vec![0xff; bits.div_ceil(8)];
        if !bits.is_multiple_of(8) {
            n[0] = (1 << (bits % 8)) - 1;
        }
        let n = Mpint::from_positive_bytes(&n);
        let e = Mpint::from_positive_bytes(&[1, 0, 1]);
        PublicKey::new(KeyData::Rsa(RsaPublicKey::new(e, n).unwrap()), "")
    }

    #[test]
    fn rsa_needs_length_and_sha2() {
        let sha2 = Algorithm::Rsa { hash: Some(HashAlg::Sha256) };
        for (bits, good) in
            [(1024, false), (2047, false), (2048, true), (3072, true), (8192, true), (8200, false)]
        {
            assert_eq!(is_accepted(&rsa(bits), &sha2), good, "{bits}");
        }
        assert!(is_accepted(&rsa(3072), &Algorithm::Rsa { hash: Some(HashAlg::Sha512) }));
        assert!(!is_accepted(&rsa(3072), &Algorithm::Rsa { hash: None }), "SHA-1");
        assert!(!is_accepted(&rsa(3072), &Algorithm::Ed25519));
    }

    #[test]
    fn a_key_signs_with_its_own_algorithm() {
        let key = PublicKey::from_openssh(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ",
        )
        .unwrap();
        assert!(is_accepted(&key, &Algorithm::Ed25519));
        assert!(!is_accepted(&key, &Algorithm::SkEd25519));
        assert!(!is_security_key(&key));
    }

    #[test]
    fn nothing_is_offered_that_is_slow_or_old() {
        let key = PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]));
        let config = config(key, Limits::default());
        assert_eq!(config.methods.to_vec(), [MethodKind::PublicKey]);
        assert!(config.preferred.kex.iter().all(|name| !name.as_ref().contains("diffie")));
        assert!(config.preferred.mac.iter().all(|name| name.as_ref().contains("-etm@")));
        assert!(!config.preferred.key.contains(&Algorithm::Rsa { hash: None }));
    }
}
