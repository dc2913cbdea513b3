//! The seamless issuer: services over backends, opened by doors. See ARCHITECTURE.md.
//!
//! Doors (`doors`) parse, authenticate, call a service and print. Services (`services`) are one function a use
//! case. Backends (`backends`) are the database, files, the audit log and the system. Each knows only those below.

#![forbid(unsafe_code)]

pub mod backends;
pub mod clock;
pub mod config;
pub mod doors;
pub mod duration;
pub mod error;
pub mod metrics;
pub mod names;
pub mod progress;
pub mod public_key;
pub mod realm;
pub mod services;
