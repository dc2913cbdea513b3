//! What a verifier demands: how old, how far off, for whom, allowed to do what.

use core::fmt;

#[cfg(feature = "alloc")]
use alloc::{string::String, vec::Vec};

/// How old a `seamless` token may be: 1 to 86 400 seconds, 60 unless set, as in the original. Never unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaxAge(u32);

impl MaxAge {
    /// The longest there is: a day.
    pub const MAX: Self = Self(86_400);

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        u64::from(self.0)
    }
}

impl Default for MaxAge {
    fn default() -> Self {
        Self(60)
    }
}

impl TryFrom<u32> for MaxAge {
    type Error = OutOfRange;

    fn try_from(seconds: u32) -> Result<Self, OutOfRange> {
        if (1..=Self::MAX.0).contains(&seconds) { Ok(Self(seconds)) } else { Err(OutOfRange) }
    }
}

impl TryFrom<u64> for MaxAge {
    type Error = OutOfRange;

    fn try_from(seconds: u64) -> Result<Self, OutOfRange> {
        u32::try_from(seconds).map_err(|_| OutOfRange)?.try_into()
    }
}

/// How far clocks may differ: 0 to 60 seconds, 5 unless set. It never lengthens a `seamless` token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leeway(u8);

impl Leeway {
    /// Clocks that agree.
    pub const ZERO: Self = Self(0);
    /// The widest there is: a minute.
    pub const MAX: Self = Self(60);

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        u64::from(self.0)
    }
}

impl Default for Leeway {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u8> for Leeway {
    type Error = OutOfRange;

    fn try_from(seconds: u8) -> Result<Self, OutOfRange> {
        if seconds <= Self::MAX.0 { Ok(Self(seconds)) } else { Err(OutOfRange) }
    }
}

impl TryFrom<u64> for Leeway {
    type Error = OutOfRange;

    fn try_from(seconds: u64) -> Result<Self, OutOfRange> {
        u8::try_from(seconds).map_err(|_| OutOfRange)?.try_into()
    }
}

/// A number of seconds that a policy can't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of range")
    }
}

impl core::error::Error for OutOfRange {}

/// The audiences that a verifier answers to: never none, and never an empty name. A token passes if it names one.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audiences(Vec<String>);

#[cfg(feature = "alloc")]
impl Audiences {
    /// `None` where the list or a name in it is empty.
    pub fn new<I>(names: I) -> Option<Self>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.is_empty() || names.iter().any(String::is_empty) { None } else { Some(Self(names)) }
    }

    /// The names.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// What one request demands beyond the verifier's own policy.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand<'d> {
    /// The token must name one of these. They stand in for the verifier's audiences; empty leaves those in force.
    pub audiences: &'d [&'d str],
    /// The token must have all of these, beside the verifier's own.
    pub scopes: &'d [&'d str],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold() {
        assert_eq!(MaxAge::default().seconds(), 60);
        assert!(MaxAge::try_from(0u32).is_err());
        assert!(MaxAge::try_from(86_400u32).is_ok());
        assert!(MaxAge::try_from(86_401u64).is_err());
        assert_eq!(Leeway::default().seconds(), 5);
        assert!(Leeway::try_from(60u8).is_ok());
        assert!(Leeway::try_from(61u64).is_err());
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn an_audience_can_not_be_forgotten() {
        assert!(Audiences::new([""; 0]).is_none());
        assert!(Audiences::new(["a", ""]).is_none());
        assert!(Audiences::new(["a"]).is_some());
    }
}
