//! Tokens that were taken back.

use alloc::string::String;

use crate::rules::RulesError;

/// One thing that is taken back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revocation {
    /// One token, by its `jti`.
    Jti(String),
    /// All tokens of a subject that were issued at this second or earlier.
    Subject {
        /// The subject.
        sub: String,
        /// The last second of issue that is revoked, in Unix seconds.
        issued_before: u64,
    },
    /// All tokens that an SSH key minted, by its fingerprint `SHA256:…`.
    SshKey(String),
    /// All tokens that a signing key signed, by its `kid`.
    Kid(String),
}

/// A list of revocations.
#[derive(Clone, Debug, Default)]
pub struct Revocations {}

impl Revocations {
    /// Reads a JSON list.
    pub fn from_json(_json: &str) -> Result<Self, RulesError> {
        Err(RulesError::stub())
    }
    /// Writes a JSON list.
    #[must_use]
    pub fn to_json(&self) -> String {
        String::new()
    }
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }
}
impl FromIterator<Revocation> for Revocations {
    fn from_iter<I: IntoIterator<Item = Revocation>>(_: I) -> Self {
        Self {}
    }
}
