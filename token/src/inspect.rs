//! What a token says, unverified.
use alloc::string::String;
use crate::{Code, Format, Rejection};
/// What a token says; nobody vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The format.
    pub format: Format,
    /// The JWT's header, JSON.
    pub header: Option<String>,
    /// The JWT's payload, JSON.
    pub payload: Option<String>,
    /// The subject, in either format.
    pub subject: Option<String>,
    /// When it says it was issued.
    pub issued_at: Option<u64>,
}
/// Reads a token without judging it.
pub fn inspect(_token: &[u8]) -> Result<Inspection, Rejection> {
    Err(Code::Malformed.into())
}
