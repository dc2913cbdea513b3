//! The JWT profile `access`: an access token of RFC 9068.

use crate::items::Items;
use crate::json::{Kind, Reader, Span};
use crate::jws::Compact;
use crate::keys::PublicKeys;
use crate::verdict::{Code, Format, Identity, Rejection};
use crate::{Leeway, text};

/// A token whose key, signature, time and issuer are good. Audience, revocation and scope are still to be judged.
pub(crate) struct Access<'a> {
    pub(crate) identity: Identity<'a>,
    /// It has a `cnf`: only who proves to hold that key may use it.
    pub(crate) bound: bool,
}

/// What is known about a token's signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Nothing: check it.
    Unknown,
    /// It was good with these very bytes and these very keys.
    Good,
}

/// Judges a token up to its issuer, and decodes it into `room`.
pub(crate) fn verify<'a>(
    token: &[u8],
    keys: &'a PublicKeys,
    leeway: Leeway,
    now: u64,
    room: &'a mut [u8],
    signature: Signature,
) -> Result<Access<'a>, Rejection> {
    let compact = Compact::parse(token)?;
    let key = compact.key(keys, is_access, room)?;
    if signature == Signature::Unknown {
        compact.verify(key)?;
    }

    let payload = compact.payload(room)?;
    let claims = Claims::read(payload)?;
    claims.check_time(leeway, now)?;
    let text: &'a [u8] = payload;
    let issuer = claims.iss.of(text)?;
    if issuer != keys.issuer() {
        return Err(Code::WrongIssuer.into());
    }

    let optional = |span: Option<Span>| span.map(|span| span.of(text)).transpose();
    let items = |span: Option<Span>, separator| {
        Ok::<_, Rejection>(Items::Text(optional(span)?.unwrap_or(""), separator))
    };
    let identity = Identity {
        format: Format::Jwt,
        subject: claims.sub.of(text)?,
        issued_at: claims.iat,
        expires_at: claims.exp,
        issuer: Some(issuer),
        client_id: Some(claims.client_id.of(text)?),
        jti: Some(claims.jti.of(text)?),
        ssh_fp: optional(claims.ssh_fp)?,
        kid: Some(key.kid()),
        // A single audience has no NUL in it either.
        audiences: items(Some(claims.aud), '\0')?,
        scopes: items(claims.scope, ' ')?,
        groups: items(claims.groups, '\0')?,
        amr: items(claims.amr, '\0')?,
    };
    Ok(Access { identity, bound: claims.bound })
}

/// RFC 9068 section 2.1. Other types are other profiles: none passes under this one's name.
fn is_access(typ: Option<&str>) -> bool {
    typ.is_some_and(|typ| {
        typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
    })
}

/// The claims, where they stand in the payload.
struct Claims {
    iss: Span,
    sub: Span,
    aud: Span,
    client_id: Span,
    jti: Span,
    iat: u64,
    exp: u64,
    nbf: Option<u64>,
    scope: Option<Span>,
    groups: Option<Span>,
    amr: Option<Span>,
    ssh_fp: Option<Span>,
    bound: bool,
}

impl Claims {
    fn read(payload: &mut [u8]) -> Result<Self, Rejection> {
        let mut reader = Reader::new(payload)?;
        let (mut iss, mut sub, mut aud, mut client_id, mut jti) = (None, None, None, None, None);
        let (mut iat, mut exp, mut nbf) = (None, None, None);
        let (mut scope, mut groups, mut amr, mut ssh_fp, mut bound) = (None, None, None, None, false);
        reader.object(|reader, name| {
            match reader.bytes(name) {
                b"iss" => iss = Some(reader.clean_string()?),
                b"sub" => sub = Some(reader.clean_string()?),
                b"aud" => aud = Some(audience(reader)?),
                b"client_id" => client_id = Some(reader.clean_string()?),
                b"jti" => jti = Some(reader.clean_string()?),
                b"iat" => iat = Some(date(reader)?),
                b"exp" => exp = Some(date(reader)?),
                b"nbf" => nbf = Some(date(reader)?),
                b"scope" => scope = Some(reader.clean_string()?),
                b"groups" => groups = Some(reader.names()?),
                b"amr" => amr = Some(reader.names()?),
                b"ssh_fp" => ssh_fp = Some(reader.clean_string()?),
                b"cnf" => {
                    bound = true;
                    reader.skip()?;
                }
                _ => reader.skip()?,
            }
            Ok::<_, Rejection>(())
        })?;
        reader.end()?;
        // RFC 9068 section 2.2.
        let required = || Rejection::from(Code::Malformed);
        let claims = Self {
            iss: iss.ok_or_else(required)?,
            sub: sub.ok_or_else(required)?,
            aud: aud.ok_or_else(required)?,
            client_id: client_id.ok_or_else(required)?,
            jti: jti.ok_or_else(required)?,
            iat: iat.ok_or_else(required)?,
            exp: exp.ok_or_else(required)?,
            nbf,
            scope,
            groups,
            amr,
            ssh_fp,
            bound,
        };
        if text::is_subject(reader.str(claims.sub)?) { Ok(claims) } else { Err(Code::Malformed.into()) }
    }

    fn check_time(&self, leeway: Leeway, now: u64) -> Result<(), Rejection> {
        let leeway = leeway.seconds();
        let begin = self.nbf.map_or(self.iat, |nbf| nbf.max(self.iat));
        if begin > now.saturating_add(leeway) {
            return Err(Rejection { code: Code::NotYetValid, skew: Some(begin - now) });
        }
        if now >= self.exp.saturating_add(leeway) { Err(Code::Expired.into()) } else { Ok(()) }
    }
}

/// One string, or an array of strings (RFC 7519 section 4.1.3).
fn audience(reader: &mut Reader<'_>) -> Result<Span, Rejection> {
    Ok(match reader.peek()? {
        Kind::Array => reader.names()?,
        _ => reader.clean_string()?,
    })
}

fn date(reader: &mut Reader<'_>) -> Result<u64, Rejection> {
    reader.number()?.ok_or_else(|| Code::Malformed.into())
}
