//! Minting `chap` tokens.

use alloc::string::String;
use alloc::vec::Vec;

use super::MintError;
use crate::chap::{ChapSecret, ChapVersion};
use crate::{base64url, text};

/// Mints a `chap` token. The times are in Unix seconds; verifiers refuse one that lives over 600 of them.
///
/// The bytes are the originals'; but for a name of 32 bytes and more, which the Python one packs in an old way.
pub fn mint_chap(
    secret: &ChapSecret,
    version: ChapVersion,
    subject: &str,
    valid_from: u64,
    valid_to: u64,
) -> Result<String, MintError> {
    // As long as any user name of ours can be; one byte says how long it is.
    let length = u8::try_from(subject.len()).map_err(|_| MintError::Subject)?;
    if !text::is_subject(subject) {
        return Err(MintError::Subject);
    }
    // 32 bits are what both originals read, until 2106.
    let (Ok(from), Ok(to)) = (u32::try_from(valid_from), u32::try_from(valid_to)) else {
        return Err(MintError::Time);
    };
    if to <= from {
        return Err(MintError::Time);
    }
    let bytes = match version {
        ChapVersion::V0 => xdr(secret, length, subject, from, to),
        ChapVersion::V1 => msgpack(secret, length, subject, from, to),
    };
    let mut token = String::new();
    base64url::encode(&bytes, &mut token);
    Ok(token)
}

fn xdr(secret: &ChapSecret, length: u8, subject: &str, from: u32, to: u32) -> Vec<u8> {
    let mut payload = b"t\0\0\0".to_vec();
    for number in [from, to, u32::from(length)] {
        payload.extend(number.to_be_bytes());
    }
    payload.extend(subject.as_bytes());
    payload.resize(payload.len().next_multiple_of(4), 0);
    let mut bytes = b"v\0\0\0".to_vec();
    bytes.extend(secret.of(ChapVersion::V0).tag(&payload).as_slice());
    bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn msgpack(secret: &ChapSecret, length: u8, subject: &str, from: u32, to: u32) -> Vec<u8> {
    let mut bytes = [1, b't'].to_vec();
    for time in [from, to] {
        bytes.push(0xce);
        bytes.extend(time.to_be_bytes());
    }
    match length {
        short @ 0..=31 => bytes.push(0xa0 | short),
        long => bytes.extend([0xd9, long]),
    }
    bytes.extend(subject.as_bytes());
    let mac = secret.of(ChapVersion::V1).tag(&bytes);
    bytes.extend([0xc4, 32]);
    bytes.extend(mac.as_slice());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chap;
    use std::format;

    #[test]
    fn the_originals_bytes() {
        let secret = ChapSecret::new(b"server_secret").unwrap();
        let mint =
            |version, name: &str| mint_chap(&secret, version, name, 1_699_999_998, 1_700_000_060).unwrap();
        assert_eq!(
            mint(ChapVersion::V0, "test"),
            "dgAAAIcn-WZRYctZWZBOgPplZH3ZSNfHAAAAFHQAAABlU_D-ZVPxPAAAAAR0ZXN0"
        );
        assert_eq!(
            mint(ChapVersion::V0, "nöa€"),
            "dgAAADke6NmMg9baWjlALgzc2ipaAsN3AAAAGHQAAABlU_D-ZVPxPAAAAAduw7Zh4oKsAA"
        );
        assert_eq!(
            mint(ChapVersion::V1, "test"),
            "AXTOZVPw_s5lU_E8pHRlc3TEIAjrEiqZk-oV6Wx0SGX0xj9WHFtS11b8SGjCDkf2Ul0H"
        );
        // PROTOCOL.md's own, a life of 300 s.
        let secret = ChapSecret::new(b"gurkburk").unwrap();
        assert_eq!(
            mint_chap(&secret, ChapVersion::V1, "noa", 1_365_084_334, 1_365_084_634).unwrap(),
            "AXTOUV2Irs5RXYnao25vYcQgKVlUyZneScS57Xwk2syvL0GTQhV0FF9ciWQZYluN4m8"
        );
    }

    #[test]
    fn what_is_made_is_good() {
        let secret = ChapSecret::new(b"server_secret").unwrap();
        let secrets = [secret.clone()];
        for version in [ChapVersion::V0, ChapVersion::V1] {
            for length in [1, 3, 4, 31, 32, 64, 255] {
                let name = "u".repeat(length);
                let token = mint_chap(&secret, version, &name, 1_000, 1_600).unwrap();
                let mut room = [0; 1024];
                let identity = chap::verify(token.as_bytes(), &secrets, 1_600, &mut room).unwrap();
                assert_eq!(identity.subject(), name);
            }
            let long = mint_chap(&secret, version, "u", 1_000, 1_601).unwrap();
            assert!(chap::verify(long.as_bytes(), &secrets, 1_200, &mut [0; 1024]).is_err());
            for (name, from, to) in [("", 1, 2), ("a\n", 1, 2), ("u", 2, 2), ("u", 1, 1 << 32)] {
                assert!(mint_chap(&secret, version, name, from, to).is_err(), "{name:?} {from} {to}");
            }
            assert!(mint_chap(&secret, version, &format!("{}u", "u".repeat(255)), 1, 2).is_err());
        }
    }
}
