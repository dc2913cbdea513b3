//! The ways in: each parses, authenticates, calls a service and prints.

pub mod blocking;
pub mod cli;
pub mod http;
pub mod ssh;

pub use blocking::blocking;
