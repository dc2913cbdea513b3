//! How a step ends when it does not succeed.

use std::fmt;

/// What a step returns.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Something went wrong; the text says what and what to do.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what was being done to an error of the operating system.
pub trait Doing<T> {
    /// `what` reads on after "can't": `can't read deny.toml: …`.
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::new(format!("can't {what}: {error}")))
    }
}
