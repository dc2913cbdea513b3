//! Whether a request meant this server: the defence against DNS rebinding.
//!
//! A page on `evil.example` can point that name at 127.0.0.1 and have a visitor's browser ask us in its own
//! origin's name. The browser then says `Host: evil.example`, and gets 421 (RFC 9110 section 15.5.20).

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::HOST;
use hyper::http::request::Parts;

/// The authority that this server answers to, beside loopback.
pub(super) struct Host {
    name: String,
    /// Another name that log-ins go by.
    other: String,
    port: u16,
    default_port: u16,
}

/// Why a request is not for this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOurs {
    /// RFC 9112 section 3.2: no Host, two, or one that can't be read, is 400.
    Unreadable,
    /// Somebody else's name.
    Other,
}

impl Host {
    /// From the issuer URL, which the settings have checked.
    pub(super) fn of_issuer(issuer: &str) -> Self {
        let (scheme, rest) = issuer.split_once("://").unwrap_or(("https", issuer));
        let default_port = if scheme == "http" { 80 } else { 443 };
        let authority = rest.split('/').next().unwrap_or_default();
        let (name, port) = split(authority).unwrap_or((authority, None));
        let name = bare(name).to_ascii_lowercase();
        Self { name, other: String::new(), port: port.unwrap_or(default_port), default_port }
    }

    /// Also answers to this name, if it is one.
    pub(super) fn or(mut self, name: &str) -> Self {
        self.other = bare(name).to_ascii_lowercase();
        self
    }

    /// Every authority that a request names must be ours: HTTP/2 may carry `:authority` and Host, and a request
    /// in absolute form does too; whichever a later reader believes has been checked.
    pub(super) fn check(&self, request: &Parts) -> Result<(), NotOurs> {
        let mut hosts = request.headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(NotOurs::Unreadable);
        }
        let authority = request.uri.authority().map(|a| a.as_str());
        if host.is_none() && authority.is_none() {
            return Err(NotOurs::Unreadable);
        }
        if let Some(authority) = authority {
            self.is_ours(authority)?;
        }
        if let Some(host) = host {
            self.is_ours(host.to_str().map_err(|_| NotOurs::Unreadable)?)?;
        }
        Ok(())
    }

    fn is_ours(&self, authority: &str) -> Result<(), NotOurs> {
        let (name, port) = split(authority).ok_or(NotOurs::Unreadable)?;
        if is_loopback(name) {
            return Ok(());
        }
        let name = bare(name);
        let known = name.eq_ignore_ascii_case(&self.name) || name.eq_ignore_ascii_case(&self.other);
        let same = known && port.unwrap_or(self.default_port) == self.port;
        if same { Ok(()) } else { Err(NotOurs::Other) }
    }
}

/// `host[:port]`, the host with its brackets if it has any. No user information, no empty host.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (name, rest) = authority.split_at_checked(end)?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b)) {
        return None;
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((name, None)),
        // `u16::from_str` takes a leading plus.
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some((name, Some(port.parse().ok()?))),
        _ => None,
    }
}

/// Without the final dot that makes a name absolute.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Names that no DNS server decides: a literal of this machine, and `localhost` (RFC 6761 section 6.3).
fn is_loopback(name: &str) -> bool {
    if let Some(literal) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
    }
    bare(name).eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(issuer: &str, uri: &str, hosts: &[&str]) -> Result<(), NotOurs> {
        let mut request = hyper::Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        Host::of_issuer(issuer).check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_issuer_and_loopback_are_ours() {
        for host in [
            "login.example",
            "LOGIN.example",
            "login.example.",
            "login.example:443",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.255.0.3:1",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]:80",
            "localhost",
            "LocalHost:65535",
            "localhost.:80",
        ] {
            assert_eq!(ask("https://login.example/corp", "/verify", &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn log_ins_may_have_a_name_of_their_own() {
        let ask = |host: &str| {
            let request = hyper::Request::builder().uri("/_auth").header(HOST, host).body(()).unwrap();
            Host::of_issuer("https://login.example/corp").or("auth.example").check(&request.into_parts().0)
        };
        assert_eq!(
            (ask("auth.example"), ask("login.example"), ask("")),
            (Ok(()), Ok(()), Err(NotOurs::Unreadable))
        );
        assert_eq!(ask("evil.example"), Err(NotOurs::Other));
    }

    #[test]
    fn every_other_name_is_not() {
        for host in [
            "evil.example",
            "login.example.evil.example",
            "evil.login.example",
            "login.example:80",
            "login.example:8443",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "128.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "127.1",
            "2130706433",
            "[::2]",
            "[::ffff:127.0.0.1]",
            "login.example..",
        ] {
            assert_eq!(ask("https://login.example/corp", "/verify", &[host]), Err(NotOurs::Other), "{host}");
        }
    }

    #[test]
    fn an_unreadable_host_is_a_bad_request() {
        for hosts in [
            &[][..],
            &[""],
            &["login.example", "login.example"],
            &["login.example", "evil.example"],
            &["user@login.example"],
            &["login.example:"],
            &["login.example:+443"],
            &["login.example:65536"],
            &["login.example:443:443"],
            &["::1"],
            &["[::1"],
            &["[::1]x"],
            &["login.example/x"],
            &["login.example evil.example"],
            &["login.example,evil.example"],
            &[":443"],
        ] {
            let verdict = ask("https://login.example/corp", "/verify", hosts);
            assert_eq!(verdict, Err(NotOurs::Unreadable), "{hosts:?}");
        }
    }

    #[test]
    fn the_issuers_port_counts() {
        for (issuer, host, ours) in [
            ("https://login.example:8443", "login.example:8443", true),
            ("https://login.example:8443", "login.example", false),
            ("https://login.example:443", "login.example", true),
            ("http://localhost:8080/demo", "127.0.0.1:9", true),
            ("https://[2001:db8::1]/corp", "[2001:db8::1]", true),
            ("https://[2001:db8::1]/corp", "[2001:db8::2]", false),
        ] {
            assert_eq!(ask(issuer, "/", &[host]).is_ok(), ours, "{issuer} {host}");
        }
    }

    #[test]
    fn an_authority_counts_beside_the_host() {
        let issuer = "https://login.example/corp";
        assert_eq!(ask(issuer, "https://login.example/verify", &[]), Ok(()));
        assert_eq!(ask(issuer, "https://login.example/verify", &["login.example"]), Ok(()));
        assert_eq!(ask(issuer, "https://evil.example/verify", &["login.example"]), Err(NotOurs::Other));
        assert_eq!(ask(issuer, "https://login.example/verify", &["evil.example"]), Err(NotOurs::Other));
    }
}
