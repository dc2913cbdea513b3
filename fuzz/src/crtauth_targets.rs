//! Fuzz targets of the challenge-response protocol: `crtauth/tests/fuzz_corpus.rs` replays their corpus.

#![allow(clippy::unwrap_used)]

use crtauth::client::{self, Expect};
use crtauth::{Keys, Request, Response, Terms, Version, Wish, agent, challenge};

const NOW: u64 = 1_700_000_000;

/// What stands behind `request:`: whatever is understood has an answer, of a length that the name alone decides on.
pub fn chap_request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(request) = Request::parse(text) else { return };
    assert!((1..=64).contains(&request.user.len()) && !request.user.chars().any(char::is_control));
    // What we say of it is read as the same.
    assert_eq!(Request::parse(&request.to_text()).map(|again| again.version), Ok(request.version));
    let keys = Keys::derived(b"fuzz");
    let terms = Terms { server_name: "localhost", nonce: &[7; 32], now: NOW };
    let made = |blobs: &[&[u8]]| challenge(&keys, &terms, &request, blobs).unwrap();
    let (none, one) = (made(&[]), made(&[b"\0\0\0\x07ssh-rsa and so on"]));
    assert_eq!(none.len(), one.len());
    let expect = Expect {
        server_name: "localhost",
        user: &request.user,
        wish: &request.wish,
        now: NOW,
        lowest: Version::V0,
    };
    assert_eq!(client::challenge(&none, &expect).unwrap().version(), request.version);
}

/// What stands behind `response:`, in msgpack, XDR and SSHSIG: nobody has signed for these keys.
pub fn chap_response(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(response) = Response::parse(text) else { return };
    assert!(!response.is_of(&Keys::derived(b"fuzz")));
    let mut ed25519 = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    ed25519.extend([9; 32]);
    assert!(response.proof(&ed25519).is_none());
    response.check_in_vain();
}

/// What a server sends to a client.
pub fn chap_challenge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let wish = Wish::default();
    for user in ["test", "username"] {
        let expect = Expect { server_name: "localhost", user, wish: &wish, now: NOW, lowest: Version::V0 };
        if let Ok(challenge) = client::challenge(text, &expect) {
            // It has this server's name in it, and is no larger than what it was read from.
            for blob in [&b"\0\0\0\x07ssh-rsa"[..], b"\0\0\0\x0bssh-ed25519"] {
                if let Ok(to_sign) = challenge.to_sign(blob) {
                    assert!(to_sign.data.len() <= text.len() + 200);
                    let _ = challenge.response(blob, b"\0\0\0\x07ssh-rsa\0\0\0\x01x");
                }
                let _ = challenge.wants(blob);
            }
        }
    }
    let _ = client::token(text);
}

/// What an ssh-agent answers.
pub fn agent_reply(data: &[u8]) {
    if let Ok(keys) = agent::identities(data) {
        let size: usize = keys.iter().map(|key| key.blob.len() + 8).sum();
        assert!(size <= data.len());
        keys.iter().for_each(|key| assert!(!key.algorithm().is_empty()));
    }
    if let Ok(signature) = agent::signature(data) {
        assert_eq!(signature.len() + 5, data.len());
    }
}
