//! The headers that a verdict becomes.
use alloc::string::String;
use crate::{Code, Identity};
/// Challenges.
#[must_use]
pub fn www_authenticate(_code: Code, _realm: &str) -> [String; 2] {
    [String::new(), String::new()]
}
/// Identity headers.
#[must_use]
pub fn identity_headers(_identity: &Identity<'_>) -> [(&'static str, String); 3] {
    [("x-seamless-user", String::new()), ("x-seamless-scope", String::new()), ("x-seamless-groups", String::new())]
}
/// Whether an inbound header must be stripped.
#[must_use]
pub fn is_identity_header(_name: &str) -> bool {
    true
}
