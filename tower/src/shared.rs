//! A verifier for the threads of a program that has no tower service.

use std::sync::Arc;

use token::seen::Seen;
use token::{Code, Rejection, Scratch, Verifier};

use crate::judge::Judge;
#[cfg(feature = "refresh")]
use crate::refresh::{FetchError, Fetcher, KeyFetch};

/// One verifier for all threads, whose keys and revocations may change under it: what [`SeamlessLayer`](crate::SeamlessLayer)
/// stands on, for adapters of another kind.
pub struct SharedVerifier {
    judge: Arc<Judge>,
    #[cfg(feature = "refresh")]
    fetcher: Option<Fetcher>,
}

impl SharedVerifier {
    /// With keys and policy as they are.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self {
            judge: Arc::new(Judge::new(verifier)),
            #[cfg(feature = "refresh")]
            fetcher: None,
        }
    }

    /// With public keys that are fetched, as [`SeamlessLayer::fetching`](crate::SeamlessLayer::fetching).
    #[cfg(feature = "refresh")]
    pub fn fetching(verifier: Verifier, keys: KeyFetch) -> Result<Self, FetchError> {
        let judge = Arc::new(Judge::new(verifier));
        let fetcher = Some(keys.start(Arc::clone(&judge))?);
        Ok(Self { judge, fetcher })
    }

    /// Lends the verifier that counts now, scratch space, and, where it is to `remember` and nobody else has it, the memory
    /// of good signatures, which only JWTs make use of.
    ///
    /// `run` must not come back here on the same thread: that answers `keys_unavailable`.
    pub fn lend<T>(
        &self,
        remember: bool,
        run: impl FnOnce(&Verifier, &mut Scratch, Option<&mut Seen>) -> Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        self.judge.lend(remember, run).unwrap_or_else(|| Err(Code::KeysUnavailable.into()))
    }

    /// Changes the verifier for all judgements that begin from now on.
    pub fn change<T>(&self, change: impl FnOnce(&mut Verifier) -> T) -> T {
        self.judge.change(change)
    }

    /// Whether a key that was missing may be on its way: [`wait`](Self::wait), then judge once more.
    #[must_use]
    pub fn may_wait(&self, rejection: Rejection) -> bool {
        #[cfg(feature = "refresh")]
        return self.fetcher.is_some() && matches!(rejection.code, Code::UnknownKey | Code::KeysUnavailable);
        #[cfg(not(feature = "refresh"))]
        return false;
    }

    /// Blocks until the keys have been looked after, a second at most.
    #[cfg(feature = "refresh")]
    pub fn wait(&self) {
        if let Some(fetcher) = &self.fetcher {
            fetcher.block();
        }
    }
}
