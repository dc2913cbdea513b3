//! Minting JWTs of the profile `access` (RFC 9068).

use alloc::{string::String, vec::Vec};
use core::fmt::Write as _;

use super::MintError;
use crate::text::{self, MAX_TOKEN_LENGTH};
use crate::{Algorithm, base64url, json};

/// What signs JWTs: a private key that may lie anywhere.
pub trait Sign {
    /// The algorithm of the key.
    fn algorithm(&self) -> Algorithm;

    /// The name under which verifiers find its public half.
    fn kid(&self) -> &str;

    /// Signs as JWS has it: 64 bytes for EdDSA and ES256, as long as the modulus for RS256.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError>;
}

/// The claims of an access token. Lists that are empty are left out, but for the audiences.
#[derive(Clone, Copy, Debug)]
pub struct AccessClaims<'a> {
    /// `iss`: the issuer's URL.
    pub issuer: &'a str,
    /// `sub`: the user's name.
    pub subject: &'a str,
    /// `aud`: at least one; one is written as a string, more as an array.
    pub audiences: &'a [&'a str],
    /// `client_id`; `ssh` over ssh.
    pub client_id: &'a str,
    /// `iat`, in Unix seconds.
    pub issued_at: u64,
    /// `exp`, in Unix seconds.
    pub expires_at: u64,
    /// `jti`: a name that no other token has.
    pub jti: &'a str,
    /// `scope`.
    pub scopes: &'a [&'a str],
    /// `groups`.
    pub groups: &'a [&'a str],
    /// `amr` (RFC 8176).
    pub amr: &'a [&'a str],
    /// `ssh_fp`: the fingerprint of the proven SSH key.
    pub ssh_fp: Option<&'a str>,
}

/// Mints an access token: header exactly `alg`, `typ` and `kid`.
pub fn mint_access(claims: &AccessClaims<'_>, key: &dyn Sign) -> Result<String, MintError> {
    check(claims)?;
    let mut header = String::from("{\"alg\":\"");
    header.push_str(key.algorithm().as_str());
    header.push_str("\",\"typ\":\"at+jwt\",\"kid\":");
    json::write_string(key.kid(), &mut header);
    header.push('}');

    let mut token = String::new();
    base64url::encode(header.as_bytes(), &mut token);
    token.push('.');
    base64url::encode(payload(claims).as_bytes(), &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    base64url::encode(&signature, &mut token);
    if token.len() > MAX_TOKEN_LENGTH { Err(MintError::TooLarge) } else { Ok(token) }
}

fn check(claims: &AccessClaims<'_>) -> Result<(), MintError> {
    let good = |name: &str| !name.is_empty() && text::is_clean(name);
    let all_good = |names: &[&str]| names.iter().all(|name| good(name));
    if !text::is_subject(claims.subject) {
        return Err(MintError::Subject);
    }
    if claims.issued_at == 0 || claims.expires_at <= claims.issued_at {
        return Err(MintError::Time);
    }
    if !good(claims.issuer) {
        return Err(MintError::Issuer);
    }
    if claims.audiences.is_empty() || !all_good(claims.audiences) {
        return Err(MintError::Audience);
    }
    if !claims.scopes.iter().all(|scope| text::is_scope(scope)) {
        return Err(MintError::Scope);
    }
    let named = good(claims.client_id) && good(claims.jti) && claims.ssh_fp.is_none_or(good);
    if named && all_good(claims.groups) && all_good(claims.amr) { Ok(()) } else { Err(MintError::Claim) }
}

fn payload(claims: &AccessClaims<'_>) -> String {
    let mut out = String::from("{");
    text_member("iss", claims.issuer, &mut out);
    text_member("sub", claims.subject, &mut out);
    match claims.audiences {
        [audience] => text_member("aud", audience, &mut out),
        audiences => list_member("aud", audiences, &mut out),
    }
    text_member("client_id", claims.client_id, &mut out);
    // Writing to a string can't fail.
    _ = write!(out, ",\"iat\":{},\"exp\":{}", claims.issued_at, claims.expires_at);
    text_member("jti", claims.jti, &mut out);
    if !claims.scopes.is_empty() {
        text_member("scope", &claims.scopes.join(" "), &mut out);
    }
    for (name, list) in [("groups", claims.groups), ("amr", claims.amr)] {
        if !list.is_empty() {
            list_member(name, list, &mut out);
        }
    }
    if let Some(fingerprint) = claims.ssh_fp {
        text_member("ssh_fp", fingerprint, &mut out);
    }
    out.push('}');
    out
}

fn text_member(name: &str, value: &str, out: &mut String) {
    member(name, out);
    json::write_string(value, out);
}

fn list_member(name: &str, values: &[&str], out: &mut String) {
    member(name, out);
    for (i, value) in values.iter().enumerate() {
        out.push(if i == 0 { '[' } else { ',' });
        json::write_string(value, out);
    }
    out.push(']');
}

fn member(name: &str, out: &mut String) {
    out.extend([if out.len() == 1 { "\"" } else { ",\"" }, name, "\":"]);
}
