//! As much of XDR (RFC 4506) as version 0 uses. Pad bytes are not looked at, as in the original.

use crate::Malformed;

const TRUNCATED: Malformed = Malformed("the message is cut short");

/// Reads one item after the other.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The letter that a message begins with.
    pub(crate) fn letter(&mut self, letter: u8) -> Result<(), Malformed> {
        if self.fixed::<1>()? == &[letter] { Ok(()) } else { Err(Malformed("another message is expected")) }
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        self.padded(N)?.try_into().map_err(|_| TRUNCATED)
    }

    pub(crate) fn uint(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(*self.fixed::<4>()?))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.uint()?).map_err(|_| TRUNCATED)?;
        self.padded(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed("a name is not UTF-8"))
    }

    fn padded(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let whole = length.checked_next_multiple_of(4).ok_or(TRUNCATED)?;
        let (item, rest) = self.rest.split_at_checked(whole).ok_or(TRUNCATED)?;
        self.rest = rest;
        item.get(..length).ok_or(TRUNCATED)
    }
}

/// Writes one item after the other.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn uint(&mut self, value: u32) -> &mut Self {
        self.fixed(&value.to_be_bytes())
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) -> &mut Self {
        self.uint(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).fixed(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Attack: a length that points past the end, or whose padding wraps round.
    #[test]
    fn a_length_may_lie() {
        for bad in [&[0, 0, 0, 5, 1, 2, 3, 4][..], &[0xff; 8], &[0xff, 0xff, 0xff, 0xfd], &[0, 0, 0]] {
            assert!(Reader::new(bad).string().is_err());
        }
    }

    proptest! {
        #[test]
        fn anything_goes_in_and_comes_out(number: u32, bytes: Vec<u8>, fixed: [u8; 20]) {
            let mut writer = Writer::default();
            writer.fixed(b"c").fixed(&fixed).uint(number).string(&bytes);
            prop_assert_eq!(writer.0.len() % 4, 0);
            let mut reader = Reader::new(&writer.0);
            prop_assert!(reader.letter(b'c').is_ok());
            prop_assert_eq!(reader.fixed::<20>(), Ok(&fixed));
            prop_assert_eq!(reader.uint(), Ok(number));
            prop_assert_eq!(reader.string(), Ok(&*bytes));
        }
    }
}
