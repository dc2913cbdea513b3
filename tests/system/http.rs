//! The HTTP door of `serve`.

use seamless_tests::home::ED25519;
use seamless_tests::process::run;
use seamless_tests::realm;
use seamless_tests::serve::Served;

const IDENTITY: [&str; 3] = ["x-seamless-user", "x-seamless-scope", "x-seamless-groups"];

/// The part of a URL behind its host.
fn path(url: &str) -> &str {
    url.splitn(4, '/').nth(3).map_or("/", |rest| &url[url.len() - rest.len() - 1..])
}

fn issuer(served: &Served) -> serde_json::Value {
    let issuer =
        served.verify(&served.token()).status(200).json()["issuer"].as_str().unwrap_or_default().to_owned();
    let below = path(&issuer).trim_end_matches('/').to_owned();
    served.http.get(&format!("{below}/.well-known/openid-configuration"), &[]).status(200).json()
}

#[test]
fn discovery_and_keys() {
    let served = Served::start();
    let document = issuer(&served);
    let issuer = document["issuer"].as_str().expect("an issuer in the discovery document");
    let below = path(issuer).trim_end_matches('/');
    for name in [
        format!("/.well-known/oauth-authorization-server{below}"),
        format!("{below}/.well-known/oauth-authorization-server"),
    ] {
        let other = served.http.get(&name, &[]).status(200);
        assert_eq!(other.json(), document, "RFC 8414's name says the same: {name}");
        assert_eq!(other.header("access-control-allow-origin"), Some("*"));
    }

    let jwks = document["jwks_uri"].as_str().expect("a jwks_uri in the discovery document");
    let answer = served.http.get(path(jwks), &[]).status(200);
    let cache = answer.header("cache-control").expect("Cache-Control");
    let age: u64 = cache
        .split("max-age=")
        .nth(1)
        .and_then(|rest| rest.split(',').next()?.trim().parse().ok())
        .unwrap_or_else(|| panic!("max-age in {cache:?}"));
    assert!(age <= 300, "{cache}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let keys = answer.json()["keys"].as_array().cloned().unwrap_or_default();
    assert!(!keys.is_empty(), "no key");
    for key in &keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key[private].is_null(), "a private member {private} in {key}");
        }
    }
    let tag = answer.header("etag").expect("ETag").to_owned();
    let again = served.http.get(path(jwks), &[("If-None-Match", &tag)]).status(304);
    assert_eq!(again.body, "", "304 has no body");
}

#[test]
fn verify_answers_for_a_proxy() {
    let served = Served::start();
    let token = served.token();
    let good = served.verify(&token).status(200);
    let subject = good.json()["subject"].as_str().unwrap_or_default().to_owned();
    assert_eq!(good.header("x-seamless-user"), Some(subject.as_str()), "{good:#?}");
    assert!(good.header("access-control-allow-origin").is_none(), "{good:#?}");

    let mut forged = token.clone();
    let flipped = if forged.pop() == Some('A') { 'E' } else { 'A' };
    forged.push(flipped);
    let bearer = |token: &str| format!("Bearer {token}");
    let (right, wrong) = (bearer(&token), bearer(&forged));
    let cases = [
        (&[][..], 401, "bad authorization header format"),
        (&[("Authorization", "Basic YTpi")], 401, "bad authorization header format"),
        (&[("Authorization", &token)], 401, "bad authorization header format"),
        (&[("Authorization", "Bearer x,Bearer y")], 401, "bad authorization header format"),
        (&[("Authorization", &right), ("Authorization", &right)], 401, "bad authorization header format"),
        (&[("Authorization", &wrong)], 401, "invalid token"),
        (&[("Authorization", "Bearer a.b.c")], 401, "invalid token"),
        (&[("Authorization", "Bearer eyJ.b.c")], 401, "invalid token"),
    ];
    for (headers, status, first) in cases {
        let answer = served.http.get("/verify", headers).status(status);
        assert_eq!(answer.body.lines().next(), Some(first), "to {headers:?}: {answer:#?}");
        assert_eq!(answer.header("x-seamless-error"), Some(first), "to {headers:?}: {answer:#?}");
        let challenges: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name == "www-authenticate").collect();
        let asks = |scheme: &str| challenges.iter().any(|(_, value)| value.contains(scheme));
        assert!(asks("seamless realm=") && asks("Bearer realm="), "to {headers:?}: {challenges:?}");
    }
    for answer in [good, served.http.get("/verify", &[])] {
        for name in IDENTITY {
            assert!(answer.header(name).is_some(), "{name} is always there, empty if need be: {answer:#?}");
        }
    }
}

#[test]
fn what_verify_demands() {
    let served = Served::start();
    let token = served.token();
    let header = format!("Bearer {token}");
    let ask = |query: &str| served.http.get(&format!("/verify?{query}"), &[("Authorization", &header)]);
    let wrong = ask("audience=https%3A%2F%2Felsewhere.example").status(401);
    assert_eq!(wrong.header("x-seamless-error"), Some("invalid token"));
    let _ = ask("scope=no-such-scope").status(403);
    for query in ["unknown=1", "audience=a&audience=b", "audience="] {
        let _ = ask(query).status(403);
    }
}

#[test]
fn a_revocation_is_followed_at_once() {
    let served = Served::start();
    let refused = |token: &str, why: &str| {
        let answer = served.verify(token);
        assert_eq!(answer.status, 401, "{why}: {answer:#?}");
        assert_eq!(answer.header("x-seamless-error"), Some("invalid token"), "{why}");
    };
    let good = |token: &str| drop(served.verify(token).status(200));

    let (one, other) = (served.token(), served.token());
    good(&one);
    let shown = run(served.home.seamless(["token", "inspect", "--json"]).arg(&one)).ok().json();
    let jti = find(&shown, "jti").unwrap_or_else(|| panic!("a jti in what `inspect` shows: {shown}"));
    let _ = run(&mut realm::revoke_jti(&served.home, &served.dir, &jti)).ok();
    refused(&one, "after `token revoke`");
    good(&other);

    let (ada, bob) = (served.home.key("ada", ED25519), served.home.key("bob", ED25519));
    let mint = |key| run(&mut served.ssh.ssh(&served.home, key, &[])).ok().line();
    for (key, user) in [(&ada, "ada"), (&bob, "bob")] {
        let _ = run(&mut realm::add(&served.home, &served.dir, key, user)).ok();
    }
    let (of_ada, of_bob) = (mint(&ada), mint(&bob));
    good(&of_ada);
    let _ = run(&mut realm::remove_key(&served.home, &served.dir, &served.home.fingerprint(&ada))).ok();
    refused(&of_ada, "after `key remove`");
    good(&of_bob);
    let _ = run(&mut realm::lock(&served.home, &served.dir, "bob")).ok();
    refused(&of_bob, "after `user lock`");
    good(&other);
}

/// A member anywhere in the value.
fn find(value: &serde_json::Value, name: &str) -> Option<String> {
    if let Some(found) = value.get(name).and_then(serde_json::Value::as_str) {
        return Some(found.to_owned());
    }
    match value {
        serde_json::Value::Object(members) => members.values().find_map(|member| find(member, name)),
        serde_json::Value::Array(items) => items.iter().find_map(|item| find(item, name)),
        _ => None,
    }
}

#[test]
fn only_known_hosts_are_answered() {
    let served = Served::start();
    let port = served.http.address.port();
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "localhost".to_owned()] {
        let _ = served.http.get_as(&host, "/healthz", &[]).status(200);
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""] {
        for path in ["/verify", "/.well-known/openid-configuration", "/metrics"] {
            let answer = served.http.get_as(host, path, &[]);
            assert!(matches!(answer.status, 421 | 400), "Host `{host}` for {path}: {answer:#?}");
        }
    }
}

#[test]
fn health_and_metrics_tell_no_names() {
    let served = Served::start();
    let subject =
        served.verify(&served.token()).status(200).json()["subject"].as_str().unwrap_or_default().to_owned();
    let _ = served.http.get("/healthz", &[]).status(200);
    let metrics = served.http.get("/metrics", &[]).status(200);
    assert!(metrics.body.contains("# TYPE "), "Prometheus' text format: {}", metrics.body);
    for private in [subject.as_str(), "SHA256:", "eyJ"] {
        let quoted = format!("\"{private}");
        assert!(!metrics.body.contains(&quoted), "`{private}` in /metrics:\n{}", metrics.body);
    }
    let _ = served.http.get("/no-such-path", &[]).status(404);
}

#[test]
fn another_address_needs_tls_or_a_proxy() {
    let home = seamless_tests::home::Home::new();
    let _ = home.default_key(ED25519);
    let mut serve = home.seamless(["serve", "--no-ssh", "--http", "0.0.0.0:0", "--dir"]);
    let _ = run(serve.arg(home.join("demo"))).fails().says("seamless: error: ").says("--tls-cert");
}
