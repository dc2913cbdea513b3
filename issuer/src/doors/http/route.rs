//! Which path asks for what.

use crate::metrics::PathClass;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Verify,
    Jwks,
    Discovery,
    Auth,
    Health,
    Metrics,
    None,
}

/// The paths of one issuer. Compared byte by byte: nothing is decoded or normalised, so there is one spelling.
pub(super) struct Routes {
    verify: String,
    jwks: String,
    discovery: [String; 3],
    auth: String,
}

impl Routes {
    /// Everything public lies below the issuer's path, so that several realms share a host.
    pub(super) fn new(issuer: &str) -> Self {
        let below = issuer_path(issuer);
        Self {
            verify: format!("{below}/verify"),
            auth: format!("{below}/_auth"),
            jwks: format!("{below}/.well-known/jwks.json"),
            discovery: [
                // OpenID Connect Discovery section 4 appends, RFC 8414 section 3 puts the name before the path,
                // and some of its clients append all the same.
                format!("{below}/.well-known/openid-configuration"),
                format!("/.well-known/oauth-authorization-server{below}"),
                format!("{below}/.well-known/oauth-authorization-server"),
            ],
        }
    }

    pub(super) fn find(&self, path: &str) -> Route {
        match path {
            "/verify" => Route::Verify,
            "/healthz" => Route::Health,
            "/metrics" => Route::Metrics,
            // Where clients of crtauth look for it, whatever lies below.
            "/_auth" => Route::Auth,
            path if path == self.auth => Route::Auth,
            path if path == self.verify => Route::Verify,
            path if path == self.jwks => Route::Jwks,
            path if self.discovery.iter().any(|d| d == path) => Route::Discovery,
            _ => Route::None,
        }
    }
}

impl Route {
    pub(super) const fn class(self) -> PathClass {
        match self {
            Self::Verify => PathClass::Verify,
            Self::Jwks => PathClass::Jwks,
            Self::Discovery => PathClass::Discovery,
            Self::Auth => PathClass::Auth,
            Self::Health => PathClass::Health,
            Self::Metrics => PathClass::Metrics,
            Self::None => PathClass::Other,
        }
    }
}

/// `/corp` of `https://login.example.com/corp`; empty where there is none.
fn issuer_path(issuer: &str) -> &str {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let routes = Routes::new("https://login.example/corp");
        for (path, route) in [
            ("/verify", Route::Verify),
            ("/corp/verify", Route::Verify),
            ("/corp/.well-known/jwks.json", Route::Jwks),
            ("/corp/.well-known/openid-configuration", Route::Discovery),
            ("/.well-known/oauth-authorization-server/corp", Route::Discovery),
            ("/corp/.well-known/oauth-authorization-server", Route::Discovery),
            ("/healthz", Route::Health),
            ("/_auth", Route::Auth),
            ("/corp/_auth", Route::Auth),
            ("/_auth/", Route::None),
            ("/_AUTH", Route::None),
            ("/other/_auth", Route::None),
            ("/metrics", Route::Metrics),
            ("", Route::None),
            ("/", Route::None),
            ("*", Route::None),
            ("/corp", Route::None),
            ("/.well-known/jwks.json", Route::None),
            ("/.well-known/openid-configuration", Route::None),
            ("/verify/", Route::None),
            ("//verify", Route::None),
            ("/VERIFY", Route::None),
            ("/%76erify", Route::None),
            ("/corp/../verify", Route::None),
            ("/corp/healthz", Route::None),
        ] {
            assert_eq!(routes.find(path), route, "{path}");
        }
    }

    #[test]
    fn an_issuer_may_have_no_path() {
        let routes = Routes::new("http://127.0.0.1:8080");
        assert_eq!(routes.find("/.well-known/jwks.json"), Route::Jwks);
        assert_eq!(routes.find("/.well-known/oauth-authorization-server"), Route::Discovery);
        assert_eq!(routes.find("/verify"), Route::Verify);
    }
}
