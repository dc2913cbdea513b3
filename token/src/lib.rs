#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
// A build with fewer features leaves helpers of the others unused; the full one has no excuse.
#![cfg_attr(not(all(feature = "chap", feature = "jwt", feature = "mint")), allow(dead_code, unused_imports))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "jwt")]
mod access;
#[cfg(any(feature = "hmac", feature = "jwt"))]
mod base64url;
#[cfg(feature = "chap")]
mod chap;
#[cfg(feature = "alloc")]
pub mod headers;
#[cfg(feature = "alloc")]
pub mod inspect;
mod items;
#[cfg(feature = "alloc")]
mod json;
#[cfg(feature = "jwt")]
pub mod jws;
mod key_error;
#[cfg(feature = "jwt")]
pub mod keys;
#[cfg(feature = "mint")]
pub mod mint;
#[cfg(feature = "alloc")]
mod path;
pub mod policy;
#[cfg(feature = "jwt")]
pub mod refresh;
pub mod request;
#[cfg(feature = "alloc")]
pub mod revocation;
#[cfg(feature = "alloc")]
pub mod rules;
#[cfg(feature = "alloc")]
mod scratch;
#[cfg(feature = "hmac")]
pub mod seamless;
#[cfg(feature = "hmac")]
mod secret;
#[cfg(feature = "jwt")]
pub mod seen;
#[cfg(all(feature = "hmac", feature = "jwt"))]
pub mod settings;
mod text;
pub mod verdict;
#[cfg(feature = "alloc")]
mod verifier;

#[cfg(feature = "chap")]
pub use chap::{ChapSecret, ChapVersion};
pub use key_error::KeyError;
pub use policy::{Leeway, MaxAge, OutOfRange};
pub use request::{Outcome, RequestView};
pub use text::MAX_TOKEN_LENGTH;
pub use verdict::{Code, Format, Identity, Rejection, UnknownName, Verdict};

#[cfg(feature = "alloc")]
pub use {
    headers::{identity_headers, is_identity_header, www_authenticate},
    inspect::{Inspection, inspect},
    policy::{Audiences, Demand},
    revocation::{Revocation, Revocations},
    rules::{Decision, Need, Rules, RulesError},
    scratch::Scratch,
    verifier::Verifier,
};

#[cfg(feature = "jwt")]
pub use keys::{Algorithm, PublicKey, PublicKeys};
#[cfg(feature = "hmac")]
pub use secret::{Digest, Secret};

#[cfg(all(feature = "mint", feature = "eddsa"))]
pub use mint::Ed25519Signer;
#[cfg(all(feature = "mint", feature = "es256"))]
pub use mint::Es256Signer;
#[cfg(feature = "mint")]
pub use mint::MintError;
#[cfg(all(feature = "mint", feature = "chap"))]
pub use mint::mint_chap;
#[cfg(all(feature = "mint", feature = "hmac"))]
pub use mint::mint_seamless;
#[cfg(all(feature = "mint", feature = "jwt"))]
pub use mint::{AccessClaims, Sign, mint_access};
