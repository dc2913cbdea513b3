//! Messages travel as base64url without padding.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::Malformed;

/// The bits of the last character that stand for no byte may be anything, as for the originals: what counts is the
/// bytes, which a MAC covers.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The longest message that is looked at, in characters: a response of version 2 with a 16384-bit RSA key, twice.
pub(crate) const LONGEST: usize = 16 * 1024;

pub(crate) fn encode(bytes: &[u8]) -> String {
    ENGINE.encode(bytes)
}

/// Any number of `=` at the end is let pass, as the Python original does.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, Malformed> {
    if text.len() > LONGEST {
        return Err(Malformed("the message is too long"));
    }
    ENGINE.decode(text.trim_end_matches('=')).map_err(|_| Malformed("the message is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_cases() {
        assert_eq!(encode(&[0xde, 0xad]), "3q0");
        assert_eq!(encode(&[0xff, 0xe0]), "_-A");
        for text in ["a", "ab", "abc", "abcd"] {
            assert_eq!(decode(&encode(text.as_bytes())).unwrap(), text.as_bytes());
        }
        assert_eq!(decode("3q0=").unwrap(), [0xde, 0xad]);
        for bad in ["@", "a", "abcde", "+/+/", "ab cd", "=ab", "ab\n"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        assert!(decode(&"A".repeat(LONGEST + 4)).is_err());
    }
}
