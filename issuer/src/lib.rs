//! The seamless issuer: services over backends, opened by doors. See ARCHITECTURE.md.
//!
//! Doors (`doors`) parse, authenticate, call a service and print. Services (`services`) are one function a use
//! case. Backends (`backends`) are the database, files, the audit log and the system. Each knows only those below.
//!
//! Without the feature `issuer` nothing is left but the user's side (`doors::client`), over the crate `client`.

#![forbid(unsafe_code)]

#[cfg(feature = "issuer")]
pub mod backends;
pub mod clock;
#[cfg(feature = "issuer")]
pub mod config;
pub mod doors;
pub mod duration;
pub mod error;
#[cfg(feature = "issuer")]
pub mod metrics;
pub mod names;
#[cfg(feature = "issuer")]
pub mod progress;
#[cfg(feature = "issuer")]
pub mod public_key;
#[cfg(feature = "issuer")]
pub mod realm;
#[cfg(feature = "issuer")]
pub mod services;
