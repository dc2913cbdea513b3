//! The HTTP door: publishes the realm's keys, judges tokens for proxies and, where the settings say so, answers log-ins
//! that an ssh-agent signs.
//!
//! Plain functions over a closed list of routes: `/verify` stands in the way of every request of a site, and
//! what it costs is a signature and little else.

mod auth;
mod discovery;
mod health;
mod host;
mod jwks;
mod listener;
mod metrics;
mod opening;
mod proxy;
mod query;
mod reply;
mod route;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{ALLOW, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use ipnet::IpNet;
use tokio::sync::watch;

pub use listener::{bind_unix, forget_unix};
pub use proxy::client_address;
pub use tls::Tls;

use crate::doors::Caps;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::realm::Realm;
use crate::services::handshake::Handshakes;
use crate::services::trust;
use host::{Host, NotOurs};
use reply::{Answer, Document};
use route::{Route, Routes};

/// Where requests come in.
#[derive(Debug)]
pub enum Listener {
    /// A bound TCP socket.
    Tcp(tokio::net::TcpListener),
    /// A bound unix socket, from [`bind_unix`].
    Unix(tokio::net::UnixListener),
}

/// How the door is run.
pub struct Options {
    /// Certificate and key; none: plain HTTP. On the TCP sockets alone.
    pub tls: Option<Arc<Tls>>,
    /// The proxies in front of us. Where there are any, nobody else is answered.
    pub behind_proxy: Vec<IpNet>,
    /// How much at once and how long.
    pub limits: Limits,
    /// Shared with the other doors.
    pub metrics: Arc<Metrics>,
    /// Where the door writes what an operator should know: one line each, no token, no query.
    pub log: Log,
}

/// Writes a line.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// PEM files, as certbot and its kin write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a connection may take. A slow or idle one holds a place that others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections. The cap on one address is not for proxies and this machine, which speak for many.
    pub caps: Caps,
    /// For the TLS handshake, and then for each request's head.
    pub opening: Duration,
    /// A connection without requests ends after one to two of these.
    pub idle: Duration,
    /// For what is under way when the door closes.
    pub closing: Duration,
    /// Before that, for clients that keep a connection and have a request on its way: closing it at once would
    /// lose that one. Its answer then says `Connection: close`.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            caps: Caps { connections: 512, per_address: 64 },
            opening: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            closing: Duration::from_secs(5),
            linger: Duration::from_millis(500),
        }
    }
}

impl Default for Options {
    /// Plain HTTP without a proxy, with metrics of its own, writing to standard error.
    fn default() -> Self {
        Self {
            tls: None,
            behind_proxy: Vec::new(),
            limits: Limits::default(),
            metrics: Arc::default(),
            log: Arc::new(|line| eprintln!("seamless: {line}")),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("tls", &self.tls.is_some())
            .field("behind_proxy", &self.behind_proxy)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Answers until `shutdown` turns true or its sender is gone, then lets what is under way finish.
///
/// A unix socket's path stays; see [`forget_unix`]. Fails at once where the rules of `/verify` can't be read.
pub async fn serve(
    realm: Arc<Realm>,
    listeners: Vec<Listener>,
    options: Options,
    shutdown: watch::Receiver<bool>,
) -> Result<()> {
    if options.tls.is_some() && listeners.iter().all(|l| matches!(l, Listener::Unix(_))) {
        return Err(
            Error::usage("a unix socket does not speak TLS").hint("leave --tls-cert and --tls-key out")
        );
    }
    trust::rules(&realm)?;
    let handshakes = Handshakes::open(&realm)?.map(Arc::new);
    let (limits, tls) = (options.limits, options.tls.clone());
    options.metrics.started(realm.now());
    listener::run(Arc::new(Site::new(realm, handshakes, options)), listeners, tls, limits, shutdown).await;
    Ok(())
}

/// What every request is answered from.
struct Site {
    realm: Arc<Realm>,
    routes: Routes,
    host: Host,
    proxies: Vec<IpNet>,
    metrics: Arc<Metrics>,
    handshakes: Option<Arc<Handshakes>>,
    discovery: Document,
    published: jwks::Published,
    log: Log,
    /// When the log was last told of trouble, in Unix seconds.
    reported: AtomicU64,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Tcp(IpAddr),
    /// Somebody whom the socket's mode lets in.
    Unix,
}

impl Site {
    fn new(realm: Arc<Realm>, handshakes: Option<Arc<Handshakes>>, options: Options) -> Self {
        Self {
            routes: Routes::new(&realm.config.issuer),
            host: Host::of_issuer(&realm.config.issuer)
                .or(handshakes.as_ref().map_or("", |handshakes| handshakes.server_name())),
            handshakes,
            proxies: options.behind_proxy,
            metrics: options.metrics,
            discovery: discovery::document(&realm),
            published: jwks::Published::default(),
            log: options.log,
            reported: AtomicU64::new(0),
            realm,
        }
    }

    /// Whether the body is to be read, though nobody looks at it: clients of crtauth send that of the request which they
    /// want to repeat.
    fn drains(&self, request: &Parts) -> bool {
        self.handshakes.is_some() && self.routes.find(request.uri.path()) == Route::Auth
    }

    /// The answer to a request's head. No body has any say in it.
    async fn answer(&self, request: &Parts, peer: Peer) -> Answer {
        let route = self.routes.find(request.uri.path());
        let answer = match self.admit(request, peer) {
            Some(refusal) => refusal,
            None => self.dispatch(route, request, peer).await,
        };
        self.metrics.answered(route.class(), answer.status().as_u16());
        if request.method == Method::HEAD { reply::without_body(answer) } else { answer }
    }

    /// The refusal to a request that should not have come here.
    fn admit(&self, request: &Parts, peer: Peer) -> Option<Answer> {
        // No page in a browser can reach a unix socket, so there is nothing to rebind; and a proxy in front of one
        // has no name to put into Host, so it sends whatever its settings call the upstream.
        let Peer::Tcp(address) = peer else { return None };
        if !self.proxies.is_empty() && !proxy::is_trusted(address, &self.proxies) {
            return Some(reply::line(StatusCode::FORBIDDEN, "not from here\n"));
        }
        match self.host.check(request) {
            Ok(()) => None,
            Err(NotOurs::Unreadable) => Some(reply::line(StatusCode::BAD_REQUEST, "bad host\n")),
            Err(NotOurs::Other) => {
                Some(reply::line(StatusCode::MISDIRECTED_REQUEST, "misdirected request\n"))
            }
        }
    }

    /// Whether this peer is believed about a request that it forwards: a proxy that was named, or who is on this
    /// machine. Anybody else would write the answer that he wants to see.
    fn believes(&self, peer: Peer) -> bool {
        match peer {
            Peer::Unix => true,
            Peer::Tcp(address) => {
                address.to_canonical().is_loopback() || proxy::is_trusted(address, &self.proxies)
            }
        }
    }

    async fn dispatch(&self, route: Route, request: &Parts, peer: Peer) -> Answer {
        // A proxy may ask with the method of the request that it asks about.
        if route == Route::Verify {
            return verify::answer(self, request, peer);
        }
        // Clients of crtauth send whatever method and body the request had that they want to repeat.
        if let (Route::Auth, Some(handshakes)) = (route, &self.handshakes) {
            return auth::answer(self, Arc::clone(handshakes), request, peer).await;
        }
        if matches!(route, Route::None | Route::Auth) {
            return reply::line(StatusCode::NOT_FOUND, "not found\n");
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut answer = reply::line(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match route {
            Route::Jwks => jwks::answer(self, &request.headers).await,
            Route::Discovery => self.discovery.answer(&request.headers),
            Route::Health => health::answer(self).await,
            Route::Metrics => metrics::answer(self),
            Route::Verify | Route::Auth | Route::None => reply::line(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    /// 503, with the reason in the log alone.
    fn unavailable(&self, what: &str, error: &Error) -> Answer {
        self.report(what, error);
        reply::line(StatusCode::SERVICE_UNAVAILABLE, "verification keys unavailable\n")
    }

    /// Tells the log of trouble, once in ten seconds: every request of a site may meet the same.
    fn report(&self, what: &str, why: &dyn fmt::Display) {
        const EVERY: u64 = 10;
        let now = self.realm.now();
        let last = self.reported.load(Ordering::Relaxed);
        if now.saturating_sub(last) < EVERY {
            return;
        }
        if self.reported.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            (self.log)(&format!("error: http: {what}: {why}"));
        }
    }
}
