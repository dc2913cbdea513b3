//! A token that was fetched.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// A token, and what is known of it.
#[derive(Clone)]
pub struct Token {
    /// The token itself.
    pub access_token: Zeroizing<String>,
    /// `Bearer`, `seamless` or `chap`.
    pub token_type: String,
    /// Unix seconds of this machine; none where nobody says.
    pub expires_at: Option<u64>,
    /// Whose it is.
    pub subject: Option<String>,
}

/// RFC 6749 section 5.1, and the subject.
#[derive(Deserialize)]
struct Body {
    access_token: Zeroizing<String>,
    token_type: String,
    expires_in: Option<u64>,
    subject: Option<String>,
}

impl Token {
    /// What stands behind `Authorization: `.
    #[must_use]
    pub fn authorization(&self) -> Zeroizing<String> {
        let between = if self.token_type == "chap" { ":" } else { " " };
        Zeroizing::new(format!("{}{between}{}", self.token_type, *self.access_token))
    }

    /// From a server's JSON.
    pub(crate) fn from_json(text: &[u8], now: u64) -> Result<Self> {
        let body: Body = serde_json::from_slice(text).map_err(|_| strange())?;
        let token_type = match &body.token_type {
            kind if kind.eq_ignore_ascii_case("bearer") => "Bearer",
            kind if kind == "seamless" => "seamless",
            kind if kind == "chap" => "chap",
            _ => return Err(strange()),
        };
        check(&body.access_token)?;
        // It goes on to git line by line, and to terminals.
        if body.subject.as_deref().is_some_and(has_control) {
            return Err(strange());
        }
        Ok(Self {
            access_token: body.access_token,
            token_type: token_type.to_owned(),
            expires_at: body.expires_in.map(|life| now.saturating_add(life)),
            subject: body.subject,
        })
    }

    /// From its text alone. What it says of itself is believed as far as that it is kept no longer.
    pub(crate) fn from_text(text: &str, now: u64) -> Result<Self> {
        check(text)?;
        let seen = token::inspect(text.as_bytes()).ok();
        let token_type = match seen.as_ref().map(|seen| seen.format) {
            Some(token::Format::Jwt) => "Bearer",
            Some(token::Format::Chap) => "chap",
            _ => "seamless",
        };
        // By its own clock: what counts is how long it lives from now on.
        let expires_at = seen.as_ref().and_then(|seen| {
            let life = seen.expires_at?.checked_sub(seen.issued_at?)?;
            Some(now.saturating_add(life))
        });
        Ok(Self {
            access_token: Zeroizing::new(text.to_owned()),
            token_type: token_type.to_owned(),
            expires_at,
            subject: seen.and_then(|seen| seen.subject).filter(|subject| !has_control(subject)),
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("token_type", &self.token_type)
            .field("expires_at", &self.expires_at)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// It goes into a header as it stands.
fn check(token: &str) -> Result<()> {
    let good = !token.is_empty()
        && token.len() <= token::MAX_TOKEN_LENGTH
        && !has_control(token)
        && token.trim() == token;
    if good { Ok(()) } else { Err(strange()) }
}

fn strange() -> Error {
    Error::new(Kind::Server, "the server's answer is no token")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    #[test]
    fn what_a_server_says() {
        let json =
            br#"{"access_token":"a.b","token_type":"bearer","expires_in":60,"subject":"ada","scope":"x"}"#;
        let token = Token::from_json(json, NOW).unwrap();
        assert_eq!(*token.authorization(), "Bearer a.b");
        assert_eq!((token.expires_at, token.subject.as_deref()), (Some(NOW + 60), Some("ada")));
        assert!(!format!("{token:?}").contains("a.b"));
        let chap = "AXTOZVPw_s5lU_E8pHRlc3TEIAjrEiqZk-oV6Wx0SGX0xj9WHFtS11b8SGjCDkf2Ul0H";
        let token = Token::from_text(chap, 5000).unwrap();
        assert_eq!(*token.authorization(), format!("chap:{chap}"));
        assert_eq!((token.expires_at, token.subject.as_deref()), (Some(5062), Some("test")));
        let old = Token::from_text("ada.ZVPxAA.2i9lSqgqLifD_3VwrbNHMZ7TFAE", NOW).unwrap();
        assert_eq!((old.token_type.as_str(), old.expires_at), ("seamless", None));
    }

    /// Attack: a server whose token adds a header of its own.
    #[test]
    fn no_header_in_a_token() {
        for bad in ["a\r\nX-Evil: 1", "", " a", "a\0", &"a".repeat(9000)] {
            assert!(Token::from_text(bad, NOW).is_err());
            let json = serde_json::json!({"access_token": bad, "token_type": "Bearer"}).to_string();
            assert!(Token::from_json(json.as_bytes(), NOW).is_err());
        }
        // git reads an answer as lines: this would be a password for another host.
        let json = r#"{"access_token":"a","token_type":"Bearer","subject":"ada\nhost=evil.example"}"#;
        assert!(Token::from_json(json.as_bytes(), NOW).is_err());
        for bad in ["{}", "[]", "", r#"{"access_token":"a","token_type":"Basic"}"#] {
            assert!(Token::from_json(bad.as_bytes(), NOW).is_err());
        }
    }
}
