//! How far a long service has come, told to whoever started it: a service never prints.

/// Is told how far something has come.
pub trait Progress {
    /// So many are done, of so many where that is known. Called for each one, so it must be cheap.
    fn at(&self, done: u64, of: Option<u64>);
}

/// Nobody looks.
pub struct Unseen;

impl Progress for Unseen {
    fn at(&self, _: u64, _: Option<u64>) {}
}
