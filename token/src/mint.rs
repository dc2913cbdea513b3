//! Making tokens. Only an issuer has this: no wasm artefact does.

#[cfg(feature = "jwt")]
mod access;
#[cfg(feature = "chap")]
mod chap;
#[cfg(feature = "hmac")]
mod seamless;
#[cfg(any(feature = "eddsa", feature = "es256"))]
mod signer;

use core::fmt;

#[cfg(feature = "jwt")]
pub use access::{AccessClaims, Sign, mint_access};
#[cfg(feature = "chap")]
pub use chap::mint_chap;
#[cfg(feature = "hmac")]
pub use seamless::mint_seamless;
#[cfg(feature = "eddsa")]
pub use signer::Ed25519Signer;
#[cfg(feature = "es256")]
pub use signer::Es256Signer;

/// Why a token can't be made: what is wrong with what it should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MintError {
    /// The subject is empty or has control characters, begins `eyJ` in a `seamless` token, or is over 255 bytes in a
    /// `chap` token.
    Subject,
    /// The time of issue is 0, or the end is not after it.
    Time,
    /// The issuer is empty or has control characters.
    Issuer,
    /// No audience, or one that is empty or has control characters.
    Audience,
    /// A `client_id`, `jti`, group, `amr` or `ssh_fp` that is empty or has control characters.
    Claim,
    /// Not a scope-token of RFC 6749 section 3.3.
    Scope,
    /// The token would be over 8 KiB.
    TooLarge,
    /// The signing key is none.
    Key,
    /// The key could not sign.
    SigningFailed,
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "the subject can't be in a token",
            Self::Time => "the token would end before it begins",
            Self::Issuer => "the issuer can't be in a token",
            Self::Audience => "a token needs an audience",
            Self::Claim => "a claim is empty or has control characters",
            Self::Scope => "a scope has characters that scopes can't have",
            Self::TooLarge => "the token would be over 8 KiB",
            Self::Key => "not a valid signing key",
            Self::SigningFailed => "signing failed",
        })
    }
}

impl core::error::Error for MintError {}
