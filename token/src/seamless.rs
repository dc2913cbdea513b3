//! The `seamless` format, the original's: `subject "." timestamp "." signature`.
//!
//! An itsdangerous `TimestampSigner` with `key_derivation="none"`: the timestamp is base64url of the Unix seconds
//! as the shortest big-endian bytes, the signature base64url of the HMAC over all before the last dot. The
//! subject may have dots of its own.

use crate::secret::Secret;
use crate::text::{self, MAX_TOKEN_LENGTH};
use crate::verdict::{Code, Format, Identity, Rejection, Verdict};
use crate::{Leeway, MaxAge, base64url, items::Items};

/// Judges a token of this format. Any one of the secrets may have signed it.
///
/// Needs no allocator, and doesn't use one where there is one. Audience, scope and revocation are
/// [`Verifier`](crate::Verifier)'s.
pub fn verify<'a>(
    token: &'a [u8],
    secrets: &'a [Secret],
    max_age: MaxAge,
    leeway: Leeway,
    now: u64,
) -> Verdict<'a> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(Code::TooLarge.into());
    }
    let (signed, signature) = split_last(token)?;
    let mut buffer = [0; LONGEST_SIGNATURE];
    let secret = signer(signed, decode_signature(signature, &mut buffer)?, secrets)?;

    let Signed { subject, issued_at } = Signed::parse(signed)?;
    if issued_at > now.saturating_add(leeway.seconds()) {
        return Err(Rejection { code: Code::NotYetValid, skew: Some(issued_at - now) });
    }
    // The leeway never lengthens a life: the format has no end of its own to be lenient about.
    if now.saturating_sub(issued_at) > max_age.seconds() {
        return Err(Code::Expired.into());
    }
    Ok(Identity {
        format: Format::Seamless,
        subject,
        issued_at,
        expires_at: issued_at.saturating_add(max_age.seconds()),
        issuer: None,
        client_id: None,
        jti: None,
        ssh_fp: None,
        kid: None,
        audiences: audiences(secret),
        scopes: scopes(secret),
        groups: Items::NONE,
        amr: Items::NONE,
    })
}

/// What a secret signs.
pub(crate) struct Signed<'a> {
    pub(crate) subject: &'a str,
    pub(crate) issued_at: u64,
}

impl<'a> Signed<'a> {
    /// Reads `subject.timestamp`, whether anybody vouches for it or not.
    pub(crate) fn parse(signed: &'a [u8]) -> Result<Self, Rejection> {
        let (subject, timestamp) = split_last(signed)?;
        let issued_at = decode_timestamp(timestamp).ok_or(Code::Malformed)?;
        let subject = core::str::from_utf8(subject).map_err(|_| Code::Malformed)?;
        if !text::is_subject(subject) {
            return Err(Code::Malformed.into());
        }
        Ok(Self { subject, issued_at })
    }
}

/// Splits at the last dot.
pub(crate) fn split_last(text: &[u8]) -> Result<(&[u8], &[u8]), Rejection> {
    let dot = text.iter().rposition(|b| *b == b'.').ok_or(Code::Malformed)?;
    let (head, tail) = text.split_at(dot);
    Ok((head, tail.get(1..).unwrap_or_default()))
}

const LONGEST_SIGNATURE: usize = 64;
/// The lengths in base64url: SHA-1, SHA-256, SHA-512.
const SIGNATURE_LENGTHS: [usize; 3] = [27, 43, 86];

fn decode_signature<'b>(text: &[u8], buffer: &'b mut [u8; LONGEST_SIGNATURE]) -> Result<&'b [u8], Rejection> {
    match base64url::decode(text, buffer) {
        Some(bytes) if !bytes.is_empty() => Ok(bytes),
        // Cut short or drawn out, it is no longer the signature, whatever its last character has to spare.
        None if base64url::is_alphabet(text) && !SIGNATURE_LENGTHS.contains(&text.len()) => {
            Err(Code::BadSignature.into())
        }
        _ => Err(Code::Malformed.into()),
    }
}

/// The shortest big-endian bytes of the seconds: a leading zero byte would be a second text for the same time.
fn decode_timestamp(text: &[u8]) -> Option<u64> {
    let mut buffer = [0; 8];
    let bytes = base64url::decode(text, &mut buffer)?;
    if *bytes.first()? == 0 {
        return None;
    }
    Some(bytes.iter().fold(0, |time, byte| time << 8 | u64::from(*byte)))
}

fn signer<'s>(signed: &[u8], signature: &[u8], secrets: &'s [Secret]) -> Result<&'s Secret, Rejection> {
    secrets.iter().find(|secret| secret.verify(signed, signature)).ok_or_else(|| Code::BadSignature.into())
}

#[cfg(feature = "alloc")]
fn audiences(secret: &Secret) -> Items<'_> {
    Items::Owned(secret.audiences())
}

#[cfg(feature = "alloc")]
fn scopes(secret: &Secret) -> Items<'_> {
    Items::Owned(secret.scopes())
}

#[cfg(not(feature = "alloc"))]
const fn audiences(_: &Secret) -> Items<'_> {
    Items::NONE
}

#[cfg(not(feature = "alloc"))]
const fn scopes(_: &Secret) -> Items<'_> {
    Items::NONE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    const TOKEN: &[u8] = b"username.ZVPxAA.2i9lSqgqLifD_3VwrbNHMZ7TFAE";

    fn judge(token: &[u8], now: u64) -> Result<(), Code> {
        let secret =
            Secret::new(b"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", Digest::Sha1);
        let secrets = [secret.unwrap()];
        verify(token, &secrets, MaxAge::default(), Leeway::default(), now).map(|_| ()).map_err(|r| r.code)
    }

    #[test]
    fn the_leeway_is_for_the_future_only() {
        assert_eq!(judge(TOKEN, 1_700_000_000), Ok(()));
        assert_eq!(judge(TOKEN, 1_700_000_060), Ok(()));
        assert_eq!(judge(TOKEN, 1_700_000_061), Err(Code::Expired));
        assert_eq!(judge(TOKEN, 1_699_999_995), Ok(()));
        assert_eq!(judge(TOKEN, 1_699_999_994), Err(Code::NotYetValid));
    }

    #[test]
    fn a_time_has_one_text() {
        assert_eq!(decode_timestamp(b"ZVPxAA"), Some(1_700_000_000));
        for bad in [&b"AGVT8QA"[..], b"", b"AA", b"AQAAAAAAAAAA", b"ZVPxAB", b"ZVPxAA="] {
            assert_eq!(decode_timestamp(bad), None);
        }
    }
}
