//! The vectors of tests/vectors, judged by the core itself: what every other runtime is compared with.
//!
//! Prints a line of JSON a case, `{"suite", "case", "got", "subject"}`, as tests/conformance/suite.mjs does elsewhere.
//! Usage: `cargo run --package seamless-token --example verdicts --features chap,eddsa,es256 -- tests/vectors`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use token::{
    Audiences, ChapSecret, Leeway, MaxAge, Outcome, PublicKeys, Rejection, RequestView, Revocations, Rules,
    Scratch, Secret, Verdict, Verifier, identity_headers, is_identity_header, www_authenticate,
};

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the folder of the vectors"));
    let headers = vectors(&folder, "headers");
    let tokens = vectors(&folder, "jwt");
    let rules = vectors(&folder, "rules");
    seamless(&vectors(&folder, "seamless-v1"));
    chap(&vectors(&folder, "chap"));
    jwt(&tokens);
    keys(&folder);
    authorization(&headers);
    identity(&headers);
    answers(&headers, &tokens);
    decisions(&rules);
    paths(&vectors(&folder, "paths"), &rules);
}

fn seamless(file: &Value) {
    for case in items(file, "cases") {
        let digest = text(case, "digest").parse().unwrap();
        let secrets =
            items(case, "secrets").map(|s| Secret::new(s.as_str().unwrap().as_bytes(), digest).unwrap());
        let verifier = Verifier::new("corp")
            .with_secrets(secrets.collect(), MaxAge::try_from(number(case, "max_age")).unwrap())
            .with_leeway(Leeway::try_from(number(file, "leeway")).unwrap());
        let mut scratch = Scratch::new();
        let verdict = verifier.verify(text(case, "token").as_bytes(), number(case, "now"), &mut scratch);
        say_verdict("seamless", text(case, "name"), &verdict);
    }
}

fn chap(file: &Value) {
    for case in items(file, "cases") {
        let secrets =
            items(case, "secrets").map(|s| ChapSecret::new(s.as_str().unwrap().as_bytes()).unwrap());
        let verifier = Verifier::new("corp").with_chap_secrets(secrets.collect());
        let mut scratch = Scratch::new();
        let verdict = verifier.verify(text(case, "token").as_bytes(), number(case, "now"), &mut scratch);
        say_verdict("chap", text(case, "name"), &verdict);
    }
}

fn jwt(file: &Value) {
    for case in items(file, "cases") {
        let (verifier, mut scratch) = (jwt_verifier(file, case), Scratch::new());
        let verdict = verifier.verify(text(case, "token").as_bytes(), number(case, "now"), &mut scratch);
        say_verdict("jwt", text(case, "name"), &verdict);
    }
}

/// Key sets: those of Wycheproof, the private halves and shared secrets among them, which must never load.
fn keys(folder: &Path) {
    for (file, long) in [("jws", "json_web_signature_test"), ("jwk", "json_web_key_test")] {
        let vectors = vectors(folder, &format!("wycheproof/{long}"));
        for (i, group) in items(&vectors, "testGroups").enumerate() {
            for half in ["public", "private"].into_iter().filter(|half| !group[half].is_null()) {
                let name = format!("{file} {i} {half} {}", text(group, "comment"));
                say("keys", &name, if loads(&group[half]) { "loaded" } else { "refused" }, None);
            }
        }
    }
}

fn loads(set: &Value) -> bool {
    let jwks = if set["keys"].is_array() { set.clone() } else { json!({"keys": [set]}) };
    PublicKeys::from_jwks("https://login.example/corp", &jwks.to_string()).is_ok()
}

fn jwt_verifier(file: &Value, case: &Value) -> Verifier {
    let policy = &case["policy"];
    let keys = PublicKeys::from_jwks(text(policy, "issuer"), &file["jwks"].to_string()).unwrap();
    let revoked = if case["revoked"].is_null() { "[]".to_owned() } else { case["revoked"].to_string() };
    Verifier::new("corp")
        .with_public_keys(keys, Audiences::new([text(policy, "audience")]).unwrap())
        .with_leeway(Leeway::try_from(number(policy, "leeway")).unwrap())
        .with_scopes(items(policy, "scope").map(|scope| scope.as_str().unwrap()))
        .with_revocations(Revocations::from_json(&revoked).unwrap())
}

fn authorization(file: &Value) {
    let (verifier, now) = made(file);
    for case in items(file, "authorization") {
        let mut scratch = Scratch::new();
        match verifier.check(&with_headers(case), now, &mut scratch) {
            Outcome::Identity(identity) => say_verdict("authorization", text(case, "name"), &Ok(identity)),
            Outcome::Rejection(rejection) => {
                say_verdict("authorization", text(case, "name"), &Err(rejection))
            }
            other => panic!("{other:?} without rules"),
        }
    }
}

fn identity(file: &Value) {
    let (verifier, now) = made(file);
    for case in items(file, "identity") {
        let mut scratch = Scratch::new();
        let verdict = verifier.verify(text(case, "token").as_bytes(), now, &mut scratch);
        let got = verdict.map_or_else(
            |rejection| rejection.code.to_string(),
            |identity| json!(BTreeMap::from(identity_headers(&identity))).to_string(),
        );
        say("identity", text(case, "name"), &got, None);
    }
    for case in items(file, "strip") {
        let name = text(case, "name");
        say("strip", name, if is_identity_header(name) { "stripped" } else { "kept" }, None);
    }
}

/// The same rejections that the other runtimes bring about, in the same order.
fn answers(file: &Value, tokens: &Value) {
    let (verifier, now) = made(file);
    let mut rejections = BTreeMap::new();
    let mut keep = |rejection: Rejection| {
        rejections.insert(rejection.code.as_str(), rejection);
    };
    let mut scratch = Scratch::new();
    let mut check = |verifier: &Verifier, request: &Request| {
        if let Outcome::Rejection(rejection) = verifier.check(request, now, &mut scratch) {
            keep(rejection);
        }
    };
    check(&verifier, &Request::default());
    items(file, "authorization").for_each(|case| check(&verifier, &with_headers(case)));
    let ruled = verifier.with_rules(Rules::from_json(r#"{"rules":[]}"#).unwrap());
    check(&ruled, &Request { path: Some(b"//".to_vec()), ..Request::default() });
    for case in items(tokens, "cases") {
        let (verifier, mut scratch) = (jwt_verifier(tokens, case), Scratch::new());
        let verdict = verifier.verify(text(case, "token").as_bytes(), number(case, "now"), &mut scratch);
        if let Err(rejection) = verdict {
            keep(rejection);
        }
    }
    for (name, rejection) in rejections {
        let status = rejection.code.status();
        let mut answer = json!({
            "status": status,
            "message": rejection.to_string(),
            "skew": rejection.skew.is_some(),
            "sent": status,
        });
        if matches!(status, 401 | 403) {
            answer["challenges"] = www_authenticate(rejection.code, "corp").join(", ").into();
        }
        say("answers", name, &answer.to_string(), None);
    }
}

fn decisions(file: &Value) {
    let (plain, now) = made(file);
    for set in items(file, "sets") {
        let verifier = plain.clone().with_rules(Rules::from_json(&set["rules"].to_string()).unwrap());
        for (i, case) in items(set, "requests").enumerate() {
            let (method, path) = (text(case, "method"), case["path"].as_str());
            let token = case["token"].as_str().map(|name| format!("Bearer {}", text(&file["tokens"], name)));
            let request = Request {
                method: method.into(),
                authority: text(case, "authority").into(),
                path: path.map(latin1),
                authorization: token.into_iter().map(String::into_bytes).collect(),
            };
            let name = format!("{} {i} {method} {}", text(set, "name"), path.unwrap_or("null"));
            say("rules", &name, outcome(&verifier, &request, now), None);
        }
    }
    for case in items(file, "refused") {
        let got = if Rules::from_json(&case["rules"].to_string()).is_err() { "refused" } else { "loaded" };
        say("refused", text(case, "name"), got, None);
    }
}

fn paths(file: &Value, settings: &Value) {
    let (verifier, now) = made(settings);
    let judge = |prefix: &str, path: Option<&str>| {
        let rules = json!({"rules": [{"path_prefix": prefix, "need": "open"}]}).to_string();
        let verifier = verifier.clone().with_rules(Rules::from_json(&rules).unwrap());
        let request = Request {
            method: "GET".into(),
            authority: "api.example".into(),
            path: path.map(latin1),
            ..Request::default()
        };
        outcome(&verifier, &request, now)
    };
    for case in items(file, "cases") {
        let path = case["path"].as_str();
        say("paths", path.unwrap_or("null"), judge("/", path), None);
    }
    for case in items(file, "prefixes") {
        let (path, prefix) = (text(case, "path"), text(case, "prefix"));
        say("prefixes", &format!("{path} below {prefix}"), judge(prefix, Some(path)), None);
    }
}

fn outcome(verifier: &Verifier, request: &Request, now: u64) -> &'static str {
    match verifier.check(request, now, &mut Scratch::new()) {
        Outcome::Open => "open",
        Outcome::Anonymous => "anonymous",
        Outcome::Identity(_) => "identity",
        Outcome::Rejection(rejection) => rejection.code.as_str(),
    }
}

fn made(file: &Value) -> (Verifier, u64) {
    let made = &file["verifier"];
    let digest = text(made, "digest").parse().unwrap();
    let secrets =
        items(made, "secrets").map(|s| Secret::new(s.as_str().unwrap().as_bytes(), digest).unwrap());
    let keys = PublicKeys::from_jwks(text(made, "issuer"), &made["jwks"].to_string()).unwrap();
    let verifier = Verifier::new(text(made, "realm"))
        .with_secrets(secrets.collect(), MaxAge::try_from(number(made, "max_age")).unwrap())
        .with_public_keys(keys, Audiences::new([text(made, "audience")]).unwrap())
        .with_leeway(Leeway::try_from(number(made, "leeway")).unwrap());
    (verifier, number(made, "now"))
}

fn with_headers(case: &Value) -> Request {
    let authorization = items(case, "authorization").map(|value| latin1(value.as_str().unwrap())).collect();
    Request { authorization, ..Request::default() }
}

/// A request as an adapter would show it.
#[derive(Default)]
struct Request {
    method: String,
    authority: String,
    path: Option<Vec<u8>>,
    authorization: Vec<Vec<u8>>,
}

impl RequestView for Request {
    fn method(&self) -> &str {
        &self.method
    }

    fn scheme(&self) -> &str {
        "https"
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.authorization.iter().filter(move |_| name == "authorization").map(Vec::as_slice)
    }
}

fn say_verdict(suite: &str, name: &str, verdict: &Verdict<'_>) {
    match verdict {
        Ok(identity) => say(suite, name, "ok", Some(identity.subject())),
        Err(rejection) => say(suite, name, rejection.code.as_str(), None),
    }
}

fn say(suite: &str, name: &str, got: &str, subject: Option<&str>) {
    let mut line = json!({"suite": suite, "case": name, "got": got});
    if let Some(subject) = subject {
        line["subject"] = subject.into();
    }
    println!("{line}");
}

fn vectors(folder: &Path, name: &str) -> Value {
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn items<'v>(value: &'v Value, member: &str) -> impl Iterator<Item = &'v Value> {
    value[member].as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("no string {member} in {value}"))
}

fn number(value: &Value, member: &str) -> u64 {
    value[member].as_u64().unwrap_or_else(|| panic!("no number {member} in {value}"))
}

/// A string whose characters are bytes.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}
