//! As much of msgpack as the messages use: a sequence of unsigned integers, texts, bytes and lists of texts.
//!
//! Read leniently: the Python original packs texts of 32 bytes and more as `da`, and takes a text for bytes and bytes
//! for a text. Written as short as can be. What was received is what MACs and signatures are over, so nothing is
//! ever written again to be compared.

use crate::Malformed;

const TRUNCATED: Malformed = Malformed("the message is cut short");

/// Reads one value after the other.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far it has read.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Malformed> {
        match self.byte()? {
            small @ 0..=0x7f => Ok(u64::from(small)),
            0xcc => self.big_endian(1),
            0xcd => self.big_endian(2),
            0xce => self.big_endian(4),
            0xcf => self.big_endian(8),
            _ => Err(Malformed("a number is expected")),
        }
    }

    /// Bytes, or a text's.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = match self.byte()? {
            short @ 0xa0..=0xbf => u64::from(short & 0x1f),
            0xc4 | 0xd9 => self.big_endian(1)?,
            0xc5 | 0xda => self.big_endian(2)?,
            0xc6 | 0xdb => self.big_endian(4)?,
            _ => return Err(Malformed("a text or bytes are expected")),
        };
        self.take(usize::try_from(length).map_err(|_| TRUNCATED)?)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        self.bytes()?.try_into().map_err(|_| Malformed("a field has the wrong length"))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a name is not UTF-8"))
    }

    /// A list of at most `most` texts.
    pub(crate) fn texts(&mut self, most: u64) -> Result<Vec<String>, Malformed> {
        let length = match self.byte()? {
            short @ 0x90..=0x9f => u64::from(short & 0x0f),
            0xdc => self.big_endian(2)?,
            _ => return Err(Malformed("a list is expected")),
        };
        if length > most {
            return Err(Malformed("a list is too long"));
        }
        (0..length).map(|_| self.text().map(str::to_owned)).collect()
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(TRUNCATED)?;
        self.at += 1;
        Ok(byte)
    }

    fn big_endian(&mut self, width: usize) -> Result<u64, Malformed> {
        Ok(self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(TRUNCATED)?;
        let bytes = self.bytes.get(self.at..end).ok_or(TRUNCATED)?;
        self.at = end;
        Ok(bytes)
    }
}

/// Writes one value after the other.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        let bytes = value.to_be_bytes();
        let (marker, width) = match value {
            0..=0x7f => (None, 1),
            0x80..=0xff => (Some(0xcc), 1),
            0x100..=0xffff => (Some(0xcd), 2),
            0x1_0000..=0xffff_ffff => (Some(0xce), 4),
            _ => (Some(0xcf), 8),
        };
        self.0.extend(marker);
        self.0.extend(bytes.iter().skip(8 - width));
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        if let Ok(short @ 0..=31) = u8::try_from(text.len()) {
            self.0.push(0xa0 | short);
        } else {
            self.length([0xd9, 0xda, 0xdb], text.len());
        }
        self.0.extend(text.as_bytes());
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.length([0xc4, 0xc5, 0xc6], bytes.len());
        self.0.extend(bytes);
        self
    }

    pub(crate) fn texts(&mut self, texts: &[String]) -> &mut Self {
        match u8::try_from(texts.len()) {
            Ok(short @ 0..=15) => self.0.push(0x90 | short),
            _ => {
                self.0.push(0xdc);
                self.0.extend(u16::try_from(texts.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        for text in texts {
            self.text(text);
        }
        self
    }

    fn length(&mut self, [one, two, four]: [u8; 3], length: usize) {
        if let Ok(length) = u8::try_from(length) {
            self.0.extend([one, length]);
        } else if let Ok(length) = u16::try_from(length) {
            self.0.push(two);
            self.0.extend(length.to_be_bytes());
        } else {
            self.0.push(four);
            self.0.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// MiniMessagePackTest.java's table of boundaries.
    #[test]
    fn the_shortest_is_written() {
        for (value, wants) in [
            (42, &[0x2a][..]),
            (127, &[0x7f]),
            (128, &[0xcc, 0x80]),
            (255, &[0xcc, 0xff]),
            (256, &[0xcd, 1, 0]),
            (65_535, &[0xcd, 0xff, 0xff]),
            (65_536, &[0xce, 0, 1, 0, 0]),
            (0x7fff_ffff, &[0xce, 0x7f, 0xff, 0xff, 0xff]),
            (1 << 32, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            assert_eq!(Writer::default().uint(value).0, wants, "{value}");
            assert_eq!(Reader::new(wants).uint(), Ok(value));
        }
        assert_eq!(Writer::default().text("€").0, [0xa3, 0xe2, 0x82, 0xac]);
        for (length, head) in
            [(31, &[0xbf][..]), (32, &[0xd9, 32]), (256, &[0xda, 1, 0]), (65_536, &[0xdb, 0, 1, 0, 0])]
        {
            let text = "u".repeat(length);
            let written = std::mem::take(&mut Writer::default().text(&text).0);
            assert_eq!(&written[..head.len()], head);
            assert_eq!(Reader::new(&written).text(), Ok(&*text));
        }
        for (length, head) in [(2, &[0xc4, 2][..]), (0x100, &[0xc5, 1, 0]), (0x1_0000, &[0xc6, 0, 1, 0, 0])] {
            let written = std::mem::take(&mut Writer::default().bytes(&vec![7; length]).0);
            assert_eq!(&written[..head.len()], head);
        }
    }

    #[test]
    fn the_old_text_of_python_is_read() {
        let mut old = vec![0xda, 0, 32];
        old.extend([b'u'; 32]);
        assert_eq!(Reader::new(&old).text(), Ok(&*"u".repeat(32)));
    }

    /// Attack: a length that points past the end, or over the end of the address space.
    #[test]
    fn a_length_may_lie() {
        for bad in
            [&[0xc6, 0xff, 0xff, 0xff, 0xff, 1][..], &[0xdb, 0xff, 0xff, 0xff, 0xff], &[0xa5, b'a'], &[]]
        {
            assert!(Reader::new(bad).bytes().is_err());
        }
        assert!(Reader::new(&[0xdc, 0xff, 0xff]).texts(8).is_err());
        assert!(Reader::new(&[0xc0]).uint().is_err());
    }

    proptest! {
        #[test]
        fn anything_goes_in_and_comes_out(
            number: u64, text in ".{0,300}", bytes: Vec<u8>, texts in prop::collection::vec(".{0,40}", 0..20)
        ) {
            let mut writer = Writer::default();
            writer.uint(number).text(&text).bytes(&bytes).texts(&texts);
            let mut reader = Reader::new(&writer.0);
            prop_assert_eq!(reader.uint(), Ok(number));
            prop_assert_eq!(reader.text(), Ok(&*text));
            prop_assert_eq!(reader.bytes(), Ok(&*bytes));
            prop_assert_eq!(reader.texts(20), Ok(texts));
            prop_assert!(reader.is_at_end());
        }
    }
}
