//! The one place that makes tokens, whatever the door: who asks, what the policy allows, the record, the token.

use std::net::IpAddr;

use base64::Engine as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::backends::audit::{Door, Record};
use crate::backends::store::{Fingerprint, SigningAlgorithm, User, UserKey};
use crate::clock::random;
use crate::config::{self, Audience};
use crate::duration::Seconds;
use crate::error::{Error, Kind, Result};
use crate::names::{self, UserName};
use crate::realm::Realm;
use crate::services::{signing, sources};

/// Who asks. The door vouches for it: a proven key, or the administrator at the command line.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose token it will be.
    pub user: UserName,
    /// The key that was proven; none at the command line.
    pub key: Option<Fingerprint>,
    /// The way in.
    pub door: Door,
    /// Where from.
    pub address: Option<IpAddr>,
}

/// What is asked for. Whatever is absent comes from `realm.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The token's format.
    pub format: Option<config::Format>,
    /// Whom the token is for.
    pub audiences: Vec<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How long it lasts, in seconds.
    pub ttl: Option<u64>,
}

/// A token and what it says.
pub struct Minted {
    /// The token. Never logged.
    pub token: Zeroizing<String>,
    /// Its format.
    pub format: config::Format,
    /// Its subject.
    pub subject: UserName,
    /// Its audiences; none in the `seamless` format.
    pub audiences: Vec<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Seconds until it expires.
    pub expires_in: u64,
}

/// What the policy gives for an [`Ask`]: exactly what was asked, or a refusal. Never less in silence.
struct Grant {
    format: config::Format,
    audiences: Vec<String>,
    scopes: Vec<String>,
    algorithm: SigningAlgorithm,
    ttl: u64,
}

/// Mints one token. The audit record is written before this returns; without it there is no token.
pub fn mint(realm: &Realm, caller: &Caller, ask: &Ask) -> Result<Minted> {
    let now = realm.now();
    let jti = new_jti()?;
    let made = authorise(realm, caller, now).and_then(|(user, key)| {
        let grant = grant(realm, &user, ask)?;
        let token = sign(realm, caller, &user, key.as_ref(), &grant, &jti, now)?;
        Ok((grant, token))
    });
    let asked = json!({
        "format": ask.format.map(format_name),
        "audience": ask.audiences,
        "scope": ask.scopes.join(" "),
        "ttl": ask.ttl,
    });
    let (grant, token) = record(realm, caller, asked, now, made, |(grant, _)| {
        json!({
            "format": format_name(grant.format),
            "audience": grant.audiences,
            "scope": grant.scopes.join(" "),
            "expires_in": grant.ttl,
            "jti": (grant.format == config::Format::Jwt).then_some(&jti),
        })
    })?;
    Ok(Minted {
        token,
        format: grant.format,
        subject: caller.user.clone(),
        audiences: grant.audiences,
        scopes: grant.scopes,
        expires_in: grant.ttl,
    })
}

/// A name that no other token has. None begins as an option does: it is a word of `token revoke --jti`.
fn new_jti() -> Result<String> {
    loop {
        let jti = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random::<16>()?);
        if !jti.starts_with('-') {
            return Ok(jti);
        }
    }
}

/// Mints one token of crtauth, for a client that knows no other. It carries no audience and no scope. `protocol` is the
/// version that the client spoke: the record says when nobody speaks the oldest any more.
pub fn mint_chap(
    realm: &Realm,
    caller: &Caller,
    secret: &token::ChapSecret,
    version: token::ChapVersion,
    protocol: u8,
) -> Result<Zeroizing<String>> {
    let now = realm.now();
    let ttl = realm.config.crtauth.token_ttl.0;
    let made = authorise(realm, caller, now).and_then(|(user, _)| {
        let from = now.saturating_sub(crtauth::CLOCK_FUDGE);
        token::mint_chap(secret, version, user.name.as_str(), from, now.saturating_add(ttl))
            .map(Zeroizing::new)
            .map_err(|e| Error::internal(format!("the token can't be made: {e}")))
    });
    let number = match version {
        token::ChapVersion::V0 => 0,
        token::ChapVersion::V1 => 1,
    };
    let given = json!({"format": "chap", "version": number, "expires_in": ttl});
    record(realm, caller, json!({"format": "chap", "protocol": protocol}), now, made, |_| given)
}

/// Writes down what became of a mint, and hands it on. Without the record there is no token.
fn record<T>(
    realm: &Realm,
    caller: &Caller,
    asked: Value,
    now: u64,
    made: Result<T>,
    given: impl FnOnce(&T) -> Value,
) -> Result<T> {
    let write = |given, outcome| {
        let record = Record {
            action: "mint",
            subject: Some(caller.user.to_string()),
            fingerprint: caller.key.map(|k| k.to_string()),
            door: caller.door,
            address: caller.address.map(|a| a.to_string()),
            asked,
            given,
            outcome,
            id: None,
        };
        realm.audit.append(now, &record, false)
    };
    match made {
        Ok(made) => {
            write(given(&made), "ok").inspect_err(|e| count(realm, caller, e.kind().as_str()))?;
            count(realm, caller, "ok");
            Ok(made)
        }
        Err(error) => {
            count(realm, caller, error.kind().as_str());
            // A refusal stays a refusal when it can't be recorded.
            let _ = write(json!({"reason": error.message()}), error.kind().as_str());
            Err(error)
        }
    }
}

fn count(realm: &Realm, caller: &Caller, outcome: &'static str) {
    if let Some(metrics) = realm.metrics.get() {
        metrics.minted(caller.door.as_str(), outcome);
    }
}

/// The user and key behind a caller, as the store has them now: the line that sshd read may be older.
pub fn authorise(realm: &Realm, caller: &Caller, now: u64) -> Result<(User, Option<UserKey>)> {
    let (user, key) = sources::proven(realm, &caller.user, caller.key)?;
    let key = match caller.key {
        None => None,
        Some(_) => {
            let Some(key) = key else {
                return Err(Error::locked("this key is not enrolled here any more")
                    .hint("ask the realm's administrator"));
            };
            if key.expires_at.is_some_and(|at| now >= at) {
                return Err(Error::locked("this key has expired")
                    .hint("ask the realm's administrator to enrol a new one"));
            }
            if !comes_from(&key.from, caller.address) {
                return Err(Error::locked("this key may not be used from this address"));
            }
            Some(key)
        }
    };
    match user {
        Some(user) if !user.locked => Ok((user, key)),
        Some(_) => {
            Err(Error::locked(format!("{} is locked", caller.user)).hint("ask the realm's administrator"))
        }
        None => Err(Error::locked(format!("there is no user {} in this realm", caller.user)).hint(format!(
            "enrol a key for it first: seamless add {} KEYFILE --user {}",
            realm.name, caller.user
        ))),
    }
}

/// Whether an address is one of these. A key without addresses may come from anywhere; one with addresses may
/// not come from an unknown one.
#[must_use]
pub fn comes_from(from: &[String], address: Option<IpAddr>) -> bool {
    if from.is_empty() {
        return true;
    }
    let Some(address) = address.map(|a| a.to_canonical()) else { return false };
    from.iter().any(|text| {
        text.parse::<ipnet::IpNet>().map_or_else(
            |_| text.parse::<IpAddr>().is_ok_and(|one| one == address),
            |net| net.contains(&address),
        )
    })
}

/// The name of a format as it is written everywhere.
#[must_use]
pub const fn format_name(format: config::Format) -> &'static str {
    match format {
        config::Format::Jwt => "jwt",
        config::Format::Seamless => "seamless",
    }
}

fn grant(realm: &Realm, user: &User, ask: &Ask) -> Result<Grant> {
    let config = &realm.config;
    let format = ask.format.unwrap_or(config.tokens.default_format);
    if format == config::Format::Seamless {
        if !ask.audiences.is_empty() || !ask.scopes.is_empty() || ask.ttl.is_some() {
            return Err(Error::usage("the format seamless carries no audience, scope or lifetime")
                .hint("add --format jwt, or leave them out"));
        }
        let ttl = config.seamless.max_age.0;
        return Ok(Grant {
            format,
            audiences: vec![],
            scopes: vec![],
            algorithm: SigningAlgorithm::Hmac,
            ttl,
        });
    }
    let mut audiences = ask.audiences.clone();
    if audiences.is_empty() {
        audiences.push(config.default_audience().to_owned());
    }
    audiences.dedup();
    let rules = audiences.iter().map(|name| audience(realm, user, name)).collect::<Result<Vec<_>>>()?;
    let algorithm = rules.iter().map(|r| r.algorithm).collect::<std::collections::BTreeSet<_>>();
    let Some(algorithm) = algorithm.first().copied().filter(|_| algorithm.len() == 1) else {
        return Err(Error::policy("these audiences want different signing algorithms")
            .hint("ask for a token for each"));
    };
    let scopes = scopes(user, &audiences, &rules, ask)?;
    let max = rules.iter().map(|r| r.max_ttl.unwrap_or(config.tokens.max_ttl).0).min().unwrap_or(0);
    let usual = rules.iter().map(|r| r.ttl.unwrap_or(config.tokens.ttl).0).min().unwrap_or(0).min(max);
    let ttl = ask.ttl.unwrap_or(usual);
    if ttl == 0 || ttl > max {
        return Err(Error::policy(format!("a lifetime of {} is not allowed here", Seconds(ttl)))
            .hint(format!("at most {}", Seconds(max))));
    }
    Ok(Grant { format, audiences, scopes, algorithm: algorithm.signing(), ttl })
}

fn audience(realm: &Realm, user: &User, name: &str) -> Result<Audience> {
    names::check_audience(name)?;
    let refused = || {
        Error::policy(format!("tokens for {:?} are not given here", names::shorten(name)))
            .hint("an administrator adds audiences to realm.toml")
    };
    let rule = realm.config.audience(name).ok_or_else(refused)?;
    match &rule.groups {
        Some(groups) if !groups.iter().any(|g| user.groups.contains(g)) => Err(refused()),
        _ => Ok(rule),
    }
}

fn scopes(user: &User, audiences: &[String], rules: &[Audience], ask: &Ask) -> Result<Vec<String>> {
    let mut scopes = ask.scopes.clone();
    scopes.sort();
    scopes.dedup();
    for scope in &scopes {
        names::check_scope(scope)?;
        if !user.scopes.contains(scope) {
            return Err(Error::policy(format!("the scope {scope:?} is not granted to {}", user.name))
                .hint("an administrator grants it: seamless user scopes --add"));
        }
        let unknown =
            rules.iter().position(|r| r.scopes.as_ref().is_some_and(|known| !known.contains(scope)));
        if let Some(audience) = unknown.and_then(|at| audiences.get(at)) {
            return Err(Error::policy(format!("{audience} has no scope {scope:?}")));
        }
    }
    Ok(scopes)
}

fn sign(
    realm: &Realm,
    caller: &Caller,
    user: &User,
    key: Option<&UserKey>,
    grant: &Grant,
    jti: &str,
    now: u64,
) -> Result<Zeroizing<String>> {
    let failed = |e: token::MintError| Error::internal(format!("the token can't be made: {e}"));
    let active = signing::active(realm, grant.algorithm)?;
    if grant.format == config::Format::Seamless {
        let secret = signing::secret(realm, &active)?;
        return token::mint_seamless(user.name.as_str(), now, &secret).map(Zeroizing::new).map_err(failed);
    }
    let signer = signing::signer(&realm.dir, &active)?;
    let fingerprint = key.map(|k| k.fingerprint.to_string());
    let claims = token::AccessClaims {
        issuer: &realm.config.issuer,
        subject: user.name.as_str(),
        audiences: &strs(&grant.audiences),
        client_id: client_id(caller),
        issued_at: now,
        expires_at: now + grant.ttl,
        jti,
        scopes: &strs(&grant.scopes),
        groups: &strs(&user.groups),
        amr: amr(caller.door, key),
        ssh_fp: fingerprint.as_deref(),
    };
    token::mint_access(&claims, &*signer).map(Zeroizing::new).map_err(failed)
}

/// The way in, as RFC 9068 wants it named.
fn client_id(caller: &Caller) -> &'static str {
    match (caller.door, caller.key) {
        (Door::Http, _) => "crtauth",
        (_, Some(_)) => "ssh",
        (_, None) => "cli",
    }
}

/// RFC 8176. Only sshd and a handshake over HTTP show that there was a touch; our own ssh server can't see it.
fn amr(door: Door, key: Option<&UserKey>) -> &'static [&'static str] {
    match key {
        Some(key) if key.algorithm.starts_with("sk-") && matches!(door, Door::SshForced | Door::Http) => {
            &["hwk", "user"]
        }
        _ => &[],
    }
}

fn strs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// Whether an error may be told to a client over ssh as it stands.
#[must_use]
pub fn is_for_clients(error: &Error) -> bool {
    !matches!(error.kind(), Kind::Internal)
}
