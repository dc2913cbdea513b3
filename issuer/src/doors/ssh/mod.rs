//! Two ways in by ssh: the forced command that sshd runs, and a server of our own.

pub mod forced;
pub mod server;
mod syslog;
