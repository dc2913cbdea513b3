//! Reading JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037).

use alloc::{string::String, vec::Vec};

use super::{Ed25519, MAX_KEYS, MAX_KID_LENGTH, Material, P256, PublicKey, Rsa};
use crate::json::{Kind, Reader, Span, Syntax};
use crate::{Algorithm, KeyError, base64url, text};

/// A key as it stands in a set.
// At most 32 of them, and not for long.
#[allow(clippy::large_enum_variant)]
pub(super) enum Jwk {
    Ours(PublicKey),
    /// Well formed, but of a type or for an algorithm that isn't ours.
    Other {
        kid: Option<String>,
    },
}

impl From<Syntax> for KeyError {
    fn from(_: Syntax) -> Self {
        Self::Json
    }
}

pub(super) fn read(json: &str) -> Result<Jwk, KeyError> {
    let mut text = json.as_bytes().to_vec();
    let mut reader = Reader::new(&mut text)?;
    let members = Members::read(&mut reader)?;
    reader.end()?;
    members.key(&reader)
}

pub(super) fn read_set(json: &str) -> Result<Vec<Jwk>, KeyError> {
    let mut text = json.as_bytes().to_vec();
    let mut reader = Reader::new(&mut text)?;
    let mut keys = None;
    reader.object(|reader, name| match reader.bytes(name) {
        b"keys" => {
            keys = Some(read_keys(reader)?);
            Ok(())
        }
        // RFC 7517 section 5: others are ignored.
        _ => Ok::<_, KeyError>(reader.skip()?),
    })?;
    reader.end()?;
    keys.ok_or(KeyError::Json)
}

fn read_keys(reader: &mut Reader<'_>) -> Result<Vec<Jwk>, KeyError> {
    let mut keys = Vec::new();
    reader.array(|reader| {
        if keys.len() == MAX_KEYS {
            return Err(KeyError::TooManyKeys);
        }
        let members = Members::read(reader)?;
        keys.push(members.key(reader)?);
        Ok(())
    })?;
    Ok(keys)
}

/// The members that matter.
#[derive(Default)]
struct Members {
    kty: Option<Span>,
    crv: Option<Span>,
    x: Option<Span>,
    y: Option<Span>,
    n: Option<Span>,
    e: Option<Span>,
    kid: Option<Span>,
    alg: Option<Span>,
    usage: Option<Span>,
    verifies: Option<bool>,
}

impl Members {
    fn read(reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        let mut members = Self::default();
        reader.object(|reader, name| {
            let member = match reader.bytes(name) {
                b"kty" => &mut members.kty,
                b"crv" => &mut members.crv,
                b"x" => &mut members.x,
                b"y" => &mut members.y,
                b"n" => &mut members.n,
                b"e" => &mut members.e,
                b"kid" => &mut members.kid,
                b"alg" => &mut members.alg,
                b"use" => &mut members.usage,
                b"key_ops" => {
                    members.verifies = Some(lists_verify(reader)?);
                    return Ok(());
                }
                // Whoever publishes one of these has lost the key; a verifier that went on would hide it.
                b"d" | b"p" | b"q" | b"dp" | b"dq" | b"qi" | b"oth" | b"k" => return Err(KeyError::Private),
                _ => return Ok(reader.skip()?),
            };
            *member = Some(reader.string()?);
            Ok(())
        })?;
        Ok(members)
    }

    fn key(&self, reader: &Reader<'_>) -> Result<Jwk, KeyError> {
        if self.usage.is_some_and(|usage| reader.bytes(usage) != b"sig") || self.verifies == Some(false) {
            return Err(KeyError::Use);
        }
        let kid = match self.kid {
            Some(kid) => Some(check_kid(reader.str(kid)?)?),
            None => None,
        };
        let kty = self.kty.ok_or(KeyError::Member)?;
        let crv = self.crv.map(|crv| reader.bytes(crv));
        let material = match (reader.bytes(kty), crv) {
            (b"OKP", Some(b"Ed25519")) => {
                let x = self.fixed(self.x, reader)?;
                Material::Ed25519(Ed25519::new(&x)?)
            }
            (b"EC", Some(b"P-256")) => {
                let mut point = [4; 65];
                let (x, y): ([u8; 32], [u8; 32]) = (self.fixed(self.x, reader)?, self.fixed(self.y, reader)?);
                for (to, from) in point.iter_mut().skip(1).zip(x.into_iter().chain(y)) {
                    *to = from;
                }
                Material::P256(P256::new(&point)?)
            }
            (b"RSA", _) => Material::Rsa(Rsa::new(&decode(self.n, reader)?, &decode(self.e, reader)?)?),
            (b"oct", _) => return Err(KeyError::Private),
            (b"OKP" | b"EC", None) => return Err(KeyError::Member),
            _ => {
                // Not our curve, so not our algorithm either.
                let ours = self.alg.and_then(|alg| Algorithm::from_jose(reader.bytes(alg)));
                return if ours.is_some() { Err(KeyError::Algorithm) } else { Ok(Jwk::Other { kid }) };
            }
        };
        let kid_or_thumbprint = |material: &Material| kid.clone().unwrap_or_else(|| material.thumbprint());
        let key = PublicKey { kid: kid_or_thumbprint(&material), material };
        match self.alg.map(|alg| Algorithm::from_jose(reader.bytes(alg))) {
            None => Ok(Jwk::Ours(key)),
            Some(Some(algorithm)) if algorithm == key.algorithm() => Ok(Jwk::Ours(key)),
            // RS512, PS256, …: the same kind of key, not the same algorithm.
            Some(None) if key.algorithm() == Algorithm::Rs256 => Ok(Jwk::Other { kid }),
            Some(_) => Err(KeyError::Algorithm),
        }
    }

    fn fixed<const N: usize>(&self, span: Option<Span>, reader: &Reader<'_>) -> Result<[u8; N], KeyError> {
        let mut bytes = [0; N];
        let text = reader.bytes(span.ok_or(KeyError::Member)?);
        match base64url::decode(text, &mut bytes) {
            Some(decoded) if decoded.len() == N => Ok(bytes),
            _ => Err(KeyError::Member),
        }
    }
}

fn decode(span: Option<Span>, reader: &Reader<'_>) -> Result<Vec<u8>, KeyError> {
    base64url::decode_vec(reader.bytes(span.ok_or(KeyError::Member)?)).ok_or(KeyError::Member)
}

fn lists_verify(reader: &mut Reader<'_>) -> Result<bool, KeyError> {
    let mut found = false;
    reader.array(|reader| {
        if reader.peek()? != Kind::String {
            return Err(KeyError::Json);
        }
        let operation = reader.string()?;
        found |= reader.bytes(operation) == b"verify";
        Ok(())
    })?;
    Ok(found)
}

fn check_kid(kid: &str) -> Result<String, KeyError> {
    if kid.is_empty() || kid.len() > MAX_KID_LENGTH || !text::is_clean(kid) {
        return Err(KeyError::Kid);
    }
    Ok(kid.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PublicKeys;
    use std::format;

    const X: &str = "kXzD9wB1S2mFwFhi4fo841VLjlCIeWPZYPp1TnRTab0";

    fn refuse(members: &str) -> KeyError {
        let json = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"{members}}}"#);
        let alone = PublicKey::from_jwk(&json).unwrap_err();
        let in_a_set = PublicKeys::from_jwks("i", &format!(r#"{{"keys":[{json}]}}"#)).unwrap_err();
        assert_eq!(alone, in_a_set);
        alone
    }

    #[test]
    fn what_a_verifier_must_not_trust_is_refused() {
        assert_eq!(refuse(r#","d":"AA""#), KeyError::Private);
        assert_eq!(refuse(r#","\u006b":1"#), KeyError::Private);
        assert_eq!(refuse(r#","use":"enc""#), KeyError::Use);
        assert_eq!(refuse(r#","key_ops":["sign"]"#), KeyError::Use);
        assert_eq!(refuse(r#","key_ops":[]"#), KeyError::Use);
        assert_eq!(refuse(r#","key_ops":"verify""#), KeyError::Json);
        assert_eq!(refuse(r#","alg":"ES256""#), KeyError::Algorithm);
        assert_eq!(refuse(r#","alg":"HS256""#), KeyError::Algorithm);
        assert_eq!(refuse(r#","kid":"""#), KeyError::Kid);
        assert_eq!(refuse(r#","kid":"a\nb""#), KeyError::Kid);
        assert_eq!(refuse(r#","kid":7"#), KeyError::Json);
        assert_eq!(refuse(r#","kty":"OKP""#), KeyError::Json);
        assert_eq!(PublicKey::from_jwk(r#"{"kty":"oct"}"#).unwrap_err(), KeyError::Private);
        assert_eq!(
            PublicKey::from_jwk(r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#).unwrap_err(),
            KeyError::Member
        );
        assert_eq!(
            PublicKey::from_jwk(&format!(r#"{{"kty":"OKP","x":"{X}"}}"#)).unwrap_err(),
            KeyError::Member
        );
    }

    #[test]
    fn the_name_is_the_given_one_or_the_thumbprint() {
        let key = PublicKey::from_jwk(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#)).unwrap();
        assert_eq!(key.kid(), "oVMXtQlU9diHm8IJm6VbG80ha6NAQZ-To8VXDvh0vOg");
        let key = PublicKey::from_jwk(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"a\"b"}}"#))
            .unwrap();
        assert_eq!(key.kid(), "a\"b");
        assert_eq!(
            key.to_jwk(),
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"a\"b","alg":"EdDSA","use":"sig"}}"#)
        );
    }

    #[test]
    fn other_kinds_of_keys_are_known_by_name_only() {
        let other = r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA","kid":"p384"}"#;
        assert_eq!(PublicKey::from_jwk(other).unwrap_err(), KeyError::Unsupported);
        let set = PublicKeys::from_jwks("i", &format!(r#"{{"keys":[{other}],"x":1}}"#)).unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!(set.find("p384").unwrap_err().code, crate::Code::UnsupportedAlgorithm);
        assert_eq!(set.find("p521").unwrap_err().code, crate::Code::UnknownKey);
        let twice = format!(r#"{{"keys":[{other},{other}]}}"#);
        assert_eq!(PublicKeys::from_jwks("i", &twice).unwrap_err(), KeyError::DuplicateKid);
    }

    #[test]
    fn sets_have_limits() {
        let key = |i| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"{i}"}}"#);
        let set = |n| format!(r#"{{"keys":[{}]}}"#, (0..n).map(key).collect::<Vec<_>>().join(","));
        assert_eq!(PublicKeys::from_jwks("i", &set(32)).unwrap().len(), 32);
        assert_eq!(PublicKeys::from_jwks("i", &set(33)).unwrap_err(), KeyError::TooManyKeys);
        let padded = format!("{}{}", set(1), " ".repeat(64 * 1024));
        assert_eq!(PublicKeys::from_jwks("i", &padded).unwrap_err(), KeyError::TooLarge);
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[]}{}"#] {
            assert_eq!(PublicKeys::from_jwks("i", bad).unwrap_err(), KeyError::Json, "{bad}");
        }
    }
}
