//! base64url without padding, canonical only: one text for one value (RFC 4648 section 3.5).

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The default rejects spare bits that are not zero; this one also rejects padding.
const STRICT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

/// Decodes into `out` and returns what was written; `None` where the text isn't canonical or doesn't fit.
pub(crate) fn decode<'o>(text: &[u8], out: &'o mut [u8]) -> Option<&'o mut [u8]> {
    let length = STRICT.decode_slice(text, out).ok()?;
    out.get_mut(..length)
}

/// Whether the text has no character but the alphabet's.
pub(crate) fn is_alphabet(text: &[u8]) -> bool {
    text.iter().fold(0, |bad, b| bad | VALUES[usize::from(*b)]) & INVALID == 0
}

/// Whether the text is canonical, without decoding it.
#[cfg(feature = "jwt")]
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
    STRICT.encode_string(bytes, out);
}

/// How many bytes a text of this length stands for.
#[cfg(feature = "alloc")]
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
}
