//! The first message: who wants to log in.

use crate::msgpack::{Reader, Writer};
use crate::{Malformed, Version, Wish, text};

/// The longest user name, in bytes, as for the original.
const LONGEST_NAME: usize = 64;

/// Who wants to log in, and how.
///
/// Version 2 is version 1 with more behind it, which servers of either original pass over: they answer in version 1,
/// and no client of theirs ever sees version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The version to answer in.
    pub version: Version,
    /// The user's name.
    pub user: String,
    /// What the token is for; only version 2 can say.
    pub wish: Wish,
}

impl Request {
    /// Reads what stands after `request:`. What is no message of version 1 or newer is a name, which is all that a
    /// request of version 0 is.
    pub fn parse(value: &str) -> Result<Self, Malformed> {
        let request = match Self::parse_message(value) {
            Some(request) => request?,
            None => Self { version: Version::V0, user: value.to_owned(), wish: Wish::default() },
        };
        if request.user.len() > LONGEST_NAME {
            return Err(Malformed("the user's name is over 64 bytes"));
        }
        if request.user.is_empty() {
            return Err(Malformed("the user's name is empty"));
        }
        if request.user.chars().any(char::is_control) {
            return Err(Malformed("the user's name has control characters"));
        }
        Ok(request)
    }

    /// What stands after `request:`.
    #[must_use]
    pub fn to_text(&self) -> String {
        if self.version == Version::V0 {
            return self.user.clone();
        }
        let mut writer = Writer::default();
        writer.uint(1).uint(u64::from(b'q')).text(&self.user);
        if self.version == Version::V2 {
            writer.uint(2);
            self.wish.write(&mut writer);
        }
        text::encode(&writer.0)
    }

    /// `None` where it is no message but a name.
    fn parse_message(value: &str) -> Option<Result<Self, Malformed>> {
        let bytes = text::decode(value).ok()?;
        let mut reader = Reader::new(&bytes);
        // As the Python original tells them apart: versions up to 4 are answered as 1, all else is a name.
        if reader.uint().ok()? > 4 || reader.uint().ok()? != u64::from(b'q') {
            return None;
        }
        let name = reader.bytes().ok()?;
        let Ok(user) = std::str::from_utf8(name) else {
            return Some(Err(Malformed("the user's name is not UTF-8")));
        };
        let (version, wish) = match Self::parse_rest(reader) {
            Some(wish) => (Version::V2, wish),
            None => (Version::V1, Wish::default()),
        };
        Some(Ok(Self { version, user: user.to_owned(), wish }))
    }

    /// What version 2 adds. A version still newer may add more; what is not understood is passed over.
    fn parse_rest(mut reader: Reader<'_>) -> Option<Wish> {
        let version = reader.uint().ok()?;
        if version < 2 { None } else { Wish::read(&mut reader).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(value: &str) -> (String, u8) {
        let request = Request::parse(value).unwrap();
        (request.user, request.version.number())
    }

    /// What the Python original makes of them, but for the base64 that it ends in an exception on.
    #[test]
    fn names_and_messages_are_told_apart() {
        for name in [
            "noa",
            "stack",
            "BXGjYWJj",
            "AXOjYWJj",
            "AXOg",
            "AXHcYWJj",
            "AXGjYWI",
            "AXHZYWJj",
            "a",
            "ab",
            "abcd",
            "john-doe",
            "john_doe",
            "me@example.com",
            "john.doe",
            "jo.doe",
            "john doe",
            "j.doe",
        ] {
            assert_eq!(parsed(name), (name.to_owned(), 0));
        }
        for message in ["AXGjYWJj", "AHGjYWJj", "BHGjYWJj", "AXGjYWJjZGVm", "AXGjYWJj==", "AXHZA2FiYw"] {
            assert_eq!(parsed(message), ("abc".to_owned(), 1), "{message}");
        }
        assert_eq!(parsed("AXGnbsO2YeKCrA"), ("nöa€".to_owned(), 1));
        // The Python original packs 32 bytes and more so, and then does not read it itself.
        assert_eq!(parsed("AXHaACB1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dQ"), ("u".repeat(32), 1));
        let noa = Request { version: Version::V1, user: "noa".into(), wish: Wish::default() };
        assert_eq!(noa.to_text(), "AXGjbm9h");
    }

    #[test]
    fn names_have_limits() {
        assert_eq!(parsed(&"u".repeat(64)).1, 0);
        for bad in [&"u".repeat(65), "", "a\0b", "a\u{85}", "AXHZAGFiYw", "AXGh_w"] {
            assert!(Request::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_wish_is_one_version_further() {
        let wish = Wish {
            format: "jwt".into(),
            audiences: vec!["https://api.example.com".into()],
            scopes: vec!["read".into(), "write".into()],
            ttl: 300,
        };
        let request = Request { version: Version::V2, user: "ada".into(), wish };
        let text = request.to_text();
        assert_eq!(Request::parse(&text), Ok(request));
        // Cut short it is a request of version 1: what follows the name is passed over.
        let cut = Request::parse(&text[..text.len() - 4]).unwrap();
        assert_eq!((cut.version, cut.user.as_str()), (Version::V1, "ada"));
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(value in ".{0,80}") {
            let _ = Request::parse(&value);
        }

        #[test]
        fn bytes_are_not_either(bytes: Vec<u8>) {
            let _ = Request::parse(&text::encode(&bytes));
        }
    }
}
