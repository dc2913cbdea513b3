//! The verifier.
use alloc::string::String;
use crate::*;
use crate::{request::*, rules::Rules, revocation::*};
/// Scratch.
#[derive(Default)]
pub struct Scratch {}
impl Scratch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}
/// A verifier.
#[derive(Clone, Debug)]
pub struct Verifier {}
#[allow(unused_variables)]
impl Verifier {
    /// New.
    #[must_use]
    pub fn new(realm: &str) -> Self {
        Self {}
    }
    /// Secrets.
    #[cfg(feature = "hmac")]
    #[must_use]
    pub fn with_secrets(self, secrets: alloc::vec::Vec<Secret>, max_age: MaxAge) -> Self {
        self
    }
    /// Keys.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn with_public_keys(self, keys: PublicKeys, audiences: Audiences) -> Self {
        self
    }
    /// Leeway.
    #[must_use]
    pub fn with_leeway(self, leeway: Leeway) -> Self {
        self
    }
    /// Audience.
    #[must_use]
    pub fn with_audience(self, audience: Audiences) -> Self {
        self
    }
    /// Scopes.
    #[must_use]
    pub fn with_scopes<I>(self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self
    }
    /// Revocations.
    #[must_use]
    pub fn with_revocations(self, revocations: Revocations) -> Self {
        self
    }
    /// Rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        self
    }
    /// Realm.
    #[must_use]
    pub fn realm(&self) -> &str {
        ""
    }
    /// Judges a token.
    pub fn verify<'a>(&'a self, token: &'a [u8], now: u64, scratch: &'a mut Scratch) -> Verdict<'a> {
        Err(Code::KeysUnavailable.into())
    }
    /// Judges a token.
    pub fn verify_with<'a>(
        &'a self,
        token: &'a [u8],
        demand: &Demand<'_>,
        now: u64,
        scratch: &'a mut Scratch,
    ) -> Verdict<'a> {
        Err(Code::KeysUnavailable.into())
    }
    /// Judges a request.
    pub fn check<'a, R: RequestView>(&'a self, request: &'a R, now: u64, scratch: &'a mut Scratch) -> Outcome<'a> {
        Outcome::Rejection(Code::KeysUnavailable.into())
    }
}
