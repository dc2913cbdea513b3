//! The filter in front of a proxy that only takes notes.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::{Cell, RefCell};

use seamless_filter::filter::{Filter, Step};
use seamless_filter::headers::serialise;
use seamless_filter::host::{Counter, Host, Level};
use serde_json::{Value, json};

const FILTER: u32 = 1;
const NOW: u64 = 1_800_000_000;

type Pairs = Vec<(String, String)>;

/// A proxy.
#[derive(Default)]
struct Proxy {
    nanoseconds: Cell<u64>,
    context: Cell<u32>,
    timer: Cell<u32>,
    requests: RefCell<Vec<(u32, Pairs)>>,
    counted: RefCell<Vec<(String, u32)>>,
    state: RefCell<Vec<(u32, String, String)>>,
    answers: RefCell<Vec<(u32, Answer)>>,
    resumed: RefCell<Vec<u32>>,
    fetches: RefCell<Vec<Pairs>>,
    unreachable: Cell<bool>,
    fetched: RefCell<(Pairs, Vec<u8>)>,
    lines: RefCell<Vec<(Level, String)>>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    headers: Pairs,
    body: String,
    details: String,
}

impl Proxy {
    fn new() -> Self {
        let proxy = Self::default();
        proxy.nanoseconds.set(NOW * 1_000_000_000);
        proxy
    }

    fn pass(&self, milliseconds: u64) {
        self.nanoseconds.set(self.nanoseconds.get() + milliseconds * 1_000_000);
    }

    /// A request comes in.
    fn request(&self, filter: &mut Filter, context: u32, headers: &[(&str, &str)]) -> Step {
        self.requests.borrow_mut().push((context, owned(headers)));
        self.context.set(context);
        filter.on_request(self, context)
    }

    fn get(&self, filter: &mut Filter, headers: &[(&str, &str)]) -> Step {
        let pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
        self.request(filter, 100, &[&pseudo, headers].concat())
    }

    /// The last request as it goes on.
    fn forwarded(&self) -> Pairs {
        self.requests.borrow().last().map(|(_, headers)| headers.clone()).unwrap_or_default()
    }

    fn answer(&self) -> Answer {
        self.answers.borrow().last().cloned().expect("an answer").1
    }

    fn count_of(&self, name: &str) -> u32 {
        self.counted.borrow().iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
    }

    fn state_of(&self, context: u32, name: &str) -> Option<String> {
        let state = self.state.borrow();
        let found = state.iter().rev().find(|(c, known, _)| *c == context && known == name);
        found.map(|(_, _, value)| value.clone())
    }

    /// The fetch number `call` is answered.
    fn respond(&self, filter: &mut Filter, call: u32, headers: &[(&str, &str)], body: &str) {
        self.context.set(FILTER);
        self.fetched.replace((owned(headers), body.into()));
        filter.on_fetched(self, call, body.len());
    }

    fn tick(&self, filter: &mut Filter) {
        self.context.set(FILTER);
        filter.on_timer(self);
    }

    /// All that it wrote anywhere.
    fn written(&self) -> String {
        let Self { lines, state, answers, counted, .. } = self;
        format!("{:?}{:?}{:?}{:?}", lines.borrow(), state.borrow(), answers.borrow(), counted.borrow())
    }
}

impl Host for Proxy {
    fn now(&self) -> u64 {
        self.nanoseconds.get()
    }

    fn log(&self, level: Level, line: &str) {
        self.lines.borrow_mut().push((level, line.into()));
    }

    fn random(&self) -> Option<[u8; 32]> {
        Some([7; 32])
    }

    fn define_counter(&self, name: &str) -> Counter {
        let mut counted = self.counted.borrow_mut();
        counted.push((name.into(), 0));
        Counter(u32::try_from(counted.len()).unwrap() - 1)
    }

    fn count(&self, counter: Counter) {
        self.counted.borrow_mut()[usize::try_from(counter.0).unwrap()].1 += 1;
    }

    fn set_timer(&self, milliseconds: u32) {
        assert_eq!(self.context.get(), FILTER, "the timer is the filter's");
        self.timer.set(milliseconds);
    }

    fn enter(&self, context: u32) {
        self.context.set(context);
    }

    fn request_headers(&self) -> Vec<u8> {
        let requests = self.requests.borrow();
        let (_, headers) = requests.iter().find(|(c, _)| *c == self.context.get()).expect("such a request");
        serialise(&headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>())
    }

    fn remove_header(&self, name: &[u8]) {
        let mut requests = self.requests.borrow_mut();
        let (_, headers) =
            requests.iter_mut().find(|(c, _)| *c == self.context.get()).expect("such a request");
        headers.retain(|(known, _)| known.as_bytes() != name);
    }

    fn add_header(&self, name: &str, value: &str) {
        let mut requests = self.requests.borrow_mut();
        let (_, headers) =
            requests.iter_mut().find(|(c, _)| *c == self.context.get()).expect("such a request");
        headers.push((name.into(), value.into()));
    }

    fn set_state(&self, name: &str, value: &str) {
        self.state.borrow_mut().push((self.context.get(), name.into(), value.into()));
    }

    fn answer(&self, status: u16, headers: &[(&str, &str)], body: &str, details: &str) {
        let answer = Answer { status, headers: owned(headers), body: body.into(), details: details.into() };
        self.answers.borrow_mut().push((self.context.get(), answer));
    }

    fn resume(&self) {
        self.resumed.borrow_mut().push(self.context.get());
    }

    fn fetch(&self, cluster: &str, headers: &[(&str, &str)], _: u32) -> Option<u32> {
        assert_eq!(self.context.get(), FILTER, "the answer must come to the filter");
        assert_eq!(cluster, "issuer");
        let mut fetches = self.fetches.borrow_mut();
        fetches.push(owned(headers));
        (!self.unreachable.get()).then(|| u32::try_from(fetches.len()).unwrap())
    }

    fn fetched_headers(&self) -> Vec<u8> {
        let fetched = self.fetched.borrow();
        serialise(&fetched.0.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>())
    }

    fn fetched_body(&self, length: usize) -> Vec<u8> {
        self.fetched.borrow().1[..length].to_vec()
    }
}

fn owned(headers: &[(&str, &str)]) -> Pairs {
    headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()
}

fn filter(proxy: &Proxy, settings: &Value) -> Filter {
    proxy.context.set(FILTER);
    Filter::new(proxy, FILTER, &settings.to_string(), |_| None).unwrap()
}

/// Verifier and tokens of the vectors.
fn vectors(name: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/");
    serde_json::from_str(&std::fs::read_to_string(format!("{path}{name}")).unwrap()).unwrap()
}

/// What trusts the vectors' keys.
fn trusting(more: Value) -> Value {
    let made = &vectors("rules.json")["verifier"];
    let mut settings = json!({
        "realm": "corp",
        "jwks": made["jwks"], "issuer": made["issuer"], "audience": made["audience"], "leeway": 5,
    });
    merge(&mut settings, more);
    settings
}

/// The same with keys from a cluster.
fn fetching(more: Value) -> Value {
    let mut settings =
        trusting(json!({"jwks_cluster": "issuer", "jwks_path": "/corp/.well-known/jwks.json"}));
    settings.as_object_mut().unwrap().remove("jwks");
    merge(&mut settings, more);
    settings
}

fn merge(settings: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("an object") };
    settings.as_object_mut().unwrap().extend(more);
}

fn jwks() -> String {
    vectors("rules.json")["verifier"]["jwks"].to_string()
}

fn bearer(name: &str) -> String {
    format!("Bearer {}", vectors("rules.json")["tokens"][name].as_str().unwrap())
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
    headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_token_opens_and_spoofed_identities_are_gone() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &trusting(json!({})));
    let token = bearer("admin");
    let step = proxy.get(
        &mut filter,
        &[
            ("authorization", &token),
            ("x-seamless-user", "mallory"),
            ("x_seamless_user", "mallory"),
            ("x-seamless-anything", "mallory"),
            ("x-other", "stays"),
        ],
    );
    assert_eq!(step, Step::Pass);
    let forwarded = proxy.forwarded();
    assert_eq!(header(&forwarded, "x-seamless-user"), ["root"]);
    assert_eq!(header(&forwarded, "x-seamless-scope"), ["read%20admin".replace("%20", " ")]);
    assert_eq!(header(&forwarded, "x-seamless-groups"), [""]);
    assert_eq!(header(&forwarded, "x-other"), ["stays"]);
    assert!(!format!("{forwarded:?}").contains("mallory"));
    assert_eq!(proxy.state_of(100, "seamless.verdict").as_deref(), Some("ok"));
    assert_eq!(proxy.state_of(100, "seamless.subject").as_deref(), Some("root"));
    assert_eq!(proxy.count_of("seamless_verdict_ok"), 1);
}

#[test]
fn a_rejection_says_why_and_nothing_of_the_token() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &trusting(json!({})));
    let token = bearer("ada");
    proxy.pass(3_600_000);
    assert_eq!(proxy.get(&mut filter, &[("authorization", &token)]), Step::Stop);
    let answer = proxy.answer();
    assert_eq!((answer.status, answer.body.as_str()), (401, "token expired\n"));
    assert_eq!(answer.details, "expired");
    assert_eq!(
        header(&answer.headers, "www-authenticate"),
        ["seamless realm=\"corp\"", "Bearer realm=\"corp\", error=\"invalid_token\""]
    );
    assert_eq!(proxy.count_of("seamless_verdict_expired"), 1);
    assert_eq!(proxy.state_of(100, "seamless.verdict").as_deref(), Some("expired"));
    assert_eq!(proxy.state_of(100, "seamless.subject"), None);
    let token = token.strip_prefix("Bearer ").unwrap();
    for piece in token.split('.') {
        assert!(!proxy.written().contains(piece));
    }
}

#[test]
fn two_authorization_headers_are_one_too_many() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &trusting(json!({})));
    let token = bearer("ada");
    for headers in [
        vec![("authorization", token.as_str()), ("authorization", "Bearer x")],
        vec![("authorization", "Bearer x"), ("authorization", token.as_str())],
        vec![("authorization", token.as_str()), ("authorization", "")],
    ] {
        assert_eq!(proxy.get(&mut filter, &headers), Step::Stop);
        assert_eq!(proxy.state_of(100, "seamless.verdict").as_deref(), Some("bad_authorization"));
    }
    let joined = format!("{token},Bearer x");
    assert_eq!(proxy.get(&mut filter, &[("authorization", &joined)]), Step::Stop);
}

#[test]
fn paths_that_servers_read_differently_are_turned_away() {
    let proxy = Proxy::new();
    let rules = json!({"rules": {"rules": [{"path_prefix": "/open", "need": "open"}]}});
    let mut filter = filter(&proxy, &trusting(rules));
    let mut ask = |headers: &[(&str, &str)]| {
        proxy.requests.borrow_mut().clear();
        let step = proxy.request(&mut filter, 100, headers);
        (step, proxy.state_of(100, "seamless.verdict").unwrap())
    };
    for (path, verdict) in [
        ("/open/x", "open"),
        ("/open?x=//..", "open"),
        ("/opener", "missing_authorization"),
        ("/OPEN", "missing_authorization"),
        ("/open/../admin", "bad_path"),
        ("/open%2f..%2fadmin", "bad_path"),
        ("/open/%2E%2e/admin", "bad_path"),
        ("//open", "bad_path"),
        ("/open;/../admin", "bad_path"),
        ("/open\\..\\admin", "bad_path"),
        ("*", "bad_path"),
    ] {
        let (step, said) = ask(&[(":method", "GET"), (":authority", "a.example"), (":path", path)]);
        assert_eq!(said, verdict, "{path}");
        assert_eq!(step, if verdict == "open" { Step::Pass } else { Step::Stop }, "{path}");
    }
    // A tunnel reaches past every rule.
    assert_eq!(ask(&[(":method", "CONNECT"), (":authority", "a.example:443")]).1, "bad_path");
    assert_eq!(ask(&[(":method", "GET"), (":authority", "x@a.example"), (":path", "/open")]).1, "bad_path");
}

#[test]
fn grpc_gets_one_line() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &trusting(json!({})));
    assert_eq!(proxy.get(&mut filter, &[("content-type", "application/grpc+proto")]), Step::Stop);
    assert_eq!(proxy.answer().body, "bad authorization header format");
}

#[test]
fn a_dry_run_judges_strips_and_lets_pass() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &trusting(json!({"dry_run": true})));
    assert!(
        proxy.lines.borrow().iter().any(|(level, line)| *level == Level::Warn && line.contains("dry_run"))
    );
    assert_eq!(proxy.get(&mut filter, &[("x-seamless-user", "mallory")]), Step::Pass);
    assert!(header(&proxy.forwarded(), "x-seamless-user").is_empty());
    assert_eq!(proxy.count_of("seamless_would_reject_missing_authorization"), 1);
    assert_eq!(proxy.count_of("seamless_verdict_missing_authorization"), 0);
    assert!(proxy.answers.borrow().is_empty());
}

#[test]
fn a_dry_run_strips_where_keys_are_missing_too() {
    let proxy = Proxy::new();
    proxy.unreachable.set(true);
    let mut filter = filter(&proxy, &fetching(json!({"dry_run": true})));
    let token = bearer("ada");
    let step = proxy.get(&mut filter, &[("authorization", &token), ("x-seamless-user", "mallory")]);
    assert_eq!(step, Step::Pass);
    assert!(header(&proxy.forwarded(), "x-seamless-user").is_empty());
    assert_eq!(proxy.count_of("seamless_would_reject_keys_unavailable"), 1);
}

#[test]
fn keys_are_fetched_and_fetched_again() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &fetching(json!({"jwks_authority": "login.example"})));
    assert!(proxy.timer.get() > 0, "the timer fetches");
    proxy.tick(&mut filter);
    let sent = proxy.fetches.borrow()[0].clone();
    assert_eq!(header(&sent, ":path"), ["/corp/.well-known/jwks.json"]);
    assert_eq!(header(&sent, ":authority"), ["login.example"]);
    assert!(header(&sent, "if-none-match").is_empty());
    proxy.respond(
        &mut filter,
        1,
        &[(":status", "200"), ("etag", "\"1\""), ("cache-control", "max-age=60")],
        &jwks(),
    );
    let token = bearer("ada");
    assert_eq!(proxy.get(&mut filter, &[("authorization", &token)]), Step::Pass);
    proxy.pass(59_000);
    proxy.tick(&mut filter);
    assert_eq!(proxy.fetches.borrow().len(), 1);
    proxy.pass(1000);
    proxy.tick(&mut filter);
    let sent = proxy.fetches.borrow()[1].clone();
    assert_eq!(header(&sent, "if-none-match"), ["\"1\""]);
    // Nobody answers: the old keys stay.
    proxy.respond(&mut filter, 2, &[], "");
    assert_eq!(proxy.get(&mut filter, &[("authorization", &token)]), Step::Pass);
    assert_eq!((proxy.count_of("seamless_jwks_fetched"), proxy.count_of("seamless_jwks_failed")), (1, 1));
    assert!(
        proxy.lines.borrow().iter().any(|(_, line)| line.contains("issuer") && line.contains("no answer"))
    );
}

#[test]
fn a_bad_answer_leaves_the_keys_alone() {
    let long = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(70_000));
    let good = jwks();
    for (status, body) in [
        ("302", good.as_str()),
        ("500", good.as_str()),
        ("200", "{}"),
        ("200", "<html>"),
        ("200", &long),
        ("", &good),
    ] {
        let proxy = Proxy::new();
        let mut filter = filter(&proxy, &fetching(json!({})));
        proxy.tick(&mut filter);
        proxy.respond(&mut filter, 1, &[(":status", status), ("location", "http://evil.example/")], body);
        assert_eq!(proxy.get(&mut filter, &[("authorization", &bearer("ada"))]), Step::Stop);
        assert_eq!(proxy.answer().status, 503, "{status}");
        assert_eq!(proxy.count_of("seamless_jwks_failed"), 1);
    }
}

#[test]
fn a_request_waits_for_the_keys_and_goes_on() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &fetching(json!({})));
    let token = bearer("ada");
    let headers =
        [(":method", "GET"), (":path", "/"), ("authorization", token.as_str()), ("x-seamless-user", "eve")];
    assert_eq!(proxy.request(&mut filter, 7, &headers), Step::Stop);
    assert_eq!(proxy.request(&mut filter, 8, &headers), Step::Stop);
    assert_eq!(proxy.request(&mut filter, 9, &headers), Step::Stop);
    assert_eq!(proxy.context.get(), 9, "the host is left turned to the request");
    assert_eq!(proxy.fetches.borrow().len(), 1, "one fetch for all");
    assert!(proxy.answers.borrow().is_empty());
    filter.on_gone(8);
    proxy.respond(&mut filter, 1, &[(":status", "200")], &jwks());
    assert_eq!(*proxy.resumed.borrow(), [7, 9]);
    assert_eq!(header(&proxy.forwarded(), "x-seamless-user"), ["ada"]);
}

#[test]
fn a_rotated_key_is_fetched_at_once_and_waiting_ends_within_a_second() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &fetching(json!({})));
    proxy.tick(&mut filter);
    // The issuer has none of the vectors' keys yet.
    proxy.respond(&mut filter, 1, &[(":status", "200"), ("cache-control", "max-age=300")], "{\"keys\":[]}");
    let token = bearer("ada");
    let headers = [(":method", "GET"), (":path", "/"), ("authorization", token.as_str())];
    // Just fetched: no more often than every 30 s, whatever is sent.
    assert_eq!(proxy.request(&mut filter, 7, &headers), Step::Stop);
    assert_eq!(proxy.answer().status, 401);
    assert_eq!(proxy.fetches.borrow().len(), 1);

    proxy.pass(31_000);
    assert_eq!(proxy.request(&mut filter, 8, &headers), Step::Stop);
    assert_eq!(proxy.fetches.borrow().len(), 2);
    assert!(proxy.timer.get() <= 50);
    proxy.pass(500);
    proxy.tick(&mut filter);
    assert_eq!(proxy.answers.borrow().len(), 1, "it still waits");
    proxy.pass(460);
    proxy.tick(&mut filter);
    assert_eq!(proxy.answers.borrow().len(), 2);
    assert_eq!(proxy.answers.borrow()[1].0, 8);
    assert_eq!(proxy.answer().status, 401);
    assert_eq!(proxy.timer.get(), 1000);

    proxy.pass(500);
    assert_eq!(proxy.request(&mut filter, 9, &headers), Step::Stop);
    proxy.respond(&mut filter, 2, &[(":status", "200")], &jwks());
    assert_eq!(*proxy.resumed.borrow(), [9]);
}

#[test]
fn keys_that_nobody_confirms_for_a_day_count_no_more() {
    let proxy = Proxy::new();
    let mut filter = filter(&proxy, &fetching(json!({})));
    proxy.tick(&mut filter);
    proxy.respond(&mut filter, 1, &[(":status", "200")], &jwks());
    proxy.unreachable.set(true);
    for _ in 0..30 {
        proxy.pass(3_600_000);
        proxy.tick(&mut filter);
    }
    assert_eq!(proxy.get(&mut filter, &[("authorization", &bearer("ada"))]), Step::Stop);
    assert_eq!(proxy.answer().status, 503);
    assert_eq!(proxy.lines.borrow().iter().filter(|(level, _)| *level == Level::Error).count(), 1);
}

#[test]
fn a_wrong_configuration_is_named() {
    let refused = |settings: Value| {
        let proxy = Proxy::new();
        proxy.context.set(FILTER);
        Filter::new(&proxy, FILTER, &settings.to_string(), |_| None).unwrap_err().to_string()
    };
    assert!(refused(json!({})).contains("realm"));
    assert!(refused(json!({"realm": "r", "secrets": [{"env": "NOT_THERE"}]})).contains("secrets"));
    assert!(refused(trusting(json!({"leeway": 61}))).contains("leeway"));
    assert!(refused(trusting(json!({"rules": {"rules": [{"need": "maybe"}]}}))).contains("rules"));
    let mut url = fetching(json!({"jwks_url": "https://login.example/jwks.json"}));
    url.as_object_mut().unwrap().retain(|name, _| name != "jwks_cluster" && name != "jwks_path");
    assert!(refused(url).contains("jwks_url"));
}

#[test]
fn an_inline_secret_warns_and_is_not_written() {
    let proxy = Proxy::new();
    let secret = "correct horse battery staple";
    let _ = filter(&proxy, &json!({"realm": "r", "secrets": [{"value": secret}]}));
    assert!(
        proxy.lines.borrow().iter().any(|(level, line)| *level == Level::Warn && line.contains("secrets"))
    );
    assert!(!proxy.written().contains("horse"));
}

#[test]
fn requests_are_judged_as_the_vectors_say() {
    let file = vectors("rules.json");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    for set in file["sets"].as_array().unwrap() {
        let proxy = Proxy::new();
        let secret = &file["verifier"]["secrets"][0];
        let mut filter = filter(
            &proxy,
            &trusting(
                json!({"rules": set["rules"], "secrets": [{"value": secret, "audience": "https://api.example"}]}),
            ),
        );
        for (context, request) in (10..).zip(set["requests"].as_array().unwrap()) {
            let mut headers = vec![(":method".to_owned(), text(&request["method"]).unwrap())];
            headers.push((":authority".into(), text(&request["authority"]).unwrap()));
            headers.extend(text(&request["path"]).map(|path| (":path".into(), path)));
            headers.extend(text(&request["token"]).map(|name| ("authorization".into(), bearer(&name))));
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let step = proxy.request(&mut filter, context, &headers);
            let verdict = proxy.state_of(context, "seamless.verdict").unwrap();
            let said = if verdict == "ok" { "identity" } else { &verdict };
            assert_eq!(said, request["outcome"].as_str().unwrap(), "{request}");
            assert_eq!(step == Step::Pass, matches!(said, "identity" | "open" | "anonymous"), "{request}");
        }
    }
}
