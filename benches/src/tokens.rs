//! Tokens of now for servers, whose clocks are real.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use token::{AccessClaims, Digest, Ed25519Signer, Secret, mint_access, mint_seamless};

use seamless_bench::edge::Error;

/// Who issues them.
pub const ISSUER: &str = "https://login.example.com/corp";
/// Whom they are for.
pub const AUDIENCE: &str = "https://api.example.com";
/// What `seamless` and HS256 are signed with.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The same person in three formats.
pub struct Tokens {
    /// HMAC-SHA1, the original's.
    pub seamless: String,
    /// Our JWT.
    pub eddsa: String,
    /// The same claims with HS256, which we don't do.
    pub hs256: String,
    /// The public key of `eddsa`.
    pub jwks: Value,
    /// The secret of `hs256`, as Envoy takes it.
    pub jwks_secret: Value,
}

impl Tokens {
    /// Good for an hour.
    pub fn mint() -> Result<Self, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let secret = Secret::new(SECRET.as_bytes(), Digest::Sha1)?;
        let signer = Ed25519Signer::from_seed(&[7; 32]);
        let claims = AccessClaims {
            issuer: ISSUER,
            subject: "ada",
            audiences: &[AUDIENCE],
            client_id: "ssh",
            issued_at: now,
            expires_at: now + 3600,
            jti: "3f0e6c0b8d5a4c7e9b1f2a3d4c5b6a79",
            scopes: &["deploy:web"],
            groups: &["ops"],
            amr: &["user"],
            ssh_fp: Some("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"),
        };
        let eddsa = mint_access(&claims, &signer)?;
        let payload = eddsa.split('.').nth(1).unwrap_or_default();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT","kid":"hs"}"#);
        let signed = format!("{header}.{payload}");
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
        let jwk: Value = serde_json::from_str(&signer.public_key().to_jwk())?;
        let k = URL_SAFE_NO_PAD.encode(SECRET);
        Ok(Self {
            seamless: mint_seamless("ada", now, &secret)?,
            hs256: format!("{signed}.{tag}"),
            eddsa,
            jwks: json!({"keys": [jwk]}),
            jwks_secret: json!({"keys": [{"kty": "oct", "kid": "hs", "alg": "HS256", "k": k}]}),
        })
    }
}
