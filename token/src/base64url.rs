//! base64url without padding, canonical only: one text for one value (RFC 4648 section 3.5).

/// Decodes into `out` and returns what was written; `None` where the text isn't canonical or doesn't fit.
///
/// Not the crate base64: its engines for every alphabet and padding are 5 KB of the wasm module, and as slow again.
pub(crate) fn decode<'o>(text: &[u8], out: &'o mut [u8]) -> Option<&'o mut [u8]> {
    let out = out.get_mut(..decoded_len(text.len()))?;
    if !is_canonical(text) {
        return None;
    }
    let value = |byte: u8| u32::from(VALUES[usize::from(byte)]);
    let decode = |[a, b, c, d]: [u8; 4]| {
        let [_, bytes @ ..] = (value(a) << 18 | value(b) << 12 | value(c) << 6 | value(d)).to_be_bytes();
        bytes
    };
    let (fours, tail) = text.as_chunks();
    let (threes, end) = out.as_chunks_mut();
    threes.iter_mut().zip(fours).for_each(|(three, four)| *three = decode(*four));
    // A last group of two or three characters stands for one or two bytes: the front ones.
    let mut last = [b'A'; 4];
    last.iter_mut().zip(tail).for_each(|(place, byte)| *place = *byte);
    end.iter_mut().zip(decode(last)).for_each(|(place, byte)| *place = byte);
    Some(out)
}

/// Whether the text has no character but the alphabet's.
pub(crate) fn is_alphabet(text: &[u8]) -> bool {
    text.iter().fold(0, |bad, b| bad | VALUES[usize::from(*b)]) & INVALID == 0
}

/// Whether the text is canonical, without decoding it.
pub(crate) fn is_canonical(text: &[u8]) -> bool {
    // The bits of the last character that stand for no byte must be zero.
    let spare = match text.len() % 4 {
        0 => 0,
        2 => 0b1111,
        3 => 0b11,
        _ => return false,
    };
    let last = text.last().map_or(0, |b| VALUES[usize::from(*b)]);
    is_alphabet(text) && last & spare == 0
}

#[cfg(feature = "alloc")]
pub(crate) fn decode_vec(text: &[u8]) -> Option<alloc::vec::Vec<u8>> {
    let mut bytes = alloc::vec![0; decoded_len(text.len())];
    let length = decode(text, &mut bytes)?.len();
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(feature = "alloc")]
pub(crate) fn encode(bytes: &[u8], out: &mut alloc::string::String) {
    for three in bytes.chunks(3) {
        let bits =
            three.iter().zip([16, 8, 0]).fold(0, |bits, (byte, shift)| bits | u32::from(*byte) << shift);
        let characters = [18, 12, 6, 0].into_iter().take(three.len() + 1);
        out.extend(characters.map(|shift| match bits >> shift & 63 {
            value @ 0..26 => letter(b'A', value),
            value @ 26..52 => letter(b'a', value - 26),
            value @ 52..62 => letter(b'0', value - 52),
            62 => '-',
            _ => '_',
        }));
    }
}

#[cfg(feature = "alloc")]
fn letter(first: u8, offset: u32) -> char {
    char::from_u32(u32::from(first) + offset).unwrap_or('_')
}

/// How many bytes a text of this length stands for.
pub(crate) const fn decoded_len(text: usize) -> usize {
    text / 4 * 3 + (text % 4) * 3 / 4
}

const INVALID: u8 = 0x80;

/// The value of each character of the alphabet, `INVALID` for the others.
const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut value = 0u8;
    let mut rest: &[u8] = alphabet;
    while let [first, tail @ ..] = rest {
        // `usize::from` is not const.
        #[allow(clippy::as_conversions)]
        let index = *first as usize;
        values[index] = value;
        value += 1;
        rest = tail;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_text_for_one_value() {
        let mut out = [0; 8];
        assert_eq!(decode(b"AAAB", &mut out).as_deref(), Some(&[0, 0, 1][..]));
        assert_eq!(decode(b"", &mut out).as_deref(), Some(&[][..]));
        for bad in ["AB", "AAB", "A", "AA==", "AA=", "A A", "AA\n", "+/AA", "AAAAA", "é"] {
            assert_eq!(decode(bad.as_bytes(), &mut out), None, "{bad}");
            #[cfg(feature = "jwt")]
            assert!(!is_canonical(bad.as_bytes()), "{bad}");
        }
        for good in ["", "AA", "AAE", "AAAB", "_-_-"] {
            assert!(decode(good.as_bytes(), &mut out).is_some(), "{good}");
            #[cfg(feature = "jwt")]
            assert!(is_canonical(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(decode(b"AAAA", &mut [0; 2]), None);
    }

    #[cfg(feature = "alloc")]
    mod as_the_crate_base64 {
        use super::*;
        use base64::Engine as _;
        use base64::prelude::BASE64_URL_SAFE_NO_PAD;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn bytes(bytes: std::vec::Vec<u8>) {
                let mut text = alloc::string::String::new();
                encode(&bytes, &mut text);
                prop_assert_eq!(&text, &BASE64_URL_SAFE_NO_PAD.encode(&bytes));
                prop_assert_eq!(decode_vec(text.as_bytes()), Some(bytes));
            }

            #[test]
            fn text(text in "[A-Za-z0-9_=+/-]{0,9}") {
                prop_assert_eq!(decode_vec(text.as_bytes()), BASE64_URL_SAFE_NO_PAD.decode(&text).ok());
            }
        }
    }
}
