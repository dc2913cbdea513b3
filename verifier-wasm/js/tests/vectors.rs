//! The vectors inside WebAssembly, in Node and in a browser: `cargo xtask test --only wasm`.

#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use token::{
    Audiences, Leeway, MaxAge, PublicKeys, Revocations, Rules, Scratch, Secret, Verifier, is_identity_header,
    jws,
};
use wasm_bindgen_test::wasm_bindgen_test;

const SEAMLESS: &str = include_str!("../../../tests/vectors/seamless-v1.json");
const JWT: &str = include_str!("../../../tests/vectors/jwt.json");
const HEADERS: &str = include_str!("../../../tests/vectors/headers.json");
const RULES: &str = include_str!("../../../tests/vectors/rules.json");
const EDDSA_JWS: &str = include_str!("../../../tests/vectors/eddsa-jws.json");
const ES256_JWS: &str = include_str!("../../../tests/vectors/wycheproof/json_web_signature_test.json");
const ED25519: &str = include_str!("../../../tests/vectors/wycheproof/ed25519_test.json");

#[wasm_bindgen_test]
fn seamless() {
    let file = parse(SEAMLESS);
    for case in items(&file, "cases") {
        let digest = text(case, "digest").parse().unwrap();
        let secrets =
            items(case, "secrets").map(|s| Secret::new(s.as_str().unwrap().as_bytes(), digest).unwrap());
        let verifier = Verifier::new("corp")
            .with_secrets(secrets.collect(), MaxAge::try_from(number(case, "max_age")).unwrap())
            .with_leeway(Leeway::try_from(number(&file, "leeway")).unwrap());
        judge(&verifier, case);
    }
}

#[wasm_bindgen_test]
fn jwt() {
    let file = parse(JWT);
    for case in items(&file, "cases").filter(|case| case["needs"].is_null()) {
        let policy = &case["policy"];
        let keys = PublicKeys::from_jwks(text(policy, "issuer"), &file["jwks"].to_string()).unwrap();
        let revoked = if case["revoked"].is_null() { "[]".to_owned() } else { case["revoked"].to_string() };
        let verifier = Verifier::new("corp")
            .with_public_keys(keys, Audiences::new([text(policy, "audience")]).unwrap())
            .with_leeway(Leeway::try_from(number(policy, "leeway")).unwrap())
            .with_scopes(items(policy, "scope").map(|scope| scope.as_str().unwrap()))
            .with_revocations(Revocations::from_json(&revoked).unwrap());
        judge(&verifier, case);
    }
}

/// The curve in 32-bit words, which is another backend than natively.
#[wasm_bindgen_test]
fn ed25519() {
    let file = parse(ED25519);
    for group in items(&file, "testGroups") {
        let key: [u8; 32] = hex(text(&group["publicKey"], "pk")).try_into().unwrap();
        let key = token::PublicKey::from_ed25519(&key).unwrap();
        for test in items(group, "tests") {
            let good = key.verify(&hex(text(test, "msg")), &hex(text(test, "sig"))).is_ok();
            assert_eq!(good, text(test, "result") == "valid", "{test}");
        }
    }
}

#[wasm_bindgen_test]
fn eddsa_jws() {
    let file = parse(EDDSA_JWS);
    let keys = PublicKeys::from_jwks("i", &file["jwks"].to_string()).unwrap();
    for case in items(&file, "cases") {
        let got = jws::verify_signature(text(case, "jws"), &keys);
        let got = got.map_or_else(|rejection| rejection.code.as_str(), |_| "ok");
        assert_eq!(got, text(case, "verdict"), "{case}");
    }
}

#[wasm_bindgen_test]
fn es256_jws() {
    let file = parse(ES256_JWS);
    let mut good = Vec::new();
    for group in items(&file, "testGroups").filter(|group| !group["public"].is_null()) {
        let set = &group["public"];
        let set = if set["keys"].is_array() { set.to_string() } else { format!("{{\"keys\":[{set}]}}") };
        let Ok(keys) = PublicKeys::from_jwks("i", &set) else { continue };
        for test in items(group, "tests") {
            // In the JSON serialisation it is an object.
            let token = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), String::from);
            if jws::verify_signature(&token, &keys).is_ok() {
                assert_eq!(text(test, "result"), "valid", "{test}");
                good.push(number(test, "tcId"));
            }
        }
    }
    // All there are of ES256; RS256 is in no build for an edge.
    assert_eq!(good, [18, 378]);
}

#[wasm_bindgen_test]
fn headers_to_strip() {
    for case in items(&parse(HEADERS), "strip") {
        assert_eq!(is_identity_header(text(case, "name")), case["strip"].as_bool().unwrap(), "{case}");
    }
}

#[wasm_bindgen_test]
fn rules_that_must_not_load() {
    for case in items(&parse(RULES), "refused") {
        assert!(Rules::from_json(&case["rules"].to_string()).is_err(), "{case}");
    }
}

fn judge(verifier: &Verifier, case: &Value) {
    let mut scratch = Scratch::new();
    let verdict = verifier.verify(text(case, "token").as_bytes(), number(case, "now"), &mut scratch);
    let got = verdict.as_ref().map_or_else(|rejection| rejection.code.as_str(), |_| "ok");
    let wanted = text(case, "verdict");
    let or = items(case, "or").any(|code| code == got);
    assert!(got == wanted || or || (wanted == "rejected" && got != "ok"), "{got} for {case}");
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
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

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
