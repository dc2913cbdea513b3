//! The issuer's metadata under all its names. The settings don't change while we serve, so neither does it.

use super::jwks;
use super::reply::Document;
use crate::realm::Realm;
use crate::services::discovery;

pub(super) fn document(realm: &Realm) -> Document {
    Document::new("application/json", jwks::max_age(), discovery::document(realm).to_string())
}
