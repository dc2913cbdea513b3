//! Every message that the originals were seen to make, read and made again.

#![allow(clippy::unwrap_used, clippy::panic)]

use crtauth::{FakeDigest, Keys, Request, Response, Terms, Version, Wish, challenge, client};
use serde_json::Value;
use ssh_key::PublicKey;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/crtauth.json")).unwrap()
}

fn blob(vectors: &Value, key: &str) -> Vec<u8> {
    vectors["keys"][key]["pub"].as_str().unwrap().parse::<PublicKey>().unwrap().to_bytes().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn nonce(unique: &str) -> [u8; 32] {
    let mut nonce = [0xee; 32];
    nonce[..20].copy_from_slice(&hex(unique));
    nonce
}

fn terms<'a>(nonce: &'a [u8; 32], server_name: &'a str) -> Terms<'a> {
    Terms { server_name, nonce, now: 1_700_000_000 }
}

/// The signature in a response of the originals.
fn signature(version: Version, response: &str) -> Vec<u8> {
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, response).unwrap();
    match version {
        Version::V0 => bytes[8..8 + 256].to_vec(),
        _ => {
            let at = bytes.len() - 256;
            // `c4 ff` before 255 bytes, `c5 01 00` before 256.
            if bytes[at - 1] == 0xff && bytes[at] != 0 && bytes[at - 2] == 0xc4 {
                unreachable!("the short one is read elsewhere")
            }
            bytes[at..].to_vec()
        }
    }
}

fn agents(raw: &[u8]) -> Vec<u8> {
    let mut blob = vec![0, 0, 0, 7];
    blob.extend(b"ssh-rsa");
    blob.extend(u32::try_from(raw.len()).unwrap().to_be_bytes());
    blob.extend(raw);
    blob
}

#[test]
fn round_trips_with_the_python_original() {
    let vectors = vectors();
    let mut seen = 0;
    for (name, case) in vectors["python"].as_object().unwrap() {
        let Some(rest) = name.strip_prefix("roundtrip_") else { continue };
        seen += 1;
        let (key, version) = rest.rsplit_once('_').unwrap();
        let version = if version == "v0" { Version::V0 } else { Version::V1 };
        let text = |field: &str| case[field].as_str().unwrap();
        let blob = blob(&vectors, key);
        let keys = Keys::shared(text("secret").as_bytes(), FakeDigest::Sha1);

        let request = Request::parse(text("request")).unwrap();
        assert_eq!((request.version, request.user.as_str()), (version, text("username")));
        assert_eq!(request.to_text(), text("request"));
        let nonce = nonce(text("unique_data_hex"));
        let made = challenge(&keys, &terms(&nonce, text("server_name")), &request, &[&blob]).unwrap();
        assert_eq!(made, format!("challenge:{}", text("challenge")), "{name}");

        let response = Response::parse(text("response")).unwrap();
        assert!(response.is_of(&keys) && response.proof(&blob).is_some(), "{name}");
        assert!(!response.is_of(&Keys::shared(b"another", FakeDigest::Sha1)));
        let wish = Wish::default();
        let expect = client::Expect {
            server_name: text("server_name"),
            user: text("username"),
            wish: &wish,
            now: 1_700_000_000,
            lowest: Version::V0,
        };
        let signable = client::challenge(&made, &expect).unwrap();
        assert!(signable.wants(&blob));
        assert_eq!(signable.to_sign(&blob).unwrap().flags, 0);
        let own = signable.response(&blob, &agents(&signature(version, text("response")))).unwrap();
        assert_eq!(own, format!("response:{}", text("response")), "{name}");
    }
    assert_eq!(seen, 4);
}

#[test]
fn round_trip_with_the_java_original() {
    let vectors = vectors();
    let java = &vectors["java"];
    let inputs = &java["inputs"];
    let keys = Keys::shared(inputs["secret"].as_str().unwrap().as_bytes(), FakeDigest::Sha256);
    let nonce = nonce(inputs["unique_data_hex"].as_str().unwrap());
    let terms = terms(&nonce, "localhost");
    let request = Request::parse(java["request"].as_str().unwrap()).unwrap();
    let blob = blob(&vectors, "upstream_test_key");
    let made = challenge(&keys, &terms, &request, &[&blob]).unwrap();
    assert_eq!(made, format!("challenge:{}", java["challenge"].as_str().unwrap()));
    let response = Response::parse(java["response"].as_str().unwrap()).unwrap();
    assert!(response.is_of(&keys) && response.proof(&blob).is_some());
    for name in ["nobody", "another", "noa"] {
        let request = Request { version: Version::V1, user: name.into(), wish: Wish::default() };
        let made = challenge(&keys, &terms, &request, &[]).unwrap();
        let wants = java[format!("unknown_{name}")]["challenge"].as_str().unwrap();
        assert_eq!(made, format!("challenge:{wants}"), "{name}");
    }
}

#[test]
fn unknown_users_of_the_python_original() {
    let vectors = vectors();
    let keys = Keys::shared(b"server_secret", FakeDigest::Sha1);
    let nonce = nonce("000102030405060708090a0b0c0d0e0f10111213");
    let mut seen = 0;
    for (name, case) in vectors["python"].as_object().unwrap() {
        let Some(rest) = name.strip_prefix("unknown_") else { continue };
        seen += 1;
        let (user, version) = rest.rsplit_once('_').unwrap();
        let version = if version == "v0" { Version::V0 } else { Version::V1 };
        let request = Request { version, user: user.into(), wish: Wish::default() };
        let made = challenge(&keys, &terms(&nonce, "localhost"), &request, &[]).unwrap();
        assert_eq!(made, format!("challenge:{}", case["challenge"].as_str().unwrap()), "{name}");
    }
    assert_eq!(seen, 6);
}

#[test]
fn fingerprints_of_the_originals() {
    let vectors = vectors();
    for (name, key) in vectors["keys"].as_object().unwrap() {
        let (Some(fingerprint), true) = (key["fingerprint_hex"].as_str(), key["pub"].is_string()) else {
            continue;
        };
        let blob = blob(&vectors, name);
        let keys = Keys::shared(b"s", FakeDigest::Sha1);
        let request = Request { version: Version::V0, user: "u".into(), wish: Wish::default() };
        let made = challenge(&keys, &terms(&[0; 32], "h"), &request, &[&blob]).unwrap();
        let text = made.strip_prefix("challenge:").unwrap();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text).unwrap();
        // The wrapper's 28 bytes; `c`, unique data, two times, the length.
        let at = 28 + 4 + 20 + 8 + 4;
        assert_eq!(bytes[at..at + 6], hex(fingerprint), "{name}");
    }
}

/// The Python client strips leading zero bytes: 1 response in 256 carries 255 bytes.
#[test]
fn a_short_signature_is_padded() {
    let vectors = vectors();
    let case = &vectors["python"]["short_signature_v1"];
    let response = Response::parse(case["response"].as_str().unwrap()).unwrap();
    let blob = blob(&vectors, "upstream_test_key");
    assert_eq!(case["sig_len"], 255);
    assert!(response.is_of(&Keys::shared(b"server_secret", FakeDigest::Sha1)));
    assert!(response.proof(&blob).is_some());
    assert!(response.proof(&self::blob(&vectors, "own_key")).is_none());
}

#[test]
fn names_of_every_length_and_script() {
    let vectors = vectors();
    let keys = Keys::shared(b"server_secret", FakeDigest::Sha1);
    let mut seen = 0;
    for (name, case) in vectors["python"].as_object().unwrap() {
        if !name.starts_with("long_name_v1_") && name != "utf8_username_v1" {
            continue;
        }
        seen += 1;
        let request = Request::parse(case["request"].as_str().unwrap()).unwrap();
        assert_eq!(request.version, Version::V1, "{name}");
        // Read as it came, `da` and all; a client of ours answers those very bytes.
        let server_name =
            if name.starts_with("long") { format!("{}.test", "a".repeat(60)) } else { "localhost".into() };
        let wish = Wish::default();
        let expect = client::Expect {
            server_name: &server_name,
            user: &request.user,
            wish: &wish,
            now: 1_700_000_000,
            lowest: Version::V1,
        };
        let value = format!("challenge:{}", case["challenge"].as_str().unwrap());
        let signable = client::challenge(&value, &expect).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(signable.version(), Version::V1);
        if let Some(response) = case["response"].as_str() {
            let response = Response::parse(response).unwrap();
            assert!(
                response.is_of(&keys) && response.proof(&blob(&vectors, "upstream_test_key")).is_some(),
                "{name}"
            );
        }
    }
    assert!(seen >= 5);
}

#[test]
fn upstreams_own_vectors() {
    let vectors = vectors();
    let blob = blob(&vectors, "upstream_test_key");
    let case = &vectors["python"]["t_msgpack"];
    let response = Response::parse(case["response"].as_str().unwrap()).unwrap();
    assert!(response.is_of(&Keys::shared(b"secret", FakeDigest::Sha1)));
    assert_eq!(response.challenge().server_name, "server.example.com");
    assert_eq!(
        (response.challenge().valid_from, response.challenge().valid_to),
        (1_365_084_334, 1_365_084_634)
    );
    // Its signature is over the whole of the challenge, which version 0 never accepted.
    let case = &vectors["python"]["t_v0_response"];
    let response = Response::parse(case["response"].as_str().unwrap()).unwrap();
    assert!(response.is_of(&Keys::shared(b"server_secret", FakeDigest::Sha1)));
    assert_eq!(case["sig_valid_over_payload"], false);
    assert!(response.proof(&blob).is_none());
    for bad in ["2tYneWsOm88qu_Trzahw2r6ZLg37oepv03mykGS-HdcnWJLuUMDOmfVIWl5n3U6qt6Fub2E", "random", ""] {
        assert!(Response::parse(bad).is_err(), "{bad}");
    }
}
