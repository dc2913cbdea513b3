//! The signature layer: JWS compact serialisation (RFC 7515 section 7.1), without a thought for what it carries.

use crate::json::{Reader, Span, Syntax};
use crate::keys::{Algorithm, PublicKey, PublicKeys};
use crate::text::MAX_TOKEN_LENGTH;
use crate::{Code, Rejection, Scratch, base64url};

/// Checks that a key of the set signed this JWS. Looks at no claim and at no `typ`: whoever calls it must.
pub fn verify_signature(token: &str, keys: &PublicKeys) -> Result<(), Rejection> {
    let mut scratch = Scratch::new();
    let compact = Compact::parse(token.as_bytes())?;
    let key = compact.key(keys, |_| true, scratch.room())?;
    compact.verify(key)
}

/// The longest signature: RSA with 4096 bits.
const LONGEST_SIGNATURE: usize = 512;

/// The parts of a JWS, each canonical base64url.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'t> {
    signed: &'t [u8],
    header: &'t [u8],
    payload: &'t [u8],
    signature: &'t [u8],
}

impl<'t> Compact<'t> {
    /// Three parts and no more: two are unsigned, five are a JWE.
    pub(crate) fn parse(token: &'t [u8]) -> Result<Self, Rejection> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(Code::TooLarge.into());
        }
        let mut parts = token.split(|b| *b == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Code::Malformed.into());
        };
        if ![header, payload, signature].into_iter().all(base64url::is_canonical) {
            return Err(Code::Malformed.into());
        }
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(Code::Malformed)?;
        Ok(Self { signed, header, payload, signature })
    }

    /// Reads the header, if its `typ` pleases, and finds the key that it names: the key, not the token, decides on
    /// the algorithm, and the two must agree.
    pub(crate) fn key<'k, F>(
        &self,
        keys: &'k PublicKeys,
        typ: F,
        room: &mut [u8],
    ) -> Result<&'k PublicKey, Rejection>
    where
        F: FnOnce(Option<&str>) -> bool,
    {
        let text = base64url::decode(self.header, room).ok_or(Code::Malformed)?;
        let header = Header::read(text)?;
        if !typ(header.typ.map(|typ| typ.of(text)).transpose()?) {
            return Err(Code::Malformed.into());
        }
        let algorithm = header.algorithm.ok_or(Code::UnsupportedAlgorithm)?;
        let key = keys.find(header.kid.of(text)?)?;
        if key.algorithm() == algorithm { Ok(key) } else { Err(Code::UnsupportedAlgorithm.into()) }
    }

    /// Checks the signature over the encoded bytes, as they came.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), Rejection> {
        let mut buffer = [0; LONGEST_SIGNATURE];
        // Canonical it is, so what doesn't decode is too long for any key.
        let signature = base64url::decode(self.signature, &mut buffer).ok_or(Code::BadSignature)?;
        key.verify(self.signed, signature)
    }

    /// Decodes the payload.
    pub(crate) fn payload<'r>(&self, room: &'r mut [u8]) -> Result<&'r mut [u8], Rejection> {
        base64url::decode(self.payload, room).ok_or_else(|| Code::Malformed.into())
    }

    /// Decodes the header.
    pub(crate) fn header<'r>(&self, room: &'r mut [u8]) -> Result<&'r mut [u8], Rejection> {
        base64url::decode(self.header, room).ok_or_else(|| Code::Malformed.into())
    }
}

/// What counts in a JOSE header. All else, `jku`, `jwk`, `x5u` and `x5c` included, is read past and never followed.
struct Header {
    /// `None` where `alg` is none of ours.
    algorithm: Option<Algorithm>,
    kid: Span,
    typ: Option<Span>,
}

impl Header {
    fn read(text: &mut [u8]) -> Result<Self, Rejection> {
        let mut reader = Reader::new(text)?;
        let (mut alg, mut kid, mut typ) = (None, None, None);
        reader.object(|reader, name| {
            let member = match reader.bytes(name) {
                b"alg" => &mut alg,
                b"kid" => &mut kid,
                b"typ" => &mut typ,
                // They change what is signed or how it is read (RFC 7515 section 4.1.11, RFC 7797, RFC 7516).
                b"crit" | b"b64" | b"zip" | b"enc" => return Err(Syntax::Malformed),
                _ => return reader.skip(),
            };
            *member = Some(reader.string()?);
            Ok(())
        })?;
        reader.end()?;
        let (Some(alg), Some(kid)) = (alg, kid) else { return Err(Code::Malformed.into()) };
        Ok(Self { algorithm: Algorithm::from_jose(reader.bytes(alg)), kid, typ })
    }
}

impl From<Syntax> for Rejection {
    fn from(_: Syntax) -> Self {
        Code::Malformed.into()
    }
}
