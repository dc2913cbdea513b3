//! Revoking tokens that live.

use serde_json::json;

use crate::backends::store::{Change, Fingerprint, Revoked, StoredRevocation};
use crate::config;
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::realm::Realm;
use crate::services::change::{Deed, commit_revoking};

/// Which tokens to revoke.
#[derive(Clone, Debug)]
pub enum Which {
    /// One token, by its `jti`.
    Jti(String),
    /// All of a user, issued up to now.
    User(UserName),
    /// All that this SSH key fetched.
    Key(Fingerprint),
    /// All that this signing key signed.
    Kid(String),
}

/// Revokes; verdicts of `/verify` and `seamless verify` follow at once.
pub fn revoke(realm: &Realm, which: Which) -> Result<StoredRevocation> {
    let now = realm.now();
    let (what, user, fingerprint) = match which {
        Which::Jti(jti) => {
            check_id("token id", &jti)?;
            (Revoked::Jti(jti), None, None)
        }
        Which::User(user) => {
            (Revoked::Subject { sub: user.to_string(), issued_before: now }, Some(user), None)
        }
        Which::Key(fingerprint) => {
            let owner = realm.store.key(&fingerprint)?.map(|k| k.user);
            let Some(owner) = owner else {
                return Err(Error::failed(format!("there is no key {fingerprint} in this realm")).hint(
                    "the tokens of a removed key are revoked already; a user's: seamless token revoke --user",
                ));
            };
            // The key stays enrolled, so a revocation without a time would hit tokens to come.
            (Revoked::Subject { sub: owner.to_string(), issued_before: now }, Some(owner), Some(fingerprint))
        }
        Which::Kid(kid) => {
            if !realm.store.signing_keys()?.iter().any(|k| k.kid == kid) {
                return Err(Error::failed(format!(
                    "there is no signing key {:?} in this realm",
                    crate::names::shorten(&kid)
                ))
                .hint("list them: seamless signing-key list"));
            }
            (Revoked::Kid(kid), None, None)
        }
    };
    let given = json!({"revocation": describe(&what)});
    let deed = Deed { action: "token.revoke", user: user.as_ref(), fingerprint, given };
    commit_revoking(realm, deed, vec![forget(now)], what)
}

/// Forgets what ended long ago.
pub(super) fn forget(now: u64) -> Change {
    Change::ForgetRevocations { now: now.saturating_sub(config::FORGOTTEN_AFTER) }
}

/// The revocation in the shape that verifiers read: the entries of `--revoked FILE`.
#[must_use]
pub fn describe(what: &Revoked) -> serde_json::Value {
    match what {
        Revoked::Jti(jti) => json!({"jti": jti}),
        Revoked::Subject { sub, issued_before } => json!({"sub": sub, "issued_before": issued_before}),
        Revoked::SshKey { fingerprint, .. } => json!({"ssh_fp": fingerprint}),
        Revoked::Kid(kid) => json!({"kid": kid}),
    }
}

fn check_id(what: &str, id: &str) -> Result<()> {
    if (1..=256).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::usage(format!("{:?} is not a {what}", crate::names::shorten(id))))
}
