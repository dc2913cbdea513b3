//! One line to the host's log (RFC 3164 over /dev/log), for processes that have no other place to write to.

use std::os::unix::net::UnixDatagram;

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Something is broken.
    Error,
    /// Something happened.
    Info,
}

/// The facility `authpriv`: who logged in is not for everyone to read.
const AUTHPRIV: u8 = 10;

/// Sends a line; a host without a log goes without.
pub(super) fn send(severity: Severity, line: &str) {
    let level = match severity {
        Severity::Error => 3,
        Severity::Info => 6,
    };
    let text: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let message = format!("<{}>seamless[{}]: {text}", AUTHPRIV * 8 + level, std::process::id());
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(message.as_bytes(), "/dev/log")
    });
}
