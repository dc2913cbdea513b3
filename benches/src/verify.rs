//! Verification in this process, beside the bare cryptography and beside other crates.

use std::hint::black_box;
use std::time::Duration;

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde_json::json;
use token::{
    AccessClaims, Audiences, Digest, Ed25519Signer, MaxAge, PublicKeys, Scratch, Secret, Verifier,
    mint_access, mint_seamless,
};

use seamless_bench::meter::{Goal, Meter};

const NOW: u64 = 1_900_000_000;
const ISSUER: &str = "https://login.example.com/corp";
const AUDIENCE: &str = "https://api.example.com";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const SEED: [u8; 32] = [7; 32];

/// Measures both formats.
pub fn measure(quick: bool) {
    let meter = if quick {
        Meter { pairs: 9, sample: Duration::from_millis(5) }
    } else {
        Meter { pairs: 25, sample: Duration::from_millis(40) }
    };
    hmac(&meter);
    eddsa(&meter);
}

/// The `seamless` format: HMAC-SHA1, no allocation.
fn hmac(meter: &Meter) {
    let secret = || Secret::new(SECRET, Digest::Sha1).expect("a secret");
    let token = mint_seamless("ada", NOW, &secret()).expect("a token");
    let verifier = Verifier::new("corp").with_secrets(vec![secret()], MaxAge::default());
    let mut scratch = Scratch::new();
    let mut ours = || verifier.verify(black_box(token.as_bytes()), NOW, &mut scratch).is_ok();

    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET);
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    let mut bare = || ring::hmac::verify(&key, black_box(signed.as_bytes()), tag.as_ref()).is_ok();
    assert!(!signature.is_empty() && ours() && bare(), "both accept it");

    count_allocations("allocations of one `seamless` verification", &mut ours, Some(0));
    meter.compare(
        "verify `seamless` (HMAC-SHA1)",
        &mut ours,
        "ring's bare HMAC-SHA1",
        &mut bare,
        Goal::Nanoseconds(250.0),
    );
}

/// Our JWT profile with Ed25519.
fn eddsa(meter: &Meter) {
    let signer = Ed25519Signer::from_seed(&SEED);
    let claims = AccessClaims {
        issuer: ISSUER,
        subject: "ada",
        audiences: &[AUDIENCE],
        client_id: "ssh",
        issued_at: NOW,
        expires_at: NOW + 300,
        jti: "3f0e6c0b8d5a4c7e9b1f2a3d4c5b6a79",
        scopes: &["deploy:web"],
        groups: &["ops"],
        amr: &["user"],
        ssh_fp: Some("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"),
    };
    let token = mint_access(&claims, &signer).expect("a token");
    let keys = PublicKeys::from_keys(ISSUER, vec![signer.public_key()]).expect("a key set");
    let audiences = Audiences::new([AUDIENCE]).expect("an audience");
    let verifier = Verifier::new("corp").with_public_keys(keys, audiences);
    let mut scratch = Scratch::new();
    let mut ours = || verifier.verify(black_box(token.as_bytes()), NOW, &mut scratch).is_ok();

    let (signed, _) = token.rsplit_once('.').expect("a signature");
    let signing = SigningKey::from_bytes(&SEED);
    let signature: Signature = ed25519_dalek::Signer::sign(&signing, signed.as_bytes());
    let public: VerifyingKey = signing.verifying_key();
    let mut bare = || public.verify_strict(black_box(signed.as_bytes()), &signature).is_ok();

    let x = public.to_bytes();
    let decoding = jsonwebtoken::DecodingKey::from_ed_der(&x);
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    // The token is of a fixed time, for the others; what a comparison of two numbers costs is not seen here.
    validation.validate_exp = false;
    let mut theirs =
        || jsonwebtoken::decode::<serde_json::Value>(black_box(&token), &decoding, &validation).is_ok();

    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, x);
    let bytes = signature.to_bytes();
    let mut ring_bare = || key.verify(black_box(signed.as_bytes()), &bytes).is_ok();
    assert!(ours() && bare() && theirs() && ring_bare(), "all four accept it");

    count_allocations("allocations of one JWT verification", &mut ours, Some(0));
    const NAME: &str = "verify JWT (EdDSA)";
    meter.compare(NAME, &mut ours, "ed25519-dalek's bare `verify_strict`", &mut bare, Goal::Ratio(1.15));
    meter.compare(NAME, &mut ours, "the crate jsonwebtoken (aws-lc-rs)", &mut theirs, Goal::None);
    meter.compare(NAME, &mut ours, "ring's bare Ed25519", &mut ring_bare, Goal::None);
}

fn count_allocations(name: &str, run: &mut dyn FnMut() -> bool, goal: Option<u64>) {
    const RUNS: u64 = 1000;
    // The first call may grow the caller's scratch.
    assert!(run(), "{name}");
    let counted = allocation_counter::measure(|| {
        for _ in 0..RUNS {
            assert!(run(), "{name}");
        }
    });
    println!("{}", json!({"name": name, "count": counted.count_total.div_ceil(RUNS), "goal": goal}));
}
