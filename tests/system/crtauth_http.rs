//! The cases that were observed at the original's server, each sent over real HTTP to ours: the same status, or another
//! with a line that says why.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use seamless_tests::agent::Agent;
use seamless_tests::crtauth::{Door, Originals, SECRET, keys_folder};
use seamless_tests::home::{ED25519, Home, RSA};
use seamless_tests::http::{Http, Response};
use seamless_tests::process::{run, run_with};
use seamless_tests::skip::{clock, needs};

const MALFORMED: &str = "what can't be read is 400 with a line that says so, and never 500";
const TOO_LONG: &str = "no user has such a name: 400 says so";
const UNIFORM: &str =
    "a challenge like any other, so that nobody learns who has which keys; no name reaches a path";
const NO_APPLICATION: &str = "there is no application behind that would ask for a token";
const STRICT: &str = "tokens and messages have one spelling";
const BOTH: &str = "tokens of both versions pass: a fleet may have servers of both originals";

/// What ours answers.
enum Ours {
    Same,
    Other(u16, &'static str),
}
use Ours::{Other, Same};

type Send = fn(&Stage) -> Response;

/// Each by its name in crtauth.json.
const CASES: &[(&str, Ours, Send)] = &[
    ("no X-CHAP", Other(400, MALFORMED), |s| s.http.send("GET", "/_auth", &[], b"")),
    ("X-CHAP without colon", Other(400, MALFORMED), |s| s.chap("AXGkdGVzdA")),
    ("empty X-CHAP", Other(400, MALFORMED), |s| s.chap("")),
    ("unknown method foo:bar", Other(400, MALFORMED), |s| s.chap("foo:bar")),
    ("Request:... (capital)", Other(400, MALFORMED), |s| s.chap("Request:AXGkdGVzdA")),
    ("request: v1 test", Same, |s| s.chap("request:AXGkdGVzdA")),
    ("request: with space \"request: AXGkdGVzdA\"", Other(200, "a space after the colon is let pass"), |s| {
        s.chap("request: AXGkdGVzdA")
    }),
    ("HEAD request v1", Same, |s| s.chap_by("HEAD", "/_auth", "request:AXGkdGVzdA", b"")),
    ("POST request v1", Same, |s| s.chap_by("POST", "/_auth", "request:AXGkdGVzdA", b"a=b")),
    ("PUT w/ content-length 0", Same, |s| s.chap_by("PUT", "/_auth", "request:AXGkdGVzdA", b"")),
    ("/_auth?x=1", Same, |s| s.chap_by("GET", "/_auth?x=1", "request:AXGkdGVzdA", b"")),
    ("/_auth/ (trailing slash)", Other(404, NO_APPLICATION), |s| {
        s.chap_by("GET", "/_auth/", "request:AXGkdGVzdA", b"")
    }),
    ("/_AUTH", Other(404, NO_APPLICATION), |s| s.chap_by("GET", "/_AUTH", "request:AXGkdGVzdA", b"")),
    ("request v0 test", Same, |s| s.chap("request:test")),
    ("request v1 unknown user", Same, |s| s.request(1, b"nobody")),
    ("request v0 unknown user", Same, |s| s.chap("request:nobody")),
    ("request v0 empty", Other(400, "nobody has an empty name"), |s| s.chap("request:")),
    ("request v0 john.doe", Other(200, "a name that is no base64 is a name"), |s| s.chap("request:john.doe")),
    ("request v0 65 chars", Other(400, TOO_LONG), |s| s.chap(&format!("request:{}", "u".repeat(65)))),
    ("request v1 65 chars", Other(400, TOO_LONG), |s| s.request(1, "u".repeat(65).as_bytes())),
    ("request v1 64 chars", Same, |s| s.request(1, "u".repeat(64).as_bytes())),
    ("request v1 user a/b", Other(200, UNIFORM), |s| s.request(1, b"a/b")),
    ("request v1 user with ed25519 key", Other(200, UNIFORM), |s| s.request(1, b"eddie")),
    ("request v1 user NUL", Other(400, MALFORMED), |s| s.request(1, b"a\0b")),
    ("request v5", Same, |s| s.request(5, b"test")),
    ("request v4", Same, |s| s.request(4, b"test")),
    ("request v1 + trailing", Same, |s| s.request_of(&[b"\x01q\xa4test", b"junk".as_slice()].concat())),
    ("response v1 good", Same, |s| s.respond(|_, _| ())),
    ("response v0 good", Same, |s| {
        let challenge = s.challenge("request:test");
        let signature = s.agent.sign(&s.key, &challenge[28..]);
        let response = [b"r\0\0\0".as_slice(), &xdr(&signature), &xdr(&challenge)].concat();
        s.response(&URL_SAFE_NO_PAD.encode(response))
    }),
    ("response v1 short signature", Same, |s| {
        // One in 256 begins with a zero byte.
        let (challenge, signature) = (0..10_000)
            .map(|_| s.signed("request:AXGkdGVzdA"))
            .find(|(_, signature)| signature[0] == 0)
            .expect("a signature that begins with a zero byte");
        s.response(&URL_SAFE_NO_PAD.encode(response(&challenge, &signature[1..])))
    }),
    ("response v1 padded base64", Same, |s| s.response(&URL_SAFE.encode(s.good()))),
    ("response v1 std alphabet", Other(400, STRICT), |s| s.response(&STANDARD_NO_PAD.encode(s.good()))),
    ("response empty", Other(400, MALFORMED), |s| s.response("")),
    ("response garbage \"random\"", Other(400, MALFORMED), |s| s.response("random")),
    ("response bad b64 len%4==1", Other(400, MALFORMED), |s| s.response("abcde")),
    ("response == a challenge", Other(400, MALFORMED), |s| {
        s.response(&URL_SAFE_NO_PAD.encode(s.challenge("request:AXGkdGVzdA")))
    }),
    ("response v1 bad signature", Same, |s| s.respond(|_, signature| signature[100] ^= 1)),
    ("response v1 tampered challenge", Same, |s| {
        let mut challenge = s.challenge("request:AXGkdGVzdA");
        challenge[5] ^= 1;
        let signature = s.agent.sign(&s.key, &challenge);
        s.response(&URL_SAFE_NO_PAD.encode(response(&challenge, &signature)))
    }),
    ("response v1 truncated", Other(400, MALFORMED), |s| {
        let whole = s.good();
        s.response(&URL_SAFE_NO_PAD.encode(&whole[..whole.len() - 9]))
    }),
    ("response v1 trailing bytes", Same, |s| {
        s.response(&URL_SAFE_NO_PAD.encode([s.good().as_slice(), b"more"].concat()))
    }),
    (
        "response v1 sig with 1 extra leading 00",
        Other(403, "no client adds zeros, only leaves them out"),
        |s| s.respond(|_, signature| signature.insert(0, 0)),
    ),
    ("response v1 sig bin32 len", Same, |s| {
        let (challenge, signature) = s.signed("request:AXGkdGVzdA");
        let length = u32::try_from(signature.len()).unwrap_or_default().to_be_bytes();
        let response = [b"\x01r".as_slice(), &bin(&challenge), b"\xc6", &length, &signature].concat();
        s.response(&URL_SAFE_NO_PAD.encode(response))
    }),
    ("response v1 fields as raw16/str", Same, |s| {
        let (challenge, signature) = s.signed("request:AXGkdGVzdA");
        let raw16 = |bytes: &[u8]| [b"\xda", &bin16(bytes)[1..]].concat();
        let response = [b"\x01r".as_slice(), &raw16(&challenge), &raw16(&signature)].concat();
        s.response(&URL_SAFE_NO_PAD.encode(response))
    }),
    ("response for unknown user (fake challenge, any sig)", Same, |s| {
        let (challenge, signature) = s.signed("request:AXGmbm9ib2R5");
        s.response(&URL_SAFE_NO_PAD.encode(response(&challenge, &signature)))
    }),
    ("no Authorization", Same, |s| s.http.send("GET", s.behind, &[], b"")),
    ("Basic", Same, |s| s.authorized("Basic dGVzdDp0ZXN0")),
    ("good token v0", Same, |s| s.authorized(&format!("chap:{}", s.token("test", -2, 60)))),
    ("Chap:", Same, |s| s.authorized(&format!("Chap:{}", s.token("test", -2, 60)))),
    ("chap: space", Same, |s| s.authorized(&format!("chap: {}", s.token("test", -2, 60)))),
    ("CHAP token w/ space", Same, |s| s.authorized(&format!("CHAP {}", s.token("test", -2, 60)))),
    ("empty", Same, |s| s.authorized("chap:")),
    ("garbage", Same, |s| s.authorized("chap:random")),
    ("bad len", Same, |s| s.authorized("chap:abcde")),
    ("tampered pad byte", Same, |s| s.tampered(29)),
    ("tampered digest", Same, |s| s.tampered(10)),
    ("token expired", Same, |s| s.authorized(&format!("chap:{}", s.token("test", -62, -1)))),
    (
        "token valid_to==now int (now=.75)",
        Other(200, "times are whole seconds and both ends count, as for the Java original"),
        |s| s.authorized(&format!("chap:{}", s.token("test", -62, 0))),
    ),
    ("token valid_to=now+1", Same, |s| s.authorized(&format!("chap:{}", s.token("test", -61, 5)))),
    ("future", Same, |s| s.authorized(&format!("chap:{}", s.token("test", 30, 60)))),
    ("600s", Same, |s| s.authorized(&format!("chap:{}", s.token("test", -2, 598)))),
    ("601s", Same, |s| s.authorized(&format!("chap:{}", s.token("test", -2, 599)))),
    ("wrong secret", Same, |s| {
        let payload = s.payload("test", -2, 60);
        s.authorized(&format!(
            "chap:{}",
            wrapped(&payload, &hmac(&s.home, "sha1", "another secret", &payload))
        ))
    }),
    ("empty username token", Same, |s| s.authorized(&format!("chap:{}", s.token("", -2, 60)))),
    ("user gone", Same, |s| s.authorized(&format!("chap:{}", s.token("ghost", -2, 60)))),
    ("v1 msgpack token (valid HMAC-SHA256)", Other(200, BOTH), |s| {
        let (from, to) = s.times(-2, 60);
        let signed = [b"\x01t\xce".as_slice(), &from, b"\xce", &to, b"\xa4test"].concat();
        let token = [signed.as_slice(), b"\xc4\x20", &hmac(&s.home, "sha256", SECRET, &signed)].concat();
        s.authorized(&format!("chap:{}", URL_SAFE_NO_PAD.encode(token)))
    }),
];

/// A server, ours or the original's, with the users `test` (RSA) and `eddie` (Ed25519).
struct Stage {
    http: Http,
    /// A path that demands a token.
    behind: &'static str,
    /// The server's clock.
    now: u64,
    agent: Agent,
    /// test's.
    key: PathBuf,
    home: Home,
}

impl Stage {
    fn chap(&self, value: &str) -> Response {
        self.chap_by("GET", "/_auth", value, b"")
    }

    fn chap_by(&self, method: &str, path: &str, value: &str, body: &[u8]) -> Response {
        self.http.send(method, path, &[("X-CHAP", value)], body)
    }

    fn request(&self, version: u8, name: &[u8]) -> Response {
        let length = u8::try_from(name.len()).unwrap_or_default();
        let name =
            if length < 32 { [&[0xa0 | length], name].concat() } else { [&[0xd9, length], name].concat() };
        self.request_of(&[&[version, b'q'], name.as_slice()].concat())
    }

    fn request_of(&self, message: &[u8]) -> Response {
        self.chap(&format!("request:{}", URL_SAFE_NO_PAD.encode(message)))
    }

    fn challenge(&self, request: &str) -> Vec<u8> {
        let answer = self.chap(request).status(200);
        let value =
            answer.header("x-chap").and_then(|value| value.strip_prefix("challenge:")).unwrap_or_default();
        URL_SAFE_NO_PAD.decode(value).expect("a challenge")
    }

    fn signed(&self, request: &str) -> (Vec<u8>, Vec<u8>) {
        let challenge = self.challenge(request);
        let signature = self.agent.sign(&self.key, &challenge);
        (challenge, signature)
    }

    fn good(&self) -> Vec<u8> {
        let (challenge, signature) = self.signed("request:AXGkdGVzdA");
        response(&challenge, &signature)
    }

    /// A response of version 1 whose parts were changed.
    fn respond(&self, change: fn(&mut Vec<u8>, &mut Vec<u8>)) -> Response {
        let (mut challenge, mut signature) = self.signed("request:AXGkdGVzdA");
        change(&mut challenge, &mut signature);
        self.response(&URL_SAFE_NO_PAD.encode(response(&challenge, &signature)))
    }

    fn response(&self, text: &str) -> Response {
        self.chap(&format!("response:{text}"))
    }

    fn authorized(&self, authorization: &str) -> Response {
        self.http.send("GET", self.behind, &[("Authorization", authorization)], b"")
    }

    fn times(&self, from: i64, to: i64) -> ([u8; 4], [u8; 4]) {
        let at =
            |offset| u32::try_from(self.now.saturating_add_signed(offset)).unwrap_or_default().to_be_bytes();
        (at(from), at(to))
    }

    /// A token of version 0, good from and to so many seconds from now.
    fn token(&self, user: &str, from: i64, to: i64) -> String {
        let payload = self.payload(user, from, to);
        wrapped(&payload, &hmac(&self.home, "sha1", SECRET, &payload))
    }

    fn tampered(&self, at: usize) -> Response {
        let mut token = URL_SAFE_NO_PAD.decode(self.token("test", -2, 60)).expect("base64");
        token[at] ^= 1;
        self.authorized(&format!("chap:{}", URL_SAFE_NO_PAD.encode(token)))
    }

    fn payload(&self, user: &str, from: i64, to: i64) -> Vec<u8> {
        let (from, to) = self.times(from, to);
        [b"t\0\0\0".as_slice(), &from, &to, &xdr(user.as_bytes())].concat()
    }
}

fn response(challenge: &[u8], signature: &[u8]) -> Vec<u8> {
    [b"\x01r".as_slice(), &bin(challenge), &bin(signature)].concat()
}

fn bin(bytes: &[u8]) -> Vec<u8> {
    match u8::try_from(bytes.len()) {
        Ok(length) => [&[0xc4, length], bytes].concat(),
        Err(_) => bin16(bytes),
    }
}

fn bin16(bytes: &[u8]) -> Vec<u8> {
    [b"\xc5".as_slice(), &u16::try_from(bytes.len()).unwrap_or_default().to_be_bytes(), bytes].concat()
}

fn xdr(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
    [&length, bytes, &[0; 3][..(4 - bytes.len() % 4) % 4]].concat()
}

fn wrapped(payload: &[u8], mac: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([b"v\0\0\0".as_slice(), mac, &xdr(payload)].concat())
}

/// By somebody else's implementation.
fn hmac(home: &Home, digest: &str, secret: &str, bytes: &[u8]) -> Vec<u8> {
    let mut openssl = home.command("openssl");
    let said = run_with(openssl.args(["dgst", &format!("-{digest}"), "-hmac", secret]), bytes).ok().line();
    let hex = said.rsplit(' ').next().unwrap_or_default();
    let digit = |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// The names and statuses that were seen.
fn observed() -> Vec<(String, u16)> {
    let text = include_str!("../vectors/crtauth.json");
    let vectors: serde_json::Value = serde_json::from_str(text).expect("crtauth.json");
    let lines = vectors["http_status_observed_python27"].as_array().cloned().unwrap_or_default();
    lines
        .iter()
        .filter_map(|line| {
            let (name, seen) = line.as_str()?.strip_prefix("| ")?.split_once(" | HTTP/1.0 ")?;
            Some((name.to_owned(), seen.get(..3)?.parse().ok()?))
        })
        .collect()
}

#[test]
fn no_observed_case_is_missing() {
    let seen = observed();
    assert_eq!(seen.len(), 65, "67 lines, two of them titles");
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, CASES.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for ((name, status), (_, ours, _)) in seen.iter().zip(CASES) {
        if let Other(other, why) = ours {
            assert!(other != status && !why.is_empty(), "{name} deviates");
        }
    }
}

#[test]
fn each_observed_case_has_the_originals_status_or_a_reason() {
    if needs("openssl").is_none() {
        return;
    }
    let helper = Home::new();
    let Some(library) = clock(&helper) else { return };
    let now = seamless_tests::now();
    let time = helper.write("time", now.to_string());
    let settings =
        "secret = \"shared.secret\"\nlowest_version = 0\ntoken_version = 0\nper_address = 0\nper_name = 0";
    let door = Door::start_with(settings, |command| {
        command.env("LD_PRELOAD", &library).env("SEAMLESS_CLOCK", &time)
    });
    let key = door.enrol("test", "test", RSA);
    let _ = door.enrol("eddie", "eddie", ED25519);
    let Door { served, agent, .. } = door;
    let stage = Stage { http: served.http.clone(), behind: "/verify", now, agent, key, home: helper };
    let mut wrong = Vec::new();
    for ((name, status, send), (_, observed)) in CASES.iter().zip(observed()) {
        let wanted = if let Other(status, _) = status { *status } else { observed };
        let answer = send(&stage);
        if answer.status != wanted {
            wrong.push(format!("{name}: {wanted} was expected: {answer:?}"));
        }
        // A refusal is a line, and never says more than that.
        if answer.status >= 400 && answer.body.lines().count() > 1 {
            wrong.push(format!("{name}: {answer:?}"));
        }
        if answer.status == 403 && answer.body != "Failed to authenticate user\n" {
            wrong.push(format!("{name} says why: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// That the cases are what was observed.
#[test]
fn each_observed_case_at_the_original() {
    if needs("openssl").is_none() {
        return;
    }
    let Some(originals) = Originals::find() else { return };
    let home = Home::new();
    let (key, eddie) = (home.key("test", RSA), home.key("eddie", ED25519));
    let keys = keys_folder(&home, "test", &key);
    let _ = keys_folder(&home, "eddie", &eddie);
    let server = originals.server(&home, &keys, "localhost", "01");
    let agent = Agent::start(&home);
    agent.add(&home, &key);
    let mut stage = Stage { http: server.http.clone(), behind: "/x", now: 0, agent, key, home };
    for ((name, _, send), (_, status)) in CASES.iter().zip(observed()) {
        stage.now = seamless_tests::now();
        let answer = send(&stage);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
}

/// Trap 9: the plugin for requests sends a HEAD with the query and the body of the request that it wants to repeat.
#[test]
fn a_body_that_comes_after_the_answer_breaks_nothing() {
    let door = Door::start("");
    let mut stream = TcpStream::connect(door.served.http.address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("set a time-out");
    let head = "HEAD /_auth?x=1 HTTP/1.1\r\nHost: localhost\r\nX-CHAP: request:AXGkdGVzdA\r\n";
    for _ in 0..3 {
        write!(stream, "{head}Content-Length: 4000000\r\n\r\n").expect("send a head");
        let mut answer = String::new();
        let mut reader = BufReader::new(&stream);
        while !answer.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut answer).expect("an answer");
            assert!(read > 0, "the connection was closed: {answer}");
        }
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-chap: challenge:"), "{answer}");
        stream.write_all(&vec![b'x'; 4_000_000]).expect("send a body");
    }
}

/// Attack: tell from the answer who is a user here.
#[test]
fn the_four_states_look_alike() {
    let door = Door::start("secret = \"shared.secret\"\nlowest_version = 0\ngroups = [\"staff\"]");
    let names = ["knows", "locks", "eddie", "other", "never"];
    let kinds = [RSA, RSA, ED25519, RSA];
    for (name, kind) in names.iter().zip(kinds) {
        let _ = door.enrol(name, name, kind);
    }
    for name in ["knows", "locks", "eddie"] {
        let _ = run(&mut door.served.verb(&["user", "groups", name, "--add", "staff"])).ok();
    }
    let _ = run(&mut seamless_tests::realm::lock(&door.served.home, &door.served.dir, "locks")).ok();
    for version in 0..3 {
        let shapes: Vec<_> = names
            .iter()
            .map(|name| {
                let message = [b"\x01q\xa5".as_slice(), name.as_bytes()].concat();
                let value = match version {
                    0 => (*name).to_owned(),
                    1 => URL_SAFE_NO_PAD.encode(message),
                    _ => URL_SAFE_NO_PAD.encode([message.as_slice(), b"\x02\xa0\x90\x90\0"].concat()),
                };
                let mut answer = door.served.http.get("/_auth", &[("X-CHAP", &format!("request:{value}"))]);
                for (header, value) in &mut answer.headers {
                    if matches!(header.as_str(), "x-chap" | "date") {
                        *value = value.len().to_string();
                    }
                }
                format!("{answer:?}")
            })
            .collect();
        assert!(shapes[0].contains("status: 200"), "{}", shapes[0]);
        assert!(shapes.iter().all(|shape| *shape == shapes[0]), "version {version}: {shapes:#?}");
    }
}
