//! Minting.
use alloc::string::String;
use core::fmt;
#[cfg(feature = "jwt")]
use alloc::vec::Vec;
/// Why a token can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MintError {
    /// The subject is empty, has control characters, or begins `eyJ`.
    Subject,
    /// The time of issue is 0, or the end is not after it.
    Time,
    /// The issuer is empty or has control characters.
    Issuer,
    /// No audience, or an empty one.
    Audience,
    /// A client_id, jti, group, amr or fingerprint that is empty or has control characters.
    Claim,
    /// Not a scope-token of RFC 6749.
    Scope,
    /// The token would be over 8 KiB.
    TooLarge,
    /// The signing key is not one.
    Key,
    /// The key could not sign.
    SigningFailed,
}
impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stub")
    }
}
impl core::error::Error for MintError {}
/// Mints a `seamless` token.
#[cfg(feature = "hmac")]
pub fn mint_seamless(_subject: &str, _issued_at: u64, _secret: &crate::Secret) -> Result<String, MintError> {
    Err(MintError::SigningFailed)
}
/// What can sign.
#[cfg(feature = "jwt")]
pub trait Sign {
    /// The algorithm.
    fn algorithm(&self) -> crate::Algorithm;
    /// The kid.
    fn kid(&self) -> &str;
    /// Signs.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError>;
}
/// The claims of an access token.
#[cfg(feature = "jwt")]
#[derive(Clone, Copy, Debug)]
pub struct AccessClaims<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// `aud`; one becomes a string, more an array.
    pub audiences: &'a [&'a str],
    /// `client_id`.
    pub client_id: &'a str,
    /// `iat`.
    pub issued_at: u64,
    /// `exp`.
    pub expires_at: u64,
    /// `jti`.
    pub jti: &'a str,
    /// `scope`.
    pub scopes: &'a [&'a str],
    /// `groups`.
    pub groups: &'a [&'a str],
    /// `amr`.
    pub amr: &'a [&'a str],
    /// `ssh_fp`.
    pub ssh_fp: Option<&'a str>,
}
/// Mints.
#[cfg(feature = "jwt")]
pub fn mint_access(_claims: &AccessClaims<'_>, _key: &dyn Sign) -> Result<String, MintError> {
    Err(MintError::SigningFailed)
}
/// Ed25519.
#[cfg(feature = "eddsa")]
pub struct Ed25519Signer {}
#[cfg(feature = "eddsa")]
#[allow(unused_variables)]
impl Ed25519Signer {
    /// Seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self {}
    }
    /// Public.
    #[must_use]
    pub fn public_key(&self) -> crate::PublicKey {
        crate::PublicKey {}
    }
}
#[cfg(feature = "eddsa")]
impl Sign for Ed25519Signer {
    fn algorithm(&self) -> crate::Algorithm {
        crate::Algorithm::EdDsa
    }
    fn kid(&self) -> &str {
        ""
    }
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, MintError> {
        Err(MintError::SigningFailed)
    }
}
/// P-256.
#[cfg(feature = "es256")]
pub struct Es256Signer {}
#[cfg(feature = "es256")]
#[allow(unused_variables)]
impl Es256Signer {
    /// Scalar.
    pub fn from_scalar(scalar: &[u8; 32]) -> Result<Self, MintError> {
        Err(MintError::Key)
    }
    /// Public.
    #[must_use]
    pub fn public_key(&self) -> crate::PublicKey {
        crate::PublicKey {}
    }
}
#[cfg(feature = "es256")]
impl Sign for Es256Signer {
    fn algorithm(&self) -> crate::Algorithm {
        crate::Algorithm::Es256
    }
    fn kid(&self) -> &str {
        ""
    }
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, MintError> {
        Err(MintError::SigningFailed)
    }
}
