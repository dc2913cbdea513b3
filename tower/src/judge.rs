//! One verifier for all threads.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, Request};
use token::seen::Seen;
use token::{Code, Outcome, Rejection, Scratch, Verifier};

use crate::request::{self, View};
use crate::{Access, Identity};

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// What a request may do, with the headers that say so.
pub(crate) struct Judgement {
    pub(crate) access: Access,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// The verifier that counts now; a thread that fetches keys puts a new one in its place.
pub(crate) struct Judge {
    verifier: RwLock<Arc<Verifier>>,
    /// Where it is busy, a signature is checked once more: cheaper than to wait.
    seen: Option<Mutex<Seen>>,
}

impl Judge {
    pub(crate) fn new(verifier: Verifier) -> Self {
        let mut seed = [0; 32];
        // Without randomness nothing is remembered.
        let seen = getrandom::fill(&mut seed).is_ok().then(|| Mutex::new(Seen::new(seed)));
        Self { verifier: RwLock::new(Arc::new(verifier)), seen }
    }

    pub(crate) fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.verifier.read().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(feature = "refresh")]
    pub(crate) fn replace(&self, verifier: Verifier) {
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(verifier);
    }

    pub(crate) fn judge<B>(&self, request: &Request<B>, with_headers: bool) -> Result<Judgement, Rejection> {
        let (verifier, view, now) = (self.verifier(), View(request), now());
        let owned = |outcome: Outcome<'_>| match outcome {
            Outcome::Open => Ok(Judgement { access: Access::Open, headers: Vec::new() }),
            Outcome::Anonymous => Ok(Judgement { access: Access::Anonymous, headers: Vec::new() }),
            Outcome::Identity(identity) => Ok(Judgement {
                headers: if with_headers { request::values(&identity) } else { Vec::new() },
                access: Access::Identity(Identity::from(identity)),
            }),
            Outcome::Rejection(rejection) => Err(rejection),
        };
        SCRATCH.with(|scratch| {
            // A handler can't run within a judgement, so nobody else on this thread has it.
            let Ok(mut scratch) = scratch.try_borrow_mut() else { return Err(Code::KeysUnavailable.into()) };
            match self.seen.as_ref().and_then(|seen| seen.try_lock().ok()) {
                Some(mut seen) => owned(verifier.check_seen(&view, now, &mut scratch, &mut seen)),
                None => owned(verifier.check(&view, now, &mut scratch)),
            }
        })
    }
}

/// Unix seconds; a clock before 1970 is a clock at 1970, when no token is valid yet.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
