//! Both Cloudflare Workers, as they are deployed, in the real workerd.

use std::time::{Duration, Instant};

use seamless_tests::http::{Response, mirror};
use seamless_tests::process::run;
use seamless_tests::serve::Served;
use seamless_tests::workerd::{Deployment, Double, Edge, Kind, Workerd};
use serde_json::{Value, json};

/// A realm, its key set behind a double that counts, and a Worker in front of a server that mirrors.
struct Scene {
    served: Served,
    issuer: String,
    jwks_path: String,
    keys: Double,
    kv: Double,
    workerd: Workerd,
    origin: u16,
}

impl Scene {
    fn set() -> Option<Self> {
        let workerd = Workerd::find()?;
        let served = Served::start();
        let token = served.token();
        let issuer = text(&served.verify(&token).status(200).json(), "issuer");
        let below = path(&issuer).trim_end_matches('/').to_owned();
        let document = served.http.get(&format!("{below}/.well-known/openid-configuration"), &[]).json();
        let jwks_path = path(&text(&document, "jwks_uri")).to_owned();
        let keys = Double::issuer(&served.http.get(&jwks_path, &[]).status(200).body);
        Some(Self { served, issuer, jwks_path, keys, kv: Double::kv(), workerd, origin: mirror() })
    }

    /// The key set that the realm publishes now.
    fn published(&self) -> String {
        self.served.http.get(&self.jwks_path, &[]).status(200).body
    }

    fn deployment(&self, kind: Kind) -> Deployment {
        let url = format!("http://127.0.0.1:{}/jwks.json", self.keys.port);
        let settings = match kind {
            Kind::Rust => {
                json!({"realm": "demo", "issuer": self.issuer, "audience": self.issuer, "jwks_url": url})
            }
            Kind::TypeScript => {
                json!({"realm": "demo", "issuer": self.issuer, "audience": self.issuer, "jwksUrl": url})
            }
        };
        let rules = json!({"rules": [
            {"path_prefix": "/open", "need": "open"},
            {"path_prefix": "/optional", "need": "optional"},
            {"path_prefix": "/scoped", "need": "required", "scopes": ["admin"]},
            {"path_prefix": "/elsewhere", "need": "required", "audience": "https://elsewhere.example"},
        ]});
        Deployment {
            settings,
            rules: Some(rules),
            origin: self.origin,
            kv: self.kv.port,
            ..Deployment::default()
        }
    }

    fn start(&self, kind: Kind) -> Edge {
        Edge::start(&self.workerd, &self.served.home, kind, &self.deployment(kind))
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}

/// The part of a URL behind its host.
fn path(url: &str) -> &str {
    url.splitn(4, '/').nth(3).map_or("/", |rest| &url[url.len() - rest.len() - 1..])
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn get(edge: &Edge, path: &str, token: &str) -> Response {
    edge.http.get(path, &[("Authorization", &bearer(token))])
}

/// Every value of a header in the mirrored head.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

#[test]
fn the_whole_way() {
    let Some(scene) = Scene::set() else { return };
    let token = scene.served.token();
    let subject = text(&scene.served.verify(&token).json(), "subject");
    for kind in Kind::ALL {
        let edge = scene.start(kind);
        let passed = get(&edge, "/x?q=%41", &token).status(200);
        assert_eq!(values(&passed.body, "x-seamless-user"), [subject.as_str()], "{kind:?}: {}", passed.body);
        assert!(
            passed.body.starts_with("GET /x?q=%41 HTTP/1.1"),
            "the path that was judged: {}",
            passed.body
        );

        let missing = edge.http.get("/x", &[]).status(401);
        assert_eq!(missing.body, "bad authorization header format\n");
        let challenges: String = missing
            .headers
            .iter()
            .filter(|(name, _)| name == "www-authenticate")
            .map(|(_, value)| format!("{value}\n"))
            .collect();
        assert!(
            challenges.contains("seamless realm=\"demo\"") && challenges.contains("Bearer realm=\"demo\"")
        );

        for (path, status) in [("/open", 200), ("/optional", 200), ("/elsewhere", 401)] {
            let answer = edge.http.get(path, &[]).status(status);
            assert!(values(&answer.body, "x-seamless-user").is_empty(), "{path}: {answer:?}");
        }
        let _ = get(&edge, "/scoped", &token).status(403);
        let _ = get(&edge, "/elsewhere", &token).status(401);
        assert_eq!(values(&get(&edge, "/optional", &token).status(200).body, "x-seamless-user"), [&subject]);
        assert!(values(&get(&edge, "/open", &token).status(200).body, "x-seamless-user").is_empty());
        assert!(!edge.transcript().contains(&token), "no token in the log");
    }
}

#[test]
fn bad_tokens_and_spoofed_names() {
    let Some(scene) = Scene::set() else { return };
    let other = Served::start();
    let (token, foreign) = (scene.served.token(), other.token());
    let subject = text(&scene.served.verify(&token).json(), "subject");
    let parts: Vec<&str> = token.split('.').collect();
    let forged = format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86));
    for kind in Kind::ALL {
        let edge = scene.start(kind);
        for (what, bad) in
            [("forged", &forged), ("another realm's", &foreign), ("cut", &token[..40].to_owned())]
        {
            let answer = get(&edge, "/x", bad).status(401);
            assert_eq!(answer.body, "invalid token\n", "{kind:?}: {what}");
        }

        let spoofed = [
            ("Authorization", bearer(&token)),
            ("X-Seamless-User", "mallory".into()),
            ("x_seamless_user", "mallory".into()),
            ("X-Seamless_Groups", "admins".into()),
            ("X-SEAMLESS-SCOPE", "everything".into()),
            ("X-Seamless-Anything", "new".into()),
        ];
        for (path, authorized) in [("/x", true), ("/open", false), ("/optional", false)] {
            let headers: Vec<(&str, &str)> = spoofed
                .iter()
                .skip(usize::from(!authorized))
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let reached = edge.http.get(path, &headers).status(200).body;
            let users = values(&reached, "x-seamless-user");
            assert_eq!(
                users,
                if authorized { vec![subject.as_str()] } else { vec![] },
                "{kind:?} {path}: {reached}"
            );
            for forged in ["mallory", "admins", "everything", "x-seamless-anything"] {
                assert!(!reached.to_lowercase().contains(forged), "{kind:?} {path}: {reached}");
            }
        }

        let header = bearer(&token);
        for second in [header.as_str(), "Bearer x", "Basic eDp5"] {
            for pair in [[header.as_str(), second], [second, header.as_str()]] {
                let answer = edge.http.get("/x", &[("Authorization", pair[0]), ("authorization", pair[1])]);
                assert_eq!(answer.status, 401, "{kind:?}: two headers: {answer:?}");
                assert_eq!(answer.body, "bad authorization header format\n");
            }
        }
    }
}

#[test]
fn paths_do_not_lead_around_the_rules() {
    let Some(scene) = Scene::set() else { return };
    for kind in Kind::ALL {
        let edge = scene.start(kind);
        for path in [
            "/open/../x",
            "/open/%2e%2e/x",
            "/open/%2E%2e/x",
            "/open%2f..%2fx",
            "//x",
            "/open//../x",
            "/open/./x",
            "/open;/x",
            "/open\\..\\x",
            "/openx",
            "/OPEN",
            "/open%00",
            "/open%5c..",
            "/%6fpen/../x",
            "/x#/open",
            "http://open/x",
        ] {
            let answer = edge.http.get(path, &[]);
            assert!(
                matches!(answer.status, 400 | 401),
                "{kind:?}: {path} got {}: {}",
                answer.status,
                answer.body
            );
        }
        for path in ["/open", "/open/", "/open/x?next=/../..//x", "/%6fpen/x"] {
            assert_eq!(edge.http.get(path, &[]).status, 200, "{kind:?}: {path}");
        }
    }
}

#[test]
fn keys_outlive_an_isolate() {
    for kind in Kind::ALL {
        let Some(scene) = Scene::set() else { return };
        let token = scene.served.token();
        let first = scene.start(kind);
        let _ = get(&first, "/x", &token).status(200);
        until("the keys are in KV", || scene.kv.asked().iter().any(|asked| asked.starts_with("PUT ")));
        assert_eq!(scene.keys.asked().len(), 1, "{kind:?}");
        let second = scene.start(kind);
        let _ = get(&second, "/x", &token).status(200);
        assert_eq!(scene.keys.asked().len(), 1, "{kind:?}: a cold isolate asks KV, not the issuer");
        scene.keys.fail(500);
        let _ = get(&second, "/x", &token).status(200);
    }
}

#[test]
fn without_keys_nobody_passes() {
    for kind in Kind::ALL {
        let Some(scene) = Scene::set() else { return };
        let token = scene.served.token();
        scene.keys.fail(500);
        let edge = scene.start(kind);
        let answer = get(&edge, "/x", &token).status(503);
        assert_eq!(answer.body, "verification keys unavailable\n", "{kind:?}");
        let _ = edge.http.get("/open", &[]).status(200);
        scene.keys.publish(&scene.published());
        until("the keys are back", || get(&edge, "/x", &token).status == 200);
    }
}

#[test]
fn a_cold_isolate_answers_two_at_once() {
    let Some(scene) = Scene::set() else { return };
    let token = scene.served.token();
    for kind in Kind::ALL {
        let kv = Double::kv();
        let edge = Edge::start(
            &scene.workerd,
            &scene.served.home,
            kind,
            &Deployment { kv: kv.port, ..scene.deployment(kind) },
        );
        scene.keys.delay(Duration::from_millis(300));
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| get(&edge, "/x", &token).status)).collect();
            asked.into_iter().map(|one| one.join().expect("an answer")).collect()
        });
        assert_eq!(statuses, [200; 4], "{kind:?}: {}", edge.transcript());
        scene.keys.delay(Duration::ZERO);
    }
}

#[test]
fn a_rotated_key_is_found_and_an_unknown_one_costs_a_second_at_most() {
    // Most of it is waiting.
    std::thread::scope(|scope| {
        for kind in Kind::ALL {
            scope.spawn(move || rotate(kind));
        }
    });
}

fn rotate(kind: Kind) {
    let Some(scene) = Scene::set() else { return };
    let before = scene.served.token();
    let edge = scene.start(kind);
    let _ = get(&edge, "/x", &before).status(200);
    let _ = run(&mut scene.served.verb(&["signing-key", "rotate", "--now"])).ok();
    let after = scene.served.token();
    assert_ne!(before.split('.').next(), after.split('.').next(), "another kid");
    let _ = get(&edge, "/x", &after).status(401);
    // Anybody can send an unknown kid, so the issuer is asked no sooner than 30 s after it was last.
    std::thread::sleep(Duration::from_secs(30));
    scene.keys.publish(&scene.published());
    let _ = get(&edge, "/x", &after).status(200);
    let _ = get(&edge, "/x", &before).status(200);

    std::thread::sleep(Duration::from_secs(30));
    scene.keys.delay(Duration::from_secs(4));
    let foreign = Served::start().token();
    let start = Instant::now();
    let _ = get(&edge, "/x", &foreign).status(401);
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_millis(1900), "{kind:?}: {took:?}");
}

#[test]
fn a_wrong_configuration_lets_nobody_pass() {
    let Some(scene) = Scene::set() else { return };
    let token = scene.served.token();
    for kind in Kind::ALL {
        let good = scene.deployment(kind);
        let without = |name: &str| {
            let mut settings = good.settings.clone();
            settings.as_object_mut().expect("an object").remove(name);
            Deployment { settings, ..good.clone() }
        };
        let with = |name: &str, value: Value| {
            let mut settings = good.settings.clone();
            settings[name] = value;
            Deployment { settings, ..good.clone() }
        };
        let url = if kind == Kind::Rust { "jwks_url" } else { "jwksUrl" };
        for (what, deployment) in [
            ("audience", without("audience")),
            ("issuer", without("issuer")),
            ("realm", without("realm")),
            ("leeway", with("leeway", json!(3600))),
            (url, with(url, json!("http://login.example/jwks.json"))),
            (if kind == Kind::Rust { "unknown member" } else { "nonsense" }, with("nonsense", json!(1))),
            ("rules", Deployment { rules: Some(json!({"rules": [{"need": "maybe"}]})), ..good.clone() }),
        ] {
            let edge = Edge::start(&scene.workerd, &scene.served.home, kind, &deployment);
            let _ = get(&edge, "/x", &token).status(503);
            let _ = edge.http.get("/open", &[]).status(503);
            until(&format!("{kind:?} names {what}"), || edge.transcript().contains(what));
        }
    }
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_module_that_traps_lets_nobody_pass() {
    let Some(scene) = Scene::set() else { return };
    let token = scene.served.token();
    // A path on which the glue's call into the module ends as a trap does.
    let patch = (
        "glue.fetch(request, env, ctx)",
        "(request.url.endsWith('/trap') ? Promise.reject(new WebAssembly.RuntimeError('unreachable')) : glue.fetch(request, env, ctx))",
    );
    let deployment = Deployment { patch: Some(patch), ..scene.deployment(Kind::Rust) };
    let edge = Edge::start(&scene.workerd, &scene.served.home, Kind::Rust, &deployment);
    let _ = get(&edge, "/x", &token).status(200);
    for _ in 0..3 {
        let answer = get(&edge, "/trap", &token).status(503);
        assert_eq!(answer.body, "verification keys unavailable\n");
        let _ = get(&edge, "/x", &token).status(200);
        let _ = edge.http.get("/x", &[]).status(401);
    }
}

/// The vectors through both Workers as they are deployed; the matrix compares them with the other runtimes.
#[test]
fn the_vectors() {
    let Some(scene) = Scene::set() else { return };
    for kind in Kind::ALL {
        let mut lines = String::new();
        judge_jwt(&scene, kind, &mut lines);
        judge_rules(&scene, kind, &mut lines);
        assert!(lines.lines().count() > 150, "{kind:?}: {} cases", lines.lines().count());
        if let Some(folder) = std::env::var_os("SEAMLESS_LINES") {
            std::fs::create_dir_all(&folder).expect("make a folder");
            let name = if kind == Kind::Rust { "worker-rust.jsonl" } else { "worker-ts.jsonl" };
            std::fs::write(std::path::Path::new(&folder).join(name), lines).expect("write the lines");
        }
    }
}

fn vectors(name: &str) -> Value {
    let path = seamless_tests::root().join("tests/vectors").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The clock stands still at `now`; keys and rules are the vectors'.
fn judging(scene: &Scene, kind: Kind, policy: &Value, rules: Value, now: u64) -> Edge {
    let mut settings = json!({"realm": "corp"});
    for name in ["issuer", "audience", "jwks", "leeway", "scope"] {
        if !policy[name].is_null() && policy[name] != json!([]) {
            settings[name] = policy[name].clone();
        }
    }
    let secret = policy["secrets"][0].as_str().map(str::to_owned);
    match (kind, &secret) {
        (Kind::Rust, Some(_)) => {
            settings["secrets"] = json!([{"env": "SEAMLESS_SECRET", "audience": policy["audience"]}]);
        }
        (Kind::TypeScript, Some(_)) => settings["secret"] = json!({"audience": policy["audience"]}),
        _ => {}
    }
    if !policy["revoked"].is_null() {
        settings["revocations"] = policy["revoked"].clone();
    }
    let now = Some(now);
    let deployment = Deployment { settings, secret, rules: Some(rules), now, ..scene.deployment(kind) };
    Edge::start(&scene.workerd, &scene.served.home, kind, &deployment)
}

/// What a Worker says is an answer, not a code: `wanted` is what it said where the answer is that code's.
fn said(answer: &Response, wanted: &str) -> String {
    let body = answer.body.lines().next().unwrap_or_default();
    if answer.status == 200 {
        return match (wanted, body.starts_with("GET ") || body.contains(" HTTP/1.1")) {
            (_, false) => format!("200 {body}"),
            ("open" | "anonymous", true) if values(&answer.body, "x-seamless-user").is_empty() => {
                wanted.to_owned()
            }
            ("identity", true) if !values(&answer.body, "x-seamless-user").is_empty() => wanted.to_owned(),
            _ => "ok".to_owned(),
        };
    }
    let codes = vectors("headers")["codes"].as_array().cloned().unwrap_or_default();
    let fits = codes.iter().any(|code| {
        code["code"] == wanted
            && code["status"] == answer.status
            && body.starts_with(code["body"].as_str().unwrap_or("?"))
    });
    if fits { wanted.to_owned() } else { format!("{} {body}", answer.status) }
}

fn subject(answer: &Response) -> Option<String> {
    let name = values(&answer.body, "x-seamless-user").first().map(|name| (*name).to_owned())?;
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if let (b'%', Some((hex, after))) = (first, more.split_at_checked(2)) {
            let digits = std::str::from_utf8(hex).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    Some(String::from_utf8(bytes).expect("a name"))
}

/// Whether HTTP can carry it as it stands.
fn is_sendable(value: &str) -> bool {
    !value.is_empty() && value == value.trim() && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn judge_jwt(scene: &Scene, kind: Kind, lines: &mut String) {
    let file = vectors("jwt");
    let mut edges: Vec<(String, Edge)> = Vec::new();
    for case in file["cases"].as_array().expect("cases") {
        let (token, verdict) = (text(case, "token"), text(case, "verdict"));
        let named = !case["or"].is_array() && verdict != "rejected";
        if !named || case["needs"] == "rs256" || !is_sendable(&token) || token.contains(',') {
            continue;
        }
        let mut policy = case["policy"].clone();
        policy["jwks"] = file["jwks"].clone();
        policy["revoked"] = case["revoked"].clone();
        let now = case["now"].as_u64().expect("a time");
        let key = format!("{now} {policy}");
        let at = edges.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            edges.push((key, judging(scene, kind, &policy, json!({"rules": []}), now)));
            edges.len() - 1
        });
        // Only what begins as a JWT is told apart by a Worker without a secret.
        let answer = get(&edges[at].1, "/", &token);
        push(lines, "jwt", &text(case, "name"), &answer, &verdict);
    }
}

fn judge_rules(scene: &Scene, kind: Kind, lines: &mut String) {
    let file = vectors("rules");
    let now = file["verifier"]["now"].as_u64().expect("a time");
    for set in file["sets"].as_array().expect("sets") {
        let edge = judging(scene, kind, &file["verifier"], set["rules"].clone(), now);
        for (i, case) in set["requests"].as_array().expect("requests").iter().enumerate() {
            let (method, path, outcome) =
                (text(case, "method"), case["path"].as_str().unwrap_or_default(), text(case, "outcome"));
            // The client below asks by GET; what is no plain path reaches a Worker as a URL's parser leaves it.
            if method != "GET" || !is_plain(path) {
                continue;
            }
            let token = case["token"].as_str().map(|name| bearer(&text(&file["tokens"], name)));
            let headers: Vec<_> = token.iter().map(|token| ("Authorization", token.as_str())).collect();
            let answer = edge.http.get_as(&text(case, "authority"), path, &headers);
            push(lines, "rules", &format!("{} {i} {method} {path}", text(set, "name")), &answer, &outcome);
        }
    }
    let edge = judging(scene, kind, &file["verifier"], json!({"rules": []}), now);
    for case in vectors("headers")["authorization"].as_array().expect("cases") {
        let all: Vec<String> = case["authorization"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if case["or"].is_array() || !all.iter().all(|value| is_sendable(value)) {
            continue;
        }
        let headers: Vec<_> = all.iter().map(|value| ("Authorization", value.as_str())).collect();
        push(
            lines,
            "authorization",
            &text(case, "name"),
            &edge.http.get("/", &headers),
            &text(case, "verdict"),
        );
    }
}

fn is_plain(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_?=&".contains(&byte))
        && !path.contains("//")
}

fn push(lines: &mut String, suite: &str, case: &str, answer: &Response, wanted: &str) {
    let got = said(answer, wanted);
    let mut line = json!({"suite": suite, "case": case, "got": got});
    if got == "ok"
        && let Some(subject) = subject(answer)
    {
        line["subject"] = subject.into();
    }
    assert_eq!(got, wanted, "{suite}: {case}: {answer:?}");
    lines.push_str(&format!("{line}\n"));
}
