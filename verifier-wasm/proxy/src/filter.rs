//! The filter: settings in, verdicts out.

use token::seen::Seen;
use token::settings::Settings;
use token::{Code, Identity, Outcome, Rejection, RulesError, Scratch, Verifier};
use zeroize::Zeroizing;

use crate::headers::{Headers, Request};
use crate::host::{Counter, Host, Level};
use crate::keys::Upkeep;

/// What other filters and the access log read: `ok`, `open`, `anonymous` or the code of a rejection.
pub const VERDICT: &str = "seamless.verdict";
/// Who it is, where the verdict is `ok`; encoded as in `X-Seamless-User`.
pub const SUBJECT: &str = "seamless.subject";

/// How long a request may wait for keys, in milliseconds, with what the timer can be late by taken off.
const PATIENCE: u64 = 950;
/// How often the timer rings while somebody waits, in milliseconds; and otherwise.
const QUICK: u32 = 50;
const SLOW: u32 = 1000;
/// The first fetch comes soon, but not within the start itself: the clusters aren't there yet.
const FIRST: u32 = 1;
/// The most requests that wait at once: anybody can name a key that nobody has.
const MAX_WAITING: usize = 1024;

/// What the proxy does with a request now.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on to the server.
    Pass,
    /// It stays here: it was answered, or it waits.
    Stop,
}

/// One configured filter in one thread of the proxy.
#[derive(Debug)]
pub struct Filter {
    /// The proxy's number for it.
    context: u32,
    verifier: Verifier,
    upkeep: Option<Upkeep>,
    /// Whether the verifier has fetched keys.
    has_keys: bool,
    scratch: Scratch,
    seen: Option<Seen>,
    dry_run: bool,
    counters: Counters,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    context: u32,
    /// In Unix nanoseconds.
    until: u64,
}

impl Filter {
    /// Reads the configuration; `environment` is where secrets come from.
    pub fn new<H, E>(host: &H, context: u32, json: &str, environment: E) -> Result<Self, RulesError>
    where
        H: Host,
        E: Fn(&str) -> Option<Zeroizing<Vec<u8>>>,
    {
        let settings = Settings::from_json(json, environment)?;
        let refuse = |message: &str| RulesError { message: message.into(), line: 1, column: 1 };
        let upkeep = match settings.source {
            None => None,
            Some(source) => {
                let issuer = settings.issuer.unwrap_or_default();
                let upkeep = Upkeep::new(host, &issuer, source);
                Some(upkeep.ok_or_else(|| refuse("jwks_url: a proxy fetches from a jwks_cluster"))?)
            }
        };
        if settings.inline_secret {
            host.log(
                Level::Warn,
                "seamless: secrets: a value stands in the configuration, which the admin interface shows; \
                 use env and environment_variables.host_env_keys",
            );
        }
        if settings.dry_run {
            host.log(Level::Warn, "seamless: dry_run is on: nothing is turned away");
        }
        if upkeep.is_some() {
            host.set_timer(FIRST);
        }
        Ok(Self {
            context,
            verifier: settings.verifier,
            upkeep,
            has_keys: false,
            scratch: Scratch::new(),
            // Without randomness anybody could aim tokens at one bucket: then every token is verified.
            seen: host.random().map(Seen::new),
            dry_run: settings.dry_run,
            counters: Counters::define(host, settings.dry_run),
            waiting: Vec::new(),
        })
    }

    /// Judges the request that the host is turned to.
    pub fn on_request<H: Host>(&mut self, host: &H, context: u32) -> Step {
        match self.judge(host) {
            Judged::Step(step) => step,
            Judged::NoKey(no) => {
                if self.wait(host, context, no.rejection.code) {
                    Step::Stop
                } else {
                    self.turn_away(host, &no)
                }
            }
        }
    }

    /// The timer rang.
    pub fn on_timer<H: Host>(&mut self, host: &H) {
        let now = host.now();
        if let Some(upkeep) = &mut self.upkeep {
            upkeep.poll(host, seconds(now));
            if self.has_keys && upkeep.keys(seconds(now)).is_none() {
                host.log(
                    Level::Error,
                    "seamless: nobody has confirmed the keys for a day: they count no more",
                );
                self.take_keys(seconds(now));
            }
        }
        let (late, waiting) = core::mem::take(&mut self.waiting).into_iter().partition(|w| w.until <= now);
        self.waiting = waiting;
        self.settle(host, late);
        host.set_timer(if self.waiting.is_empty() { SLOW } else { QUICK });
    }

    /// A fetch has ended.
    pub fn on_fetched<H: Host>(&mut self, host: &H, call: u32, body_length: usize) {
        let now = seconds(host.now());
        let Some(upkeep) = &mut self.upkeep else { return };
        if !upkeep.on_fetched(host, call, body_length, now) {
            return;
        }
        self.take_keys(now);
        let waiting = core::mem::take(&mut self.waiting);
        self.settle(host, waiting);
    }

    /// A request is gone, whatever became of it.
    pub fn on_gone(&mut self, context: u32) {
        self.waiting.retain(|waiting| waiting.context != context);
    }

    fn take_keys(&mut self, now: u64) {
        let keys = self.upkeep.as_ref().and_then(|upkeep| upkeep.keys(now)).cloned();
        self.has_keys = keys.is_some();
        // The set is bound to the issuer that the verifier was made with.
        let _ = self.verifier.set_public_keys(keys);
    }

    fn judge<H: Host>(&mut self, host: &H) -> Judged {
        let map = host.request_headers();
        let request = Request::new(Headers::new(&map));
        let now = seconds(host.now());
        let scratch = &mut self.scratch;
        let outcome = match &mut self.seen {
            Some(seen) => self.verifier.check_seen(&request, now, scratch, seen),
            None => self.verifier.check(&request, now, scratch),
        };
        // Whatever the verdict: in a dry run even a rejected request goes on.
        for name in &request.identity {
            host.remove_header(name);
        }
        if let Outcome::Rejection(rejection) = outcome
            && self.upkeep.is_some()
            && matches!(rejection.code, Code::UnknownKey | Code::KeysUnavailable)
        {
            return Judged::NoKey(No { rejection, is_grpc: request.is_grpc });
        }
        match outcome {
            Outcome::Open => self.counters.open.note(host),
            Outcome::Anonymous => self.counters.anonymous.note(host),
            Outcome::Identity(identity) => {
                self.counters.ok.note(host);
                introduce(host, &identity);
            }
            Outcome::Rejection(rejection) => {
                let no = No { rejection, is_grpc: request.is_grpc };
                return Judged::Step(self.turn_away(host, &no));
            }
        }
        Judged::Step(Step::Pass)
    }

    /// Has the request wait for a fetch, if one is under way or may begin.
    fn wait<H: Host>(&mut self, host: &H, context: u32, code: Code) -> bool {
        let now = host.now();
        let Some(upkeep) = &mut self.upkeep else { return false };
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        if code == Code::UnknownKey {
            upkeep.on_unknown_kid(seconds(now));
        }
        host.enter(self.context);
        upkeep.poll(host, seconds(now));
        let fetching = upkeep.is_fetching();
        if fetching {
            if self.waiting.is_empty() {
                host.set_timer(QUICK);
            }
            self.waiting.push(Waiting { context, until: now + PATIENCE * 1_000_000 });
        }
        host.enter(context);
        fetching
    }

    /// Judges those who waited, for good.
    fn settle<H: Host>(&mut self, host: &H, waiting: Vec<Waiting>) {
        for Waiting { context, .. } in waiting {
            host.enter(context);
            let step = match self.judge(host) {
                Judged::Step(step) => step,
                Judged::NoKey(no) => self.turn_away(host, &no),
            };
            if step == Step::Pass {
                host.resume();
            }
        }
        host.enter(self.context);
    }

    fn turn_away<H: Host>(&self, host: &H, no: &No) -> Step {
        let code = no.rejection.code;
        if let Some(named) = self.counters.code(code) {
            named.note(host);
        }
        if self.dry_run {
            return Step::Pass;
        }
        // In gRPC it becomes the status' message, which is one line already.
        let end = if no.is_grpc { "" } else { "\n" };
        let body = format!("{}{end}", no.rejection);
        let challenges = match code.status() {
            401 | 403 => Some(token::www_authenticate(code, self.verifier.realm())),
            _ => None,
        };
        let mut headers = vec![("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")];
        headers.extend(challenges.iter().flatten().map(|value| ("www-authenticate", value.as_str())));
        host.answer(code.status(), &headers, &body, code.as_str());
        Step::Stop
    }
}

enum Judged {
    Step(Step),
    /// The keys are not there, or not this one.
    NoKey(No),
}

/// A rejection, and in which manner to tell it.
struct No {
    rejection: Rejection,
    is_grpc: bool,
}

/// Hands the identity on.
fn introduce<H: Host>(host: &H, identity: &Identity<'_>) {
    let headers = token::identity_headers(identity);
    for (name, value) in &headers {
        host.add_header(name, value);
    }
    let [(_, subject), ..] = headers;
    host.set_state(SUBJECT, &subject);
}

/// One for each verdict.
#[derive(Debug)]
struct Counters {
    ok: Named,
    open: Named,
    anonymous: Named,
    codes: Vec<Named>,
}

/// A verdict and its counter.
#[derive(Debug)]
struct Named {
    verdict: &'static str,
    counter: Counter,
}

impl Counters {
    fn define<H: Host>(host: &H, dry_run: bool) -> Self {
        let named = |prefix: &str, verdict| {
            let counter = host.define_counter(&format!("seamless_{prefix}_{verdict}"));
            Named { verdict, counter }
        };
        let rejected = if dry_run { "would_reject" } else { "verdict" };
        Self {
            ok: named("verdict", "ok"),
            open: named("verdict", "open"),
            anonymous: named("verdict", "anonymous"),
            codes: Code::ALL.iter().map(|code| named(rejected, code.as_str())).collect(),
        }
    }

    fn code(&self, code: Code) -> Option<&Named> {
        self.codes.iter().find(|named| named.verdict == code.as_str())
    }
}

impl Named {
    fn note<H: Host>(&self, host: &H) {
        host.count(self.counter);
        host.set_state(VERDICT, self.verdict);
    }
}

const fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds / 1_000_000_000
}
