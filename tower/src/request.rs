//! An `http` request as the core sees it, and the headers that go on.

use http::header::HOST;
use http::{HeaderName, HeaderValue, Request};
use token::{RequestView, identity_headers, is_identity_header};

/// Borrows a request.
pub(crate) struct View<'r, B>(pub(crate) &'r Request<B>);

impl<B> RequestView for View<'_, B> {
    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn scheme(&self) -> &str {
        self.0.uri().scheme_str().unwrap_or_default()
    }

    fn authority(&self) -> &str {
        // RFC 9112 section 3.2.2: the target's own authority counts before the header.
        if let Some(authority) = self.0.uri().authority() {
            return authority.as_str();
        }
        let mut hosts = self.0.headers().get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (None, _) => "",
            // What isn't one host's name is refused where rules look at it.
            (Some(host), None) => host.to_str().unwrap_or(","),
            _ => ",",
        }
    }

    fn path(&self) -> Option<&[u8]> {
        self.0.uri().path_and_query().map(|path| path.as_str().as_bytes())
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.headers().get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

/// Takes away what could pass for our headers.
pub(crate) fn strip<B>(request: &mut Request<B>) {
    let names: Vec<HeaderName> =
        request.headers().keys().filter(|name| is_identity_header(name.as_str())).cloned().collect();
    for name in names {
        request.headers_mut().remove(name);
    }
}

/// The identity as header values, for [`set`].
pub(crate) fn values(identity: &token::Identity<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let pair = |(name, value): (&'static str, String)| {
        // They are ASCII by construction.
        Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
    };
    identity_headers(identity).into_iter().filter_map(pair).collect()
}

/// Sets our own headers.
pub(crate) fn set<B>(request: &mut Request<B>, values: Vec<(HeaderName, HeaderValue)>) {
    request.headers_mut().extend(values);
}
