//! One function, one use case. Synchronous, no printing; doors call them, they call backends.

pub mod accepted;
pub mod adopt;
pub mod audit_log;
pub mod backup;
pub mod change;
pub mod discovery;
pub mod doctor;
pub mod enrol;
pub mod fetch;
#[cfg(test)]
pub(crate) mod fixture;
pub mod handshake;
pub mod health;
pub mod host_key;
pub mod hosting;
pub mod import;
pub mod init;
pub mod keys;
pub mod limits;
pub mod mint;
pub mod revoke;
pub mod session;
pub mod signing;
pub mod sources;
pub mod trust;
pub mod users;
pub mod words;
