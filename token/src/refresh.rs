//! When to fetch keys, and what to make of the answers. Does no I/O and reads no clock.
//!
//! ```
//! # #[cfg(feature = "eddsa")] {
//! use token::refresh::{Poll, Refresh, Response};
//!
//! let mut refresh = Refresh::new("https://login.example/corp");
//! let now = 1_800_000_000;
//! let Poll::Fetch { ticket, etag: None } = refresh.poll(now) else { panic!("nothing to do") };
//! // … GET the JWKS: https (loopback excepted), no redirects, 64 KiB at most …
//! let body = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"kXzD9wB1S2mFwFhi4fo841VLjlCIeWPZYPp1TnRTab0"}]}"#;
//! refresh.on_response(ticket, now, &Response { status: 200, body, max_age: Some(60), ..Response::default() })?;
//! assert_eq!(refresh.keys(now).map(|keys| keys.len()), Some(1));
//! assert_eq!(refresh.poll(now), Poll::Idle { until: now + 60 });
//! # }
//! # Ok::<_, token::refresh::RefreshError>(())
//! ```

use alloc::string::String;
use core::fmt;

use crate::{KeyError, PublicKeys};

/// Keys are asked for again after this many seconds at most, whatever the issuer allows: a compromised key must be
/// gone everywhere soon.
pub const MAX_AGE: u64 = 300;
/// Keys that nobody has confirmed for longer than this many seconds count no more.
pub const MAX_STALE: u64 = 24 * 3600;
/// Keys are not asked for again sooner than this, whatever the issuer demands.
const MIN_AGE: u64 = 5;
/// An unknown `kid` brings a fetch forward, but no more often than this: anybody can send one.
const UNKNOWN_KID_INTERVAL: u64 = 30;
/// A fetch that has not answered after this is given up.
const FLIGHT_LIMIT: u64 = 30;
/// The longest wait after a failure.
const MAX_BACK_OFF: u64 = 300;

/// The trust document of one issuer and its upkeep. The document is a JWKS.
#[derive(Clone, Debug)]
pub struct Refresh {
    issuer: String,
    held: Option<Held>,
    flight: Option<Flight>,
    tickets: u64,
    failures: u32,
    /// No fetch before this, after a failure.
    not_before: u64,
    /// Somebody asked for a key that we don't have.
    wanted: bool,
    unknown_kid_at: Option<u64>,
}

#[derive(Clone, Debug)]
struct Held {
    keys: PublicKeys,
    etag: Option<String>,
    /// When the issuer last said that these are its keys.
    confirmed_at: u64,
    fresh_until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    ticket: Ticket,
    since: u64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll<'r> {
    /// Nothing before this time, in Unix seconds.
    Idle {
        /// When to ask again.
        until: u64,
    },
    /// Fetch, and bring the answer back with the ticket. Nothing else is to be done until then.
    Fetch {
        /// Which fetch this is.
        ticket: Ticket,
        /// For `If-None-Match`.
        etag: Option<&'r str>,
    },
}

/// Names one fetch, so that a late answer can't overtake a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// The answer to a fetch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Response<'r> {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'r str,
    /// The `ETag`, as it came.
    pub etag: Option<&'r str>,
    /// `max-age` of `Cache-Control`, in seconds.
    pub max_age: Option<u64>,
    /// `Age`, in seconds: how long the answer lay in a cache.
    pub age: Option<u64>,
}

/// Why an answer was not taken. What was held before stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshError {
    /// A status other than 200, or 304 where nothing is held. Redirects are not followed.
    Status(u16),
    /// A key set that is refused as a whole.
    Keys(KeyError),
    /// A cached answer that is older than what is held.
    Older,
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the issuer answered with status {status}"),
            Self::Keys(error) => write!(f, "the issuer's keys are refused: {error}"),
            Self::Older => f.write_str("the answer is older than the keys that are held"),
        }
    }
}

impl core::error::Error for RefreshError {}

impl Refresh {
    /// For the keys of this issuer; holds none yet.
    #[must_use]
    pub fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.into(),
            held: None,
            flight: None,
            tickets: 0,
            failures: 0,
            not_before: 0,
            wanted: false,
            unknown_kid_at: None,
        }
    }

    /// The keys, unless there are none or nobody has confirmed them for too long: then answer `keys_unavailable`.
    #[must_use]
    pub fn keys(&self, now: u64) -> Option<&PublicKeys> {
        self.held
            .as_ref()
            .filter(|held| now.saturating_sub(held.confirmed_at) <= MAX_STALE)
            .map(|held| &held.keys)
    }

    /// Whether the keys are so old that whoever can wait for a fetch should, rather than judge by them: an edge that
    /// slept between two requests would let a compromised key live on. One that can't wait goes by [`keys`](Self::keys).
    #[must_use]
    pub fn is_overdue(&self, now: u64) -> bool {
        self.held.as_ref().is_none_or(|held| now.saturating_sub(held.confirmed_at) > 2 * MAX_AGE)
    }

    /// What to do now. Never more than one fetch is under way.
    pub fn poll(&mut self, now: u64) -> Poll<'_> {
        if let Some(flight) = self.flight {
            let limit = flight.since.saturating_add(FLIGHT_LIMIT);
            if now < limit {
                return Poll::Idle { until: limit };
            }
            self.fail(now);
        }
        let due = match &self.held {
            Some(held) if !self.wanted => held.fresh_until,
            _ => 0,
        };
        let until = due.max(self.not_before);
        if now < until {
            return Poll::Idle { until };
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.flight = Some(Flight { ticket, since: now });
        Poll::Fetch { ticket, etag: self.held.as_ref().and_then(|held| held.etag.as_deref()) }
    }

    /// Takes the answer of a fetch. `true` where there are other keys now than before, which then replace them whole;
    /// an answer that comes too late is passed over.
    pub fn on_response(
        &mut self,
        ticket: Ticket,
        now: u64,
        response: &Response<'_>,
    ) -> Result<bool, RefreshError> {
        if self.flight.is_none_or(|flight| flight.ticket != ticket) {
            return Ok(false);
        }
        let taken = self.take(now, response);
        match taken {
            Ok(_) => {
                self.flight = None;
                self.failures = 0;
                self.not_before = 0;
                self.wanted = false;
            }
            Err(_) => self.fail(now),
        }
        taken
    }

    /// Notes that a fetch failed: no answer, no connection, a body over 64 KiB.
    pub fn on_error(&mut self, ticket: Ticket, now: u64) {
        if self.flight.is_some_and(|flight| flight.ticket == ticket) {
            self.fail(now);
        }
    }

    /// Notes that a token named a key that isn't held: the keys may have been rotated.
    pub fn on_unknown_kid(&mut self, now: u64) {
        let recently = |at: u64| now.saturating_sub(at) < UNKNOWN_KID_INTERVAL;
        let confirmed = self.held.as_ref().is_some_and(|held| recently(held.confirmed_at));
        if !confirmed && !self.unknown_kid_at.is_some_and(recently) {
            self.unknown_kid_at = Some(now);
            self.wanted = true;
        }
    }

    /// Brings the next fetch forward to now: for an operator's hand, never for what a token says.
    pub const fn want(&mut self) {
        self.wanted = true;
        self.not_before = 0;
    }

    fn take(&mut self, now: u64, response: &Response<'_>) -> Result<bool, RefreshError> {
        let age = response.age.unwrap_or(0);
        let confirmed_at = now.saturating_sub(age);
        let life = response.max_age.unwrap_or(MAX_AGE).min(MAX_AGE).saturating_sub(age).max(MIN_AGE);
        let fresh_until = now.saturating_add(life);
        // A cache on the way may still have what the issuer has already replaced.
        if self.held.as_ref().is_some_and(|held| confirmed_at < held.confirmed_at) {
            return Err(RefreshError::Older);
        }
        match (response.status, &mut self.held) {
            (304, Some(held)) => {
                held.confirmed_at = confirmed_at;
                held.fresh_until = fresh_until;
                Ok(false)
            }
            (200, _) => {
                let keys = PublicKeys::from_jwks(&self.issuer, response.body).map_err(RefreshError::Keys)?;
                self.held =
                    Some(Held { keys, etag: response.etag.map(Into::into), confirmed_at, fresh_until });
                Ok(true)
            }
            (status, _) => Err(RefreshError::Status(status)),
        }
    }

    /// Waits 1, 2, 4, … seconds.
    fn fail(&mut self, now: u64) {
        self.flight = None;
        let wait = 1u64.checked_shl(self.failures).unwrap_or(MAX_BACK_OFF).min(MAX_BACK_OFF);
        self.failures = (self.failures + 1).min(16);
        self.not_before = now.saturating_add(wait);
    }
}

/// The seconds that `Cache-Control` allows (RFC 9111 section 5.2.2): none where it forbids to keep the answer.
#[must_use]
pub fn max_age(cache_control: &str) -> Option<u64> {
    let directives = || cache_control.split(',').map(str::trim);
    let forbids = |d: &str| d.eq_ignore_ascii_case("no-store") || d.eq_ignore_ascii_case("no-cache");
    if directives().any(forbids) {
        return Some(0);
    }
    directives().find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("max-age");
        named.then(|| value.trim().trim_matches('"').parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const A: &str = r#"{"keys":[]}"#;
    const B: &str = r#"{"keys":[{"kty":"EC","crv":"P-384","kid":"b"}]}"#;

    fn fetch(refresh: &mut Refresh, now: u64) -> Ticket {
        match refresh.poll(now) {
            Poll::Fetch { ticket, .. } => ticket,
            Poll::Idle { until } => panic!("idle until {until}, {} s from now", until - now),
        }
    }

    fn ok(body: &str) -> Response<'_> {
        Response { status: 200, body, etag: Some("\"1\""), ..Response::default() }
    }

    fn holding(body: &str) -> Refresh {
        let mut refresh = Refresh::new("i");
        let ticket = fetch(&mut refresh, NOW);
        assert_eq!(refresh.on_response(ticket, NOW, &ok(body)), Ok(true));
        refresh
    }

    #[test]
    fn max_age_has_a_ceiling_and_a_floor() {
        for (max_age, age, life) in [
            (None, None, 300),
            (Some(86_400), None, 300),
            (Some(60), None, 60),
            (Some(60), Some(20), 40),
            (Some(0), None, 5),
            (Some(60), Some(90), 5),
        ] {
            let mut refresh = Refresh::new("i");
            let ticket = fetch(&mut refresh, NOW);
            refresh.on_response(ticket, NOW, &Response { max_age, age, ..ok(A) }).unwrap();
            assert_eq!(refresh.poll(NOW), Poll::Idle { until: NOW + life });
        }
    }

    #[test]
    fn one_fetch_at_a_time() {
        let mut refresh = Refresh::new("i");
        let first = fetch(&mut refresh, NOW);
        assert_eq!(refresh.poll(NOW + 1), Poll::Idle { until: NOW + 30 });
        refresh.on_unknown_kid(NOW + 2);
        assert_eq!(refresh.poll(NOW + 2), Poll::Idle { until: NOW + 30 });
        // It never answers: given up, a second's pause, the next.
        assert_eq!(refresh.poll(NOW + 30), Poll::Idle { until: NOW + 31 });
        let second = fetch(&mut refresh, NOW + 31);
        assert_eq!(refresh.on_response(first, NOW + 32, &ok(A)), Ok(false));
        assert!(refresh.keys(NOW + 32).is_none());
        assert_eq!(refresh.on_response(second, NOW + 33, &ok(B)), Ok(true));
        assert_eq!(refresh.on_response(first, NOW + 34, &ok(A)), Ok(false));
        assert_eq!(refresh.keys(NOW + 34).unwrap().len(), 1);
    }

    #[test]
    fn failures_back_off_and_keep_what_is_held() {
        let mut refresh = holding(B);
        let mut now = NOW + 300;
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300] {
            let ticket = fetch(&mut refresh, now);
            refresh.on_error(ticket, now);
            assert_eq!(refresh.poll(now), Poll::Idle { until: now + wait });
            refresh.on_unknown_kid(now);
            assert_eq!(refresh.poll(now), Poll::Idle { until: now + wait });
            now += wait;
        }
        assert_eq!(refresh.keys(now).unwrap().len(), 1);
        let ticket = fetch(&mut refresh, now);
        assert_eq!(refresh.on_response(ticket, now, &ok(A)), Ok(true));
        assert_eq!(refresh.poll(now), Poll::Idle { until: now + 300 });
    }

    #[test]
    fn bad_answers_are_failures() {
        for (response, error) in [
            (Response { status: 302, ..ok(A) }, RefreshError::Status(302)),
            (Response { status: 500, ..ok(A) }, RefreshError::Status(500)),
            (ok("{}"), RefreshError::Keys(KeyError::Json)),
            (Response { age: Some(301), ..ok(A) }, RefreshError::Older),
        ] {
            let mut refresh = holding(B);
            let ticket = fetch(&mut refresh, NOW + 300);
            assert_eq!(refresh.on_response(ticket, NOW + 300, &response), Err(error));
            assert_eq!(refresh.keys(NOW + 300).unwrap().len(), 1);
            assert_eq!(refresh.poll(NOW + 300), Poll::Idle { until: NOW + 301 });
        }
        let mut refresh = Refresh::new("i");
        let ticket = fetch(&mut refresh, NOW);
        let response = Response { status: 304, ..ok("") };
        assert_eq!(refresh.on_response(ticket, NOW, &response), Err(RefreshError::Status(304)));
    }

    #[test]
    fn not_modified_confirms_what_is_held() {
        let mut refresh = holding(B);
        let Poll::Fetch { ticket, etag: Some("\"1\"") } = refresh.poll(NOW + 300) else { panic!() };
        assert_eq!(refresh.on_response(ticket, NOW + 300, &Response { status: 304, ..ok("") }), Ok(false));
        assert_eq!(refresh.poll(NOW + 300), Poll::Idle { until: NOW + 600 });
        assert!(refresh.keys(NOW + 300 + MAX_STALE).is_some());
    }

    #[test]
    fn stale_keys_count_no_more() {
        let refresh = holding(B);
        assert!(refresh.keys(NOW + MAX_STALE).is_some());
        assert!(refresh.keys(NOW + MAX_STALE + 1).is_none());
    }

    #[test]
    fn an_operator_need_not_wait() {
        let mut refresh = holding(A);
        refresh.want();
        assert!(matches!(refresh.poll(NOW), Poll::Fetch { .. }));
    }

    #[test]
    fn keys_of_a_sleeper_are_overdue() {
        assert!(Refresh::new("https://login.example").is_overdue(NOW));
        let refresh = holding(B);
        assert!(!refresh.is_overdue(NOW + 2 * MAX_AGE));
        assert!(refresh.is_overdue(NOW + 2 * MAX_AGE + 1));
    }

    #[test]
    fn an_unknown_kid_brings_a_fetch_forward_now_and_then() {
        let mut refresh = holding(A);
        refresh.on_unknown_kid(NOW + 29);
        assert_eq!(refresh.poll(NOW + 29), Poll::Idle { until: NOW + 300 });
        refresh.on_unknown_kid(NOW + 30);
        let ticket = fetch(&mut refresh, NOW + 30);
        refresh.on_response(ticket, NOW + 30, &ok(A)).unwrap();
        refresh.on_unknown_kid(NOW + 59);
        assert_eq!(refresh.poll(NOW + 59), Poll::Idle { until: NOW + 330 });
    }

    #[test]
    fn cache_control_is_read_as_http_has_it() {
        for (header, seconds) in [
            ("max-age=60", Some(60)),
            ("public, Max-Age = \"60\"", Some(60)),
            ("max-age=60, no-cache", Some(0)),
            ("No-Store", Some(0)),
            ("s-maxage=60", None),
            ("x-max-age=60", None),
            ("max-age=-1", None),
            ("max-age=99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(max_age(header), seconds, "{header}");
        }
    }
}
