//! The document by which clients find this issuer's keys: RFC 8414, and what of OpenID Connect Discovery holds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::realm::Realm;

/// The issuer's metadata. It says what is there and nothing that is not: no endpoint, no grant, no response type.
#[must_use]
pub fn document(realm: &Realm) -> Value {
    let config = &realm.config;
    let issuer = &config.issuer;
    let default = config.audience(config.default_audience()).unwrap_or_default();
    let algorithms: BTreeSet<&str> =
        config.audiences.values().chain([&default]).map(|a| a.algorithm.signing().as_str()).collect();
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        // Both are required members, and absent grant types would mean the authorization code and implicit ones.
        "response_types_supported": [],
        "grant_types_supported": [],
        "subject_types_supported": ["public"],
        // OpenID Connect libraries read here which algorithms the issuer signs with.
        "id_token_signing_alg_values_supported": algorithms,
    })
}
