//! Names of realms and users, checked once and then trusted by type.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A realm's name, which is also its Unix account's: `^[a-z][a-z0-9-]{0,30}$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealmName(String);

/// A user's name, the subject of its tokens: 1 to 64 of `[a-zA-Z0-9._+@-]`, not beginning `eyJ` or `-`.
///
/// `eyJ` is how a JWT begins; a `seamless` token of such a name could be taken for one.
/// A leading `-` would read as an option in the argv that sshd passes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

impl RealmName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UserName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RealmName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = text.bytes();
        let good = text.len() <= 31
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::usage(format!("{:?} is not a realm name", shorten(text)))
            .hint("a lower-case letter, then up to 30 lower-case letters, digits and hyphens"))
    }
}

impl FromStr for UserName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let good = (1..=64).contains(&text.len()) && text.bytes().all(is_name_byte);
        if !good {
            return Err(Error::usage(format!("{:?} is not a user name", shorten(text)))
                .hint("1 to 64 letters, digits and . _ + @ -"));
        }
        if text.starts_with("eyJ") || text.starts_with('-') {
            return Err(Error::usage(format!(
                "a user name can't begin with {:?}",
                if text.starts_with('-') { "-" } else { "eyJ" }
            ))
            .hint("`eyJ` begins a JWT and `-` an option; take another name"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RealmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Group and scope names: groups share the user names' alphabet, scopes are RFC 6749 scope tokens.
pub fn check_group(text: &str) -> Result<()> {
    if (1..=64).contains(&text.len()) && text.bytes().all(is_name_byte) {
        return Ok(());
    }
    Err(Error::usage(format!("{:?} is not a group name", shorten(text)))
        .hint("1 to 64 letters, digits and . _ + @ -"))
}

/// A scope token of RFC 6749 section 3.3: printable ASCII without space, `"` and `\`.
pub fn check_scope(text: &str) -> Result<()> {
    let good = |b: u8| b == 0x21 || (0x23..=0x5b).contains(&b) || (0x5d..=0x7e).contains(&b);
    if (1..=128).contains(&text.len()) && text.bytes().all(good) {
        return Ok(());
    }
    Err(Error::usage(format!("{:?} is not a scope", shorten(text)))
        .hint("1 to 128 printable characters without space, quote and backslash"))
}

/// An audience: a URI or a name without spaces and control characters.
pub fn check_audience(text: &str) -> Result<()> {
    if (1..=512).contains(&text.len())
        && text.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\')
    {
        return Ok(());
    }
    Err(Error::usage(format!("{:?} is not an audience", shorten(text)))
        .hint("usually the service's URL, such as https://api.example.com"))
}

const fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'@' | b'-')
}

/// Text from elsewhere, cut to a length that fits an error line.
pub fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    let mut out: String = text.chars().take(MOST).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realm_names_are_account_names() {
        for good in ["corp", "a", "a-1", &"a".repeat(31)] {
            assert!(good.parse::<RealmName>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "Corp", "a_b", "-a", "a.b", "root\n", "a/b", "..", &"a".repeat(32)] {
            assert!(bad.parse::<RealmName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn user_names_cannot_look_like_something_else() {
        for good in ["ada", "ada@example.com", "a.b_c+d-e", &"a".repeat(64)] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", "eyJhbGciOi", "-user", "a b", "a\"b", "a\nb", "späße", "a/b", "a,b", &"a".repeat(65)]
        {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }
}
