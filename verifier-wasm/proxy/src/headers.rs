//! Headers as a proxy hands them over, and the request that a verifier sees in them.

use token::RequestView;

/// Name and value pairs, read where they lie: a count, the lengths of each name and value (all 32 bits, little
/// endian), then the names and values, a NUL after each.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'m>(&'m [u8]);

impl<'m> Headers<'m> {
    /// Over a serialised map. What is cut short ends early.
    #[must_use]
    pub const fn new(map: &'m [u8]) -> Self {
        Self(map)
    }

    /// Every pair in its order.
    pub fn iter(self) -> impl Iterator<Item = (&'m [u8], &'m [u8])> {
        let count = number(self.0).unwrap_or(0);
        let mut lengths = self.0.get(4..).unwrap_or_default();
        let mut rest = count.checked_mul(8).and_then(|size| lengths.get(size..)).unwrap_or_default();
        (0..count).map_while(move |_| {
            let (name, value) = (number(lengths)?, number(lengths.get(4..)?)?);
            lengths = lengths.get(8..)?;
            Some((take(&mut rest, name)?, take(&mut rest, value)?))
        })
    }

    /// The first value of a header.
    #[must_use]
    pub fn first(self, name: &str) -> Option<&'m [u8]> {
        self.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
    }

    /// The same as text.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'m str> {
        self.first(name).and_then(|value| core::str::from_utf8(value).ok())
    }
}

/// A map as the proxy wants it.
#[must_use]
pub fn serialise(pairs: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
    let mut out = Vec::with_capacity(pairs.iter().fold(4, |size, (n, v)| size + n.len() + v.len() + 10));
    out.extend(u32::try_from(pairs.len()).unwrap_or(0).to_le_bytes());
    for (name, value) in pairs {
        out.extend(length(name));
        out.extend(length(value));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        out.extend(text.as_bytes());
        out.push(0);
    }
    out
}

/// A request in one pass over its headers.
#[derive(Debug)]
pub struct Request<'m> {
    method: &'m [u8],
    scheme: &'m [u8],
    authority: &'m [u8],
    path: Option<&'m [u8]>,
    authorization: Vec<&'m [u8]>,
    /// Whether the client speaks gRPC.
    pub is_grpc: bool,
    /// Names of headers that could pass for ours.
    pub identity: Vec<&'m [u8]>,
}

impl<'m> Request<'m> {
    /// What a verifier wants to see, and what has to be stripped.
    #[must_use]
    pub fn new(headers: Headers<'m>) -> Self {
        let mut request = Self {
            method: b"",
            scheme: b"",
            authority: b"",
            path: None,
            authorization: Vec::new(),
            is_grpc: false,
            identity: Vec::new(),
        };
        for (name, value) in headers.iter() {
            match name {
                b":method" => request.method = value,
                b":scheme" => request.scheme = value,
                b":authority" => request.authority = value,
                b":path" => request.path = Some(value),
                b"authorization" => request.authorization.push(value),
                b"content-type" => request.is_grpc = value.starts_with(b"application/grpc"),
                _ if is_identity(name) && !request.identity.contains(&name) => request.identity.push(name),
                _ => {}
            }
        }
        request
    }
}

impl RequestView for Request<'_> {
    fn method(&self) -> &str {
        text(self.method)
    }

    fn scheme(&self) -> &str {
        text(self.scheme)
    }

    fn authority(&self) -> &str {
        text(self.authority)
    }

    fn path(&self) -> Option<&[u8]> {
        self.path
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.authorization.iter().copied().filter(move |_| name == "authorization")
    }
}

/// The name's beginning decides, so what follows may be any bytes.
fn is_identity(name: &[u8]) -> bool {
    name.utf8_chunks().next().is_some_and(|chunk| token::is_identity_header(chunk.valid()))
}

/// What isn't text matches no rule, and no host: the character is turned away there.
fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or("\u{fffd}")
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()
}

/// A piece and the NUL after it.
fn take<'m>(rest: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let piece = rest.get(..length)?;
    *rest = rest.get(length.checked_add(1)?..)?;
    Some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_come_back_as_they_went() {
        let pairs = [(":path", "/a"), ("x", ""), ("", "é")];
        let map = serialise(&pairs);
        let back: Vec<_> = Headers::new(&map).iter().collect();
        let bytes: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        assert_eq!(back, bytes);
        assert_eq!(Headers::new(&map).text("x"), Some(""));
    }

    #[test]
    fn a_damaged_map_is_no_danger() {
        let map = serialise(&[(":path", "/a"), ("authorization", "x")]);
        for end in 0..map.len() {
            assert!(Headers::new(&map[..end]).iter().count() < 2);
        }
        for at in 0..map.len() {
            let mut map = map.clone();
            map[at] = 0xff;
            let _ = Request::new(Headers::new(&map));
        }
    }

    #[test]
    fn names_that_pass_for_ours_are_found() {
        let map = serialise(&[
            ("x_seamless_user", "mallory"),
            ("x-seamless-user", "mallory"),
            ("x-seamless-user", "eve"),
            ("x-seamless_anything", ""),
            ("x-seam", ""),
        ]);
        let request = Request::new(Headers::new(&map));
        assert_eq!(request.identity, [&b"x_seamless_user"[..], b"x-seamless-user", b"x-seamless_anything"]);
    }
}
