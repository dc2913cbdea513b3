//! Signing keys that lie in memory. RS256 is signed elsewhere: the `rsa` crate's private-key operations have
//! RUSTSEC-2023-0071.

use alloc::{string::String, vec::Vec};
use core::fmt;

use super::{MintError, Sign};
use crate::{Algorithm, PublicKey};

/// An Ed25519 private key. Wiped when it goes; never printed.
#[cfg(feature = "eddsa")]
pub struct Ed25519Signer {
    key: ed25519_dalek::SigningKey,
    kid: String,
    public: PublicKey,
}

#[cfg(feature = "eddsa")]
impl Ed25519Signer {
    /// The key of a seed (RFC 8032 section 5.1.5). Its `kid` is the thumbprint.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::of_ed25519(key.verifying_key());
        Self { key, kid: public.kid().into(), public }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public.clone()
    }
}

#[cfg(feature = "eddsa")]
impl Sign for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDsa
    }

    fn kid(&self) -> &str {
        &self.kid
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        use ed25519_dalek::Signer as _;
        let signature = self.key.try_sign(message).map_err(|_| MintError::SigningFailed)?;
        Ok(signature.to_bytes().into())
    }
}

#[cfg(feature = "eddsa")]
impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A P-256 private key. Wiped when it goes; never printed.
#[cfg(feature = "es256")]
pub struct Es256Signer {
    key: p256::ecdsa::SigningKey,
    kid: String,
    public: PublicKey,
}

#[cfg(feature = "es256")]
impl Es256Signer {
    /// The key of a scalar, big-endian; zero and what is over the order are refused. Its `kid` is the thumbprint.
    pub fn from_scalar(scalar: &[u8; 32]) -> Result<Self, MintError> {
        let key = p256::ecdsa::SigningKey::from_slice(scalar).map_err(|_| MintError::Key)?;
        let point = key.verifying_key().to_sec1_point(false);
        let public = PublicKey::from_p256_sec1(point.as_bytes()).map_err(|_| MintError::Key)?;
        Ok(Self { key, kid: public.kid().into(), public })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public.clone()
    }
}

#[cfg(feature = "es256")]
impl Sign for Es256Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Es256
    }

    fn kid(&self) -> &str {
        &self.kid
    }

    /// Deterministic (RFC 6979): no randomness that could fail.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        use p256::ecdsa::signature::Signer as _;
        let signature: p256::ecdsa::Signature =
            self.key.try_sign(message).map_err(|_| MintError::SigningFailed)?;
        Ok(signature.to_bytes().to_vec())
    }
}

#[cfg(feature = "es256")]
impl fmt::Debug for Es256Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Es256Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}
