//! What verifiers of this realm trust: the JWK set that is published, and the verifier behind `/verify`.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::backends::store::{Revoked, SigningAlgorithm, SigningKey};
use crate::backends::{files, http_get};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::realm::Realm;
use crate::services::handshake::secrets;
use crate::services::signing;

/// The verifier and what it was made from.
#[derive(Default)]
pub(crate) struct TrustCache {
    verifier: RwLock<Option<Cached>>,
    /// Read once: a file that is being edited must not shut a running /verify.
    rules: OnceLock<Option<token::Rules>>,
}

struct Cached {
    version: u64,
    /// When a retired key leaves the set without anyone changing the store.
    until: u64,
    verifier: Arc<token::Verifier>,
}

/// The realm's JWK set (RFC 7517): keys that sign, will sign, or signed what may still be alive.
pub fn jwks(realm: &Realm) -> Result<String> {
    let keys = realm.store.signing_keys()?;
    Ok(public_keys(&realm.config, &keys, realm.now())?.to_jwks())
}

/// The realm's own verifier. Cheap while nothing changes; a revocation by another process counts at once.
pub fn verifier(realm: &Realm) -> Result<Arc<token::Verifier>> {
    let version = realm.store.version()?;
    let now = realm.now();
    let fresh = |cached: &Cached| cached.version == version && now < cached.until;
    if let Some(cached) = realm.trust.verifier.read().unwrap_or_else(PoisonError::into_inner).as_ref()
        && fresh(cached)
    {
        return Ok(Arc::clone(&cached.verifier));
    }
    let mut cache = realm.trust.verifier.write().unwrap_or_else(PoisonError::into_inner);
    // Of all who found the old one, the first makes the new one.
    if let Some(cached) = cache.as_ref()
        && fresh(cached)
    {
        return Ok(Arc::clone(&cached.verifier));
    }
    let keys = realm.store.signing_keys()?;
    let verifier = Arc::new(build(realm, &keys, now)?);
    let until = next_change(&realm.config, &keys, now);
    *cache = Some(Cached { version, until, verifier: Arc::clone(&verifier) });
    Ok(verifier)
}

/// The rules of `[verify] rules`, if there are any, as they were when they were first asked for.
pub fn rules(realm: &Realm) -> Result<Option<&token::Rules>> {
    if let Some(rules) = realm.trust.rules.get() {
        return Ok(rules.as_ref());
    }
    let rules = match rules_text(realm)? {
        Some((path, text)) => Some(token::Rules::from_json(&text).map_err(|wrong| {
            let place = format!("{}:{}:{}", path.display(), wrong.line, wrong.column);
            Error::failed(format!("{place}: {}", wrong.message))
                .hint("`seamless rules check FILE` reads it as well")
        })?),
        None => None,
    };
    Ok(realm.trust.rules.get_or_init(|| rules).as_ref())
}

/// Where the rules of `[verify] rules` are, and what stands there.
pub fn rules_text(realm: &Realm) -> Result<Option<(PathBuf, String)>> {
    let Some(file) = &realm.config.verify.rules else { return Ok(None) };
    let path = realm.dir.join(file);
    let text = String::from_utf8(files::read_small(&path, 64 * 1024)?)
        .map_err(|_| Error::failed(format!("{} is not UTF-8 text", path.display())))?;
    Ok(Some((path, text)))
}

/// Fetches somebody's JWK set.
pub fn fetch(url: &str) -> Result<String> {
    http_get::text(url)
}

fn build(realm: &Realm, keys: &[SigningKey], now: u64) -> Result<token::Verifier> {
    let config = &realm.config;
    let leeway = u8::try_from(config.verify.leeway.0)
        .ok()
        .and_then(|l| token::Leeway::try_from(l).ok())
        .ok_or_else(|| Error::internal("verify.leeway is over 60s"))?;
    let max_age = u32::try_from(config.seamless.max_age.0)
        .ok()
        .and_then(|m| token::MaxAge::try_from(m).ok())
        .ok_or_else(|| Error::internal("seamless.max_age is over 1d"))?;
    let mut verifier = token::Verifier::new(realm.name.as_str()).with_leeway(leeway);
    let live = |k: &&SigningKey| signing::is_published(k, now, config.longest_life());
    let secrets = keys
        .iter()
        .filter(live)
        .filter(|k| k.algorithm == SigningAlgorithm::Hmac)
        .map(|k| signing::secret(realm, k))
        .collect::<Result<Vec<_>>>()?;
    if !secrets.is_empty() {
        verifier = verifier.with_secrets(secrets, max_age);
    }
    let chap = secrets::verifying(&secrets::load(realm)?, &config.crtauth)?;
    if !chap.is_empty() {
        verifier = verifier.with_chap_secrets(chap);
    }
    let audiences = token::Audiences::new(config.verify_audiences())
        .ok_or_else(|| Error::internal("verify.audience is empty"))?;
    let public = public_keys(config, keys, now)?;
    if !public.is_empty() {
        verifier = verifier.with_public_keys(public, audiences.clone());
    }
    // What the operator named holds for `seamless` tokens too; the default is the JWTs' alone.
    if !config.verify.audience.is_empty() {
        verifier = verifier.with_audience(audiences);
    }
    if let Some(rules) = rules(realm)? {
        verifier = verifier.with_rules(rules.clone());
    }
    let revocations = realm.store.revocations(now)?;
    let revocations = revocations.into_iter().map(|r| revocation(r.what)).collect::<token::Revocations>();
    Ok(verifier.with_revocations(revocations))
}

fn revocation(what: Revoked) -> token::Revocation {
    match what {
        Revoked::Jti(jti) => token::Revocation::Jti(jti),
        Revoked::Subject { sub, issued_before } => token::Revocation::Subject { sub, issued_before },
        Revoked::SshKey { fingerprint, .. } => token::Revocation::SshKey(fingerprint),
        Revoked::Kid(kid) => token::Revocation::Kid(kid),
    }
}

fn public_keys(config: &Config, keys: &[SigningKey], now: u64) -> Result<token::PublicKeys> {
    let bad = |kid: &str, e: token::KeyError| {
        Error::internal(format!("the public half of key {kid} is broken: {e}"))
    };
    let list = keys
        .iter()
        .filter(|k| signing::is_published(k, now, config.longest_life()))
        .filter_map(|k| {
            k.jwk.as_deref().map(|jwk| token::PublicKey::from_jwk(jwk).map_err(|e| bad(&k.kid, e)))
        })
        .collect::<Result<Vec<_>>>()?;
    token::PublicKeys::from_keys(&config.issuer, list)
        .map_err(|e| Error::internal(format!("the signing keys: {e}")))
}

fn next_change(config: &Config, keys: &[SigningKey], now: u64) -> u64 {
    let lapses = keys.iter().filter_map(|k| k.retired_at).map(|at| at + config.longest_life());
    lapses.filter(|at| *at > now).min().unwrap_or(u64::MAX)
}
