//! Time and randomness as parameters, so that no rule needs waiting to be tested.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// Tells the time in Unix seconds.
pub trait Clock: Send + Sync {
    /// Seconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> u64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        // Before 1970 reads as 0, which every time check refuses.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }
}

/// A clock that stands still, for tests.
#[derive(Debug)]
pub struct FixedClock(pub std::sync::atomic::AtomicU64);

impl FixedClock {
    /// Stands at `now`.
    #[must_use]
    pub const fn at(now: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(now))
    }

    /// Moves to `now`.
    pub fn set(&self, now: u64) {
        self.0.store(now, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// `N` bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::internal(format!("the operating system gives no randomness: {e}")))?;
    Ok(bytes)
}
