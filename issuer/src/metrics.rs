//! What `serve` counts, in the OpenMetrics text format. No names, no fingerprints, no addresses.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use token::Code;

type Label = (&'static str, &'static str);
type Count = Counter<u64, AtomicU64>;

/// The counters of a running `serve`, shared by its doors.
pub struct Metrics {
    registry: Registry,
    /// `ok`, then one for each code in the order of `Code::ALL`.
    verdicts: Vec<Count>,
    requests: Requests,
    connections: Gauge,
    mints: Family<[Label; 2], Count>,
    handshakes: Family<[Label; 1], Count>,
    start: Gauge,
}

/// HTTP answers by path class and status. Each counter is looked up once: the request path takes no lock.
struct Requests {
    family: Family<[Label; 2], Count>,
    known: [[OnceLock<Count>; STATUSES.len()]; PathClass::ALL.len()],
}

/// What a request was for. The path itself could be anything, and would be a series of its own each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathClass {
    /// Forward authentication.
    Verify,
    /// The key set.
    Jwks,
    /// The issuer's metadata.
    Discovery,
    /// Log-ins signed by an ssh-agent.
    Auth,
    /// `/healthz`.
    Health,
    /// `/metrics`.
    Metrics,
    /// All that is not there.
    Other,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("seamless");
        let verify = Family::<[Label; 1], Count>::default();
        registry.register("verify", "Tokens judged by /verify", verify.clone());
        // Every verdict is there from the start, so that a rate over the first one is not lost.
        let verdicts = std::iter::once("ok")
            .chain(Code::ALL.iter().map(|code| code.as_str()))
            .map(|verdict| verify.get_or_create_owned(&[("verdict", verdict)]))
            .collect();
        let family = Family::default();
        registry.register("http_requests", "HTTP requests answered", Clone::clone(&family));
        let connections = Gauge::default();
        registry.register("http_connections", "HTTP connections open now", connections.clone());
        let mints = Family::default();
        registry.register("mints", "Tokens asked for, by door and outcome", Clone::clone(&mints));
        let handshakes = Family::default();
        registry.register(
            "handshakes",
            "Messages to /_auth, by what became of them",
            Clone::clone(&handshakes),
        );
        let start = Gauge::default();
        registry.register(
            "start_time_seconds",
            "When this process began to serve, in Unix seconds",
            start.clone(),
        );
        registry.register("build", "What is running", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            registry,
            verdicts,
            requests: Requests { family, known: Default::default() },
            connections,
            mints,
            handshakes,
            start,
        }
    }

    /// Serving began, at Unix seconds.
    pub fn started(&self, now: u64) {
        self.start.set(i64::try_from(now).unwrap_or_default());
    }

    /// A door was asked for a token. `outcome` is `ok` or the kind of the refusal.
    pub fn minted(&self, door: &'static str, outcome: &'static str) {
        self.mints.get_or_create(&[("door", door), ("outcome", outcome)]).inc();
    }

    /// A message to `/_auth` was answered.
    pub fn handshake(&self, outcome: &'static str) {
        self.handshakes.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A token was judged; none: it was good.
    pub fn verified(&self, rejection: Option<Code>) {
        let at = rejection.and_then(|code| Code::ALL.iter().position(|c| *c == code)).map_or(0, |at| at + 1);
        if let Some(counter) = self.verdicts.get(at) {
            counter.inc();
        }
    }

    /// A request was answered.
    pub fn answered(&self, path: PathClass, status: u16) {
        self.requests.count(path, status);
    }

    /// The connections that are open.
    #[must_use]
    pub const fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Everything as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(4096);
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl PathClass {
    const ALL: [Self; 7] =
        [Self::Verify, Self::Jwks, Self::Discovery, Self::Auth, Self::Health, Self::Metrics, Self::Other];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Jwks => "jwks",
            Self::Discovery => "discovery",
            Self::Auth => "auth",
            Self::Health => "healthz",
            Self::Metrics => "metrics",
            Self::Other => "other",
        }
    }
}

/// The statuses that the HTTP door gives, and a last one for what it should not.
const STATUSES: [(u16, &str); 11] = [
    (200, "200"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (421, "421"),
    (429, "429"),
    (503, "503"),
    (0, "other"),
];

impl Requests {
    fn count(&self, path: PathClass, status: u16) {
        let row = PathClass::ALL.iter().position(|p| *p == path).unwrap_or_default();
        let column = STATUSES.iter().position(|(s, _)| *s == status).unwrap_or(STATUSES.len() - 1);
        let Some(counter) = self.known.get(row).and_then(|r| r.get(column)) else { return };
        let name = STATUSES.get(column).map_or("other", |(_, name)| name);
        counter
            .get_or_init(|| self.family.get_or_create_owned(&[("path", path.as_str()), ("status", name)]))
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_under_the_documented_names() {
        let metrics = Metrics::new();
        metrics.started(1_800_000_000);
        metrics.verified(None);
        metrics.verified(Some(Code::Expired));
        metrics.verified(Some(Code::Expired));
        metrics.answered(PathClass::Verify, 401);
        metrics.answered(PathClass::Other, 418);
        metrics.minted("ssh", "ok");
        metrics.connections().inc();
        let text = metrics.text();
        for line in [
            "# TYPE seamless_verify counter",
            "seamless_verify_total{verdict=\"ok\"} 1",
            "seamless_verify_total{verdict=\"expired\"} 2",
            "seamless_verify_total{verdict=\"revoked\"} 0",
            "seamless_http_requests_total{path=\"verify\",status=\"401\"} 1",
            "seamless_http_requests_total{path=\"other\",status=\"other\"} 1",
            "seamless_http_connections 1",
            "seamless_mints_total{door=\"ssh\",outcome=\"ok\"} 1",
            "seamless_start_time_seconds 1800000000",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} in:\n{text}");
        }
        assert!(text.contains("seamless_build_info{version=\""), "{text}");
    }
}
