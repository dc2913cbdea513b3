//! Fetching one token.

mod http;
mod ssh;

use crate::error::Result;
use crate::{Destination, Options, Token, Wish};

/// Logs in and fetches a token. Nothing is kept.
pub fn fetch(destination: &Destination, wish: &Wish, options: &Options) -> Result<Token> {
    match destination {
        Destination::Ssh { user, host, port } => ssh::fetch(user.as_deref(), host, *port, wish, options),
        Destination::Http { url } => http::fetch(url, wish, options),
    }
}

/// Whether an audience or a scope could be asked for there: what can't be is an error before anybody is asked.
pub fn check(destination: &Destination, name: &str) -> Result<()> {
    match destination {
        Destination::Ssh { .. } => ssh::check(name),
        Destination::Http { .. } => Ok(()),
    }
}

/// Unix seconds now.
fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
