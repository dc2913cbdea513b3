//! A strict JSON reader (RFC 8259) that neither allocates nor believes.
//!
//! Parsers that differ on one text are how signed tokens get read two ways, so what another parser might read
//! differently is refused: duplicate members at every level, however their names are escaped, a byte order mark,
//! lone surrogates, bytes that aren't UTF-8, anything after the value. Depth and members are limited, so that
//! neither the stack nor the search for duplicates grows with the text.
//!
//! Strings are unescaped where they stand (they only ever shrink) and handed out as [`Span`]s of the text.

use core::str;

/// Nesting beyond this is refused.
const MAX_DEPTH: usize = 32;
/// Members in one object beyond this are refused.
const MAX_MEMBERS: usize = 64;

/// Why a text is not JSON to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Not what RFC 8259 has here, or not the type that the caller wants.
    Malformed,
    /// A member's name for the second time in one object.
    Duplicate,
    /// Nested too deep, or too many members in one object.
    TooMuch,
}

/// A piece of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// The piece as text.
    pub(crate) fn of(self, text: &[u8]) -> Result<&str, Syntax> {
        str::from_utf8(self.bytes(text)).map_err(|_| Syntax::Malformed)
    }

    fn bytes(self, text: &[u8]) -> &[u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Word,
}

/// Reads one JSON text from front to back.
pub(crate) struct Reader<'t> {
    text: &'t mut [u8],
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t mut [u8]) -> Result<Self, Syntax> {
        // Once, here: what is unescaped later is UTF-8 by construction.
        str::from_utf8(text).map_err(|_| Syntax::Malformed)?;
        Ok(Self { text, at: 0, depth: 0 })
    }

    /// Where the reader is, in bytes from the front.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// How much is left, in bytes.
    pub(crate) const fn remaining(&self) -> usize {
        self.text.len() - self.at
    }

    /// The piece as bytes.
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        span.bytes(self.text)
    }

    /// The piece as text.
    pub(crate) fn str(&self, span: Span) -> Result<&str, Syntax> {
        span.of(self.text)
    }

    /// The kind of the next value.
    pub(crate) fn peek(&mut self) -> Result<Kind, Syntax> {
        self.skip_space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f' | b'n') => Ok(Kind::Word),
            _ => Err(Syntax::Malformed),
        }
    }

    /// Reads an object. `member` gets each name and must read its value.
    pub(crate) fn object<E, F>(&mut self, mut member: F) -> Result<(), E>
    where
        E: From<Syntax>,
        F: FnMut(&mut Self, Span) -> Result<(), E>,
    {
        let mut members = Members::open(self)?;
        while let Some(name) = members.next(self)? {
            member(self, name)?;
        }
        Ok(())
    }

    /// Reads an array. `item` must read each value.
    pub(crate) fn array<E, F>(&mut self, mut item: F) -> Result<(), E>
    where
        E: From<Syntax>,
        F: FnMut(&mut Self) -> Result<(), E>,
    {
        self.open(b'[')?;
        if self.eat(b']') {
            self.close();
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.eat(b',') {
                self.expect(b']')?;
                self.close();
                return Ok(());
            }
        }
    }

    /// Reads an array of strings, packs them to its front with a NUL after each, and returns that piece.
    ///
    /// The brackets, quotes and commas make room for the NULs; a string with a control character, NUL among
    /// them, is refused.
    pub(crate) fn names(&mut self) -> Result<Span, Syntax> {
        self.skip_space();
        let start = self.at;
        let mut end = start;
        self.array(|reader| {
            reader.skip_space();
            let name = reader.clean_string()?;
            let length = name.end - name.start;
            reader.text.copy_within(name.start..name.end, end);
            *reader.text.get_mut(end + length).ok_or(Syntax::Malformed)? = 0;
            end += length + 1;
            Ok::<_, Syntax>(())
        })?;
        Ok(Span { start, end })
    }

    /// Reads a string that has no control characters.
    pub(crate) fn clean_string(&mut self) -> Result<Span, Syntax> {
        let span = self.string()?;
        if crate::text::is_clean(self.str(span)?) { Ok(span) } else { Err(Syntax::Malformed) }
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Span, Syntax> {
        self.skip_space();
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.byte().ok_or(Syntax::Malformed)? {
                b'"' => {
                    let span = Span { start, end: self.at };
                    self.at += 1;
                    return Ok(span);
                }
                b'\\' => return self.escaped_string(start),
                0..0x20 => return Err(Syntax::Malformed),
                _ => self.at += 1,
            }
        }
    }

    /// Reads a number: its whole part, or `None` where it is negative or over 64 bits.
    ///
    /// A `NumericDate` (RFC 7519 section 2) may have a fraction; it is cut.
    pub(crate) fn number(&mut self) -> Result<Option<u64>, Syntax> {
        self.skip_space();
        let negative = self.accept(b'-');
        let whole = self.digits()?;
        if whole.end - whole.start > 1 && self.bytes(whole).starts_with(b"0") {
            return Err(Syntax::Malformed);
        }
        let fraction = if self.accept(b'.') { self.digits()? } else { Span::default() };
        let mut exponent = Some(0);
        if self.accept(b'e') || self.accept(b'E') {
            let sign = if self.accept(b'-') {
                -1
            } else {
                self.accept(b'+');
                1
            };
            let digits = self.digits()?;
            exponent = small(self.bytes(digits)).map(|e| sign * e);
        }
        Ok(match exponent {
            Some(exponent) if !negative => cut(self.bytes(whole), self.bytes(fraction), exponent),
            _ => None,
        })
    }

    /// Reads a value of any kind, as strictly as one that somebody wants.
    pub(crate) fn skip(&mut self) -> Result<(), Syntax> {
        match self.peek()? {
            Kind::Object => self.object(|reader, _| reader.skip()),
            Kind::Array => self.array(Self::skip),
            Kind::String => self.string().map(|_| ()),
            Kind::Number => self.number().map(|_| ()),
            Kind::Word => {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let word = [&b"true"[..], b"false", b"null"].into_iter().find(|word| rest.starts_with(word));
                self.at += word.ok_or(Syntax::Malformed)?.len();
                Ok(())
            }
        }
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), Syntax> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Syntax::Malformed) }
    }

    /// Goes on where `string` met the first backslash, moving what follows down over the escapes.
    fn escaped_string(&mut self, start: usize) -> Result<Span, Syntax> {
        let mut end = self.at;
        loop {
            let byte = self.next()?;
            match byte {
                b'"' => return Ok(Span { start, end }),
                b'\\' => {
                    let unescaped = self.escape()?;
                    let mut utf8 = [0; 4];
                    for byte in unescaped.encode_utf8(&mut utf8).bytes() {
                        self.put(&mut end, byte)?;
                    }
                }
                0..0x20 => return Err(Syntax::Malformed),
                _ => self.put(&mut end, byte)?,
            }
        }
    }

    fn put(&mut self, end: &mut usize, byte: u8) -> Result<(), Syntax> {
        *self.text.get_mut(*end).ok_or(Syntax::Malformed)? = byte;
        *end += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<char, Syntax> {
        Ok(match self.next()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.hex4()?;
                if (0xd800..0xdc00).contains(&code) {
                    self.take(b'\\')?;
                    self.take(b'u')?;
                    let low = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(Syntax::Malformed);
                    }
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                // A low surrogate by itself is no character.
                char::from_u32(code).ok_or(Syntax::Malformed)?
            }
            _ => return Err(Syntax::Malformed),
        })
    }

    fn hex4(&mut self) -> Result<u32, Syntax> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16).ok_or(Syntax::Malformed)?;
            code = code << 4 | digit;
        }
        Ok(code)
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<Span, Syntax> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(Syntax::Malformed) } else { Ok(Span { start, end: self.at }) }
    }

    fn open(&mut self, bracket: u8) -> Result<(), Syntax> {
        self.expect(bracket)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Syntax::TooMuch) } else { Ok(()) }
    }

    const fn close(&mut self) {
        self.depth -= 1;
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips white space, then must find this byte.
    fn expect(&mut self, byte: u8) -> Result<(), Syntax> {
        self.skip_space();
        self.take(byte)
    }

    /// Skips white space, then takes this byte if it is there.
    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.accept(byte)
    }

    fn take(&mut self, byte: u8) -> Result<(), Syntax> {
        if self.accept(byte) { Ok(()) } else { Err(Syntax::Malformed) }
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Result<u8, Syntax> {
        let byte = self.byte().ok_or(Syntax::Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

/// The names of the object that is being read. Apart from [`Reader::object`], of which there is one for every caller.
struct Members {
    names: [Span; MAX_MEMBERS],
    count: usize,
}

impl Members {
    fn open(reader: &mut Reader<'_>) -> Result<Self, Syntax> {
        reader.open(b'{')?;
        Ok(Self { names: [Span::default(); MAX_MEMBERS], count: 0 })
    }

    /// The next name, whose value is to be read next; `None` behind the last.
    fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<Span>, Syntax> {
        if self.count == 0 {
            if reader.eat(b'}') {
                reader.close();
                return Ok(None);
            }
        } else if !reader.eat(b',') {
            reader.expect(b'}')?;
            reader.close();
            return Ok(None);
        }
        reader.skip_space();
        let name = reader.string()?;
        let before = self.names.get(..self.count).unwrap_or_default();
        if before.iter().any(|other| reader.bytes(*other) == reader.bytes(name)) {
            return Err(Syntax::Duplicate);
        }
        *self.names.get_mut(self.count).ok_or(Syntax::TooMuch)? = name;
        self.count += 1;
        reader.expect(b':')?;
        Ok(Some(name))
    }
}

/// Appends a text as a JSON string.
pub(crate) fn write_string(text: &str, out: &mut alloc::string::String) {
    use core::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // Writing to a string can't fail.
            '\0'..='\x1f' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// An exponent of at most three digits: a longer one makes no date.
fn small(digits: &[u8]) -> Option<isize> {
    if digits.len() > 3 {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + isize::from(*digit - b'0')))
}

/// The whole part of `whole.fraction * 10^exponent`.
fn cut(whole: &[u8], fraction: &[u8], exponent: isize) -> Option<u64> {
    let places = whole.len().checked_add_signed(exponent).unwrap_or(0);
    let zeros = core::iter::repeat(&b'0');
    let mut digits = whole.iter().chain(fraction).chain(zeros).take(places);
    digits.try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(*digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;
    use std::{format, string::String, string::ToString as _, vec, vec::Vec};

    fn check(text: impl AsRef<[u8]>) -> Result<(), Syntax> {
        let mut text = text.as_ref().to_vec();
        let mut reader = Reader::new(&mut text)?;
        reader.skip()?;
        reader.end()
    }

    fn number(text: &str) -> Result<Option<u64>, Syntax> {
        let mut text = text.as_bytes().to_vec();
        let mut reader = Reader::new(&mut text)?;
        let number = reader.number()?;
        reader.end().map(|()| number)
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "-",
            "0x1",
            "NaN",
            "nul",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\n\"",
            "\"\t\"",
            "\"",
            "\"\\",
            "1 2",
            "{} {}",
            "[1 2]",
            "{\"a\" 1}",
            "\u{feff}{}",
            "//",
            "[1]\0",
            "tru",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(b"\"\xff\"").is_err());
        assert!(check(b"\"\xed\xa0\x80\"").is_err());
        for good in
            ["{}", " [ ] ", "-0", "1E+2", "0.5e-1", "\"\\ud83d\\ude00\"", "[true,false,null]\n", "\"\\/\""]
        {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn duplicates_are_found_at_every_level() {
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"b":2,"a":1}"#,
            r#"{"sub":1,"s\u0075b":2}"#,
            r#"{"s\u0075b":1,"sub":2}"#,
            r#"[{"x":{"\u0061":1,"a":1}}]"#,
            r#"{"":1,"":1}"#,
        ] {
            assert_eq!(check(bad), Err(Syntax::Duplicate), "{bad}");
        }
        assert_eq!(check(r#"{"a":{"a":1},"b":{"a":1},"A":1}"#), Ok(()));
    }

    #[test]
    fn depth_and_members_are_limited() {
        let nested = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check(nested(MAX_DEPTH + 1)), Err(Syntax::TooMuch));
        assert!(check("[".repeat(1_000_000)).is_err());
        let members =
            |n| format!("{{{}}}", (0..n).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(","));
        assert_eq!(check(members(MAX_MEMBERS)), Ok(()));
        assert_eq!(check(members(MAX_MEMBERS + 1)), Err(Syntax::TooMuch));
    }

    #[test]
    fn numbers_are_cut_not_rounded() {
        assert_eq!(number("1800000240.9"), Ok(Some(1_800_000_240)));
        assert_eq!(number("1.8e9"), Ok(Some(1_800_000_000)));
        assert_eq!(number("18000000005e-1"), Ok(Some(1_800_000_000)));
        assert_eq!(number("5e-1"), Ok(Some(0)));
        assert_eq!(number("5e-999"), Ok(Some(0)));
        assert_eq!(number("18446744073709551615"), Ok(Some(u64::MAX)));
        for none in ["18446744073709551616", "-1", "1e20", "1e999", "1e9999", "-0"] {
            assert_eq!(number(none), Ok(None), "{none}");
        }
    }

    #[test]
    fn names_are_packed() {
        for (text, packed) in [
            (r#" [ "a" , "b c", "é\u00e9" ] "#, "a\0b c\0éé\0"),
            ("[]", ""),
            (r#"["",""]"#, "\0\0"),
            (r#"["\u65e5\u672c","\"\\"]"#, "日本\0\"\\\0"),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            let mut reader = Reader::new(&mut bytes).unwrap();
            let span = reader.names().unwrap();
            assert_eq!(reader.str(span), Ok(packed));
            reader.end().unwrap();
        }
        for bad in [r#"["a\u0000b"]"#, "[1]", "[[]]", "{}", r#"["a\nb"]"#] {
            assert!(Reader::new(&mut bad.as_bytes().to_vec()).unwrap().names().is_err());
        }
    }

    /// Builds what serde_json would from what our reader hands out.
    fn value(reader: &mut Reader<'_>) -> Result<Value, Syntax> {
        Ok(match reader.peek()? {
            Kind::Object => {
                let mut members = serde_json::Map::new();
                reader.object(|reader, name| {
                    let name = reader.str(name)?.to_string();
                    members.insert(name, value(reader)?);
                    Ok::<_, Syntax>(())
                })?;
                Value::Object(members)
            }
            Kind::Array => {
                let mut items = vec![];
                reader.array(|reader| {
                    items.push(value(reader)?);
                    Ok::<_, Syntax>(())
                })?;
                Value::Array(items)
            }
            Kind::String => {
                let span = reader.string()?;
                Value::String(reader.str(span)?.to_string())
            }
            Kind::Number => {
                let start = reader.at;
                reader.number()?;
                let text = str::from_utf8(&reader.text[start..reader.at]).unwrap();
                serde_json::from_str(text).map_err(|_| Syntax::Malformed)?
            }
            Kind::Word => {
                let start = reader.at;
                reader.skip()?;
                serde_json::from_slice(&reader.text[start..reader.at]).unwrap()
            }
        })
    }

    fn ours(text: &[u8]) -> Result<Value, Syntax> {
        let mut text = text.to_vec();
        let mut reader = Reader::new(&mut text)?;
        let value = value(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    /// A string as JSON, with some characters escaped that need not be.
    fn quote(text: &str, escapes: u64) -> String {
        let mut out = String::from("\"");
        for (i, c) in text.chars().enumerate() {
            if c < ' ' || c == '"' || c == '\\' || escapes >> (i % 64) & 1 == 1 {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            } else {
                out.push(c);
            }
        }
        out.push('"');
        out
    }

    fn document() -> impl Strategy<Value = String> {
        let string = (".{0,8}|[a-c]{1,2}|\\PC{0,4}", any::<u64>()).prop_map(|(s, e)| quote(&s, e));
        let leaf = prop_oneof![
            Just("null".to_string()),
            Just("true".to_string()),
            "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,3})?([eE][+-]?[0-9])?",
            string.clone(),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|v| format!("[ {} ]", v.join(" ,\n"))),
                prop::collection::vec((string.clone(), inner), 0..6).prop_map(|v| {
                    let members: Vec<_> = v.into_iter().map(|(k, v)| format!("{k}:\t{v}")).collect();
                    format!("{{{}}}", members.join(", "))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn random_documents_read_as_serde_json_reads_them(text in document()) {
            match ours(text.as_bytes()) {
                Ok(value) => prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap()),
                Err(why) => prop_assert_eq!(why, Syntax::Duplicate),
            }
        }

        #[test]
        fn what_we_read_serde_json_reads_alike(text in "[\\[\\]{},:\"0-9a-c\\\\u.eE+\\- ]{0,24}") {
            if let Ok(value) = ours(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            } else if let Ok(value) = serde_json::from_str::<Value>(&text) {
                // Only duplicates and numbers beyond a double are ours alone to refuse.
                prop_assert_eq!(check(&text), Err(Syntax::Duplicate), "{}", value);
            }
        }

        #[test]
        fn written_strings_read_back(text in any::<String>()) {
            let mut out = String::new();
            write_string(&text, &mut out);
            prop_assert_eq!(ours(out.as_bytes()), Ok(Value::String(text)));
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(bytes);
        }
    }
}
