//! The one error of the issuer: what happened, what to do about it, and which exit code says so.

use std::fmt;

/// What kind of failure it is. Each has one exit code, the same on every door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The answer is "no": a token did not verify, a check found something, a name is not there.
    Failed,
    /// The words of the call are wrong.
    Usage,
    /// The policy does not allow what was asked.
    Policy,
    /// The user or key is locked, expired or revoked.
    Locked,
    /// Something here is broken: a file, the database, the clock. Clients over ssh learn only an id.
    Internal,
}

impl Kind {
    /// The process exit code, or the exit status of an ssh session (design, section 7).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Policy => 3,
            Self::Locked => 4,
            Self::Internal => 5,
        }
    }

    /// A stable word for logs and the audit trail.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Policy => "policy",
            Self::Locked => "locked",
            Self::Internal => "internal",
        }
    }
}

/// A failure in one line, with its mend where there is one.
///
/// Lower case, no full stop, no secret and no token: it goes to terminals, logs and the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

/// What a fallible function of the issuer returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Short for [`Kind::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// Short for [`Kind::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Short for [`Kind::Policy`].
    pub fn policy(message: impl Into<String>) -> Self {
        Self::new(Kind::Policy, message)
    }

    /// Short for [`Kind::Locked`].
    pub fn locked(message: impl Into<String>) -> Self {
        Self::new(Kind::Locked, message)
    }

    /// Short for [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The kind, which decides the exit code.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Names the file and the trouble: `can't read /x/y: permission denied`.
pub fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind as K;
    let reason = match error.kind() {
        K::NotFound => "no such file or directory".to_owned(),
        K::PermissionDenied => "permission denied".to_owned(),
        K::StorageFull => "no space left on the disk".to_owned(),
        K::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        _ => {
            let text = error.to_string();
            let mut chars = text.chars();
            chars.next().map(|c| c.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
        }
    };
    let error = Error::internal(format!("can't {what} {}: {reason}", path.display()));
    match reason.as_str() {
        "permission denied" => error.hint("run it as the realm's own account, or as root"),
        "no space left on the disk" => error.hint("free some space and repeat; nothing was changed"),
        _ => error,
    }
}
