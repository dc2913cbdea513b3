//! Log-ins over HTTP, signed by an ssh-agent: crtauth's versions 0 and 1, and our version 2.
//!
//! Everybody gets a challenge of the same shape for the same work: who is unknown, locked, without a usable key or in
//! no group that may log in learns no more than that their signature did not do.

pub mod secrets;

use std::net::IpAddr;

use crtauth::{Keys, MOST_KEYS, NONCE_LENGTH, Proof, Request, Response, Terms, Version};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::backends::audit::{Door, Record};
use crate::backends::store::UserKey;
use crate::clock::random;
use crate::config::Format;
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::realm::Realm;
use crate::services::limits::{self, Limiter};
use crate::services::mint::{self, Ask, Caller};
use crate::services::session::token_json;
use crate::services::sources::{self, Person};

/// What a running `serve` needs to answer handshakes.
#[derive(Debug)]
pub struct Handshakes {
    /// The first makes challenges and tokens, all of them are known.
    keys: Vec<Keys>,
    signing: token::ChapSecret,
    server_name: String,
    lowest: Version,
    by_address: Limiter<IpAddr>,
    by_name: Limiter<String>,
}

/// The answer to a message.
#[derive(Debug)]
pub enum Answer {
    /// The header that carries the challenge.
    Challenge(String),
    /// The header that carries the token, and for version 2 what RFC 6749 section 5.1 says of it.
    Token {
        /// `token:…`
        header: Zeroizing<String>,
        /// JSON.
        body: Option<Zeroizing<String>>,
    },
}

/// Why there is none.
#[derive(Debug)]
pub enum Refusal {
    /// The message is none, in words for its sender.
    Malformed(&'static str),
    /// The handshake failed. Why, the log knows.
    Failed,
    /// The key was proven, and the policy does not allow what was asked.
    Policy(Error),
    /// Too many messages; in so many seconds there may be another.
    TooMany {
        /// From 1.
        seconds: u64,
    },
    /// Something here is broken.
    Trouble(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Trouble(error)
    }
}

impl Handshakes {
    /// For a realm whose settings want them; makes the realm's own secret at the first start.
    pub fn open(realm: &Realm) -> Result<Option<Self>> {
        let settings = &realm.config.crtauth;
        if !settings.enabled {
            return Ok(None);
        }
        let keys = secrets::load_or_make(realm)?;
        let signing = secrets::verifying(&keys, settings)?.into_iter().next();
        let Some(signing) = signing else {
            return Err(Error::internal("crtauth is enabled, and there is no secret"));
        };
        let lowest = match settings.lowest_version {
            0 => Version::V0,
            1 => Version::V1,
            _ => Version::V2,
        };
        Ok(Some(Self {
            keys,
            signing,
            server_name: own_name(realm).to_owned(),
            lowest,
            by_address: Limiter::new(settings.per_address),
            by_name: Limiter::new(settings.per_name),
        }))
    }

    /// What challenges call this server.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }
}

/// Whether answering takes a few look-ups in the realm's own store, which never wait for a writer, and nothing else: no
/// signature, no record, no network.
#[must_use]
pub fn is_quick(realm: &Realm, value: &str) -> bool {
    value.starts_with("request:") && realm.sources.is_empty()
}

/// Answers what stands in `X-CHAP`.
pub fn answer(
    realm: &Realm,
    handshakes: &Handshakes,
    value: &str,
    address: Option<IpAddr>,
) -> Result<Answer, Refusal> {
    let visit = Visit { realm, handshakes, address, now: realm.now() };
    let answer = visit.answer(value);
    let outcome = match &answer {
        Ok(Answer::Challenge(_)) => "challenge",
        Ok(Answer::Token { .. }) => "token",
        Err(Refusal::Malformed(_)) => "malformed",
        Err(Refusal::Failed) => "failed",
        Err(Refusal::Policy(_)) => "policy",
        Err(Refusal::TooMany { .. }) => "too_many",
        Err(Refusal::Trouble(_)) => "internal",
    };
    if let Some(metrics) = realm.metrics.get() {
        metrics.handshake(outcome);
    }
    answer
}

/// What the settings say, and the issuer's host where they say nothing.
fn own_name(realm: &Realm) -> &str {
    let named = &realm.config.crtauth.server_name;
    if named.is_empty() { server_name(&realm.config.issuer) } else { named }
}

/// The host of an issuer URL, an IPv6 address in its brackets.
#[must_use]
pub fn server_name(issuer: &str) -> &str {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let end =
        if authority.starts_with('[') { authority.find(']').map(|at| at + 1) } else { authority.find(':') };
    authority.get(..end.unwrap_or(authority.len())).unwrap_or(authority)
}

/// One message, and who sent it.
struct Visit<'a> {
    realm: &'a Realm,
    handshakes: &'a Handshakes,
    address: Option<IpAddr>,
    now: u64,
}

/// A response that proved a key.
struct Proven {
    user: UserName,
    key: UserKey,
}

impl Visit<'_> {
    fn answer(&self, value: &str) -> Result<Answer, Refusal> {
        if let Some(address) = self.address {
            self.limit(&self.handshakes.by_address, limits::origin(address))?;
        }
        match value.split_once(':') {
            Some(("request", rest)) => self.challenge(rest.trim_start_matches(' ')),
            Some(("response", rest)) => self.token(rest.trim_start_matches(' ')),
            _ => Err(Refusal::Malformed("X-CHAP begins request: or response:")),
        }
    }

    fn challenge(&self, value: &str) -> Result<Answer, Refusal> {
        let request = Request::parse(value).map_err(|malformed| Refusal::Malformed(malformed.reason()))?;
        self.speaks(request.version)?;
        self.limit(&self.handshakes.by_name, request.user.clone())?;
        let person = self.person(&request.user)?;
        let keys = person.map(|person| self.usable(person)).unwrap_or_default();
        // The newest first: there may be more than a challenge can hint at, and one in version 1.
        let blobs: Vec<&[u8]> = keys.iter().rev().take(MOST_KEYS).map(|key| &*key.blob).collect();
        let nonce = random::<NONCE_LENGTH>()?;
        let terms = Terms { server_name: &self.handshakes.server_name, nonce: &nonce, now: self.now };
        let keys = self.handshakes.keys.first().ok_or_else(|| Error::internal("there is no secret"))?;
        crtauth::challenge(keys, &terms, &request, &blobs)
            .map(Answer::Challenge)
            .map_err(|malformed| Refusal::Malformed(malformed.reason()))
    }

    fn token(&self, value: &str) -> Result<Answer, Refusal> {
        let response = Response::parse(value).map_err(|malformed| Refusal::Malformed(malformed.reason()))?;
        self.speaks(response.challenge().version)?;
        let proven = self.judge(&response)?;
        let caller = Caller {
            user: proven.user,
            key: Some(proven.key.fingerprint),
            door: Door::Http,
            address: self.address,
        };
        match response.challenge().version {
            Version::V0 | Version::V1 => self.chap(&caller, response.challenge().version),
            Version::V2 => self.mint(&caller, &response),
        }
        .map_err(|error| {
            if mint::is_for_clients(&error) { Refusal::Policy(error) } else { Refusal::Trouble(error) }
        })
    }

    fn chap(&self, caller: &Caller, protocol: Version) -> Result<Answer> {
        let version = match self.realm.config.crtauth.token_version {
            0 => token::ChapVersion::V0,
            _ => token::ChapVersion::V1,
        };
        let token =
            mint::mint_chap(self.realm, caller, &self.handshakes.signing, version, protocol.number())?;
        Ok(Answer::Token { header: Zeroizing::new(format!("token:{}", *token)), body: None })
    }

    fn mint(&self, caller: &Caller, response: &Response) -> Result<Answer> {
        let wish = &response.challenge().wish;
        let format = match &*wish.format {
            "" => None,
            "jwt" => Some(Format::Jwt),
            "seamless" => Some(Format::Seamless),
            _ => return Err(Error::policy("there is no token format of that name").hint("jwt or seamless")),
        };
        let ask = Ask {
            format,
            audiences: wish.audiences.clone(),
            scopes: wish.scopes.clone(),
            ttl: (wish.ttl > 0).then_some(wish.ttl),
        };
        let minted = mint::mint(self.realm, caller, &ask)?;
        let header = Zeroizing::new(format!("token:{}", *minted.token));
        Ok(Answer::Token { header, body: Some(token_json(&minted)) })
    }

    /// The key that a response proves, or a refusal that says nothing and a record that says why.
    fn judge(&self, response: &Response) -> Result<Proven, Refusal> {
        let challenge = response.challenge();
        if !self.handshakes.keys.iter().any(|keys| response.is_of(keys)) {
            return Err(self.failed(None, "the challenge is not ours"));
        }
        if !challenge.server_name.eq_ignore_ascii_case(&self.handshakes.server_name) {
            return Err(self.failed(None, "the challenge is another server's"));
        }
        // From here on the name is one that we put there.
        self.limit(&self.handshakes.by_name, challenge.user.clone())?;
        let person = self.person(&challenge.user)?;
        let trouble = person.as_ref().and_then(|person| person.trouble.clone());
        let user = person.as_ref().map(|person| person.user.name.clone());
        let keys = person.map(|person| self.usable(person)).unwrap_or_default();
        let key = keys.into_iter().find(|key| response.names(&key.blob));
        let proof = match &key {
            Some(key) => response.proof(&key.blob),
            None => {
                response.check_in_vain();
                None
            }
        };
        if let (None, Some(trouble)) = (&key, trouble) {
            return Err(Refusal::Trouble(trouble));
        }
        let (Some(key), Some(name)) = (key, &user) else {
            return Err(self.failed(user.as_ref(), "no key of an active user"));
        };
        let Some(proof) = proof else {
            return Err(self.failed(user.as_ref(), "the signature is not the key's"));
        };
        if let Some(missing) = missing(&key, proof) {
            return Err(self.failed(user.as_ref(), missing));
        }
        if self.now < challenge.valid_from {
            return Err(self.failed(user.as_ref(), "the challenge is not valid yet"));
        }
        if self.now > challenge.valid_to {
            return Err(self.failed(user.as_ref(), "the challenge has lapsed"));
        }
        // Last of all, so that nobody without a key can fill it.
        if !self.realm.store.spend(&challenge.nonce, challenge.valid_to, self.now)? {
            return Err(self.failed(user.as_ref(), "the challenge was answered before"));
        }
        Ok(Proven { user: name.clone(), key })
    }

    /// The store is asked the same for every name, also for one that nobody here can have.
    fn person(&self, name: &str) -> Result<Option<Person>, Refusal> {
        match name.parse::<UserName>() {
            Ok(name) => Ok(sources::person(self.realm, &name)?),
            Err(_) => {
                let placeholder = "no.such.name".parse::<UserName>()?;
                sources::person(self.realm, &placeholder)?;
                Ok(None)
            }
        }
    }

    /// The keys that this user may log in with, from here and now.
    fn usable(&self, person: Person) -> Vec<UserKey> {
        let groups = &self.realm.config.crtauth.groups;
        let belongs = groups.is_empty() || groups.iter().any(|group| person.user.groups.contains(group));
        if person.user.locked || !belongs {
            return Vec::new();
        }
        let usable = |key: &UserKey| {
            key.expires_at.is_none_or(|at| self.now < at) && mint::comes_from(&key.from, self.address)
        };
        person.keys.into_iter().filter(usable).collect()
    }

    fn speaks(&self, version: Version) -> Result<(), Refusal> {
        if version >= self.handshakes.lowest {
            return Ok(());
        }
        Err(Refusal::Malformed(match version {
            Version::V0 => "version 0 is not spoken here",
            _ => "version 1 is not spoken here",
        }))
    }

    fn limit<K: Eq + std::hash::Hash>(&self, limiter: &Limiter<K>, who: K) -> Result<(), Refusal> {
        limiter.take(who, self.now).map_err(|seconds| Refusal::TooMany { seconds })
    }

    /// Records a handshake that failed: each one about a user of the realm, whose name has a limit; of others one now
    /// and then, with how many there were between.
    fn failed(&self, user: Option<&UserName>, reason: &'static str) -> Refusal {
        let unrecorded = match user {
            Some(_) => 0,
            None => match self.realm.strangers.record_now(self.now) {
                Some(before) => before,
                None => return Refusal::Failed,
            },
        };
        let mut given = json!({"reason": reason});
        if let (Some(given), true) = (given.as_object_mut(), unrecorded > 0) {
            given.insert("unrecorded_before".to_owned(), unrecorded.into());
        }
        let record = Record {
            action: "login",
            subject: user.map(ToString::to_string),
            fingerprint: None,
            door: Door::Http,
            address: self.address.map(|a| a.to_string()),
            asked: Value::Null,
            given,
            outcome: "refused",
            id: None,
        };
        // It failed either way.
        let _ = self.realm.audit.append(self.now, &record, false);
        Refusal::Failed
    }
}

/// What sshd asks of such a key as well: a touch of every authenticator, more of those that were enrolled so.
fn missing(key: &UserKey, proof: Proof) -> Option<&'static str> {
    if key.algorithm.starts_with("sk-") && !proof.touched {
        return Some("nobody touched the authenticator");
    }
    (key.require_verify && !proof.verified).then_some("the authenticator did not verify its user")
}

#[cfg(test)]
mod tests;
