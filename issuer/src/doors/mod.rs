//! The ways in: each parses, authenticates, calls a service and prints.

#[cfg(feature = "issuer")]
pub mod blocking;
#[cfg(feature = "issuer")]
pub mod cli;
pub mod client;
#[cfg(feature = "issuer")]
pub mod http;
#[cfg(feature = "issuer")]
pub mod local;
mod output;
#[cfg(feature = "issuer")]
mod slots;
#[cfg(feature = "issuer")]
pub mod ssh;

#[cfg(feature = "issuer")]
pub use blocking::blocking;
#[cfg(feature = "issuer")]
pub use slots::Caps;
