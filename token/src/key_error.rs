//! Why a key, a secret or a set of them is refused.

use core::fmt;

/// Why a key or a key set is refused. Never holds anything of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret of no bytes.
    EmptySecret,
    /// Not JSON as RFC 8259 has it, a duplicate member, or a member of the wrong type.
    Json,
    /// A member that the key's type needs is missing or isn't canonical base64url of the right length.
    Member,
    /// A private or secret key where public ones belong.
    Private,
    /// `use` or `key_ops` say that the key is not for verifying.
    Use,
    /// `alg` doesn't fit the key's type and curve.
    Algorithm,
    /// A key type that can't be used by itself; in a set it is kept, and answers `unsupported_algorithm`.
    Unsupported,
    /// The point is not on its curve, or of small order.
    Point,
    /// An RSA modulus of under 2048 or over 4096 bits, an even one, or an exponent that is even or under 65537.
    Weak,
    /// An RSA key made by the library of CVE-2017-15361 (ROCA): its private half can be computed.
    Roca,
    /// A `kid` that is empty, too long, or has control characters.
    Kid,
    /// Two keys with one `kid`.
    DuplicateKid,
    /// Over 32 keys.
    TooManyKeys,
    /// Over 64 KiB.
    TooLarge,
    /// An issuer that is empty, or another than the one the keys are for.
    Issuer,
}

impl KeyError {
    /// What is wrong, in plain words.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::EmptySecret => "the secret is empty",
            Self::Json => "not a JSON Web Key: malformed or duplicate members",
            Self::Member => "a member of the key is missing or not canonical base64url",
            Self::Private => "a private or secret key among public keys",
            Self::Use => "the key is not for verifying signatures",
            Self::Algorithm => "the algorithm does not fit the key",
            Self::Unsupported => "this type of key is not supported",
            Self::Point => "the point is not a valid public key",
            Self::Weak => "the RSA key is too short, too long or too weak",
            Self::Roca => "the RSA key is of the ROCA kind (CVE-2017-15361)",
            Self::Kid => "the kid is empty, too long or has control characters",
            Self::DuplicateKid => "two keys have the same kid",
            Self::TooManyKeys => "more than 32 keys",
            Self::TooLarge => "the key set is over 64 KiB",
            Self::Issuer => "the issuer is empty or another one",
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for KeyError {}
