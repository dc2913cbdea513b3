//! tests/vectors/jwt.json and eddsa-jws.json.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "eddsa")]

mod support;

use serde_json::Value;
use support::{cases, has, judge, list, number, text, vectors};
use token::{Audiences, Code, Leeway, PublicKeys, Revocations, Scratch, Verifier, jws};

#[test]
fn every_case_gets_its_verdict() {
    let file = vectors("jwt.json");
    let jwks = file["jwks"].to_string();
    let mut wrong = vec![];
    let mut count = 0;
    for case in cases(&file) {
        let policy = &case["policy"];
        let keys = PublicKeys::from_jwks(text(policy, "issuer"), &jwks).unwrap();
        let revoked = if case["revoked"].is_null() { "[]".into() } else { case["revoked"].to_string() };
        let verifier = Verifier::new("corp")
            .with_public_keys(keys, Audiences::new([text(policy, "audience")]).unwrap())
            .with_leeway(Leeway::try_from(number(policy, "leeway")).unwrap())
            .with_scopes(list(policy, "scope"))
            .with_revocations(Revocations::from_json(&revoked).unwrap());

        let mut scratch = Scratch::new();
        let verdict = verifier.verify(text(case, "token").as_bytes(), number(case, "now"), &mut scratch);
        let code = verdict.as_ref().map_or_else(|r| r.code.as_str(), |_| "ok");
        if can(case) {
            wrong.extend(judge(case, code).err());
        } else if code != "unsupported_algorithm" && text(case, "verdict") != code {
            wrong.push(format!("{}: {code} in a build without its algorithm", case["name"]));
        }
        if let Ok(identity) = verdict {
            assert_eq!(identity.subject(), case["expect"]["subject"].as_str().unwrap_or("ada"));
            if case["expect"]["expires_at"].is_u64() {
                assert_eq!(identity.issued_at(), number(&case["expect"], "issued_at"));
                assert_eq!(identity.expires_at(), number(&case["expect"], "expires_at"));
            }
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(count, 138);
}

/// Whether this build does the algorithm of the case's header.
fn can(case: &Value) -> bool {
    let named =
        token::inspect(text(case, "token").as_bytes()).ok().and_then(|t| t.header).unwrap_or_default();
    case["needs"].as_str().is_none_or(has)
        && (has("es256") || !named.contains("ES256"))
        && (has("rs256") || !named.contains("RS256"))
}

#[test]
fn published_keys_come_out_as_they_went_in() {
    let jwks = vectors("jwt.json")["jwks"].to_string();
    let keys = PublicKeys::from_jwks("https://login.example/corp", &jwks).unwrap();
    assert_eq!(keys.to_jwks(), jwks);
    assert!(keys.iter().all(|key| key.kid() == key.thumbprint()));
}

#[test]
fn eddsa_signatures_get_their_verdict() {
    let file = vectors("eddsa-jws.json");
    let keys = PublicKeys::from_jwks("i", &file["jwks"].to_string()).unwrap();
    let mut wrong = vec![];
    for case in cases(&file) {
        let code =
            jws::verify_signature(text(case, "jws"), &keys).map_or_else(|r| r.code.as_str(), |()| "ok");
        wrong.extend(judge(case, code).err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_key_that_is_not_there_yet_is_not_an_unknown_one() {
    let file = vectors("jwt.json");
    let case = &file["cases"][0];
    let audiences = || Audiences::new([text(&case["policy"], "audience")]).unwrap();
    let mut verifier = Verifier::new("corp").with_issuer(text(&case["policy"], "issuer"), audiences());
    let judge = |verifier: &Verifier| {
        let mut scratch = Scratch::new();
        let verdict = verifier.verify(text(case, "token").as_bytes(), number(case, "now"), &mut scratch);
        verdict.map(|_| ()).map_err(|r| r.code)
    };
    assert_eq!(judge(&verifier), Err(Code::KeysUnavailable));
    let other = PublicKeys::from_jwks("https://login.example/other", &file["jwks"].to_string()).unwrap();
    assert!(verifier.set_public_keys(Some(other)).is_err());
    assert_eq!(judge(&verifier), Err(Code::KeysUnavailable));
    let keys = PublicKeys::from_jwks(text(&case["policy"], "issuer"), &file["jwks"].to_string()).unwrap();
    verifier.set_public_keys(Some(keys)).unwrap();
    assert_eq!(judge(&verifier), Ok(()));
    verifier.set_public_keys(None).unwrap();
    assert_eq!(judge(&verifier), Err(Code::KeysUnavailable));
    assert_eq!(judge(&Verifier::new("corp")), Err(Code::UnknownKey));
}
