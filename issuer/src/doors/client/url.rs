//! The URL of a service, read so strictly that curl, git and docker can't read it otherwise.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::names::shorten;

/// `https://host[:port]/path`, or `http://…` on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Without the scheme's own port, in lower case.
    origin: String,
    loopback: bool,
    /// Begins with `/`; without query and fragment.
    path: String,
}

impl Url {
    /// `https://host:port`.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it stays on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether what is sent can be read on the way.
    pub(super) fn is_plain(&self) -> bool {
        self.origin.starts_with("http://")
    }

    /// `host:port`, as registries are named.
    pub(super) fn authority(&self) -> &str {
        self.origin.split_once("://").map_or(self.origin.as_str(), |(_, authority)| authority)
    }

    /// Below the host.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, if self.path == "/" { "" } else { &self.path })
    }
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Perhaps with a password before the @, which is not to be repeated.
        if text.split(['/', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@')) {
            return Err(Error::usage("there is a name or a password in the URL")
                .hint("leave it out: the token says who you are"));
        }
        let refused = |why: &str| Error::usage(format!("{:?} {why}", shorten(text)));
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| refused("is no URL").hint("with its scheme: https://…"))?;
        let port_of_scheme = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(refused("is no https URL")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        let (host, port) = host_and_port(authority).ok_or_else(|| {
            refused("names no host that every program would read alike")
                .hint("a name, an IPv4 address or [an IPv6 address], and perhaps a port")
        })?;
        let loopback = is_loopback(&host);
        if scheme == "http" && !loopback {
            return Err(refused("would carry a token that others can read on the way").hint("use https"));
        }
        let path = after.split(['?', '#']).next().unwrap_or_default();
        if leads_back(path) {
            return Err(refused("leads back up its own path").hint("write the path without . and .. in it"));
        }
        let port =
            port.filter(|port| *port != port_of_scheme).map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self {
            origin: format!("{scheme}://{host}{port}"),
            loopback,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        })
    }
}

/// Letters, digits, `-`, `_` and `.`; or an IPv6 address. Nothing else: not a user, no `\`, no curl's `{a,b}`.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, after)) => {
            let address: Ipv6Addr = inner.parse().ok()?;
            (format!("[{address}]"), after)
        }
        None => {
            let at = authority.find(':').unwrap_or(authority.len());
            let (host, after) = authority.split_at(at);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let whole = host.split('.').all(|label| !label.is_empty());
            (host.bytes().all(plain) && whole).then(|| (host.to_ascii_lowercase(), after))?
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None if port.is_empty() => None,
        None => return None,
    };
    Some((host, port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host == "[::1]"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Segments that a client or a server would resolve, so that a path says another service than it reaches.
fn leads_back(path: &str) -> bool {
    let dots = |segment: &str| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".").replace("%3b", ";");
        // Some servers cut `..;x` at the semicolon.
        matches!(segment.split(';').next(), Some("." | ".."))
    };
    path.contains('\\') || path.to_ascii_lowercase().contains("%5c") || {
        let path = path.to_ascii_lowercase().replace("%2f", "/");
        path.split('/').any(dots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let url: Url = text.parse().unwrap();
        format!("{} {}", url.origin(), url.path())
    }

    #[test]
    fn one_way_to_read_it() {
        assert_eq!(of("https://API.example.com:443/V2?x=/../#y"), "https://api.example.com /V2");
        assert_eq!(of("https://api.example.com"), "https://api.example.com /");
        assert_eq!(of("https://api.example.com:8443?q"), "https://api.example.com:8443 /");
        assert_eq!(of("http://127.0.0.1:8080/x"), "http://127.0.0.1:8080 /x");
        assert_eq!(of("http://[::1]:80/x"), "http://[::1] /x");
        assert_eq!(of("http://localhost/..x/x.."), "http://localhost /..x/x..");
        assert_eq!("https://a/".parse::<Url>().unwrap().to_string(), "https://a");
    }

    #[test]
    fn what_could_be_read_otherwise_is_refused() {
        for text in [
            "api.example.com",
            "ftp://a",
            "HTTPS://a",
            "https://",
            "https://a@b/",
            "https://a:b@c/",
            "https://a\\@b/",
            "https://a\\b/",
            "https://a b/",
            "https://{a,b}/",
            "https://a[1-2]/",
            "https://[::1",
            "https://[::1]x",
            "https://[fe80::1%25eth0]/",
            "https://a:/",
            "https://a:99999/",
            "https://a:+1/",
            "https://a..b/",
            "https://a./",
            "https://bücher.example/",
            "https://a%2e/",
            "https://a\t/",
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://0x7f000001/",
            "http://127.1/",
            "http://0.0.0.0/",
            "https://a/x/../y",
            "https://a/x/%2E%2e/y",
            "https://a/x%2f..%2fy",
            "https://a/./y",
            "https://a/x/..;z/y",
            "https://a/x\\..\\y",
            "https://a/x%5c..",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
