//! What happens to a request, whatever runs us. The core judges; here keys are moved, and nothing is decided.
//!
//! Requests of one isolate share an [`Edge`], in which everything is settled: no future and no promise is in it, since
//! workerd lets no request wait for the work of another.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use serde::{Deserialize, Serialize};
use token::refresh::{self, Refresh, Ticket};
use token::seen::Seen;
use token::settings::{KeySource, Settings};
use token::{Code, Outcome, RequestView, Scratch, Verifier};

/// How long a request waits for keys that may be new, in milliseconds.
const BRIEFLY: u32 = 1000;
/// How long it waits for the first keys.
const FIRST: u32 = 5000;
/// How often it looks whether another request's fetch is done.
const GLANCE: u32 = 25;
/// An isolate without any keys begins with cached ones that are no older than this, in seconds.
const ACCEPTABLE: u64 = 2 * refresh::MAX_AGE;

/// What the runtime gives to one request.
pub(crate) trait Host: Clone + 'static {
    /// Unix seconds.
    fn now(&self) -> u64;
    /// The keys in the cache, whatever their age.
    fn cached(&self, name: &str) -> impl Future<Output = Option<Entry>>;
    /// Keeps keys for other isolates.
    fn keep(&self, name: &str, entry: &Entry) -> impl Future<Output = ()>;
    /// One GET: no redirects, 64 KiB, five seconds.
    fn fetch(&self, url: &str, etag: Option<&str>) -> impl Future<Output = Option<Fetched>>;
    /// Keeps a job alive past the answer; the future is done when it is.
    fn spawn<J>(&self, job: J) -> impl Future<Output = ()>
    where
        J: Future<Output = ()> + 'static;
    /// Milliseconds.
    fn sleep(&self, milliseconds: u32) -> impl Future<Output = ()>;
    /// Tells an operator. Never of a token.
    fn warn(&self, message: &str);
}

/// Keys in the cache; the npm package writes the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When the issuer last said that these are its keys.
    pub(crate) at: u64,
    pub(crate) etag: String,
    #[serde(rename = "maxAge")]
    pub(crate) max_age: u64,
    pub(crate) body: String,
}

/// An answer of the issuer's.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) etag: Option<String>,
    pub(crate) max_age: Option<u64>,
    pub(crate) age: Option<u64>,
}

/// Everything that outlives a request.
pub(crate) struct Edge {
    verifier: Verifier,
    keys: Option<Keys>,
    scratch: Scratch,
    seen: Seen,
}

struct Keys {
    refresh: Refresh,
    url: String,
    /// In the cache.
    name: String,
    /// The fetch that was begun last.
    flight: Option<Ticket>,
    held: Option<Entry>,
    installed: bool,
}

impl Edge {
    /// `seed` keys the memory of verified tokens.
    pub(crate) fn new(settings: Settings, seed: [u8; 32]) -> Result<Self, String> {
        let keys = match (settings.source, settings.issuer) {
            (Some(KeySource::Url(url)), Some(issuer)) => {
                if !is_secure(&url) {
                    return Err("jwks_url: https, or http on loopback".into());
                }
                let name = format!("seamless-jwks {issuer} {url}");
                let refresh = Refresh::new(&issuer);
                Some(Keys { refresh, url, name, flight: None, held: None, installed: false })
            }
            (Some(KeySource::Cluster { .. }), _) => {
                return Err("jwks_cluster is for proxies: give jwks_url".into());
            }
            _ => None,
        };
        if settings.dry_run {
            return Err("dry_run is for proxies".into());
        }
        Ok(Self { verifier: settings.verifier, keys, scratch: Scratch::new(), seen: Seen::new(seed) })
    }

    pub(crate) fn realm(&self) -> &str {
        self.verifier.realm()
    }

    fn check<R, T>(&mut self, request: &R, now: u64, take: &impl Fn(Outcome<'_>) -> T) -> (T, Option<Code>)
    where
        R: RequestView,
    {
        self.install(now);
        let outcome = self.verifier.check_seen(request, now, &mut self.scratch, &mut self.seen);
        let code = match &outcome {
            Outcome::Rejection(rejection) => Some(rejection.code),
            _ => None,
        };
        let taken = take(outcome);
        if code == Some(Code::UnknownKey)
            && let Some(keys) = &mut self.keys
        {
            keys.refresh.on_unknown_kid(now);
        }
        (taken, code)
    }

    /// Gives the verifier the keys that count at `now`, or takes them away.
    fn install(&mut self, now: u64) {
        if let Some(keys) = &mut self.keys {
            let current = keys.refresh.keys(now);
            if current.is_some() != keys.installed {
                keys.installed = current.is_some();
                // The issuer is the one that both were made with.
                _ = self.verifier.set_public_keys(current.cloned());
            }
        }
    }

    /// What there is to fetch now.
    fn poll(&mut self, now: u64) -> Option<Ticket> {
        let keys = self.keys.as_mut()?;
        match keys.refresh.poll(now) {
            refresh::Poll::Idle { .. } => None,
            refresh::Poll::Fetch { ticket, .. } => {
                keys.flight = Some(ticket);
                Some(ticket)
            }
        }
    }

    fn is_overdue(&self, now: u64) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.refresh.is_overdue(now))
    }

    /// Whose fetch is under way.
    fn flight(&self) -> Option<Ticket> {
        self.keys.as_ref().and_then(|keys| keys.flight)
    }

    /// Hands an answer to the core.
    fn take(&mut self, ticket: Ticket, now: u64, found: Option<&Fetched>) -> Result<(), String> {
        let Some(keys) = &mut self.keys else { return Ok(()) };
        let current = keys.flight == Some(ticket);
        if current {
            keys.flight = None;
        }
        let Some(found) = found else {
            keys.refresh.on_error(ticket, now);
            return Err("no answer".into());
        };
        let response = refresh::Response {
            status: found.status,
            body: &found.body,
            etag: found.etag.as_deref(),
            max_age: found.max_age,
            age: found.age,
        };
        let changed = keys.refresh.on_response(ticket, now, &response).map_err(|error| error.to_string())?;
        if current {
            keys.held = found.entry(keys.held.take(), now);
        }
        if changed {
            keys.installed = false;
            self.install(now);
        }
        Ok(())
    }
}

impl Fetched {
    /// What to keep of it.
    fn entry(&self, held: Option<Entry>, now: u64) -> Option<Entry> {
        let at = now.saturating_sub(self.age.unwrap_or(0));
        let max_age = self.max_age.unwrap_or(refresh::MAX_AGE);
        match self.status {
            304 => held.map(|held| Entry { at, max_age, ..held }),
            _ => Some(Entry {
                at,
                max_age,
                etag: self.etag.clone().unwrap_or_default(),
                body: self.body.clone(),
            }),
        }
    }
}

impl Entry {
    /// As an answer that lay in a cache.
    fn answer(&self, now: u64) -> Fetched {
        Fetched {
            status: 200,
            body: self.body.clone(),
            etag: Some(self.etag.clone()).filter(|etag| !etag.is_empty()),
            max_age: Some(self.max_age),
            age: Some(now.saturating_sub(self.at)),
        }
    }
}

/// Judges a request, with the keys' upkeep; `take` turns the outcome into something that outlives it.
pub(crate) async fn check<H, R, T>(
    edge: &Rc<RefCell<Edge>>,
    host: &H,
    request: &R,
    take: impl Fn(Outcome<'_>) -> T,
) -> T
where
    H: Host,
    R: RequestView,
{
    let now = host.now();
    let (overdue, due) = {
        let mut edge = edge.borrow_mut();
        (edge.is_overdue(now), edge.poll(now))
    };
    let mut job = due.map(|ticket| Box::pin(host.spawn(load(edge.clone(), host.clone(), ticket, true))));
    let held = edge.borrow().keys.as_ref().is_none_or(|keys| keys.refresh.keys(now).is_some());
    if overdue && held {
        // Keys that an isolate slept over: a compromised one must not live on.
        wait(edge, host, job.take(), BRIEFLY).await;
    }
    let (mut taken, code) = edge.borrow_mut().check(request, host.now(), &take);
    match code {
        Some(Code::KeysUnavailable) => {
            // Somebody else's fetch may end with their request: another one beside it, with the same ticket.
            let flight = edge.borrow().flight();
            let job = match (job, flight) {
                (None, Some(ticket)) => {
                    Some(Box::pin(host.spawn(load(edge.clone(), host.clone(), ticket, true))))
                }
                (job, _) => job,
            };
            if job.is_some() {
                wait(edge, host, job, FIRST).await;
                taken = edge.borrow_mut().check(request, host.now(), &take).0;
            }
        }
        Some(Code::UnknownKey) => {
            let due = edge.borrow_mut().poll(host.now());
            let fresh =
                due.map(|ticket| Box::pin(host.spawn(load(edge.clone(), host.clone(), ticket, false))));
            let job = fresh.or(job);
            if job.is_some() || edge.borrow().flight().is_some() {
                wait(edge, host, job, BRIEFLY).await;
                taken = edge.borrow_mut().check(request, host.now(), &take).0;
            }
        }
        _ => {}
    }
    taken
}

/// Waits for a job of our own, or looks now and then whether another request's is done.
async fn wait<H, J>(edge: &RefCell<Edge>, host: &H, job: Option<J>, milliseconds: u32)
where
    H: Host,
    J: Future<Output = ()>,
{
    if let Some(job) = job {
        return either(job, host.sleep(milliseconds)).await;
    }
    let flight = edge.borrow().flight();
    let mut left = milliseconds;
    while left > 0 && flight.is_some() && edge.borrow().flight() == flight {
        host.sleep(GLANCE).await;
        left = left.saturating_sub(GLANCE);
    }
}

/// One fetch, from the cache if that will do. Nothing of the edge is borrowed while it waits.
async fn load<H>(edge: Rc<RefCell<Edge>>, host: H, ticket: Ticket, cache_will_do: bool)
where
    H: Host,
{
    let (name, url, held) = match &edge.borrow().keys {
        Some(keys) => (keys.name.clone(), keys.url.clone(), keys.held.clone()),
        None => return,
    };
    let held_at = held.as_ref().map(|held| held.at);
    let cached = if cache_will_do { host.cached(&name).await } else { None };
    // Never back to older keys; and no clock is a minute ahead.
    let cached = cached.filter(|entry| entry.at <= host.now() + 60 && held_at.is_none_or(|at| entry.at > at));
    if let Some(entry) = &cached {
        let life = if held.is_none() { ACCEPTABLE } else { entry.max_age.min(refresh::MAX_AGE) };
        let age = host.now().saturating_sub(entry.at);
        if age < life && edge.borrow_mut().take(ticket, host.now(), Some(&entry.answer(host.now()))).is_ok() {
            return;
        }
    }
    let etag = held.as_ref().map(|held| held.etag.as_str()).filter(|etag| !etag.is_empty());
    let found = host.fetch(&url, etag).await;
    let now = host.now();
    // Keys that are hours old are better than none; the core says when they are too old.
    let old = cached.filter(|_| found.is_none() && held.is_none()).map(|entry| entry.answer(now));
    let taken = edge.borrow_mut().take(ticket, now, found.as_ref().or(old.as_ref()));
    match taken {
        Ok(()) if found.is_some() => {
            let entry = edge.borrow().keys.as_ref().and_then(|keys| keys.held.clone());
            if let Some(entry) = entry {
                host.keep(&name, &entry).await;
            }
        }
        Ok(()) => host.warn(&format!("no keys from {url}: no answer; cached ones are used")),
        Err(error) => host.warn(&format!("no keys from {url}: {error}")),
    }
}

/// The first of two to be done.
async fn either(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if first.as_mut().poll(context).is_ready() || second.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Keys that come over a wire that others can write on are nobody's.
fn is_secure(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    // What is in front of an `@` is no host.
    !authority.contains('@') && matches!(host, "localhost" | "127.0.0.1" | "::1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    const NOW: u64 = 1_800_000_000;
    const VECTORS: &str = include_str!("../../../tests/vectors/rules.json");

    /// A runtime in which time stands still until somebody sleeps.
    #[derive(Clone, Default)]
    struct Double(Rc<World>);

    #[derive(Default)]
    struct World {
        slept: Cell<u64>,
        ahead: Cell<u64>,
        cache: RefCell<Option<Entry>>,
        answer: RefCell<Option<Fetched>>,
        /// How long an answer takes, in milliseconds.
        delay: Cell<u64>,
        fetches: Cell<usize>,
        warnings: RefCell<Vec<String>>,
        jobs: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>>,
    }

    impl Double {
        async fn until(&self, at: u64) {
            poll_fn(|_| if self.0.slept.get() >= at { Poll::Ready(()) } else { Poll::Pending }).await;
        }

        /// Runs a future and all jobs, a millisecond after the other.
        fn run<T>(&self, future: impl Future<Output = T>) -> (T, u64) {
            let start = self.0.slept.get();
            let mut future = pin!(future);
            loop {
                self.step();
                if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return (done, self.0.slept.get() - start);
                }
                self.0.slept.set(self.0.slept.get() + 1);
                assert!(self.0.slept.get() - start < 60_000, "it hangs");
            }
        }

        fn step(&self) {
            let jobs = self.0.jobs.take();
            let mut context = Context::from_waker(Waker::noop());
            let left: Vec<_> = jobs
                .into_iter()
                .filter_map(|mut job| job.as_mut().poll(&mut context).is_pending().then_some(job))
                .collect();
            self.0.jobs.borrow_mut().extend(left);
        }

        fn serve(&self, keys: &str) {
            *self.0.answer.borrow_mut() = Some(Fetched {
                status: 200,
                body: keys.to_owned(),
                etag: None,
                max_age: Some(300),
                age: None,
            });
        }
    }

    impl Host for Double {
        fn now(&self) -> u64 {
            NOW + self.0.ahead.get() + self.0.slept.get() / 1000
        }

        async fn cached(&self, _: &str) -> Option<Entry> {
            self.0.cache.borrow().clone()
        }

        async fn keep(&self, _: &str, entry: &Entry) {
            *self.0.cache.borrow_mut() = Some(entry.clone());
        }

        async fn fetch(&self, _: &str, _: Option<&str>) -> Option<Fetched> {
            self.0.fetches.set(self.0.fetches.get() + 1);
            self.until(self.0.slept.get() + self.0.delay.get()).await;
            self.0.answer.borrow().clone()
        }

        fn spawn<J>(&self, job: J) -> impl Future<Output = ()>
        where
            J: Future<Output = ()> + 'static,
        {
            let done = Rc::new(Cell::new(false));
            let mark = Rc::clone(&done);
            self.0.jobs.borrow_mut().push(Box::pin(async move {
                job.await;
                mark.set(true);
            }));
            poll_fn(move |_| if done.get() { Poll::Ready(()) } else { Poll::Pending })
        }

        fn sleep(&self, milliseconds: u32) -> impl Future<Output = ()> {
            let (host, at) = (self.clone(), self.0.slept.get() + u64::from(milliseconds));
            async move { host.until(at).await }
        }

        fn warn(&self, message: &str) {
            self.0.warnings.borrow_mut().push(message.to_owned());
        }
    }

    struct Get<'r>(&'r str, Option<String>);

    impl RequestView for Get<'_> {
        fn method(&self) -> &'static str {
            "GET"
        }

        fn scheme(&self) -> &'static str {
            "https"
        }

        fn authority(&self) -> &'static str {
            "api.example"
        }

        fn path(&self) -> Option<&[u8]> {
            Some(self.0.as_bytes())
        }

        fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
            self.1.iter().filter(move |_| name == "authorization").map(String::as_bytes)
        }
    }

    struct Known {
        edge: Rc<RefCell<Edge>>,
        keys: String,
        token: String,
    }

    fn known() -> Known {
        let file: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let settings = serde_json::json!({
            "realm": "corp",
            "issuer": file["verifier"]["issuer"],
            "audience": file["verifier"]["audience"],
            "jwks_url": "https://login.example/corp/jwks.json",
            "rules": {"rules": [{"path_prefix": "/open", "need": "open"}]},
        });
        Known {
            edge: new_edge(&settings).unwrap(),
            keys: file["verifier"]["jwks"].to_string(),
            token: file["tokens"]["ada"].as_str().unwrap().to_owned(),
        }
    }

    fn new_edge(settings: &serde_json::Value) -> Result<Rc<RefCell<Edge>>, String> {
        let settings = Settings::from_json(&settings.to_string(), |_| None).map_err(|e| e.to_string())?;
        Ok(Rc::new(RefCell::new(Edge::new(settings, [7; 32])?)))
    }

    impl Known {
        fn ask(&self, host: &Double, path: &str) -> (&'static str, u64) {
            let request = Get(path, Some(format!("Bearer {}", self.token)));
            host.run(check(&self.edge, host, &request, name))
        }
    }

    fn name(outcome: Outcome<'_>) -> &'static str {
        match outcome {
            Outcome::Open => "open",
            Outcome::Anonymous => "anonymous",
            Outcome::Identity(_) => "identity",
            Outcome::Rejection(rejection) => rejection.code.as_str(),
        }
    }

    #[test]
    fn the_first_request_waits_for_keys_and_the_next_does_not() {
        let (known, host) = (known(), Double::default());
        host.serve(&known.keys);
        host.0.delay.set(300);
        let (outcome, took) = known.ask(&host, "/x");
        assert_eq!(outcome, "identity");
        assert!((300..310).contains(&took), "{took}");
        assert_eq!(known.ask(&host, "/x"), ("identity", 0));
        assert_eq!(host.0.fetches.get(), 1);
        assert!(host.0.cache.borrow().is_some(), "kept for other isolates");
    }

    #[test]
    fn an_open_path_waits_for_nothing() {
        let (known, host) = (known(), Double::default());
        host.0.delay.set(4000);
        assert_eq!(known.ask(&host, "/open"), ("open", 0));
    }

    #[test]
    fn a_cold_isolate_takes_cached_keys() {
        let (known, host) = (known(), Double::default());
        let entry = Entry { at: NOW - 500, etag: String::new(), max_age: 300, body: known.keys.clone() };
        *host.0.cache.borrow_mut() = Some(entry.clone());
        assert_eq!(known.ask(&host, "/x").0, "identity");
        assert_eq!(host.0.fetches.get(), 0);

        // Older ones, or of the future, are looked at again.
        for at in [NOW - 601, NOW + 61] {
            let (known, host) = (self::known(), Double::default());
            *host.0.cache.borrow_mut() = Some(Entry { at, ..entry.clone() });
            host.serve(r#"{"keys":[]}"#);
            assert_eq!(known.ask(&host, "/x").0, "unknown_key");
            assert_eq!(host.0.fetches.get(), 1);
        }
    }

    #[test]
    fn keys_that_are_hours_old_are_better_than_none_and_days_old_are_none() {
        for (age, outcome) in [(7200, "identity"), (25 * 3600, "keys_unavailable")] {
            let (known, host) = (known(), Double::default());
            *host.0.cache.borrow_mut() =
                Some(Entry { at: NOW - age, etag: String::new(), max_age: 300, body: known.keys.clone() });
            assert_eq!(known.ask(&host, "/x").0, outcome);
            assert!(host.0.warnings.borrow().iter().all(|warning| !warning.contains(&known.token)));
        }
    }

    #[test]
    fn without_keys_nobody_passes() {
        let (known, host) = (known(), Double::default());
        assert_eq!(known.ask(&host, "/x").0, "keys_unavailable");
        assert_eq!(host.0.warnings.borrow().len(), 1);
        host.0.delay.set(60_000);
        host.0.ahead.set(10);
        let (outcome, took) = known.ask(&host, "/x");
        assert_eq!((outcome, took), ("keys_unavailable", 5000), "it waits no longer");
    }

    #[test]
    fn an_unknown_key_is_looked_for_a_second_at_most() {
        let (known, host) = (known(), Double::default());
        host.serve(r#"{"keys":[]}"#);
        assert_eq!(known.ask(&host, "/x").0, "unknown_key");
        assert_eq!(known.ask(&host, "/x"), ("unknown_key", 0));
        assert_eq!(host.0.fetches.get(), 1, "not for everybody who sends one");
        host.0.ahead.set(31);
        host.serve(&known.keys);
        host.0.delay.set(4000);
        assert_eq!(known.ask(&host, "/x"), ("unknown_key", 1000));
        host.0.slept.set(host.0.slept.get() + 4000);
        host.step();
        assert_eq!(known.ask(&host, "/x").0, "identity", "they came meanwhile");
    }

    #[test]
    fn keys_go_stale_beside_requests() {
        let (known, host) = (known(), Double::default());
        host.serve(&known.keys);
        assert_eq!(known.ask(&host, "/x").0, "identity");
        host.0.delay.set(4000);
        host.0.ahead.set(200);
        assert_eq!(known.ask(&host, "/x"), ("identity", 0));
    }

    #[test]
    fn what_a_worker_has_not_is_refused() {
        let good =
            serde_json::json!({"realm": "r", "issuer": "i", "audience": "a", "jwks_url": "https://i/"});
        assert!(new_edge(&good).is_ok());
        for (name, value) in [("jwks_url", "http://login.example/".into()), ("dry_run", true.into())] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(new_edge(&bad).err().is_some_and(|error| error.starts_with(name)), "{name}");
        }
    }

    #[test]
    fn keys_come_by_https_or_loopback() {
        for good in ["https://a/", "http://127.0.0.1:80/", "http://localhost", "http://[::1]:1/x"] {
            assert!(is_secure(good), "{good}");
        }
        for bad in [
            "http://a/",
            "http://127.0.0.1@a/",
            "http://127.0.0.1:1@a/",
            "http://127.0.0.1.a/",
            "http://localhost.a",
            "ftp://a",
            "",
        ] {
            assert!(!is_secure(bad), "{bad}");
        }
    }
}
