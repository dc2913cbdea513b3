//! The key set: what every verifier of this realm's JWTs fetches (RFC 7517).

use std::sync::{Arc, Mutex, PoisonError};

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::Site;
use super::reply::{Answer, Document};
use crate::doors::blocking::blocking;
use crate::error::Result;
use crate::services::{signing, trust};

/// The set as it was last published. The verifier beside it stands for the state of the store: as long as the
/// trust service gives out the same one, nothing has changed.
#[derive(Default)]
pub(super) struct Published(Mutex<Option<(Arc<token::Verifier>, Document)>>);

pub(super) async fn answer(site: &Site, request: &HeaderMap) -> Answer {
    match current(site).await {
        Ok(document) => document.answer(request),
        Err(error) => site.unavailable("the key set can't be published", &error),
    }
}

async fn current(site: &Site) -> Result<Document> {
    // Asked before the set is read: a change in between is seen by the next request. Without a verifier (a secret
    // that can't be read, say) the public keys are still worth publishing.
    let state = trust::verifier(&site.realm).ok();
    if let Some(state) = &state
        && let Some((known, document)) = &*site.published.0.lock().unwrap_or_else(PoisonError::into_inner)
        && Arc::ptr_eq(known, state)
    {
        return Ok(document.clone());
    }
    let realm = Arc::clone(&site.realm);
    let set = blocking(move || trust::jwks(&realm)).await?;
    let document = Document::new("application/jwk-set+json", max_age(), set);
    if let Some(state) = state {
        *site.published.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((state, document.clone()));
    }
    Ok(document)
}

/// A key is published for twice this long before it signs.
pub(super) fn max_age() -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={}", signing::JWKS_MAX_AGE))
        .unwrap_or(super::reply::NO_STORE)
}
