//! What may stand in a name that goes into a header, a log or a list.

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;

/// Whether a text has no control characters (C0, DEL, C1): they forge headers and log lines.
pub(crate) fn is_clean(text: &str) -> bool {
    text.bytes().all(|b| (0x20..0x7f).contains(&b)) || !text.chars().any(char::is_control)
}

/// Whether a text can be a subject: any UTF-8 name, never empty.
pub(crate) fn is_subject(text: &str) -> bool {
    !text.is_empty() && is_clean(text)
}

/// Whether a text is a scope-token (RFC 6749 section 3.3).
pub(crate) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_every_kind_are_seen() {
        for bad in ["a\0b", "a\r\nb", "a\x7fb", "a\u{85}b", "\t"] {
            assert!(!is_clean(bad), "{bad:?}");
        }
        for good in ["", "with space", "späße-日本", "a%2Cb"] {
            assert!(is_clean(good), "{good:?}");
        }
        assert!(!is_subject(""));
    }
}
