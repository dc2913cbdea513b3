//! The one function that every edge calls.

use alloc::{string::String, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::items::Items;
use crate::request::{self, Outcome, RequestView};
use crate::rules::{Decision, Need};
use crate::text::MAX_TOKEN_LENGTH;
use crate::{
    Audiences, Code, Demand, Format, Identity, Leeway, MaxAge, Rejection, Revocations, Rules, Scratch,
    Verdict,
};
#[cfg(feature = "chap")]
use crate::{ChapSecret, chap};
#[cfg(feature = "jwt")]
use crate::{
    KeyError, PublicKeys,
    access::{self, Signature},
    seen::Seen,
};
#[cfg(feature = "hmac")]
use crate::{Secret, seamless};

/// A key set, a policy, revocations and, on an edge, rules: all that a verdict depends on but the time.
#[derive(Clone, Debug)]
pub struct Verifier {
    realm: String,
    #[cfg(feature = "hmac")]
    secrets: Vec<Secret>,
    max_age: MaxAge,
    #[cfg(feature = "chap")]
    chap_secrets: Vec<ChapSecret>,
    #[cfg(feature = "jwt")]
    trust: Option<Trust>,
    leeway: Leeway,
    audience: Option<Audiences>,
    scopes: Vec<String>,
    revocations: Revocations,
    rules: Option<Rules>,
    /// Another number for every change, so that nothing remembered under an older one counts.
    state: usize,
}

/// Whose JWTs are believed, and for whom they must be.
#[cfg(feature = "jwt")]
#[derive(Clone, Debug)]
struct Trust {
    issuer: String,
    keys: Option<PublicKeys>,
    audiences: Audiences,
}

impl Verifier {
    /// A verifier that trusts nobody yet. `realm` is the name in `WWW-Authenticate`.
    #[must_use]
    pub fn new(realm: &str) -> Self {
        Self {
            realm: realm.into(),
            #[cfg(feature = "hmac")]
            secrets: Vec::new(),
            max_age: MaxAge::default(),
            #[cfg(feature = "chap")]
            chap_secrets: Vec::new(),
            #[cfg(feature = "jwt")]
            trust: None,
            leeway: Leeway::default(),
            audience: None,
            scopes: Vec::new(),
            revocations: Revocations::default(),
            rules: None,
            state: next_state(),
        }
    }

    /// Trusts `seamless` tokens of these secrets, up to that age.
    #[cfg(feature = "hmac")]
    #[must_use]
    pub fn with_secrets(mut self, secrets: Vec<Secret>, max_age: MaxAge) -> Self {
        self.secrets = secrets;
        self.max_age = max_age;
        self.changed()
    }

    /// Trusts `chap` tokens of these secrets, for as long as each says.
    #[cfg(feature = "chap")]
    #[must_use]
    pub fn with_chap_secrets(mut self, secrets: Vec<ChapSecret>) -> Self {
        self.chap_secrets = secrets;
        self.changed()
    }

    /// Trusts JWTs that these keys signed, that name their issuer and one of these audiences.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn with_public_keys(mut self, keys: PublicKeys, audiences: Audiences) -> Self {
        self.trust = Some(Trust { issuer: keys.issuer().into(), keys: Some(keys), audiences });
        self.changed()
    }

    /// Will trust JWTs of this issuer for one of these audiences once its keys are there: until
    /// [`set_public_keys`](Self::set_public_keys), they answer `keys_unavailable`.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn with_issuer(mut self, issuer: &str, audiences: Audiences) -> Self {
        self.trust = Some(Trust { issuer: issuer.into(), keys: None, audiences });
        self.changed()
    }

    /// How far clocks may differ.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Leeway) -> Self {
        self.leeway = leeway;
        self.changed()
    }

    /// Demands one of these audiences of tokens of either format. A `seamless` token has only those that the operator
    /// bound to its secret.
    #[must_use]
    pub fn with_audience(mut self, audiences: Audiences) -> Self {
        self.audience = Some(audiences);
        self.changed()
    }

    /// Demands all of these scopes.
    #[must_use]
    pub fn with_scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self.changed()
    }

    /// Rejects what was taken back.
    #[must_use]
    pub fn with_revocations(mut self, revocations: Revocations) -> Self {
        self.revocations = revocations;
        self.changed()
    }

    /// Judges requests by these rules. Without any, every request needs a token.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self.changed()
    }

    /// Puts a fetched key set in the place of the one before, whole; `None` takes it away, when it got too old. Refuses
    /// keys of another issuer than the one that was named at the start.
    #[cfg(feature = "jwt")]
    pub fn set_public_keys(&mut self, keys: Option<PublicKeys>) -> Result<(), KeyError> {
        let trust = self.trust.as_mut().ok_or(KeyError::Issuer)?;
        if keys.as_ref().is_some_and(|keys| keys.issuer() != trust.issuer) {
            return Err(KeyError::Issuer);
        }
        trust.keys = keys;
        self.state = next_state();
        Ok(())
    }

    /// Puts a new list of revocations in the place of the one before.
    pub fn set_revocations(&mut self, revocations: Revocations) {
        self.revocations = revocations;
        self.state = next_state();
    }

    /// The rules that requests are judged by, if there are any.
    #[must_use]
    pub const fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// The name in `WWW-Authenticate`.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Judges a token at `now`, in Unix seconds.
    ///
    /// Allocates nothing once `scratch` has been used, but for RS256.
    pub fn verify<'a>(&'a self, token: &'a [u8], now: u64, scratch: &'a mut Scratch) -> Verdict<'a> {
        self.judge(token, &Wanted::default(), now, scratch, Memory::None)
    }

    /// Judges a token by what one request demands beside the verifier's own policy.
    pub fn verify_with<'a>(
        &'a self,
        token: &'a [u8],
        demand: &Demand<'_>,
        now: u64,
        scratch: &'a mut Scratch,
    ) -> Verdict<'a> {
        self.judge(token, &Wanted::from(demand), now, scratch, Memory::None)
    }

    /// Judges a request: what the rules want of it, and the token in its `Authorization` header.
    pub fn check<'a, R>(&'a self, request: &'a R, now: u64, scratch: &'a mut Scratch) -> Outcome<'a>
    where
        R: RequestView,
    {
        self.check_remembering(request, now, scratch, Memory::None)
    }

    /// [`check`](Self::check), with the signatures of JWTs that were good before remembered.
    #[cfg(feature = "jwt")]
    pub fn check_seen<'a, R>(
        &'a self,
        request: &'a R,
        now: u64,
        scratch: &'a mut Scratch,
        seen: &mut Seen,
    ) -> Outcome<'a>
    where
        R: RequestView,
    {
        self.check_remembering(request, now, scratch, Memory::Some(seen))
    }

    /// [`verify`](Self::verify), with the signatures of JWTs that were good before remembered.
    #[cfg(feature = "jwt")]
    pub fn verify_seen<'a>(
        &'a self,
        token: &'a [u8],
        now: u64,
        scratch: &'a mut Scratch,
        seen: &mut Seen,
    ) -> Verdict<'a> {
        self.judge(token, &Wanted::default(), now, scratch, Memory::Some(seen))
    }

    /// [`verify_with`](Self::verify_with), with the signatures of JWTs that were good before remembered.
    #[cfg(feature = "jwt")]
    pub fn verify_with_seen<'a>(
        &'a self,
        token: &'a [u8],
        demand: &Demand<'_>,
        now: u64,
        scratch: &'a mut Scratch,
        seen: &mut Seen,
    ) -> Verdict<'a> {
        self.judge(token, &Wanted::from(demand), now, scratch, Memory::Some(seen))
    }

    fn check_remembering<'a, R>(
        &'a self,
        request: &'a R,
        now: u64,
        scratch: &'a mut Scratch,
        memory: Memory<'_>,
    ) -> Outcome<'a>
    where
        R: RequestView,
    {
        match self.admit(request, now, scratch, memory) {
            Ok(outcome) => outcome,
            Err(rejection) => Outcome::Rejection(rejection),
        }
    }

    fn admit<'a, R>(
        &'a self,
        request: &'a R,
        now: u64,
        scratch: &'a mut Scratch,
        memory: Memory<'_>,
    ) -> Result<Outcome<'a>, Rejection>
    where
        R: RequestView,
    {
        let decision = match &self.rules {
            Some(rules) => rules.decide(request.method(), request.authority(), request.path())?,
            None => Decision { need: Need::Required, audience: &[], scopes: &[], amr: &[], index: None },
        };
        if decision.need == Need::Open {
            return Ok(Outcome::Open);
        }
        let Some(token) = request::credentials(request.headers("authorization"))? else {
            return match decision.need {
                Need::Optional => Ok(Outcome::Anonymous),
                _ => Err(Code::MissingAuthorization.into()),
            };
        };
        let wanted = Wanted {
            audiences: Names::Owned(decision.audience),
            scopes: Names::Owned(decision.scopes),
            amr: Names::Owned(decision.amr),
        };
        self.judge(token, &wanted, now, scratch, memory).map(Outcome::Identity)
    }

    /// The order of the verdicts: length and shape, key, signature, time, issuer, audience, revocation, scope.
    fn judge<'a>(
        &'a self,
        token: &'a [u8],
        wanted: &Wanted<'_>,
        now: u64,
        scratch: &'a mut Scratch,
        memory: Memory<'_>,
    ) -> Verdict<'a> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(Code::TooLarge.into());
        }
        let verdict = match Format::of(token) {
            Format::Seamless => self.seamless(token, now),
            Format::Jwt => return self.jwt(token, wanted, now, scratch, memory),
            Format::Chap => self.chap(token, now, scratch),
        };
        // Returned as it lies: an identity is too large to be moved for nothing.
        if let Ok(identity) = &verdict {
            self.demand(identity, wanted, false)?;
        }
        verdict
    }

    #[cfg(feature = "hmac")]
    fn seamless<'a>(&'a self, token: &'a [u8], now: u64) -> Verdict<'a> {
        // Anything that isn't a JWT has this shape: without secrets it is nothing that is accepted here.
        if self.secrets.is_empty() {
            return Err(Code::Malformed.into());
        }
        seamless::verify(token, &self.secrets, self.max_age, self.leeway, now)
    }

    #[cfg(not(feature = "hmac"))]
    fn seamless<'a>(&'a self, _: &'a [u8], _: u64) -> Verdict<'a> {
        Err(Code::Malformed.into())
    }

    #[cfg(feature = "chap")]
    fn chap<'a>(&'a self, token: &'a [u8], now: u64, scratch: &'a mut Scratch) -> Verdict<'a> {
        if self.chap_secrets.is_empty() {
            return Err(Code::UnsupportedAlgorithm.into());
        }
        chap::verify(token, &self.chap_secrets, now, scratch.room())
    }

    #[cfg(not(feature = "chap"))]
    fn chap<'a>(&'a self, _: &'a [u8], _: u64, _: &'a mut Scratch) -> Verdict<'a> {
        Err(Code::UnsupportedAlgorithm.into())
    }

    #[cfg(feature = "jwt")]
    fn jwt<'a>(
        &'a self,
        token: &'a [u8],
        wanted: &Wanted<'_>,
        now: u64,
        scratch: &'a mut Scratch,
        mut memory: Memory<'_>,
    ) -> Verdict<'a> {
        let trust = self.trust.as_ref().ok_or(Code::UnknownKey)?;
        let keys = trust.keys.as_ref().ok_or(Code::KeysUnavailable)?;
        let remembered = memory.as_mut().is_some_and(|seen| seen.contains(self.state, token));
        let signature = if remembered { Signature::Good } else { Signature::Unknown };
        let access = access::verify(token, keys, self.leeway, now, scratch.room(), signature)?;
        if wanted.audiences.is_empty() {
            one_of(&access.identity.audiences, &Names::Owned(trust.audiences.as_slice()))?;
        }
        self.demand(&access.identity, wanted, access.bound)?;
        if let Some(seen) = memory
            && !remembered
        {
            seen.insert(self.state, token);
        }
        Ok(access.identity)
    }

    #[cfg(not(feature = "jwt"))]
    fn jwt<'a>(
        &'a self,
        _: &'a [u8],
        _: &Wanted<'_>,
        _: u64,
        _: &'a mut Scratch,
        _: Memory<'_>,
    ) -> Verdict<'a> {
        Err(Code::UnsupportedAlgorithm.into())
    }

    /// Audience, binding, revocation, scope: the same for every format.
    fn demand(&self, identity: &Identity<'_>, wanted: &Wanted<'_>, bound: bool) -> Result<(), Rejection> {
        let own = || self.audience.as_ref().map_or(&[][..], Audiences::as_slice);
        let audiences = if wanted.audiences.is_empty() { Names::Owned(own()) } else { wanted.audiences };
        if !audiences.is_empty() {
            one_of(&identity.audiences, &audiences)?;
        }
        if bound {
            return Err(Code::BindingRequired.into());
        }
        if self.revocations.revokes(identity) {
            return Err(Code::Revoked.into());
        }
        let allowed = Names::Owned(&self.scopes).all(|name| identity.scopes.contains(name))
            && wanted.scopes.all(|name| identity.scopes.contains(name))
            && wanted.amr.all(|name| identity.amr.contains(name));
        if allowed { Ok(()) } else { Err(Code::MissingScope.into()) }
    }

    fn changed(mut self) -> Self {
        self.state = next_state();
        self
    }
}

/// What one request demands.
#[derive(Default)]
struct Wanted<'d> {
    audiences: Names<'d>,
    scopes: Names<'d>,
    amr: Names<'d>,
}

impl<'d> From<&Demand<'d>> for Wanted<'d> {
    fn from(demand: &Demand<'d>) -> Self {
        Self {
            audiences: Names::Borrowed(demand.audiences),
            scopes: Names::Borrowed(demand.scopes),
            amr: Names::Owned(&[]),
        }
    }
}

/// Names from a rule, or from a caller.
#[derive(Clone, Copy)]
enum Names<'d> {
    Owned(&'d [String]),
    Borrowed(&'d [&'d str]),
}

impl Names<'_> {
    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Owned(names) => names.iter().any(|name| is(name)),
            Self::Borrowed(names) => names.iter().any(|name| is(name)),
        }
    }

    fn all(&self, are: impl Fn(&str) -> bool) -> bool {
        !self.any(|name| !are(name))
    }

    const fn is_empty(&self) -> bool {
        match self {
            Self::Owned(names) => names.is_empty(),
            Self::Borrowed(names) => names.is_empty(),
        }
    }
}

impl Default for Names<'_> {
    fn default() -> Self {
        Self::Owned(&[])
    }
}

#[cfg(feature = "jwt")]
type Memory<'m> = Option<&'m mut Seen>;
#[cfg(not(feature = "jwt"))]
type Memory<'m> = Option<&'m ()>;

fn one_of(audiences: &Items<'_>, wanted: &Names<'_>) -> Result<(), Rejection> {
    if wanted.any(|name| audiences.contains(name)) { Ok(()) } else { Err(Code::WrongAudience.into()) }
}

fn next_state() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
