//! Who is at the other end when a proxy stands between.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HeaderName;
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: the peer's own, or what trusted proxies say of it.
///
/// Every proxy appends whom it saw to X-Forwarded-For, so only what a trusted one appended is true: from the
/// right, the first hop that is not a trusted proxy is the client. What stands left of it the client may have
/// written itself. A hop that can't be read ends the walk at the last address that somebody trusted vouches for.
/// A unix socket has no peer address; who may connect to it is a trusted proxy.
#[must_use]
pub fn client_address(peer: Option<IpAddr>, headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let peer = peer.map(|ip| ip.to_canonical());
    if peer.is_some_and(|ip| !is_trusted(ip, proxies)) {
        return peer;
    }
    let mut client = peer;
    // The lines of a list in the order sent are one list (RFC 9110 section 5.3).
    let lines: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(|v| v.as_bytes()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(|b| *b == b',')) {
        let Some(ip) = address(hop) else { return client };
        client = Some(ip);
        if !is_trusted(ip, proxies) {
            return client;
        }
    }
    client
}

/// Whether the address is one of the proxies.
pub(super) fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    // A dual-stack listener shows an IPv4 peer as ::ffff:a.b.c.d.
    let address = address.to_canonical();
    proxies.iter().any(|net| net.contains(&address))
}

/// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7`, `[2001:db8::7]` or `[2001:db8::7]:4711`.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let ip =
        hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|a| a.ip())).or_else(bracketed)?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_appended_counts() {
        let proxies: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8:1::/48"].iter().map(|n| n.parse().unwrap()).collect();
        let cases: &[(&str, &[&str], &str)] = &[
            // No proxy: the header is the client's own invention.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("203.0.113.9", &["10.0.0.1"], "203.0.113.9"),
            // One proxy.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.2.3.4", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["127.0.0.1,203.0.113.7\t"], "203.0.113.7"),
            // A chain of them.
            ("10.0.0.1", &["1.2.3.4, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7", "10.9.9.9, 10.8.8.8"], "203.0.113.7"),
            ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            // Ports, brackets, both families.
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("2001:db8:1::1", &["2001:db8::7"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            // What can't be read ends the walk.
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7;evil"], "10.0.0.1"),
        ];
        for (peer, lines, client) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(X_FORWARDED_FOR, line.parse().unwrap());
            }
            let found = client_address(Some(peer.parse().unwrap()), &headers, &proxies);
            assert_eq!(found, Some(client.parse().unwrap()), "{peer} {lines:?}");
        }
    }

    #[test]
    fn a_unix_socket_is_a_proxy() {
        let mut headers = HeaderMap::new();
        assert_eq!(client_address(None, &headers, &[]), None);
        headers.append(X_FORWARDED_FOR, "1.2.3.4, 203.0.113.7".parse().unwrap());
        assert_eq!(client_address(None, &headers, &[]), Some("203.0.113.7".parse().unwrap()));
    }
}
