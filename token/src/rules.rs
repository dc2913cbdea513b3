//! Which request needs what.
use alloc::string::String;
use core::fmt;

/// Why a JSON file was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// What is wrong, in plain words.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}
impl RulesError {
    pub(crate) fn stub() -> Self {
        Self { message: String::new(), line: 1, column: 1 }
    }
}
impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}: {}", self.line, self.column, self.message)
    }
}
impl core::error::Error for RulesError {}

/// Rules.
#[derive(Clone, Debug, Default)]
pub struct Rules {}
/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Open,
    /// A token or none.
    Optional,
    /// A token.
    Required,
}
/// What the rules say about a request.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'r> {
    /// Whether a token is needed.
    pub need: Need,
    /// The audiences one of which the token must name.
    pub audience: &'r [String],
    /// The scopes that it must have.
    pub scopes: &'r [String],
    /// The methods of authentication that it must show.
    pub amr: &'r [String],
    /// Which rule it was, from 0.
    pub index: Option<usize>,
}
impl Rules {
    /// Reads `rules.json`.
    pub fn from_json(_json: &str) -> Result<Self, RulesError> {
        Err(RulesError::stub())
    }
    /// Judges a request.
    pub fn decide(&self, _method: &str, _authority: &str, _path: Option<&[u8]>) -> Result<Decision<'_>, crate::Rejection> {
        Err(crate::Code::BadPath.into())
    }
}
