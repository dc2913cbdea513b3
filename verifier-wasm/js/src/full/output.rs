//! What JavaScript reads back: a few numbers, and text.

use alloc::vec::Vec;

use token::{Format, Identity, Rejection};

/// The numbers, by their places; `npm/src/module.js` has the same list. Lengths are in UTF-16 units of the text.
pub(crate) mod word {
    /// Where the text is.
    pub(crate) const TEXT: usize = 0;
    /// How long it is, in bytes.
    pub(crate) const BYTES: usize = 1;
    /// 1 where all of the text is ASCII.
    pub(crate) const ASCII: usize = 2;
    /// Low and high half of a first and a second number: issue and end, the skew, a line and a column.
    pub(crate) const FIRST: usize = 3;
    pub(crate) const SECOND: usize = 5;
    /// 0 for `seamless`, 1 for a JWT, 2 for `chap`.
    pub(crate) const FORMAT: usize = 7;
    /// The length of each piece of the text, in their order, 0 for none.
    pub(crate) const PIECES: usize = 8;
}

/// subject, issuer, client_id, jti, ssh_fp, kid, audiences, scopes, groups, amr.
pub(crate) const MAX_PIECES: usize = 10;
const WORDS: usize = word::PIECES + MAX_PIECES;

/// The answer of the last call.
pub(crate) struct Output {
    words: [u32; WORDS],
    text: Vec<u8>,
    pieces: usize,
}

impl Output {
    pub(crate) const fn new() -> Self {
        Self { words: [0; WORDS], text: Vec::new(), pieces: 0 }
    }

    pub(crate) fn words(&self) -> *const u32 {
        self.words.as_ptr()
    }

    pub(crate) fn set(&mut self, place: usize, value: u32) {
        if let Some(word) = self.words.get_mut(place) {
            *word = value;
        }
    }

    pub(crate) fn set_long(&mut self, place: usize, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.set(place, u32::from_le_bytes([a, b, c, d]));
        self.set(place + 1, u32::from_le_bytes([e, f, g, h]));
    }

    /// Begins a text; what the last call left is overwritten.
    pub(crate) fn begin(&mut self) {
        self.text.fill(0);
        self.text.clear();
        self.pieces = 0;
        self.set(word::ASCII, 1);
    }

    /// Appends a piece of one part.
    pub(crate) fn piece(&mut self, text: &str) {
        self.list([text].into_iter());
    }

    /// Appends a piece of several parts, with a NUL between them: no name has one.
    pub(crate) fn list<'a>(&mut self, parts: impl Iterator<Item = &'a str>) {
        let mut length = 0;
        for (i, part) in parts.enumerate() {
            if i > 0 {
                self.text.push(0);
                length += 1;
            }
            self.text.extend_from_slice(part.as_bytes());
            length += if part.is_ascii() {
                part.len()
            } else {
                self.set(word::ASCII, 0);
                part.encode_utf16().count()
            };
        }
        self.set(word::PIECES + self.pieces, number(length));
        self.pieces += 1;
    }

    /// Ends the text. It may have moved.
    pub(crate) fn end(&mut self) {
        for piece in self.pieces..MAX_PIECES {
            self.set(word::PIECES + piece, 0);
        }
        self.set(word::TEXT, number(self.text.as_ptr().expose_provenance()));
        self.set(word::BYTES, number(self.text.len()));
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.begin();
        self.piece(text);
        self.end();
    }

    pub(crate) fn identity(&mut self, identity: &Identity<'_>) {
        self.begin();
        self.set(
            word::FORMAT,
            match identity.format() {
                Format::Seamless => 0,
                Format::Jwt => 1,
                Format::Chap => 2,
            },
        );
        self.set_long(word::FIRST, identity.issued_at());
        self.set_long(word::SECOND, identity.expires_at());
        self.piece(identity.subject());
        if identity.format() == Format::Jwt {
            let optional =
                [identity.issuer(), identity.client_id(), identity.jti(), identity.ssh_fp(), identity.kid()];
            optional.into_iter().for_each(|text| self.piece(text.unwrap_or_default()));
        } else {
            self.pieces += 5;
            (1..=5).for_each(|piece| self.set(word::PIECES + piece, 0));
        }
        self.list(identity.audiences());
        self.list(identity.scopes());
        self.list(identity.groups());
        self.list(identity.amr());
        self.end();
    }

    pub(crate) fn rejection(&mut self, rejection: Rejection) {
        self.set_long(word::FIRST, rejection.skew.unwrap_or(0));
    }
}

/// On the only target that reads them, no length and no address is longer.
pub(crate) fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
