//! A request as a verifier sees it.
use crate::{Identity, Rejection};
/// A view of a request.
pub trait RequestView {
    /// `GET`, …
    fn method(&self) -> &str;
    /// `https`, …
    fn scheme(&self) -> &str;
    /// `:authority` or Host; empty if there is none.
    fn authority(&self) -> &str;
    /// `:path` with its query.
    fn path(&self) -> Option<&[u8]>;
    /// Every value of a header, as bytes.
    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;
}
/// What to do with a request.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// No token is looked at.
    Open,
    /// A token could have been, and there is none.
    Anonymous,
    /// A good token.
    Identity(Identity<'a>),
    /// Turned away.
    Rejection(Rejection),
}
