//! Fuzz targets of the token core: `token/tests/fuzz_corpus.rs` replays their corpus.

#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use token::{
    Audiences, ChapSecret, Digest, Format, Leeway, MaxAge, PublicKeys, Revocations, Rules, Scratch, Secret,
    Verifier, inspect, seamless as format,
};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.example/corp";
/// The Ed25519 and P-256 keys of tests/vectors/jwt.json.
const JWKS: &str = r#"{"keys":[
    {"kty":"OKP","crv":"Ed25519","x":"kXzD9wB1S2mFwFhi4fo841VLjlCIeWPZYPp1TnRTab0"},
    {"kty":"EC","crv":"P-256","x":"1CpIWTjzUHgVmo49SxJrQ5tRQD29FYOm7hrHI8wq-_k","y":"Bg1vCMG-cwEJxw8V6H4wgkGktgNGZM7xO-ubBmXBZAg"}
]}"#;

static SECRETS: LazyLock<Vec<Secret>> = LazyLock::new(|| {
    [Digest::Sha1, Digest::Sha256, Digest::Sha512]
        .map(|digest| {
            Secret::new(b"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", digest).unwrap()
        })
        .into()
});

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    Verifier::new("corp").with_secrets(SECRETS.clone(), MaxAge::MAX).with_public_keys(
        PublicKeys::from_jwks(ISSUER, JWKS).unwrap(),
        Audiences::new(["https://api.example"]).unwrap(),
    )
});

/// A token of crtauth.
pub fn chap(data: &[u8]) {
    let verifier = Verifier::new("corp").with_chap_secrets(vec![ChapSecret::new(b"server_secret").unwrap()]);
    let mut scratch = Scratch::new();
    if let Ok(identity) = verifier.verify(data, 1_700_000_000, &mut scratch) {
        assert!(!identity.subject().is_empty() && !identity.subject().chars().any(char::is_control));
        assert!(identity.expires_at() - identity.issued_at() <= 600);
        assert_eq!(identity.format(), Format::Chap);
    }
    let _ = inspect(data);
}

/// A token of the `seamless` format.
pub fn seamless(data: &[u8]) {
    let free = format::verify(data, &SECRETS, MaxAge::MAX, Leeway::MAX, 1_700_000_000);
    if let Ok(identity) = free {
        assert!(!identity.subject().is_empty() && !identity.subject().chars().any(char::is_control));
        assert!(data.starts_with(identity.subject().as_bytes()));
        assert_eq!(inspect(data).unwrap().format, Format::of(data));
    }
    let _ = VERIFIER.verify(data, NOW, &mut Scratch::new());
}

/// A JWT: a token as it is, or a payload whose parts are encoded here so that the fuzzer gets past base64url.
pub fn jwt(data: &[u8]) {
    let mut scratch = Scratch::new();
    if let Ok(identity) = VERIFIER.verify(data, NOW, &mut scratch) {
        assert!(!identity.subject().is_empty() && !identity.subject().chars().any(char::is_control));
        assert!(identity.audiences().any(|audience| audience == "https://api.example"));
    }
    let _ = inspect(data);

    let mut parts = data.splitn(2, |b| *b == 0);
    let (header, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let token = format!("{}.{}.AAAA", base64url(header), base64url(payload));
    assert!(VERIFIER.verify(token.as_bytes(), NOW, &mut scratch).is_err(), "nobody signed this");
    let _ = inspect(token.as_bytes());
}

/// A key set, or a list of revocations.
pub fn jwks(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(keys) = PublicKeys::from_jwks(ISSUER, text) {
        let json = keys.to_jwks();
        let again = PublicKeys::from_jwks(ISSUER, &json).unwrap();
        assert_eq!(again.to_jwks(), json);
        assert!(!json.contains("\"d\":"));
    }
    if let Ok(list) = Revocations::from_json(text) {
        assert_eq!(Revocations::from_json(&list.to_json()).unwrap(), list);
    }
}

/// A `rules.json` and, after a NUL, a request target.
pub fn rules(data: &[u8]) {
    let mut parts = data.splitn(2, |b| *b == 0);
    let (json, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let text = String::from_utf8_lossy(json);
    let rules = Rules::from_json(&text).unwrap_or_default();
    if let Ok(decision) = rules.decide("GET", "api.example", Some(path)) {
        assert!(decision.index.is_none_or(|index| index < rules.len()));
        let judged = path.split(|b| *b == b'?').next().unwrap_or_default();
        assert!(judged.starts_with(b"/") && !judged.windows(2).any(|pair| pair == b"//"));
        assert!(!judged.split(|b| *b == b'/').any(|segment| segment == b".."));
    }
    let _ = rules.decide("GET", &text, Some(b"/"));
}

/// base64url without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().chain(&[0; 3]).take(3).fold(0usize, |group, byte| group << 8 | usize::from(*byte));
        for place in 0..=chunk.len() {
            out.push(char::from(ALPHABET[group >> (18 - 6 * place) & 63]));
        }
    }
    out
}
