//! Minting `seamless` tokens.

use alloc::string::String;

use super::MintError;
use crate::text::{self, MAX_TOKEN_LENGTH};
use crate::{Secret, base64url};

/// Mints a `seamless` token. `issued_at` is in Unix seconds.
pub fn mint_seamless(subject: &str, issued_at: u64, secret: &Secret) -> Result<String, MintError> {
    // With that beginning and two dots it would be taken for a JWT.
    if !text::is_subject(subject) || subject.starts_with("eyJ") {
        return Err(MintError::Subject);
    }
    if issued_at == 0 {
        return Err(MintError::Time);
    }
    let mut token = String::from(subject);
    token.push('.');
    let time = issued_at.to_be_bytes();
    let zeros = time.iter().take_while(|b| **b == 0).count();
    base64url::encode(time.get(zeros..).unwrap_or_default(), &mut token);

    let tag = secret.tag(token.as_bytes());
    token.push('.');
    base64url::encode(tag.as_slice(), &mut token);
    if token.len() > MAX_TOKEN_LENGTH { Err(MintError::TooLarge) } else { Ok(token) }
}
