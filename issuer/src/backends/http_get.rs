//! The one place that fetches over HTTP: a JWK set for `seamless verify --jwks URL` and for `doctor`.

use std::time::Duration;

use crate::config::is_loopback_authority;
use crate::error::{Error, Result};

/// The most that a trust document may hold.
const MOST_BYTES: u64 = 64 * 1024;

/// Fetches a small text: https or loopback, no redirects, 64 KiB, 10 s.
pub fn text(url: &str) -> Result<String> {
    let failed = |why: &str| Error::failed(format!("can't fetch {}: {why}", crate::names::shorten(url)));
    let rest = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(_), _) => None,
        (_, Some(rest)) => Some(rest),
        _ => return Err(failed("it is no http(s) URL")),
    };
    let authority = rest.map(|r| r.split(['/', '?', '#']).next().unwrap_or_default());
    if authority.is_some_and(|a| !is_loopback_authority(a)) {
        return Err(failed("plain http is for loopback only").hint("use https"));
    }
    // Keys that come by a redirect come from somewhere else.
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(if authority.is_some() { None } else { ureq::Proxy::try_from_env() })
        .tls_config(tls)
        .build()
        .into();
    let mut response = agent.get(url).call().map_err(|e| failed(&e.to_string()))?;
    if response.status() != 200 {
        return Err(failed(&format!("it answered {}", response.status().as_u16())));
    }
    response.body_mut().with_config().limit(MOST_BYTES).read_to_string().map_err(|e| failed(&e.to_string()))
}
