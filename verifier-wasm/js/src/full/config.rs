//! The configuration, piece by piece. JavaScript has checked types; limits and formats are checked here.

use alloc::{string::String, vec::Vec};

use token::{Audiences, ChapSecret, Digest, KeyError, Leeway, MaxAge, Secret, Verifier};
use token::{PublicKeys, Revocations, Rules, RulesError};

use super::core::Core;
use super::output::{number, word};
use super::upkeep::Upkeep;

/// The pieces, by their numbers; `npm/src/module.js` has the same list.
mod field {
    pub(super) const REALM: u32 = 0;
    pub(super) const AUDIENCE: u32 = 1;
    pub(super) const SCOPE: u32 = 2;
    pub(super) const MAX_AGE: u32 = 3;
    pub(super) const LEEWAY: u32 = 4;
    pub(super) const SECRET: u32 = 5;
    pub(super) const SECRET_AUDIENCE: u32 = 6;
    pub(super) const SECRET_SCOPE: u32 = 7;
    pub(super) const ISSUER: u32 = 8;
    pub(super) const JWKS: u32 = 9;
    pub(super) const FETCHED: u32 = 10;
    pub(super) const RULES: u32 = 11;
    pub(super) const REVOCATIONS: u32 = 12;
    pub(super) const SEED: u32 = 13;
    pub(super) const DONE: u32 = 14;
}

/// What was said so far.
pub(crate) struct Config {
    realm: String,
    audiences: Vec<String>,
    scopes: Vec<String>,
    max_age: MaxAge,
    leeway: Leeway,
    secrets: Vec<Secret>,
    chap_secrets: Vec<ChapSecret>,
    secret_audiences: Vec<String>,
    secret_scopes: Vec<String>,
    issuer: String,
    keys: Option<PublicKeys>,
    fetched: bool,
    rules: Option<Rules>,
    revocations: Revocations,
}

impl Config {
    pub(crate) fn new() -> Self {
        Self {
            realm: String::new(),
            audiences: Vec::new(),
            scopes: Vec::new(),
            max_age: MaxAge::default(),
            leeway: Leeway::default(),
            secrets: Vec::new(),
            chap_secrets: Vec::new(),
            secret_audiences: Vec::new(),
            secret_scopes: Vec::new(),
            issuer: String::new(),
            keys: None,
            fetched: false,
            rules: None,
            revocations: Revocations::default(),
        }
    }
}

/// Why a piece is refused.
enum Refusal {
    Text(&'static str),
    At(RulesError),
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        Self::Text(error.message())
    }
}

impl From<RulesError> for Refusal {
    fn from(error: RulesError) -> Self {
        Self::At(error)
    }
}

/// Overwrites the stack below: HMAC pads a key there, and leaves it.
#[inline(never)]
fn scrub() {
    core::hint::black_box(&mut [0_u8; 4096]);
}

impl Core {
    pub(crate) fn set(&mut self, field: u32, length: usize, value: u32) -> u32 {
        let done = self.take(field, length, value);
        scrub();
        if let Some(used) = self.input.get_mut(..length) {
            used.fill(0);
        }
        match done {
            Ok(()) => 0,
            Err(Refusal::Text(text)) => {
                self.output.say(text);
                1
            }
            Err(Refusal::At(error)) => {
                self.output.set(word::FIRST, number(error.line));
                self.output.set(word::SECOND, number(error.column));
                self.output.say(&error.message);
                2
            }
        }
    }

    fn take(&mut self, field: u32, length: usize, value: u32) -> Result<(), Refusal> {
        let bytes = self.input.get(..length).unwrap_or_default();
        let text = || core::str::from_utf8(bytes).map_err(|_| Refusal::Text("not text"));
        let name = || match text()? {
            "" => Err(Refusal::Text("empty")),
            name if name.chars().any(char::is_control) => Err(Refusal::Text("has control characters")),
            name => Ok(String::from(name)),
        };
        let config = &mut self.config;
        match field {
            field::REALM => config.realm = name()?,
            field::AUDIENCE => config.audiences.push(name()?),
            field::SCOPE => config.scopes.push(name()?),
            field::MAX_AGE => {
                config.max_age = MaxAge::try_from(value).map_err(|_| Refusal::Text("out of range"))?;
            }
            field::LEEWAY => {
                let leeway = Leeway::try_from(u64::from(value));
                config.leeway = leeway.map_err(|_| Refusal::Text("out of range"))?;
            }
            // Before the secret that they are bound to.
            field::SECRET_AUDIENCE => config.secret_audiences.push(name()?),
            field::SECRET_SCOPE => config.secret_scopes.push(name()?),
            // No digest: a secret of crtauth, whose tokens have their own.
            field::SECRET if value == 0 => {
                let secret = ChapSecret::new(bytes)?
                    .with_audiences(core::mem::take(&mut config.secret_audiences))
                    .with_scopes(core::mem::take(&mut config.secret_scopes));
                config.chap_secrets.push(secret);
            }
            field::SECRET => {
                let digest = match value {
                    1 => Digest::Sha1,
                    256 => Digest::Sha256,
                    512 => Digest::Sha512,
                    _ => return Err(Refusal::Text("no such digest")),
                };
                let secret = Secret::new(bytes, digest)?
                    .with_audiences(core::mem::take(&mut config.secret_audiences))
                    .with_scopes(core::mem::take(&mut config.secret_scopes));
                config.secrets.push(secret);
            }
            field::ISSUER => config.issuer = name()?,
            field::JWKS => config.keys = Some(PublicKeys::from_jwks(&config.issuer, text()?)?),
            field::FETCHED => config.fetched = true,
            field::RULES => config.rules = Some(Rules::from_json(text()?)?),
            field::REVOCATIONS => {
                let revocations = Revocations::from_json(text()?)?;
                self.verifier.set_revocations(revocations.clone());
                config.revocations = revocations;
            }
            field::SEED => {
                let seed = bytes.try_into().map_err(|_| Refusal::Text("a seed has 32 bytes"))?;
                self.seen = token::seen::Seen::new(seed);
            }
            field::DONE => self.finish()?,
            _ => return Err(Refusal::Text("no such field")),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Refusal> {
        let config = core::mem::replace(&mut self.config, Config::new());
        let mut verifier = Verifier::new(&config.realm)
            .with_secrets(config.secrets, config.max_age)
            .with_chap_secrets(config.chap_secrets)
            .with_leeway(config.leeway)
            .with_scopes(config.scopes);
        if let Some(audiences) = Audiences::new(config.audiences) {
            {
                if let Some(keys) = config.keys {
                    verifier = verifier.with_public_keys(keys, audiences.clone());
                } else if config.fetched {
                    verifier = verifier.with_issuer(&config.issuer, audiences.clone());
                    self.upkeep = Some(Upkeep::new(&config.issuer));
                }
            }
            verifier = verifier.with_audience(audiences);
        } else {
            if config.keys.is_some() || config.fetched {
                return Err(Refusal::Text("public keys without an audience"));
            }
        }
        {
            verifier = verifier.with_revocations(config.revocations);
            if let Some(rules) = config.rules {
                verifier = verifier.with_rules(rules);
            }
        }
        self.verifier = verifier;
        Ok(())
    }
}
