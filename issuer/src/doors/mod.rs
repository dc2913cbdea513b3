//! The ways in: each parses, authenticates, calls a service and prints.

pub mod blocking;
pub mod cli;
pub mod http;
mod slots;
pub mod ssh;

pub use blocking::blocking;
pub use slots::Caps;
