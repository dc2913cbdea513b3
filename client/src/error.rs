//! What went wrong, for the person who asked.

use std::fmt;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The words of the call are wrong.
    Usage,
    /// The server says no.
    Refused,
    /// No ssh-agent answers, or it refuses to sign.
    NoAgent,
    /// None of the keys will do.
    NoKey,
    /// The clocks differ too much.
    Clock,
    /// The server can't be reached.
    Network,
    /// The server answers what makes no sense, or what nobody should have anything to do with.
    Server,
    /// Something on this machine is broken.
    Internal,
}

/// A failure in one line, with its mend where there is one. Lower case, no full stop, no secret and no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind it is.
    pub kind: Kind,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit status of ssh, where that is what failed.
    pub exit_status: Option<i32>,
}

/// What a fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, exit_status: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file of ours that can't be read or written.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            std::io::ErrorKind::StorageFull => "no space left on the disk".to_owned(),
            _ => error.to_string(),
        };
        Self::new(Kind::Internal, format!("can't {what} {}: {why}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// At most 80 characters of somebody else's text, none of them a control character.
pub(crate) fn shorten(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let mut short: String = text.chars().take(80).map(clean).collect();
    if text.chars().count() > 80 {
        short.push('…');
    }
    short
}
