//! What a verifier trusts: public keys, bound to one issuer.

mod jwk;
mod roca;

use alloc::{string::String, vec::Vec};
use core::fmt;
use core::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::{Code, KeyError, Rejection, UnknownName, base64url, json};

/// The most keys in a set.
const MAX_KEYS: usize = 32;
/// The longest JWKS, in bytes.
const MAX_SET_LENGTH: usize = 64 * 1024;
/// The longest `kid`, in bytes.
const MAX_KID_LENGTH: usize = 256;

/// The public keys of one issuer. A refetch makes a new set: there is no way to add a key to one.
#[derive(Clone, Debug)]
pub struct PublicKeys {
    issuer: String,
    keys: Vec<PublicKey>,
    /// The `kid`s of keys that are none of our kinds: they answer `unsupported_algorithm`.
    others: Vec<String>,
}

impl PublicKeys {
    /// Reads a JWKS (RFC 7517 section 5) of that issuer.
    ///
    /// One bad key refuses the set: a private member anywhere, a duplicate `kid`, a key that isn't for signatures or
    /// that its `alg` doesn't fit, a weak one. A well-formed key of a type that isn't ours is kept by its `kid` only,
    /// so that its tokens answer `unsupported_algorithm`. At most 32 keys and 64 KiB.
    pub fn from_jwks(issuer: &str, json: &str) -> Result<Self, KeyError> {
        if json.len() > MAX_SET_LENGTH {
            return Err(KeyError::TooLarge);
        }
        let mut set = Self::empty(issuer)?;
        for key in jwk::read_set(json)? {
            set.add(key)?;
        }
        Ok(set)
    }

    /// A set of these keys.
    pub fn from_keys(issuer: &str, keys: Vec<PublicKey>) -> Result<Self, KeyError> {
        let mut set = Self::empty(issuer)?;
        for key in keys {
            set.add(jwk::Jwk::Ours(key))?;
        }
        Ok(set)
    }

    /// The issuer that all the keys are bound to.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How many keys there are, those of unsupported types among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len() + self.others.len()
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that can verify, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter()
    }

    /// The set as a JWKS, without keys of unsupported types.
    #[must_use]
    pub fn to_jwks(&self) -> String {
        let mut out = String::from("{\"keys\":[");
        for (i, key) in self.keys.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            key.write_jwk(&mut out);
        }
        out.push_str("]}");
        out
    }

    /// The key of this name.
    pub(crate) fn find(&self, kid: &str) -> Result<&PublicKey, Rejection> {
        match self.keys.iter().find(|key| key.kid == kid) {
            Some(key) => Ok(key),
            None if self.others.iter().any(|other| other == kid) => Err(Code::UnsupportedAlgorithm.into()),
            None => Err(Code::UnknownKey.into()),
        }
    }

    fn empty(issuer: &str) -> Result<Self, KeyError> {
        if issuer.is_empty() {
            return Err(KeyError::Issuer);
        }
        Ok(Self { issuer: issuer.into(), keys: Vec::new(), others: Vec::new() })
    }

    fn add(&mut self, key: jwk::Jwk) -> Result<(), KeyError> {
        if self.len() == MAX_KEYS {
            return Err(KeyError::TooManyKeys);
        }
        let kid = match &key {
            jwk::Jwk::Ours(key) => key.kid(),
            jwk::Jwk::Other { kid: Some(kid) } => kid,
            // Without a name no token can ask for it.
            jwk::Jwk::Other { kid: None } => return Ok(()),
        };
        if self.keys.iter().any(|k| k.kid == kid) || self.others.iter().any(|other| other == kid) {
            return Err(KeyError::DuplicateKid);
        }
        match key {
            jwk::Jwk::Ours(key) => self.keys.push(key),
            jwk::Jwk::Other { kid } => self.others.extend(kid),
        }
        Ok(())
    }
}

/// A public key, checked when it was made.
#[derive(Clone)]
pub struct PublicKey {
    kid: String,
    material: Material,
}

impl PublicKey {
    /// Reads one JWK (RFC 7517). Its `kid` is the given one, else the RFC 7638 thumbprint.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        if json.len() > MAX_SET_LENGTH {
            return Err(KeyError::TooLarge);
        }
        match jwk::read(json)? {
            jwk::Jwk::Ours(key) => Ok(key),
            jwk::Jwk::Other { .. } => Err(KeyError::Unsupported),
        }
    }

    /// An Ed25519 key (RFC 8032). Keys of small order are refused: for them, one signature fits many messages.
    pub fn from_ed25519(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self::named_by_thumbprint(Material::Ed25519(Ed25519::new(bytes)?)))
    }

    /// A P-256 key as an uncompressed SEC 1 point: 0x04, x, y.
    pub fn from_p256_sec1(bytes: &[u8]) -> Result<Self, KeyError> {
        let point: &[u8; 65] = bytes.try_into().map_err(|_| KeyError::Point)?;
        Ok(Self::named_by_thumbprint(Material::P256(P256::new(point)?)))
    }

    /// An RSA key of 2048 to 4096 bits from its modulus and exponent, big-endian.
    pub fn from_rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::named_by_thumbprint(Material::Rsa(Rsa::new(n, e)?)))
    }

    /// The one algorithm that this key does.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Ed25519(_) => Algorithm::EdDsa,
            Material::P256(_) => Algorithm::Es256,
            Material::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The RFC 7638 thumbprint: base64url of SHA-256 over the required members in lexical order.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        self.material.thumbprint()
    }

    /// The key as a JWK.
    #[must_use]
    pub fn to_jwk(&self) -> String {
        let mut out = String::new();
        self.write_jwk(&mut out);
        out
    }

    /// Checks a signature as JWS has it (RFC 7518, RFC 8037) and nothing else. A build without the key's algorithm
    /// answers `unsupported_algorithm`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Rejection> {
        let good = match &self.material {
            Material::Ed25519(key) => key.verify(message, signature),
            Material::P256(key) => key.verify(message, signature),
            Material::Rsa(key) => key.verify(message, signature),
        };
        match good {
            Some(true) => Ok(()),
            Some(false) => Err(Code::BadSignature.into()),
            None => Err(Code::UnsupportedAlgorithm.into()),
        }
    }

    /// The public half of a signing key, whose point is good by the way it was made.
    #[cfg(all(feature = "mint", feature = "eddsa"))]
    pub(crate) fn of_ed25519(key: ed25519_dalek::VerifyingKey) -> Self {
        Self::named_by_thumbprint(Material::Ed25519(Ed25519 { x: key.to_bytes(), key }))
    }

    fn named_by_thumbprint(material: Material) -> Self {
        Self { kid: material.thumbprint(), material }
    }

    fn write_jwk(&self, out: &mut String) {
        out.push('{');
        self.material.write_members(out);
        out.push_str(",\"kid\":");
        json::write_string(&self.kid, out);
        out.push_str(",\"alg\":\"");
        out.push_str(self.algorithm().as_str());
        out.push_str("\",\"use\":\"sig\"}");
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("algorithm", &self.algorithm())
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// A signature algorithm of JWS. The key decides it, never the token (RFC 8725 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519, the default.
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// The name in JOSE: `EdDSA`, `ES256` or `RS256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm that a JOSE header names, compared exactly. RFC 9864 calls EdDSA over this curve `Ed25519`.
    #[must_use]
    pub(crate) fn from_jose(name: &[u8]) -> Option<Self> {
        match name {
            b"EdDSA" | b"Ed25519" => Some(Self::EdDsa),
            b"ES256" => Some(Self::Es256),
            b"RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::EdDsa, Self::Es256, Self::Rs256].into_iter().find(|a| a.as_str() == name).ok_or(UnknownName)
    }
}

#[derive(Clone)]
enum Material {
    Ed25519(Ed25519),
    P256(P256),
    Rsa(Rsa),
}

impl Material {
    /// The members that make the key, without the braces.
    fn write_members(&self, out: &mut String) {
        match self {
            Self::Ed25519(key) => write_members(&[("kty", "OKP"), ("crv", "Ed25519")], &[("x", &key.x)], out),
            Self::P256(key) => {
                write_members(&[("kty", "EC"), ("crv", "P-256")], &[("x", key.x()), ("y", key.y())], out);
            }
            Self::Rsa(key) => write_members(&[("kty", "RSA")], &[("n", &key.n), ("e", &key.e)], out),
        }
    }

    fn thumbprint(&self) -> String {
        // RFC 7638 section 3.2: the required members, ordered by their names, without white space.
        let mut text = String::from("{");
        match self {
            Self::Ed25519(key) => {
                write_members(&[("crv", "Ed25519"), ("kty", "OKP")], &[("x", &key.x)], &mut text)
            }
            Self::P256(key) => {
                write_members(
                    &[("crv", "P-256"), ("kty", "EC")],
                    &[("x", key.x()), ("y", key.y())],
                    &mut text,
                );
            }
            Self::Rsa(key) => {
                write_members(&[], &[("e", &key.e)], &mut text);
                text.push(',');
                write_members(&[("kty", "RSA")], &[("n", &key.n)], &mut text);
            }
        }
        text.push('}');
        let mut out = String::new();
        base64url::encode(&Sha256::digest(text.as_bytes()), &mut out);
        out
    }
}

fn write_members(names: &[(&str, &str)], values: &[(&str, &[u8])], out: &mut String) {
    let mut separator = "\"";
    for (name, value) in names {
        out.extend([separator, name, "\":\"", value, "\""]);
        separator = ",\"";
    }
    for (name, value) in values {
        out.extend([separator, name, "\":\""]);
        base64url::encode(value, out);
        out.push('"');
        separator = ",\"";
    }
}

#[derive(Clone)]
struct Ed25519 {
    x: [u8; 32],
    #[cfg(feature = "eddsa")]
    key: ed25519_dalek::VerifyingKey,
}

impl Ed25519 {
    fn new(x: &[u8; 32]) -> Result<Self, KeyError> {
        // RFC 8032 section 5.1.3: y is below p = 2^255 - 19, or one key has two names.
        let [first, middle @ .., last] = x;
        if *first >= 0xed && middle.iter().all(|b| *b == 0xff) && last & 0x7f == 0x7f {
            return Err(KeyError::Point);
        }
        #[cfg(feature = "eddsa")]
        {
            let key = ed25519_dalek::VerifyingKey::from_bytes(x).map_err(|_| KeyError::Point)?;
            if key.is_weak() { Err(KeyError::Point) } else { Ok(Self { x: *x, key }) }
        }
        #[cfg(not(feature = "eddsa"))]
        Ok(Self { x: *x })
    }

    #[cfg(feature = "eddsa")]
    fn verify(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return Some(false) };
        // Strict: S < L and no small-order R, so that no third party can turn a signature into another.
        Some(self.key.verify_strict(message, &signature).is_ok())
    }

    #[cfg(not(feature = "eddsa"))]
    const fn verify(&self, _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

#[derive(Clone)]
struct P256 {
    /// 0x04, x, y.
    point: [u8; 65],
    #[cfg(feature = "es256")]
    key: p256::ecdsa::VerifyingKey,
}

impl P256 {
    fn new(point: &[u8; 65]) -> Result<Self, KeyError> {
        if point.first() != Some(&4) {
            return Err(KeyError::Point);
        }
        #[cfg(feature = "es256")]
        {
            // Checks that the point is on the curve.
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| KeyError::Point)?;
            Ok(Self { point: *point, key })
        }
        #[cfg(not(feature = "es256"))]
        Ok(Self { point: *point })
    }

    fn x(&self) -> &[u8] {
        self.point.get(1..33).unwrap_or_default()
    }

    fn y(&self) -> &[u8] {
        self.point.get(33..).unwrap_or_default()
    }

    #[cfg(feature = "es256")]
    fn verify(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        use p256::ecdsa::signature::Verifier as _;
        // RFC 7518 section 3.4: r and s in 64 bytes, never DER. Zero and what is over the order are refused here.
        let Ok(signature) = p256::ecdsa::Signature::from_slice(signature) else { return Some(false) };
        Some(self.key.verify(message, &signature).is_ok())
    }

    #[cfg(not(feature = "es256"))]
    const fn verify(&self, _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

#[derive(Clone)]
struct Rsa {
    n: Vec<u8>,
    e: Vec<u8>,
    #[cfg(feature = "rs256")]
    key: rsa::RsaPublicKey,
}

impl Rsa {
    fn new(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let bits = bits(n).ok_or(KeyError::Member)?;
        let exponent = match e {
            [] | [0, ..] => return Err(KeyError::Member),
            // Every library takes 32 bits; none of the exponents in use are longer.
            bytes if bytes.len() > 4 => return Err(KeyError::Weak),
            bytes => bytes.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)),
        };
        let odd = n.last().is_some_and(|b| b & 1 == 1);
        if !(2048..=4096).contains(&bits) || !odd || exponent < 65_537 || exponent % 2 == 0 {
            return Err(KeyError::Weak);
        }
        if roca::is_vulnerable(n) {
            return Err(KeyError::Roca);
        }
        #[cfg(feature = "rs256")]
        {
            let n_uint = rsa::BoxedUint::from_be_slice_vartime(n);
            let e_uint = rsa::BoxedUint::from_be_slice_vartime(e);
            let key = rsa::RsaPublicKey::new(n_uint, e_uint).map_err(|_| KeyError::Weak)?;
            Ok(Self { n: n.into(), e: e.into(), key })
        }
        #[cfg(not(feature = "rs256"))]
        Ok(Self { n: n.into(), e: e.into() })
    }

    #[cfg(feature = "rs256")]
    fn verify(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        // RFC 8017 section 8.2.2: as long as the modulus, no shorter.
        let good = signature.len() == self.n.len()
            && self
                .key
                .verify(rsa::Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature)
                .is_ok();
        Some(good)
    }

    #[cfg(not(feature = "rs256"))]
    const fn verify(&self, _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

/// The length of a big-endian number without leading zero bytes; `None` where it has one or is nothing.
fn bits(n: &[u8]) -> Option<usize> {
    let zeros = match n.first()? {
        0 => return None,
        first => usize::try_from(first.leading_zeros()).ok()?,
    };
    Some(n.len() * 8 - zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_fit_many_messages_are_refused() {
        let mut weak = [0; 32];
        if cfg!(feature = "eddsa") {
            assert_eq!(PublicKey::from_ed25519(&weak).unwrap_err(), KeyError::Point);
            weak[0] = 1;
            assert_eq!(PublicKey::from_ed25519(&weak).unwrap_err(), KeyError::Point);
        }
        // p + 1: a second name of the neutral point.
        weak = [0xff; 32];
        weak[0] = 0xee;
        weak[31] = 0x7f;
        assert_eq!(PublicKey::from_ed25519(&weak).unwrap_err(), KeyError::Point);
    }

    #[test]
    fn rsa_has_limits() {
        let modulus = |bytes: usize| {
            let mut n = alloc::vec![0xa5; bytes];
            n[bytes / 2] = 0x17;
            n
        };
        let e = [1, 0, 1];
        assert_eq!(PublicKey::from_rsa(&modulus(255), &e).unwrap_err(), KeyError::Weak);
        assert_eq!(PublicKey::from_rsa(&modulus(513), &e).unwrap_err(), KeyError::Weak);
        assert_eq!(PublicKey::from_rsa(&modulus(256), &[3]).unwrap_err(), KeyError::Weak);
        assert_eq!(PublicKey::from_rsa(&modulus(256), &[1, 0, 0]).unwrap_err(), KeyError::Weak);
        assert_eq!(PublicKey::from_rsa(&modulus(256), &[0, 1, 0, 1]).unwrap_err(), KeyError::Member);
        assert_eq!(PublicKey::from_rsa(&modulus(256), &[1, 0, 0, 0, 1]).unwrap_err(), KeyError::Weak);
        assert!(PublicKey::from_rsa(&modulus(256), &e).is_ok());
        assert!(PublicKey::from_rsa(&modulus(512), &e).is_ok());
        assert!(PublicKey::from_rsa(&[], &e).is_err());
    }

    #[test]
    fn an_issuer_is_never_empty() {
        assert_eq!(PublicKeys::from_jwks("", "{\"keys\":[]}").unwrap_err(), KeyError::Issuer);
        assert!(PublicKeys::from_jwks("https://login.example", "{\"keys\":[]}").unwrap().is_empty());
    }
}
