//! tests/vectors/headers.json, rules.json and paths.json: what every edge makes of a request.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(feature = "hmac", feature = "eddsa"))]

mod support;

use serde_json::Value;
use support::{list, number, text, vectors};
use token::{
    Audiences, Code, Leeway, MaxAge, Outcome, PublicKeys, RequestView, Rules, Scratch, Secret, Verifier,
    identity_headers, is_identity_header, www_authenticate,
};

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

/// A string whose characters are bytes.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}

fn verifier(file: &Value) -> (Verifier, u64) {
    let made = &file["verifier"];
    let digest = text(made, "digest").parse().unwrap();
    let secrets = list(made, "secrets").iter().map(|s| Secret::new(s.as_bytes(), digest).unwrap()).collect();
    let keys = PublicKeys::from_jwks(text(made, "issuer"), &made["jwks"].to_string()).unwrap();
    let verifier = Verifier::new(text(made, "realm"))
        .with_secrets(secrets, MaxAge::try_from(number(made, "max_age")).unwrap())
        .with_public_keys(keys, Audiences::new([text(made, "audience")]).unwrap())
        .with_leeway(Leeway::try_from(number(made, "leeway")).unwrap());
    (verifier, number(made, "now"))
}

fn items<'v>(file: &'v Value, member: &str) -> impl Iterator<Item = &'v Value> {
    file[member].as_array().unwrap_or_else(|| panic!("no list {member}")).iter()
}

#[test]
fn authorization_headers() {
    let file = vectors("headers.json");
    let (verifier, now) = verifier(&file);
    for case in items(&file, "authorization") {
        let authorization = list(case, "authorization").into_iter().map(latin1).collect();
        let request = Request { authorization, ..Request::default() };
        let mut scratch = Scratch::new();
        match verifier.check(&request, now, &mut scratch) {
            Outcome::Identity(identity) => {
                assert_eq!(text(case, "verdict"), "ok", "{case}");
                assert_eq!(identity.subject(), text(case, "subject"), "{case}");
            }
            Outcome::Rejection(rejection) => {
                assert_eq!(rejection.code.as_str(), text(case, "verdict"), "{case}")
            }
            other => panic!("{other:?}: {case}"),
        }
    }
}

#[test]
fn identity_becomes_headers() {
    let file = vectors("headers.json");
    let (verifier, now) = verifier(&file);
    for case in items(&file, "identity") {
        let mut scratch = Scratch::new();
        let identity = verifier.verify(text(case, "token").as_bytes(), now, &mut scratch).unwrap();
        for (name, value) in identity_headers(&identity) {
            assert_eq!(value, text(&case["headers"], name), "{case}");
        }
        assert_eq!(case["headers"].as_object().unwrap().len(), 3);
    }
    for case in items(&file, "strip") {
        assert_eq!(is_identity_header(text(case, "name")), case["strip"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn codes_and_challenges() {
    let file = vectors("headers.json");
    let mut count = 0;
    for case in items(&file, "codes") {
        let code: Code = text(case, "code").parse().unwrap();
        assert_eq!(u64::from(code.status()), number(case, "status"), "{case}");
        assert_eq!(code.message(), text(case, "body"), "{case}");
        count += 1;
    }
    assert_eq!(count, Code::ALL.len());
    for case in items(&file, "challenges") {
        let code = text(case, "code").parse().unwrap();
        assert_eq!(
            www_authenticate(code, text(case, "realm")).to_vec(),
            list(case, "www_authenticate"),
            "{case}"
        );
    }
}

#[test]
fn rules_decide() {
    let file = vectors("rules.json");
    let (verifier, now) = verifier(&file);
    for set in items(&file, "sets") {
        let rules = Rules::from_json(&set["rules"].to_string()).unwrap();
        let verifier = verifier.clone().with_rules(rules.clone());
        for case in items(set, "requests") {
            let token = case["token"].as_str().map(|name| format!("Bearer {}", text(&file["tokens"], name)));
            let request = Request {
                method: text(case, "method").into(),
                authority: text(case, "authority").into(),
                path: case["path"].as_str().map(latin1),
                authorization: token.into_iter().map(String::into_bytes).collect(),
            };
            let mut scratch = Scratch::new();
            let outcome = match verifier.check(&request, now, &mut scratch) {
                Outcome::Open => "open",
                Outcome::Anonymous => "anonymous",
                Outcome::Identity(_) => "identity",
                Outcome::Rejection(rejection) => rejection.code.as_str(),
            };
            assert_eq!(outcome, text(case, "outcome"), "{} {case}", set["name"]);
            if let Ok(decision) = rules.decide(&request.method, &request.authority, request.path.as_deref()) {
                assert_eq!(
                    decision.index.map(|i| u64::try_from(i).unwrap()),
                    case["rule"].as_u64(),
                    "{case}"
                );
            } else {
                assert_eq!(outcome, "bad_path");
            }
        }
    }
}

#[test]
fn rules_that_can_not_be_meant_are_refused() {
    let file = vectors("rules.json");
    for case in items(&file, "refused") {
        assert!(Rules::from_json(&case["rules"].to_string()).is_err(), "{case}");
    }
}

#[test]
fn paths_are_judged_or_turned_away() {
    let file = vectors("paths.json");
    let open = Rules::from_json(r#"{"rules":[{"need":"open"}]}"#).unwrap();
    for case in items(&file, "cases") {
        let path = case["path"].as_str().map(latin1);
        let verdict = open.decide("GET", "", path.as_deref()).map_or_else(|r| r.code.as_str(), |_| "ok");
        assert_eq!(verdict, text(case, "verdict"), "{case}");
    }
    for case in items(&file, "prefixes") {
        let json =
            serde_json::json!({"rules": [{"path_prefix": case["prefix"], "need": "open"}]}).to_string();
        let decision_rules = Rules::from_json(&json).unwrap();
        let decision = decision_rules.decide("GET", "", Some(&latin1(text(case, "path")))).unwrap();
        assert_eq!(decision.index.is_some(), case["below"].as_bool().unwrap(), "{case}");
    }
}
