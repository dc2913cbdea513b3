//! A request as a verifier sees it, and what becomes of it.

use crate::{Code, Identity, Rejection};

/// A view of a request. An adapter fills it and decides nothing, so that no two edges can differ.
pub trait RequestView {
    /// `GET`, `POST`, … as it came.
    fn method(&self) -> &str;

    /// `http` or `https`.
    fn scheme(&self) -> &str;

    /// The `:authority` or `Host`; empty where there is none.
    fn authority(&self) -> &str;

    /// The `:path` with its query, raw as it will be forwarded; `None` where there is none.
    fn path(&self) -> Option<&[u8]>;

    /// Every value of a header, each by itself, as bytes. Names are asked for in lower case.
    ///
    /// Where the runtime hands out strings, their characters are bytes (Latin-1), not UTF-8.
    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;
}

/// What to do with a request.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Let it pass: the rules look at no token here.
    Open,
    /// Let it pass as nobody: a token would have been welcome, and there is none.
    Anonymous,
    /// Let it pass as this user.
    Identity(Identity<'a>),
    /// Turn it away.
    Rejection(Rejection),
}

/// The token in the `Authorization` headers of a request; `None` where there are no such headers.
///
/// More than one header rejects, and so does a comma in one: Envoy and Fetch join two headers into `A,B`, Node drops
/// the second, and each edge would judge another one. The schemes `seamless` and `Bearer` are told in any case, and
/// one space follows; what the token is, its shape says and not the scheme. crtauth's `chap:` stands right before
/// the token, in lower case alone, as the original has it; a space between them passed there, and does here.
pub fn credentials<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<&'a [u8]>, Rejection> {
    let mut headers = headers.into_iter();
    let Some(value) = headers.next() else { return Ok(None) };
    if headers.next().is_some() || value.contains(&b',') {
        return Err(Code::BadAuthorization.into());
    }
    if let Some(token) = value.strip_prefix(b"chap:") {
        let token = token.strip_prefix(b" ").unwrap_or(token);
        let blank = matches!(token.first(), Some(b' ' | b'\t') | None);
        return if blank { Err(Code::BadAuthorization.into()) } else { Ok(Some(token)) };
    }
    let mut parts = value.splitn(2, |b| *b == b' ');
    let (scheme, token) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let known = scheme.eq_ignore_ascii_case(b"seamless") || scheme.eq_ignore_ascii_case(b"bearer");
    // A subject may have spaces, but none is in front.
    match token.first() {
        Some(b' ' | b'\t') | None => Err(Code::BadAuthorization.into()),
        Some(_) if known => Ok(Some(token)),
        Some(_) => Err(Code::BadAuthorization.into()),
    }
}
