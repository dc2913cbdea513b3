#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
mod extract;
mod identity;
mod judge;
mod layer;
#[cfg(feature = "refresh")]
mod refresh;
mod reject;
mod request;
mod shared;

pub use identity::{Access, Identity};
pub use layer::{Seamless, SeamlessFuture, SeamlessLayer};
#[cfg(feature = "refresh")]
pub use refresh::{FetchError, KeyFetch};
pub use shared::SharedVerifier;
pub use token;

/// The page that users copy from.
#[cfg(all(doctest, feature = "axum", feature = "refresh"))]
#[doc = include_str!("../../docs/protect-a-rust-service.md")]
struct Page;
