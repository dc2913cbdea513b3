//! What the address of `/verify` demands: `?audience=…&scope=…`.

use std::borrow::Cow;

use crate::names;

/// No service needs more in one place.
const MOST_SCOPES: usize = 32;

/// The parameters, decoded. Empty: what the realm's settings say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query<'a> {
    pub(super) audience: Option<Cow<'a, str>>,
    pub(super) scopes: Vec<Cow<'a, str>>,
}

/// A query that demands nothing clear. It is the operator's mistake, and nothing passes until it is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadQuery;

impl<'a> Query<'a> {
    /// Reads it strictly: a misspelt `?scopes=admin` must shut the door, not open it wider.
    pub(super) fn parse(query: Option<&'a str>) -> Result<Self, BadQuery> {
        let mut parsed = Self::default();
        let Some(query) = query.filter(|q| !q.is_empty()) else { return Ok(parsed) };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or(BadQuery)?;
            let value = decode(value).ok_or(BadQuery)?;
            match name {
                "audience" if parsed.audience.is_none() => {
                    names::check_audience(&value).map_err(|_| BadQuery)?;
                    parsed.audience = Some(value);
                }
                "scope" if parsed.scopes.len() < MOST_SCOPES => {
                    names::check_scope(&value).map_err(|_| BadQuery)?;
                    parsed.scopes.push(value);
                }
                _ => return Err(BadQuery),
            }
        }
        Ok(parsed)
    }
}

/// RFC 3986 percent-decoding; `+` is itself. None where an escape is broken or the result is no UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { hex(rest.next()?)? << 4 | hex(rest.next()?)? } else { byte });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_audience_and_many_scopes() {
        assert_eq!(Query::parse(None), Ok(Query::default()));
        assert_eq!(Query::parse(Some("")), Ok(Query::default()));
        let query =
            Query::parse(Some("audience=https%3A%2f%2Fapi.example&scope=read&scope=a+b%2Bc&scope=read"))
                .unwrap();
        assert_eq!(query.audience.as_deref(), Some("https://api.example"));
        assert_eq!(query.scopes, ["read", "a+b+c", "read"]);
        assert!(
            Query::parse(Some("audience=https://api.example/x?y=1")).is_ok(),
            "= and ? need no escape there"
        );
    }

    #[test]
    fn all_else_is_refused() {
        let many = ["scope=a"; MOST_SCOPES + 1].join("&");
        for bad in [
            "unknown=1",
            "audience=a&audience=b",
            "audience=a&audience=a",
            "audience=",
            "audience",
            "scope=",
            "scope",
            "scopes=admin",
            "Scope=admin",
            "sc%6fpe=admin",
            "scope=a%20b",
            "scope=a%2",
            "scope=a%",
            "scope=a%zz",
            "scope=a%+1",
            "scope=%00",
            "scope=%ff",
            "scope=%22",
            "audience=a%0db",
            "audience=a%C3%A9",
            "&",
            "scope=a&",
            "&scope=a",
            "scope=a;audience=b&",
            &many,
        ] {
            assert_eq!(Query::parse(Some(bad)), Err(BadQuery), "{bad}");
        }
    }
}
