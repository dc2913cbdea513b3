//! Keeps the public keys of an issuer fresh, on a thread of its own. [`token::refresh`] decides when.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use token::refresh::{Poll as Due, Refresh, Response, max_age};

use crate::judge::{Judge, now};

/// How long a request waits for a key that is new.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one fetch may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const MAX_BODY: u64 = 64 * 1024;

/// Where the keys of an issuer are.
pub struct KeyFetch {
    issuer: String,
    place: Place,
    on_warning: Arc<dyn Fn(&str) + Send + Sync>,
    clock: Clock,
}

enum Place {
    Url(String),
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Unix seconds.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why keys can't be fetched at all. A fetch that fails later is a warning, and the keys before stay.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// Not https: whoever is on the way could put in keys of their own. Loopback may do with http.
    NotHttps,
    /// Not an address.
    Url(String),
    /// The operating system gave no thread.
    Thread(std::io::Error),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttps => f.write_str("keys are fetched by https, or by http from loopback"),
            Self::Url(url) => write!(f, "not an address: {url}"),
            Self::Thread(error) => write!(f, "no thread to fetch keys on: {error}"),
        }
    }
}

impl std::error::Error for FetchError {}

impl KeyFetch {
    /// The keys of `issuer` (its tokens' `iss`, exactly), from `url`.
    pub fn new(issuer: &str, url: &str) -> Result<Self, FetchError> {
        let parsed: http::Uri = url.parse().map_err(|_| FetchError::Url(url.into()))?;
        let host = parsed.host().ok_or_else(|| FetchError::Url(url.into()))?;
        let loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match parsed.scheme_str() {
            Some("https") => {}
            Some("http") if loopback => {}
            _ => return Err(FetchError::NotHttps),
        }
        Ok(Self::at(issuer, Place::Url(url.into())))
    }

    /// The keys of `issuer`, from a file that somebody else keeps up: it is read again every few seconds.
    #[must_use]
    pub fn from_file(issuer: &str, path: impl Into<PathBuf>) -> Self {
        Self::at(issuer, Place::File(path.into()))
    }

    fn at(issuer: &str, place: Place) -> Self {
        let on_warning = Arc::new(|text: &str| eprintln!("seamless: warning: {text}"));
        Self { issuer: issuer.into(), place, on_warning, clock: Arc::new(now) }
    }

    /// What to do with a warning: that a fetch failed and the old keys stay. Without it, a line on stderr.
    #[must_use]
    pub fn on_warning(mut self, run: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_warning = Arc::new(run);
        self
    }

    /// Another clock than the system's for when to fetch, in Unix seconds; for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(crate) fn start(self, judge: Arc<Judge>) -> Result<Fetcher, FetchError> {
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            refresh: Refresh::new(&self.issuer),
            agent: agent(),
            installed: None,
            place: self.place,
            on_warning: self.on_warning,
            clock: self.clock,
            judge: Arc::downgrade(&judge),
        };
        let end = AtTheEnd { judge: Arc::downgrade(&judge), shared: Arc::clone(&shared) };
        std::thread::Builder::new()
            .name("seamless-keys".into())
            .spawn(move || worker.run(&end.shared))
            .map_err(FetchError::Thread)?;
        Ok(Fetcher(shared))
    }
}

/// The side of the requests.
pub(crate) struct Fetcher(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Somebody met a key that we don't have.
    wanted: bool,
    /// How often the keys have been looked after: a fetch ended, well or not, or none was due.
    rounds: u64,
    waiting: Vec<(Instant, Waker)>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait.
    fn round(&self) {
        let mut state = self.lock();
        state.rounds = state.rounds.wrapping_add(1);
        state.waiting.drain(..).for_each(|(_, waker)| waker.wake());
        self.changed.notify_all();
    }
}

impl Fetcher {
    /// Ends with the next fetch, at once where none is due, and after a second at the latest.
    pub(crate) fn wait(&self) -> Wait {
        let mut state = self.0.lock();
        state.wanted = true;
        self.0.changed.notify_all();
        Wait { shared: Arc::clone(&self.0), since: state.rounds, until: Instant::now() + PATIENCE }
    }

    /// [`wait`](Self::wait), for a thread.
    pub(crate) fn block(&self) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.0.lock();
        state.wanted = true;
        self.0.changed.notify_all();
        let since = state.rounds;
        while state.rounds == since && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

/// A request that waits.
pub(crate) struct Wait {
    shared: Arc<Shared>,
    since: u64,
    until: Instant,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.rounds != self.since || state.closed || Instant::now() >= self.until {
            return Poll::Ready(());
        }
        state.waiting.push((self.until, cx.waker().clone()));
        // The thread is to wake us when the time is over.
        self.shared.changed.notify_all();
        Poll::Pending
    }
}

/// The side of the thread.
struct Worker {
    refresh: Refresh,
    agent: ureq::Agent,
    place: Place,
    on_warning: Arc<dyn Fn(&str) + Send + Sync>,
    clock: Clock,
    judge: Weak<Judge>,
    /// Whether the verifier has keys.
    installed: Option<bool>,
}

impl Worker {
    fn run(mut self, shared: &Shared) {
        loop {
            let wanted = std::mem::take(&mut shared.lock().wanted);
            if wanted {
                self.refresh.on_unknown_kid((self.clock)());
            }
            let due = match self.refresh.poll((self.clock)()) {
                Due::Fetch { ticket, etag } => Err((ticket, etag.map(str::to_owned))),
                Due::Idle { until } => Ok(until),
            };
            match due {
                Err((ticket, etag)) => {
                    let fresh = self.fetch(ticket, etag.as_deref());
                    if !self.install(fresh) {
                        return;
                    }
                    shared.round();
                }
                Ok(until) => {
                    // Anybody can send an unknown key: nobody waits for a fetch that will not be made.
                    if wanted {
                        shared.round();
                    }
                    if !self.install(false) || !idle(shared, until.saturating_sub((self.clock)())) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether there are other keys now than before.
    fn fetch(&mut self, ticket: token::refresh::Ticket, etag: Option<&str>) -> bool {
        let answer = self.place.ask(&self.agent, etag);
        let taken = match &answer {
            Ok(answer) => self
                .refresh
                .on_response(ticket, (self.clock)(), &answer.response())
                .map_err(|error| error.to_string()),
            Err(error) => {
                self.refresh.on_error(ticket, (self.clock)());
                Err(error.to_string())
            }
        };
        taken.unwrap_or_else(|error| {
            (self.on_warning)(&format!("no new keys from {}, the old ones stay: {error}", self.place));
            false
        })
    }

    /// Gives the verifier the keys that count, or takes them away when they got too old; whether anybody still listens.
    fn install(&mut self, fresh: bool) -> bool {
        let Some(judge) = self.judge.upgrade() else { return false };
        let keys = self.refresh.keys((self.clock)());
        if fresh || self.installed != Some(keys.is_some()) {
            self.installed = Some(keys.is_some());
            if let Err(error) = judge.change(|verifier| verifier.set_public_keys(keys.cloned())) {
                (self.on_warning)(&format!("the keys of {} can't be used: {error}", self.place));
            }
        }
        true
    }
}

/// Held by the thread. Where it ends before its verifier does, by a panic in `on_warning` for instance, its keys end with
/// it: nobody would take any back.
struct AtTheEnd {
    judge: Weak<Judge>,
    shared: Arc<Shared>,
}

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(judge) = self.judge.upgrade() {
            let _ = judge.change(|verifier| verifier.set_public_keys(None));
        }
        // Nobody waits for what will not come.
        self.shared.lock().closed = true;
        self.shared.round();
    }
}

/// Sleeps until a fetch is due or somebody wants one, and wakes those who have waited long enough; whether to go on.
fn idle(shared: &Shared, seconds: u64) -> bool {
    // A clock may be set: look again now and then.
    let longest = Duration::from_secs(seconds.clamp(1, 5));
    let end = Instant::now() + longest;
    let mut state = shared.lock();
    loop {
        let time = Instant::now();
        state.waiting.retain(|(until, waker)| {
            let over = time >= *until;
            if over {
                waker.wake_by_ref();
            }
            !over
        });
        if state.closed {
            state.waiting.drain(..).for_each(|(_, waker)| waker.wake());
            return false;
        }
        if state.wanted || time >= end {
            return true;
        }
        let next = state.waiting.iter().map(|(until, _)| *until).chain([end]).min().unwrap_or(end);
        let left = next.saturating_duration_since(time);
        state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

struct Answer {
    status: u16,
    body: String,
    etag: Option<String>,
    max_age: Option<u64>,
    age: Option<u64>,
}

impl Answer {
    fn response(&self) -> Response<'_> {
        Response {
            status: self.status,
            body: &self.body,
            etag: self.etag.as_deref(),
            max_age: self.max_age,
            age: self.age,
        }
    }
}

fn agent() -> ureq::Agent {
    use ureq::tls::{RootCerts, TlsConfig};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider);
    ureq::Agent::config_builder()
        .tls_config(tls.build())
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(TIME_LIMIT))
        .build()
        .into()
}

impl Place {
    fn ask(&self, agent: &ureq::Agent, etag: Option<&str>) -> Result<Answer, Box<dyn std::error::Error>> {
        match self {
            Self::Url(url) => Ok(get(agent, url, etag)?),
            Self::File(path) => {
                let body = read(path)?;
                // The same keys again would have every good signature that is remembered checked anew.
                let tag = tag(&body);
                let status = if etag == Some(tag.as_str()) { 304 } else { 200 };
                // Nobody need say how long a file is good for: it is looked at as often as may be.
                Ok(Answer { status, body, etag: Some(tag), max_age: Some(0), age: None })
            }
        }
    }
}

/// Tells one text from another. Nobody but the file's owner can choose either.
fn tag(body: &str) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("{:016x}-{}", hasher.finish(), body.len())
}

fn read(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut body = String::new();
    std::fs::File::open(path)?.take(MAX_BODY + 1).read_to_string(&mut body)?;
    if u64::try_from(body.len()).is_ok_and(|length| length <= MAX_BODY) {
        Ok(body)
    } else {
        Err(std::io::Error::other("over 64 KiB"))
    }
}

fn get(agent: &ureq::Agent, url: &str, etag: Option<&str>) -> Result<Answer, ureq::Error> {
    let mut request = agent.get(url).header("accept", "application/json");
    if let Some(etag) = etag {
        request = request.header("if-none-match", etag);
    }
    let mut response = request.call()?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let max_age = header("cache-control").and_then(max_age);
    let (etag, age) = (header("etag").map(str::to_owned), header("age").and_then(|value| value.parse().ok()));
    let body = response.body_mut().with_config().limit(MAX_BODY).read_to_string()?;
    Ok(Answer { status: response.status().as_u16(), body, etag, max_age, age })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_that_is_the_same_is_no_other_set_of_keys() {
        let path = std::env::temp_dir().join(format!("seamless-file-{}", std::process::id()));
        std::fs::write(&path, r#"{"keys":[]}"#).unwrap();
        let place = Place::File(path.clone());
        let ask = |etag: Option<&str>| place.ask(&agent(), etag).unwrap();
        let first = ask(None);
        let etag = first.etag.as_deref();
        assert_eq!((first.status, ask(etag).status), (200, 304));
        std::fs::write(&path, r#"{"keys": []}"#).unwrap();
        let other = ask(etag);
        assert_eq!((other.status, other.body.as_str()), (200, r#"{"keys": []}"#));
        assert_ne!(other.etag.as_deref(), etag);
        std::fs::remove_file(&path).unwrap();
    }
}
