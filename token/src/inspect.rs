//! What a token says about itself. Nobody vouches for it: to show, never to decide by.

use alloc::{borrow::ToOwned as _, string::String};

use crate::text::MAX_TOKEN_LENGTH;
use crate::{Code, Format, Rejection};

/// What a token says; unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The format, by the token's shape.
    pub format: Format,
    /// The header of a JWT, the JSON text as it stands.
    pub header: Option<String>,
    /// The payload of a JWT, the JSON text as it stands.
    pub payload: Option<String>,
    /// Whom it names.
    pub subject: Option<String>,
    /// When it says that it was issued, in Unix seconds.
    pub issued_at: Option<u64>,
    /// When it says that it ends, in Unix seconds. A `seamless` token doesn't.
    pub expires_at: Option<u64>,
}

/// Reads a token without judging it.
pub fn inspect(token: &[u8]) -> Result<Inspection, Rejection> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(Code::TooLarge.into());
    }
    match Format::of(token) {
        Format::Seamless => seamless(token),
        Format::Jwt => jwt(token),
        Format::Chap => chap(token),
    }
}

#[cfg(feature = "hmac")]
fn seamless(token: &[u8]) -> Result<Inspection, Rejection> {
    let (signed, _) = crate::seamless::split_last(token)?;
    let signed = crate::seamless::Signed::parse(signed)?;
    Ok(Inspection {
        format: Format::Seamless,
        header: None,
        payload: None,
        subject: Some(signed.subject.to_owned()),
        issued_at: Some(signed.issued_at),
        expires_at: None,
    })
}

#[cfg(not(feature = "hmac"))]
fn seamless(_: &[u8]) -> Result<Inspection, Rejection> {
    Err(Code::UnsupportedAlgorithm.into())
}

#[cfg(feature = "chap")]
fn chap(token: &[u8]) -> Result<Inspection, Rejection> {
    let mut scratch = crate::Scratch::new();
    let bytes = crate::chap::decode(token, scratch.room())?;
    let parsed = crate::chap::Parsed::read(bytes)?;
    Ok(Inspection {
        format: Format::Chap,
        header: None,
        payload: None,
        subject: Some(parsed.subject()?.to_owned()),
        issued_at: Some(parsed.valid_from),
        expires_at: Some(parsed.valid_to),
    })
}

#[cfg(not(feature = "chap"))]
fn chap(_: &[u8]) -> Result<Inspection, Rejection> {
    Err(Code::UnsupportedAlgorithm.into())
}

#[cfg(feature = "jwt")]
fn jwt(token: &[u8]) -> Result<Inspection, Rejection> {
    use crate::json::{Kind, Reader};

    let compact = crate::jws::Compact::parse(token)?;
    let mut scratch = crate::Scratch::new();
    let header = json(compact.header(scratch.room())?)?;
    let text = compact.payload(scratch.room())?;
    let payload = json(text)?;
    let (mut subject, mut issued_at, mut expires_at) = (None, None, None);
    let mut reader = Reader::new(text)?;
    reader.object(|reader, name| {
        let kind = reader.peek()?;
        match (reader.bytes(name), kind) {
            (b"sub", Kind::String) => {
                let sub = reader.string()?;
                subject = Some(reader.str(sub)?.to_owned());
            }
            (b"iat", Kind::Number) => issued_at = reader.number()?,
            (b"exp", Kind::Number) => expires_at = reader.number()?,
            _ => reader.skip()?,
        }
        Ok::<_, Rejection>(())
    })?;
    reader.end()?;
    Ok(Inspection {
        format: Format::Jwt,
        header: Some(header),
        payload: Some(payload),
        subject,
        issued_at,
        expires_at,
    })
}

#[cfg(feature = "jwt")]
fn json(text: &mut [u8]) -> Result<String, Rejection> {
    let text = core::str::from_utf8(text).map_err(|_| Code::Malformed)?;
    Ok(text.to_owned())
}

#[cfg(not(feature = "jwt"))]
fn jwt(_: &[u8]) -> Result<Inspection, Rejection> {
    Err(Code::UnsupportedAlgorithm.into())
}
