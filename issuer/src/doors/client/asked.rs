//! What may be said about a token wherever one is fetched.

use std::path::PathBuf;

use client::{Options, Wish};

use crate::duration::Seconds;
use crate::error::Result;

#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::doors) struct Asked {
    /// Who you are there [default: your name here]
    #[arg(long, short, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// Whom the token is for; may be repeated
    #[arg(long, short)]
    pub(super) audience: Vec<String>,
    /// What it may do; may be repeated
    #[arg(long, short)]
    pub(super) scope: Vec<String>,
    /// jwt or seamless [default: the server's]
    #[arg(long)]
    pub(super) format: Option<String>,
    /// How long it lasts, such as 5m [default: the server's]
    #[arg(long, short)]
    pub(super) ttl: Option<Seconds>,
    /// Log in with this private key, in place of ssh-agent's
    #[arg(long, short, value_name = "FILE", conflicts_with = "key")]
    pub(super) identity: Option<PathBuf>,
    /// Log in with this key of ssh-agent
    #[arg(long, value_name = "SHA256:…")]
    pub(super) key: Option<String>,
    /// Go on with a server that knows nothing newer than crtauth's version 0
    #[arg(long)]
    pub(super) allow_v0: bool,
    /// Fetch a new token, and keep none
    #[arg(long)]
    pub(super) no_cache: bool,
}

impl Asked {
    pub(super) fn wish(&self) -> Result<Wish> {
        Ok(Wish {
            audiences: self.audience.clone(),
            scopes: self.scope.clone(),
            format: self.format.clone(),
            ttl: self.ttl.map(|ttl| ttl.0),
        })
    }

    pub(super) fn options(&self) -> Options {
        Options {
            user: self.user.clone(),
            identity: self.identity.clone(),
            fingerprint: self.key.clone(),
            allow_v0: self.allow_v0,
            ..Options::default()
        }
    }
}
