//! The bodies of the fuzz targets. They depend on the crates under test alone, so that a stable test of each crate
//! replays `corpus/` through the very same functions.

#[cfg(feature = "issuer")]
pub mod issuer_targets;
pub mod crtauth_targets;
pub mod token_targets;
