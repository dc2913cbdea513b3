//! Where a URL leads, as far as it matters who is asked and told what.

use std::fmt;

use crate::error::{Error, Kind, Result, shorten};

/// An http(s) URL without a name or password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) https: bool,
    /// In lower case; an IPv6 address with its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Begins with a slash, or is empty. Without query.
    pub(crate) path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::new(Kind::Usage, format!("{:?} {why}", shorten(text)));
        let (https, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err(wrong("is no http(s) URL")),
        };
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('\\') {
            return Err(wrong("is no http(s) URL"));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(Error::new(Kind::Usage, "the URL has a name or password in it")
                .hint("leave it out; --user says who you are"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, Some(if https { 443 } else { 80 })),
        };
        let Some(port) = port.filter(|_| !host.is_empty()) else { return Err(wrong("is no http(s) URL")) };
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        Ok(Self { https, host: host.to_ascii_lowercase(), port, path: path.to_owned() })
    }

    /// Whether it means this machine alone.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host == "[::1]"
            || self.host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether `other` lies at or below this one: the same origin, and a path that begins with whole segments of ours.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let own = self.path.trim_end_matches('/');
        let rest = other.path.strip_prefix(own);
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != default {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(self.path.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_text() {
        for (text, is) in [
            ("https://Login.Example.com", "https://login.example.com"),
            ("HTTPS://login.example.com:443/", "https://login.example.com"),
            ("https://h:8443/corp/?x=1#y", "https://h:8443/corp"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), is);
        }
        for bad in [
            "",
            "h",
            "ftp://h",
            "https://",
            "https:///x",
            "https://a@h",
            "https://h:x",
            "https://h:99999",
            "https://h\\@e",
            "https://h/\n",
            "https://h /",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn below_means_whole_segments_of_the_same_origin() {
        let covers = |one: &str, other: &str| Url::parse(one).unwrap().covers(&Url::parse(other).unwrap());
        assert!(covers("https://h", "https://H:443/x/y?z"));
        assert!(covers("https://h/a", "https://h/a/b"));
        assert!(covers("https://h/a/", "https://h/a"));
        for other in ["https://h/ab", "http://h/a", "https://h:444/a", "https://h.evil/a", "https://h/"] {
            assert!(!covers("https://h/a", other), "{other}");
        }
    }
}
