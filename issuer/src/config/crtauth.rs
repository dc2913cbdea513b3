//! `[crtauth]`: log-ins over HTTP, signed by an ssh-agent.

use std::path::PathBuf;

use serde::Deserialize;

use super::one_or_many;
use crate::duration::Seconds;
use crate::error::{Error, Result};
use crate::names;

/// `[crtauth]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Crtauth {
    /// Whether `serve` answers `/_auth`.
    pub enabled: bool,
    /// What challenges call this server; empty: the issuer URL's host. Clients compare it with the host they went to.
    pub server_name: String,
    /// The oldest version of the protocol that is spoken: 0, 1 or 2.
    pub lowest_version: u8,
    /// The version of the tokens that clients of versions 0 and 1 get: 0 or 1.
    pub token_version: u8,
    /// How long such a token is good for, at most 598 s.
    pub token_ttl: Seconds,
    /// Secrets shared with servers of the originals, files relative to the realm: the first signs, all verify.
    #[serde(deserialize_with = "one_or_many")]
    pub secret: Vec<PathBuf>,
    /// What fingerprints of unknown users are made with where the secret is shared.
    pub fake_fingerprint: FakeFingerprint,
    /// Audiences that tokens of versions 0 and 1 stand for; none unless the operator binds it.
    pub audiences: Vec<String>,
    /// Scopes that tokens of versions 0 and 1 stand for; none unless the operator binds them.
    pub scopes: Vec<String>,
    /// The groups of which a user must be in one to log in this way; none: every user may.
    pub groups: Vec<String>,
    /// How many messages of one address a minute are answered; 0: any.
    pub per_address: u32,
    /// How many messages about one name a minute are answered; 0: any.
    pub per_name: u32,
}

/// What the originals make fingerprints of unknown users with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FakeFingerprint {
    /// crtauth, in Python.
    Sha1,
    /// crtauth-java.
    Sha256,
}

/// A token is dated back by 2 s, and over 600 s none is accepted.
const LONGEST_TOKEN: u64 = 598;

impl Crtauth {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::internal(format!("crtauth.{what}")));
        if self.lowest_version > 2 {
            return wrong("lowest_version is 0, 1 or 2");
        }
        if self.token_version > 1 {
            return wrong("token_version is 0 or 1");
        }
        if !(1..=LONGEST_TOKEN).contains(&self.token_ttl.0) {
            return wrong(&format!(
                "token_ttl is {}, outside 1s..{}",
                self.token_ttl,
                Seconds(LONGEST_TOKEN)
            ));
        }
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if self.server_name.len() > 255 || !self.server_name.bytes().all(is_name) {
            return wrong("server_name is a host without a port, such as login.example.com");
        }
        for audience in &self.audiences {
            names::check_audience(audience).map_err(super::internal)?;
        }
        for scope in &self.scopes {
            names::check_scope(scope).map_err(super::internal)?;
        }
        for group in &self.groups {
            names::check_group(group).map_err(super::internal)?;
        }
        Ok(())
    }
}

impl Default for Crtauth {
    fn default() -> Self {
        Self {
            enabled: false,
            server_name: String::new(),
            lowest_version: 1,
            token_version: 1,
            token_ttl: Seconds(60),
            secret: Vec::new(),
            fake_fingerprint: FakeFingerprint::Sha1,
            audiences: Vec::new(),
            scopes: Vec::new(),
            groups: Vec::new(),
            per_address: 600,
            per_name: 120,
        }
    }
}
