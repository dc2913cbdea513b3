//! What a verifier answers: an [`Identity`] or a [`Rejection`] with a stable [`Code`].

use core::fmt;
use core::str::FromStr;

use crate::items::Items;

/// The judgement on one token.
pub type Verdict<'a> = Result<Identity<'a>, Rejection>;

/// Who a verified token speaks for. Only verification makes one.
///
/// Everything in it is borrowed: from the token, from the [`Scratch`](crate::Scratch) that it was decoded
/// into, and from the key set that vouches for it.
#[must_use = "an identity that nobody looks at grants nothing"]
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub(crate) format: Format,
    pub(crate) subject: &'a str,
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) jti: Option<&'a str>,
    pub(crate) ssh_fp: Option<&'a str>,
    pub(crate) kid: Option<&'a str>,
    pub(crate) audiences: Items<'a>,
    pub(crate) scopes: Items<'a>,
    pub(crate) groups: Items<'a>,
    pub(crate) amr: Items<'a>,
}

impl<'a> Identity<'a> {
    /// The format of the token.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The user's name, as it stands in the token: any UTF-8 without control characters, never empty.
    #[must_use]
    pub const fn subject(&self) -> &'a str {
        self.subject
    }

    /// When the token was issued, in Unix seconds.
    #[must_use]
    pub const fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// When the token ends, in Unix seconds: `exp`, or for `seamless` the issue plus the policy's max_age.
    #[must_use]
    pub const fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// `iss`; `seamless` tokens carry none.
    #[must_use]
    pub const fn issuer(&self) -> Option<&'a str> {
        self.issuer
    }

    /// `client_id`: the client the token was issued to (RFC 9068); `ssh` for one that was minted over ssh.
    #[must_use]
    pub const fn client_id(&self) -> Option<&'a str> {
        self.client_id
    }

    /// `jti`: the token's own name, by which it can be revoked.
    #[must_use]
    pub const fn jti(&self) -> Option<&'a str> {
        self.jti
    }

    /// `ssh_fp`: the fingerprint `SHA256:…` of the SSH key that was proven at the mint.
    #[must_use]
    pub const fn ssh_fp(&self) -> Option<&'a str> {
        self.ssh_fp
    }

    /// The `kid` of the key that vouches for the token.
    #[must_use]
    pub const fn kid(&self) -> Option<&'a str> {
        self.kid
    }

    /// Whom the token is for: `aud`, or what the operator bound to the secret.
    pub fn audiences(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.audiences.iter()
    }

    /// What the token may do: `scope`, or what the operator bound to the secret.
    pub fn scopes(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.scopes.iter()
    }

    /// The groups of the user.
    pub fn groups(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.groups.iter()
    }

    /// How the user authenticated (RFC 8176): `hwk`, `user`, …
    pub fn amr(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.amr.iter()
    }
}

/// A token format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `subject.timestamp.signature`, an itsdangerous `TimestampSigner`.
    Seamless,
    /// A JWT access token (RFC 9068).
    Jwt,
    /// A token of crtauth, version 0 or 1.
    Chap,
}

impl Format {
    /// `seamless`, `jwt` or `chap`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seamless => "seamless",
            Self::Jwt => "jwt",
            Self::Chap => "chap",
        }
    }

    /// The format that a token's shape names: exactly two dots and a first part beginning `eyJ` is a JWT; no dot and
    /// the first bytes of a token of crtauth is `chap`; all else is `seamless`. Decided once, before any key is looked
    /// at, so that no token is ever tried as two.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        let dots = token.iter().filter(|b| **b == b'.').count();
        match dots {
            2 if token.starts_with(b"eyJ") => Self::Jwt,
            // `01 74` or `76 00 00 00` in base64url.
            0 if token.starts_with(b"AXT") || token.starts_with(b"dgAAA") => Self::Chap,
            _ => Self::Seamless,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request or a token was turned away.
///
/// Its text is the first line of the answer's body, and all that a client may learn.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub code: Code,
    /// How far ahead of our clock the token is, in seconds; only with [`Code::NotYetValid`].
    pub skew: Option<u64>,
}

impl From<Code> for Rejection {
    fn from(code: Code) -> Self {
        Self { code, skew: None }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.message())?;
        match self.skew {
            Some(seconds) => write!(f, " (skew {seconds} s)"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Rejection {}

/// The reasons for a rejection: the only list, in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// No credentials where some are required.
    MissingAuthorization,
    /// An `Authorization` header that can't be read, or more than one.
    BadAuthorization,
    /// Not a token of a format and profile that is accepted here.
    Malformed,
    /// Over 8 KiB.
    TooLarge,
    /// An algorithm that this build or this key doesn't do.
    UnsupportedAlgorithm,
    /// No key of that name.
    UnknownKey,
    /// The signature is not the key's.
    BadSignature,
    /// From another issuer than the key's.
    WrongIssuer,
    /// For somebody else.
    WrongAudience,
    /// Taken back by the operator.
    Revoked,
    /// Bound to a key (`cnf`) whose proof can't be checked.
    BindingRequired,
    /// Past its end.
    Expired,
    /// From the future.
    NotYetValid,
    /// Real, but not allowed to do this.
    MissingScope,
    /// A request path that servers read differently from each other.
    BadPath,
    /// There are no keys yet, or none that are fresh enough.
    KeysUnavailable,
}

impl Code {
    /// Every code.
    pub const ALL: &[Self] = &[
        Self::MissingAuthorization,
        Self::BadAuthorization,
        Self::Malformed,
        Self::TooLarge,
        Self::UnsupportedAlgorithm,
        Self::UnknownKey,
        Self::BadSignature,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::Revoked,
        Self::BindingRequired,
        Self::Expired,
        Self::NotYetValid,
        Self::MissingScope,
        Self::BadPath,
        Self::KeysUnavailable,
    ];

    /// The code's name, the same in every language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingAuthorization => "missing_authorization",
            Self::BadAuthorization => "bad_authorization",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Revoked => "revoked",
            Self::BindingRequired => "binding_required",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::MissingScope => "missing_scope",
            Self::BadPath => "bad_path",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// The HTTP status to answer with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadPath => 400,
            Self::MissingScope => 403,
            Self::KeysUnavailable => 503,
            _ => 401,
        }
    }

    /// The first line of the answer's body; the original client looks for `expired` in it.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::MissingAuthorization | Self::BadAuthorization => "bad authorization header format",
            Self::Expired => "token expired",
            Self::NotYetValid => "token not yet valid",
            Self::MissingScope => "insufficient scope",
            Self::BadPath => "bad request path",
            Self::KeysUnavailable => "verification keys unavailable",
            _ => "invalid token",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name).ok_or(UnknownName)
    }
}

/// A name that stands for none of a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown name")
    }
}

impl core::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn codes_are_found_by_their_names() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        assert_eq!("Expired".parse::<Code>(), Err(UnknownName));
    }

    #[test]
    fn a_rejection_reads_as_the_body() {
        assert_eq!(Rejection::from(Code::Revoked).to_string(), "invalid token");
        let early = Rejection { code: Code::NotYetValid, skew: Some(31) };
        assert_eq!(early.to_string(), "token not yet valid (skew 31 s)");
    }

    #[test]
    fn the_shape_alone_decides_the_format() {
        assert_eq!(Format::of(b"eyJhbGciOiJFZERTQSJ9.e30.AA"), Format::Jwt);
        assert_eq!(Format::of(b"eyJhbGciOiJFZERTQSJ9.e30"), Format::Seamless);
        assert_eq!(Format::of(b"eyJx.last.ZVPxAA.AA"), Format::Seamless);
        assert_eq!(Format::of(b"ada.ZVPxAA.AA"), Format::Seamless);
        assert_eq!(Format::of(b"AXT.ZVPxAA.AA"), Format::Seamless);
        assert_eq!(Format::of(b"AXTOZVPw"), Format::Chap);
        assert_eq!(Format::of(b"dgAAAIcn"), Format::Chap);
    }
}
