//! The seamless issuer: services over backends, opened by doors. See ARCHITECTURE.md.

#![forbid(unsafe_code)]

pub mod backends;
pub mod clock;
pub mod error;
pub mod names;
