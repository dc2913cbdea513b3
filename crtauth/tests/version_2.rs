//! Version 2: what is signed, what counts as signed, and what an attacker would try.

#![allow(clippy::unwrap_used)]

use crtauth::client::{self, ClientError, Expect};
use crtauth::{Keys, NAMESPACE, Proof, Request, Response, Terms, Version, Wish, challenge};
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};
use ssh_key::encoding::Encode as _;
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};

const NOW: u64 = 1_700_000_000;

struct Key {
    signing: ed25519_dalek::SigningKey,
    blob: Vec<u8>,
}

fn key(seed: u8) -> Key {
    let signing = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let public = KeyData::Ed25519(Ed25519PublicKey(signing.verifying_key().to_bytes()));
    Key { blob: public.encode_vec().unwrap(), signing }
}

impl Key {
    fn sign(&self, data: &[u8]) -> Vec<u8> {
        blob(b"ssh-ed25519", &self.signing.sign(data).to_bytes(), &[])
    }
}

fn blob(algorithm: &[u8], signature: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    for part in [algorithm, signature] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    blob.extend(tail);
    blob
}

fn wish() -> Wish {
    Wish { audiences: vec!["https://api.example.com".into()], scopes: vec!["read".into()], ..Wish::default() }
}

fn expect(wish: &Wish) -> Expect<'_> {
    Expect { server_name: "login.example.com", user: "ada", wish, now: NOW, lowest: Version::V1 }
}

fn ask(blobs: &[&[u8]]) -> String {
    let request = client::request("ada", Version::V2, &wish());
    let request = Request::parse(request.strip_prefix("request:").unwrap()).unwrap();
    let terms = Terms { server_name: "login.example.com", nonce: &[9; 32], now: NOW };
    challenge(&Keys::derived(b"root"), &terms, &request, blobs).unwrap()
}

fn parse(response: &str) -> Response {
    Response::parse(response.strip_prefix("response:").unwrap()).unwrap()
}

#[test]
fn a_log_in() {
    let (ada, other) = (key(1), key(2));
    let wish = wish();
    let signable = client::challenge(&ask(&[&ada.blob]), &expect(&wish)).unwrap();
    assert_eq!(signable.version(), Version::V2);
    assert!(signable.wants(&ada.blob) && !signable.wants(&other.blob));
    let to_sign = signable.to_sign(&ada.blob).unwrap();
    assert!(to_sign.data.starts_with(b"SSHSIG"));
    let response = parse(&signable.response(&ada.blob, &ada.sign(&to_sign.data)).unwrap());
    assert!(response.is_of(&Keys::derived(b"root")) && !response.is_of(&Keys::derived(b"other")));
    assert_eq!(response.proof(&ada.blob), Some(Proof::default()));
    assert_eq!(response.challenge().wish, wish);
    assert_eq!(response.proof(&other.blob), None, "a good signature of somebody else's key");
}

#[test]
fn what_was_signed_for_something_else_does_not_count() {
    let ada = key(1);
    let wish = wish();
    let signable = client::challenge(&ask(&[&ada.blob]), &expect(&wish)).unwrap();
    let data = signable.to_sign(&ada.blob).unwrap().data;
    for other in [
        // As an SSHSIG of git's, of nothing, of another challenge.
        data.windows(NAMESPACE.len()).position(|w| w == NAMESPACE.as_bytes()).map(|at| {
            let mut other = data.clone();
            other[at] = b'x';
            other
        }),
        Some(b"hello".to_vec()),
        Some([&data[..data.len() - 1], b"\0"].concat()),
    ] {
        let response = signable.response(&ada.blob, &ada.sign(&other.unwrap())).unwrap();
        assert_eq!(parse(&response).proof(&ada.blob), None);
    }
}

/// A FIDO key signs over its application, flags, a counter and the message's hash (PROTOCOL.u2f).
#[test]
fn a_touch_is_seen() {
    let inner = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let public =
        KeyData::SkEd25519(SkEd25519::new(Ed25519PublicKey(inner.verifying_key().to_bytes()), "ssh:"));
    let key = public.encode_vec().unwrap();
    let wish = wish();
    let signable = client::challenge(&ask(&[&key]), &expect(&wish)).unwrap();
    assert!(signable.wants(&key));
    let data = signable.to_sign(&key).unwrap().data;
    for (flags, touched, verified) in [(0, false, false), (1, true, false), (5, true, true)] {
        let tail = [flags, 0, 0, 0, 7];
        let mut message = Sha256::digest(b"ssh:").to_vec();
        message.extend(tail);
        message.extend(Sha256::digest(&data));
        let signature = blob(b"sk-ssh-ed25519@openssh.com", &inner.sign(&message).to_bytes(), &tail);
        let response = parse(&signable.response(&key, &signature).unwrap());
        assert_eq!(response.proof(&key), Some(Proof { touched, verified }));
        // The flags are signed too.
        let forged =
            blob(b"sk-ssh-ed25519@openssh.com", &inner.sign(&message).to_bytes(), &[flags ^ 1, 0, 0, 0, 7]);
        assert_eq!(parse(&signable.response(&key, &forged).unwrap()).proof(&key), None);
    }
}

/// Attack: enrol a point of small order, under which one signature fits every message.
#[test]
fn a_key_of_small_order_proves_nothing() {
    let mut point = [0; 32];
    point[0] = 1;
    let weak = KeyData::Ed25519(Ed25519PublicKey(point)).encode_vec().unwrap();
    let wish = wish();
    let signable = client::challenge(&ask(&[&weak]), &expect(&wish)).unwrap();
    let mut forged = [0; 64];
    forged[0] = 1;
    let response = parse(&signable.response(&weak, &blob(b"ssh-ed25519", &forged, &[])).unwrap());
    assert_eq!(response.proof(&weak), None);
}

/// Attack: a server, or somebody between, gets the client to sign what is not meant for it.
#[test]
fn a_client_signs_for_nobody_else() {
    let ada = key(1);
    let value = ask(&[&ada.blob]);
    let wish = wish();
    let refused = |expect: &Expect<'_>| client::challenge(&value, expect).unwrap_err();
    let good = expect(&wish);
    assert!(matches!(refused(&Expect { server_name: "evil.example", ..good }), ClientError::ServerName(_)));
    assert!(matches!(refused(&Expect { user: "bob", ..good }), ClientError::User(_)));
    let nothing = Wish::default();
    assert_eq!(refused(&Expect { wish: &nothing, ..good }), ClientError::OtherWish);
    assert_eq!(refused(&Expect { now: NOW + 100, ..good }), ClientError::Clock { skew: -100 });
    assert_eq!(refused(&Expect { now: NOW - 100, ..good }), ClientError::Clock { skew: 100 });
    assert!(client::challenge(&value, &Expect { server_name: "LOGIN.example.com", ..good }).is_ok());
    for bad in ["challenge:", "token:abc", "challenge:AWPE", "challenge:dgAA", "challenge:AmM"] {
        assert!(matches!(client::challenge(bad, &good), Err(ClientError::Malformed(_))), "{bad}");
    }
}

#[test]
fn an_older_version_only_where_it_is_allowed() {
    let request = Request::parse("ada").unwrap();
    let terms = Terms { server_name: "login.example.com", nonce: &[9; 32], now: NOW };
    let value = challenge(&Keys::derived(b"root"), &terms, &request, &[]).unwrap();
    let wish = wish();
    let good = expect(&wish);
    assert_eq!(client::challenge(&value, &good).unwrap_err(), ClientError::TooOld(Version::V0));
    let old = client::challenge(&value, &Expect { lowest: Version::V0, ..good }).unwrap();
    assert_eq!(old.to_sign(&key(1).blob).unwrap_err(), ClientError::KeyType(Version::V0));
}

#[test]
fn tokens_are_plain() {
    assert_eq!(*client::token("token: abc.def").unwrap(), "abc.def");
    for bad in ["token:", "token:a b", "token:a\r\nb", "challenge:x", &format!("token:{}", "a".repeat(9000))]
    {
        assert!(client::token(bad).is_err());
    }
}

/// Made by another program, and signed by OpenSSH.
#[test]
fn what_openssh_signs_is_accepted() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/crtauth-v2.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let texts = |value: &serde_json::Value| value.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let keys = Keys::derived(text(&vectors["secret"]).as_bytes());
    let (server_name, now) = (text(&vectors["server_name"]), vectors["now"].as_u64().unwrap());
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let user = text(&case["user"]);
        let wish = Wish {
            format: text(&case["format"]),
            audiences: texts(&case["audiences"]),
            scopes: texts(&case["scopes"]),
            ttl: case["ttl"].as_u64().unwrap(),
        };
        assert_eq!(client::request(&user, Version::V2, &wish), text(&case["request"]));
        let request = Request::parse(text(&case["request"]).strip_prefix("request:").unwrap()).unwrap();
        let hex = text(&case["nonce"]);
        let nonce = std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap());
        let decode = |base64: String| {
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap()
        };
        let enrolled: Vec<Vec<u8>> = texts(&case["enrolled"]).into_iter().map(decode).collect();
        let blobs: Vec<&[u8]> = enrolled.iter().map(Vec::as_slice).collect();
        let terms = Terms { server_name: &server_name, nonce: &nonce, now };
        assert_eq!(challenge(&keys, &terms, &request, &blobs).unwrap(), text(&case["challenge"]));
        let response = parse(&text(&case["response"]));
        assert!(response.is_of(&keys), "{}", case["key"]);
        assert_eq!(response.proof(blobs[0]), Some(Proof::default()), "{}", case["key"]);
        assert_eq!(response.challenge().wish, wish);
        for other in blobs.iter().skip(1) {
            assert_eq!(response.proof(other), None);
        }
        let expect = Expect { server_name: &server_name, user: &user, wish: &wish, now, lowest: Version::V2 };
        let signable = client::challenge(&text(&case["challenge"]), &expect).unwrap();
        assert!(blobs.iter().all(|blob| signable.wants(blob)) && !signable.wants(b"another"));
    }
}
