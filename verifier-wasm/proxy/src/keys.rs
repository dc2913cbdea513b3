//! The upkeep of public keys that come from a cluster: [`token::refresh`] says when, this moves the bytes.

use token::refresh::{self, Poll, Refresh, Response, Ticket};
use token::{PublicKeys, settings::KeySource};

use crate::headers::Headers;
use crate::host::{Counter, Host, Level};

/// The longest answer that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long an answer may take, in milliseconds.
const TIMEOUT: u32 = 5000;

/// The keys of one issuer, fetched again and again.
///
/// Every worker thread of the proxy has a filter of its own, and each fetches for itself: a request every five minutes
/// and worker is cheaper than state that threads share, and no worker can hand another old keys.
#[derive(Debug)]
pub struct Upkeep {
    refresh: Refresh,
    cluster: String,
    path: String,
    authority: String,
    /// The fetch that is under way.
    call: Option<(u32, Ticket)>,
    fetched: Counter,
    failed: Counter,
}

impl Upkeep {
    /// For the keys of this issuer; nothing where they don't come from a cluster.
    pub fn new<H: Host>(host: &H, issuer: &str, source: KeySource) -> Option<Self> {
        let KeySource::Cluster { cluster, path, authority } = source else { return None };
        Some(Self {
            refresh: Refresh::new(issuer),
            cluster,
            path,
            authority,
            call: None,
            fetched: host.define_counter("seamless_jwks_fetched"),
            failed: host.define_counter("seamless_jwks_failed"),
        })
    }

    /// The keys, while they are fresh enough to count.
    #[must_use]
    pub fn keys(&self, now: u64) -> Option<&PublicKeys> {
        self.refresh.keys(now)
    }

    /// Whether an answer is awaited.
    #[must_use]
    pub const fn is_fetching(&self) -> bool {
        self.call.is_some()
    }

    /// A token named a key that isn't there.
    pub fn on_unknown_kid(&mut self, now: u64) {
        self.refresh.on_unknown_kid(now);
    }

    /// Fetches if it is time to. The host is turned to the filter itself, so that the answer comes to it.
    pub fn poll<H: Host>(&mut self, host: &H, now: u64) {
        let Poll::Fetch { ticket, etag } = self.refresh.poll(now) else { return };
        let mut headers = vec![
            (":method", "GET"),
            (":path", self.path.as_str()),
            (":authority", self.authority.as_str()),
            ("accept", "application/json"),
        ];
        headers.extend(etag.map(|etag| ("if-none-match", etag)));
        match host.fetch(&self.cluster, &headers, TIMEOUT) {
            Some(call) => self.call = Some((call, ticket)),
            None => self.fail(host, ticket, now, "the fetch can't be started"),
        }
    }

    /// Takes the answer to a fetch; `headers` are empty where there is none. `false` where it was none of ours.
    pub fn on_fetched<H: Host>(&mut self, host: &H, call: u32, body_length: usize, now: u64) -> bool {
        let Some((_, ticket)) = self.call.take_if(|(known, _)| *known == call) else { return false };
        let map = host.fetched_headers();
        let headers = Headers::new(&map);
        let Some(status) = headers.text(":status").and_then(|status| status.parse().ok()) else {
            self.fail(host, ticket, now, "no answer");
            return true;
        };
        if body_length > MAX_BODY {
            self.fail(host, ticket, now, "the answer is over 64 KiB");
            return true;
        }
        let body = host.fetched_body(body_length);
        let response = Response {
            status,
            // What isn't text is no key set either.
            body: core::str::from_utf8(&body).unwrap_or_default(),
            etag: headers.text("etag"),
            max_age: headers.text("cache-control").and_then(refresh::max_age),
            age: headers.text("age").and_then(|age| age.trim().parse().ok()),
        };
        match self.refresh.on_response(ticket, now, &response) {
            Ok(_) => host.count(self.fetched),
            Err(error) => {
                host.count(self.failed);
                host.log(Level::Warn, &format!("seamless: jwks_cluster {}: {error}", self.cluster));
            }
        }
        true
    }

    fn fail<H: Host>(&mut self, host: &H, ticket: Ticket, now: u64, why: &str) {
        self.refresh.on_error(ticket, now);
        host.count(self.failed);
        host.log(Level::Warn, &format!("seamless: jwks_cluster {}: {why}", self.cluster));
    }
}
