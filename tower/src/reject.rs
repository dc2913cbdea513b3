//! The answer to a request that is turned away.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use token::{Code, Rejection, www_authenticate};

/// Status, challenges and body; for gRPC what its clients read.
pub(crate) fn answer<B>(rejection: Rejection, realm: &str, request: &HeaderMap) -> Response<B>
where
    B: From<String>,
{
    if is_grpc(request) {
        return grpc(rejection);
    }
    let mut response = Response::new(B::from(format!("{rejection}\n")));
    *response.status_mut() =
        StatusCode::from_u16(rejection.code.status()).unwrap_or(StatusCode::UNAUTHORIZED);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(rejection.code.status(), 401 | 403) {
        for challenge in www_authenticate(rejection.code, realm) {
            // A realm of other characters than a header has is left unsaid.
            if let Ok(value) = HeaderValue::try_from(challenge) {
                headers.append(WWW_AUTHENTICATE, value);
            }
        }
    }
    response
}

fn is_grpc(request: &HeaderMap) -> bool {
    request.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Headers alone: gRPC over HTTP/2, "Responses".
fn grpc<B>(rejection: Rejection) -> Response<B>
where
    B: From<String>,
{
    let status = match rejection.code {
        Code::MissingScope => "7",
        Code::KeysUnavailable => "14",
        Code::BadPath => "3",
        _ => "16",
    };
    let mut response = Response::new(B::from(String::new()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(status));
    headers.insert("grpc-message", HeaderValue::from_static(rejection.code.message()));
    response
}
