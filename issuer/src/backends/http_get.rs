//! The one place that fetches over HTTP: a JWK set for `seamless verify --jwks URL` and for `doctor`, and public keys
//! for `seamless add --github` and `--url`.

use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};

use crate::config::is_loopback_authority;
use crate::error::{Error, Result};
use crate::names::shorten;

/// The most that an answer may hold.
const MOST_BYTES: u64 = 64 * 1024;

/// The longest URL.
const MOST_URL_BYTES: usize = 2048;

/// How often keys may be somewhere else of the same origin.
const MOST_REDIRECTS: usize = 3;

/// An https URL, without a password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl {
    text: String,
    /// Scheme, host and port.
    origin: String,
}

/// Fetches a small text: https or loopback, no redirects, 64 KiB, 10 s.
pub fn text(url: &str) -> Result<String> {
    let failed = |why: &str| Error::failed(format!("can't fetch {}: {why}", shorten(url)));
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
    let mut response = agent(authority.is_none()).get(url).call().map_err(|e| failed(&e.to_string()))?;
    if response.status() != 200 {
        return Err(failed(&format!("it answered {}", response.status().as_u16())));
    }
    response.body_mut().with_config().limit(MOST_BYTES).read_to_string().map_err(|e| failed(&e.to_string()))
}

/// Fetches public keys: https, redirects within the origin only, 64 KiB, 10 s for each answer. None where the server
/// has no such page.
pub fn keys(url: &HttpsUrl) -> Result<Option<String>> {
    Ok(match page(url, None)? {
        Fetched::New { text, .. } => Some(text),
        Fetched::None | Fetched::Same => None,
    })
}

/// A page, as somebody finds it who may have seen it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// There is none.
    None,
    /// It is the one of that tag.
    Same,
    /// It is another one.
    New {
        /// What it says.
        text: String,
        /// By which it is known again.
        etag: Option<String>,
    },
}

/// [`keys`], for who has a page with this tag (RFC 9110 section 13.1.2).
pub fn page(url: &HttpsUrl, etag: Option<&str>) -> Result<Fetched> {
    let agent = agent(true);
    let mut at = url.clone();
    for _ in 0..=MOST_REDIRECTS {
        let failed = |why: &str| Error::failed(format!("can't fetch {}: {why}", at.public()));
        let mut request = agent.get(&at.text);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let mut response = request.call().map_err(|e| failed(&e.to_string()))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Fetched::Same),
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Fetched::None),
            status if status.is_redirection() => {
                at = at.redirected(&response).map_err(|why| {
                    failed(&why).hint("keys that come by way of another place come from there; name that one")
                })?;
                continue;
            }
            status => return Err(failed(&format!("it answered {}", status.as_u16()))),
        }
        let is_page = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
        });
        let bytes = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        let bytes = bytes.map_err(|e| match e {
            ureq::Error::BodyExceedsLimit(_) => failed("the answer is over 64 KiB"),
            e => failed(&e.to_string()),
        })?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if is_page || text.trim_start().starts_with('<') {
            return Err(failed("it answered with a web page, not with public keys")
                .hint("it may want a log-in; look at it with a browser"));
        }
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let etag = tag.filter(|tag| tag.len() <= 256).map(str::to_owned);
        return Ok(Fetched::New { text, etag });
    }
    Err(Error::failed(format!("can't fetch {}: it redirects in a circle", url.public())))
}

impl HttpsUrl {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::usage(format!("{:?} {why}", shorten(cut_query(text))));
        let Some(rest) = text.strip_prefix("https://") else {
            return Err(wrong("is not an https URL").hint("keys are fetched over https only"));
        };
        if text.len() > MOST_URL_BYTES
            || !text.bytes().all(|b| b.is_ascii_graphic())
            || text.contains(['\\', '#'])
        {
            return Err(wrong("is not a URL"));
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(Error::usage("the URL has a name or password in it")
                .hint("it would stay in the list of keys; fetch it yourself, and import the file"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
            _ => (authority, Some(443)),
        };
        let Some(port) = port.filter(|_| !host.is_empty()) else { return Err(wrong("is not a URL")) };
        Ok(Self { text: text.to_owned(), origin: format!("https://{}:{port}", host.to_ascii_lowercase()) })
    }

    /// Without the query, which may hold a secret.
    #[must_use]
    pub fn public(&self) -> &str {
        cut_query(&self.text)
    }

    /// Where an answer sends us, if that is of the same origin.
    fn redirected<B>(&self, response: &Response<B>) -> Result<Self, String> {
        let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
        let to = to.ok_or_else(|| format!("it answered {}", response.status().as_u16()))?;
        let absolute = if to.starts_with('/') && !to.starts_with("//") {
            format!("{}{to}", self.origin)
        } else {
            to.to_owned()
        };
        let elsewhere = || format!("it redirects to {:?}", shorten(cut_query(to)));
        Self::parse(&absolute).ok().filter(|url| url.origin == self.origin).ok_or_else(elsewhere)
    }
}

fn cut_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// Follows no redirect, and goes through the environment's proxy only where that is to see nothing.
fn agent(https: bool) -> ureq::Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .build();
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .https_only(https)
        .proxy(if https { ureq::Proxy::try_from_env() } else { None })
        .tls_config(tls)
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_urls_are_taken() {
        for good in ["https://github.com/ada.keys", "https://[::1]:8443/x", "https://h", "https://h:1/?q=1"] {
            assert!(HttpsUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://github.com/ada.keys",
            "HTTPS://h/",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://ada:pw@h/",
            "https://h:x/",
            "https://h:99999/",
            "https://h/a b",
            "https://h/\n",
            "https://h\\@evil/",
            "https://h/#x",
        ] {
            assert!(HttpsUrl::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(HttpsUrl::parse("https://h/x?token=secret").unwrap().public(), "https://h/x");
    }

    #[test]
    fn a_redirect_stays_where_it_is() {
        let from = HttpsUrl::parse("https://Example.com/a").unwrap();
        let to = |to: &str| {
            let response = Response::builder().status(302).header("location", to).body(()).unwrap();
            from.redirected(&response).map(|url| url.text)
        };
        for same in ["/b", "https://example.com/b", "https://EXAMPLE.com:443/b"] {
            assert!(to(same).is_ok(), "{same}");
        }
        for other in [
            "https://example.com.evil/b",
            "https://evil/b",
            "//evil/b",
            "http://example.com/b",
            "https://example.com:444/b",
            "https://example.com@evil/b",
            "b",
            "",
        ] {
            assert!(to(other).is_err(), "{other}");
        }
    }
}
