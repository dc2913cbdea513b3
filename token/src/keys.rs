//! Public keys.
use alloc::{string::String, vec::Vec};
use crate::{KeyError, UnknownName};
use core::str::FromStr;
/// Algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// EdDSA.
    EdDsa,
    /// ES256.
    Es256,
    /// RS256.
    Rs256,
}
impl Algorithm {
    /// JOSE name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}
impl FromStr for Algorithm {
    type Err = UnknownName;
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::EdDsa, Self::Es256, Self::Rs256].into_iter().find(|a| a.as_str() == name).ok_or(UnknownName)
    }
}
/// One key.
#[derive(Clone, Debug)]
pub struct PublicKey {}
#[allow(unused_variables)]
impl PublicKey {
    /// JWK.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        Err(KeyError::Unsupported)
    }
    /// Ed25519.
    pub fn from_ed25519(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        Err(KeyError::Unsupported)
    }
    /// P-256.
    pub fn from_p256_sec1(bytes: &[u8]) -> Result<Self, KeyError> {
        Err(KeyError::Unsupported)
    }
    /// RSA.
    pub fn from_rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        Err(KeyError::Unsupported)
    }
    /// Algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::EdDsa
    }
    /// kid.
    #[must_use]
    pub fn kid(&self) -> &str {
        ""
    }
    /// Thumbprint.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        String::new()
    }
    /// JWK.
    #[must_use]
    pub fn to_jwk(&self) -> String {
        String::new()
    }
}
/// A set.
#[derive(Clone, Debug)]
pub struct PublicKeys {}
#[allow(unused_variables)]
impl PublicKeys {
    /// JWKS.
    pub fn from_jwks(issuer: &str, json: &str) -> Result<Self, KeyError> {
        Ok(Self {})
    }
    /// Keys.
    pub fn from_keys(issuer: &str, keys: Vec<PublicKey>) -> Result<Self, KeyError> {
        Ok(Self {})
    }
    /// Issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        ""
    }
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }
    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }
    /// JWKS.
    #[must_use]
    pub fn to_jwks(&self) -> String {
        String::new()
    }
}
