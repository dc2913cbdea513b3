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
    for kind in Kind::ALL {
        let Some(scene) = Scene::set() else { return };
        // Keys that were confirmed long enough ago for another look.
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
        assert!(
            took > Duration::from_millis(900) && took < Duration::from_millis(1900),
            "{kind:?}: {took:?}"
        );
    }
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
