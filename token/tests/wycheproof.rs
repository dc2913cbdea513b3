//! The files of Project Wycheproof: signatures, MACs, JWS and JWK.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "eddsa")]

mod support;

use serde_json::Value;
use support::{hex, number, text, vectors};
use token::{Code, PublicKeys, jws};

fn groups(file: &Value) -> impl Iterator<Item = &Value> {
    file["testGroups"].as_array().unwrap().iter()
}

fn tests(group: &Value) -> impl Iterator<Item = &Value> {
    group["tests"].as_array().unwrap().iter()
}

#[test]
fn ed25519() {
    let file = vectors("wycheproof/ed25519_test.json");
    let mut count = 0;
    for group in groups(&file) {
        let bytes: [u8; 32] = hex(&group["publicKey"], "pk").try_into().unwrap();
        let key = token::PublicKey::from_ed25519(&bytes).unwrap();
        for test in tests(group) {
            let good = key.verify(&hex(test, "msg"), &hex(test, "sig")).is_ok();
            assert_eq!(good, text(test, "result") == "valid", "{test}");
            count += 1;
        }
    }
    assert_eq!(count, number(&file, "numberOfTests"));
}

#[cfg(feature = "hmac")]
#[test]
fn hmac_sha1() {
    let file = vectors("wycheproof/hmac_sha1_test.json");
    let mut count = 0;
    for group in groups(&file) {
        let whole = number(group, "tagSize") == 160;
        for test in tests(group) {
            let secret = token::Secret::new(&hex(test, "key"), token::Digest::Sha1).unwrap();
            let good = secret.verify(&hex(test, "msg"), &hex(test, "tag"));
            // A truncated tag is no tag to us, valid or not.
            assert_eq!(good, whole && text(test, "result") == "valid", "{test}");
            count += 1;
        }
    }
    assert_eq!(count, number(&file, "numberOfTests"));
}

/// The keys of a group, as a set. A group without public keys is of secrets: those never get into a set, and its
/// signatures meet an empty one.
fn keys(group: &Value) -> Result<PublicKeys, token::KeyError> {
    let public = &group["public"];
    if public.is_null() {
        let secret = &group["private"];
        let set =
            if secret["keys"].is_array() { secret.to_string() } else { format!("{{\"keys\":[{secret}]}}") };
        assert_eq!(PublicKeys::from_jwks("i", &set).unwrap_err(), token::KeyError::Private);
        return PublicKeys::from_jwks("i", "{\"keys\":[]}");
    }
    let set = if public["keys"].is_array() { public.to_string() } else { format!("{{\"keys\":[{public}]}}") };
    PublicKeys::from_jwks("i", &set)
}

fn verdict(group: &Value, test: &Value) -> Result<(), Code> {
    // A case in the JSON serialisation is an object in some versions of the file.
    let token = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), String::from);
    match keys(group) {
        Ok(keys) => jws::verify_signature(&token, &keys).map_err(|r| r.code),
        Err(_) => Err(Code::UnknownKey),
    }
}

#[cfg(all(feature = "es256", feature = "rs256"))]
#[test]
fn json_web_signature() {
    let file = vectors("wycheproof/json_web_signature_test.json");
    let (mut verified, mut unsupported, mut malformed, mut count) = (vec![], vec![], vec![], 0);
    for group in groups(&file) {
        for test in tests(group) {
            let id = number(test, "tcId");
            count += 1;
            match (text(test, "result"), verdict(group, test)) {
                ("valid", Ok(())) => verified.push(id),
                ("valid", Err(Code::UnsupportedAlgorithm)) => unsupported.push(id),
                ("valid", Err(Code::Malformed)) => malformed.push(id),
                ("invalid", Err(_)) => {}
                (result, verdict) => panic!("{result}, but {verdict:?}: {test}"),
            }
        }
    }
    assert_eq!(count, number(&file, "numberOfTests"));
    // RS256 and ES256: all there are.
    assert_eq!(verified, [18, 33, 259, 260, 261, 262, 263, 345, 349, 378]);
    // HS256, RS384, RS512, PS256, PS384, PS512, ES512: right, and not ours.
    assert_eq!(
        unsupported,
        [
            1, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274, 275, 287, 288, 320, 321, 322, 323, 325,
            326, 327, 328, 346, 347, 348, 350, 351, 352, 357, 358, 359, 376, 377
        ]
    );
    // A `?` inside the base64url, which RFC 7515 section 2 has no room for: some decoders pass over it, ours doesn't.
    assert_eq!(malformed, [372, 373]);
}

#[cfg(all(feature = "es256", feature = "rs256"))]
#[test]
fn json_web_key() {
    let file = vectors("wycheproof/json_web_key_test.json");
    let (mut verified, mut unsupported, mut count) = (vec![], vec![], 0);
    for group in groups(&file) {
        for test in tests(group) {
            count += 1;
            match (text(test, "result"), verdict(group, test)) {
                ("valid", Ok(())) => verified.push(number(test, "tcId")),
                ("valid", Err(Code::UnsupportedAlgorithm)) => unsupported.push(number(test, "tcId")),
                ("invalid", Err(_)) => {}
                (result, verdict) => panic!("{result}, but {verdict:?}: {test}"),
            }
        }
    }
    assert_eq!(count, number(&file, "numberOfTests"));
    assert_eq!(verified, [5]);
    // HS256, HS384, HS512.
    assert_eq!(unsupported, [2, 13, 14, 15]);
}

/// Why each bad key of the file is refused: for its own fault, not for some other.
#[cfg(all(feature = "es256", feature = "rs256"))]
#[test]
fn bad_keys_are_refused_for_their_fault() {
    use token::KeyError::{Algorithm, Member, Point, Roca, Use, Weak};
    let file = vectors("wycheproof/json_web_key_test.json");
    let fault = |id: u64| {
        let group = groups(&file).find(|g| tests(g).any(|t| number(t, "tcId") == id)).unwrap();
        keys(group).unwrap_err()
    };
    let ids = [6, 7, 8, 9, 19, 20, 21, 22, 23, 24];
    assert_eq!(ids.map(fault), [Use, Roca, Weak, Weak, Algorithm, Algorithm, Use, Point, Algorithm, Member]);
}

/// The JWS half of the older file; its JWE half is of encrypted tokens, which have five parts and reject by that.
#[test]
fn json_web_crypto() {
    let file = vectors("wycheproof/json_web_crypto_test.json");
    for group in groups(&file) {
        for test in tests(group) {
            let good = match test["jwe"].as_str() {
                Some(jwe) => {
                    let none = PublicKeys::from_jwks("i", "{\"keys\":[]}").unwrap();
                    jws::verify_signature(jwe, &none).is_ok()
                }
                None => verdict(group, test).is_ok(),
            };
            let ours = [18, 33].contains(&number(test, "tcId"));
            if ours && cfg!(all(feature = "es256", feature = "rs256")) {
                assert!(good, "{test}");
            } else {
                assert!(!good || ours, "{test}");
            }
        }
    }
}
