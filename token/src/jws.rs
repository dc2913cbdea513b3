//! The signature layer.
use crate::{Code, PublicKeys, Rejection};
/// Checks the signature of a compact JWS.
pub fn verify_signature(_token: &str, _keys: &PublicKeys) -> Result<(), Rejection> {
    Err(Code::Malformed.into())
}
