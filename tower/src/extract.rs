//! `Identity` as an argument of an axum handler.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::request::Parts;
use token::Code;

use crate::{Access, Identity, reject};

/// The realm to name in a challenge.
#[derive(Clone)]
pub(crate) struct Decided {
    pub(crate) realm: std::sync::Arc<str>,
}

impl<S> FromRequestParts<S> for Identity
where
    S: Sync,
{
    type Rejection = Response;

    /// 401 for nobody, 500 where no layer has looked.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match parts.extensions.get::<Access>().ok_or_else(missing)? {
            Access::Identity(identity) => Ok(identity.clone()),
            Access::Open | Access::Anonymous => {
                let realm = parts.extensions.get::<Decided>().map_or("", |decided| &decided.realm);
                Err(reject::answer::<Body>(Code::MissingAuthorization.into(), realm, &parts.headers))
            }
        }
    }
}

impl<S> OptionalFromRequestParts<S> for Identity
where
    S: Sync,
{
    type Rejection = Response;

    /// `None` for nobody, 500 where no layer has looked.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        Ok(match parts.extensions.get::<Access>().ok_or_else(missing)? {
            Access::Identity(identity) => Some(identity.clone()),
            Access::Open | Access::Anonymous => None,
        })
    }
}

/// Not anonymous: somebody forgot the layer, or put it inside of another route.
fn missing() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
}
