//! The headers that a verdict becomes.

use alloc::string::String;

use crate::{Code, Identity};

/// The headers that carry an identity to the server behind, in the order of [`identity_headers`].
pub const IDENTITY_HEADERS: [&str; 3] = ["x-seamless-user", "x-seamless-scope", "x-seamless-groups"];

/// The identity as headers: user, scope, groups; always all three, empty where there is nothing.
///
/// An answer that left one out would let the client's own through. Bytes outside 0x21..=0x7E, `%` and `,` are
/// percent-encoded; scopes are joined with a space and groups with a comma.
#[must_use]
pub fn identity_headers(identity: &Identity<'_>) -> [(&'static str, String); 3] {
    let [user, scope, groups] = IDENTITY_HEADERS;
    [
        (user, header_value([identity.subject()], ' ')),
        (scope, header_value(identity.scopes(), ' ')),
        (groups, header_value(identity.groups(), ',')),
    ]
}

/// Whether an inbound header could pass for one of ours and must be stripped, always.
///
/// `_` counts as `-`: `x_seamless_user` passes Envoy and Node and is `HTTP_X_SEAMLESS_USER` to WSGI, as the real one.
#[must_use]
pub fn is_identity_header(name: &str) -> bool {
    let prefix = b"x-seamless-";
    let same = |(a, b): (u8, &u8)| a.to_ascii_lowercase() == *b || (a == b'_' && *b == b'-');
    name.len() >= prefix.len() && name.bytes().zip(prefix).all(same)
}

/// The two `WWW-Authenticate` challenges that go with a rejection. The original's client looks for the first.
#[must_use]
pub fn www_authenticate(code: Code, realm: &str) -> [String; 2] {
    let mut seamless = String::from("seamless realm=\"");
    for c in realm.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            seamless.push('\\');
        }
        seamless.push(c);
    }
    seamless.push('"');
    // RFC 6750 section 3.1.
    let error = if code == Code::MissingScope { "insufficient_scope" } else { "invalid_token" };
    let mut bearer = seamless.replacen("seamless", "Bearer", 1);
    bearer.extend([", error=\"", error, "\""]);
    [seamless, bearer]
}

/// Names as one header's value: what [`identity_headers`] does, for an identity that was copied into a form of its own.
#[must_use]
pub fn header_value<'a>(names: impl IntoIterator<Item = &'a str>, separator: char) -> String {
    let mut out = String::new();
    for (i, name) in names.into_iter().enumerate() {
        if i > 0 {
            out.push(separator);
        }
        for byte in name.bytes() {
            match byte {
                b'%' | b',' | ..=0x20 | 0x7f.. => out.extend(['%', hex(byte >> 4), hex(byte & 15)]),
                _ => out.push(char::from(byte)),
            }
        }
    }
    out
}

/// Without core::fmt, which a small wasm module would have for this alone.
fn hex(digit: u8) -> char {
    char::from(if digit < 10 { b'0' + digit } else { b'A' - 10 + digit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_can_not_break_out_of_its_quotes() {
        let [seamless, bearer] = www_authenticate(Code::Expired, "a\"b\\c\r\n");
        assert_eq!(seamless, r#"seamless realm="a\"b\\c""#);
        assert_eq!(bearer, r#"Bearer realm="a\"b\\c", error="invalid_token""#);
    }
}
