//! Answers: whole, small, and never guessed at by a browser.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};
use sha2::{Digest as _, Sha256};

/// What every handler gives.
pub(super) type Answer = Response<Full<Bytes>>;

pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A body that nobody keeps.
pub(super) fn fresh(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.reserve(12);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// One plain line, its newline included.
pub(super) fn line(status: StatusCode, line: &'static str) -> Answer {
    fresh(status, TEXT, Bytes::from_static(line.as_bytes()))
}

/// The headers of an answer without its body, which stays announced (RFC 9110 section 9.3.2).
pub(super) fn without_body(answer: Answer) -> Answer {
    use hyper::body::Body as _;
    let (mut parts, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact()
        && parts.status != StatusCode::NOT_MODIFIED
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Full::default())
}

/// A public document: cacheable, and readable from every origin. Nothing else of ours is.
#[derive(Clone, Debug)]
pub(super) struct Document {
    content_type: HeaderValue,
    cache_control: HeaderValue,
    etag: HeaderValue,
    body: Bytes,
}

impl Document {
    pub(super) fn new(content_type: &'static str, cache_control: HeaderValue, body: String) -> Self {
        use base64::Engine as _;
        let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(&body));
        // Base64url text in quotes is a header value; without a tag the document is still right.
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { content_type: HeaderValue::from_static(content_type), cache_control, etag, body: body.into() }
    }

    /// The document, or 304 to who has it already.
    pub(super) fn answer(&self, request: &HeaderMap) -> Answer {
        let known = is_known(request, self.etag.as_bytes());
        let body = if known { Bytes::new() } else { self.body.clone() };
        let mut answer = Response::new(Full::new(body));
        let headers = answer.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, self.cache_control.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            answer.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
        }
        answer
    }
}

/// If-None-Match compares weakly: `W/` is looked past (RFC 9110 section 13.1.2).
fn is_known(request: &HeaderMap, etag: &[u8]) -> bool {
    request.get_all(IF_NONE_MATCH).iter().flat_map(|v| v.as_bytes().split(|b| *b == b',')).any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_in_every_way_it_is_sent() {
        for (lines, known) in [
            (&[][..], false),
            (&["\"a\""], true),
            (&["W/\"a\""], true),
            (&["*"], true),
            (&["\"b\", \"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&["\"b\""], false),
            (&["a"], false),
            (&["\"A\""], false),
            (&[""], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, line.parse().unwrap());
            }
            assert_eq!(is_known(&headers, b"\"a\""), known, "{lines:?}");
        }
    }
}
