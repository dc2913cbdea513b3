//! Where to log in.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, shorten};
use crate::origin::Url;

/// A log-in server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// A realm behind an ssh server: `corp@login.example.com`, `ssh://corp@login.example.com:2222`, `ssh://login`.
    Ssh {
        /// The realm. Absent: what ssh's configuration says of the host.
        user: Option<String>,
        /// A host, or a name of `~/.ssh/config`.
        host: String,
        /// Absent: what ssh's configuration says.
        port: Option<u16>,
    },
    /// A server that sends challenges: `https://login.example.com`; plain http on this machine alone.
    Http {
        /// Without a final slash; `/_auth` follows.
        url: String,
    },
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains("://") && !text.starts_with("ssh://") {
            let url = Url::parse(text)?;
            if !url.https && !url.is_loopback() {
                return Err(Error::new(Kind::Usage, format!("{url} is plain http beyond this machine"))
                    .hint("whoever listens there could use the token; use https"));
            }
            return Ok(Self::Http { url: url.to_string() });
        }
        let wrong = || {
            Error::new(Kind::Usage, format!("{:?} is no log-in server", shorten(text)))
                .hint("such as corp@login.example.com, ssh://corp@host:2222 or https://login.example.com")
        };
        let (is_url, rest) = match text.strip_prefix("ssh://") {
            Some(rest) => (true, rest.trim_end_matches('/')),
            None => (false, text),
        };
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            // Without the scheme it may as well be a web site's name.
            None if is_url => (None, rest),
            None => return Err(wrong()),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') && (is_url || !host.contains(':')) => {
                (host, Some(port.parse().map_err(|_| wrong())?))
            }
            _ => (host, None),
        };
        // Neither may read as an option, nor mean anything to a shell.
        let good = |name: &str, more: &[u8]| {
            !name.is_empty()
                && !name.starts_with('-')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if !user.is_none_or(|user| good(user, b"-._")) || !good(host, b"-._:%") {
            return Err(wrong());
        }
        Ok(Self::Ssh { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, host, port) = match self {
            Self::Http { url } => return f.write_str(url),
            Self::Ssh { user: Some(user), host, port: None } => return write!(f, "{user}@{host}"),
            Self::Ssh { user, host, port } => (user, host, port),
        };
        f.write_str("ssh://")?;
        if let Some(user) = user {
            write!(f, "{user}@")?;
        }
        if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        for (text, is) in [
            ("corp@login.example.com", "corp@login.example.com"),
            ("ssh://corp@h:2222", "ssh://corp@h:2222"),
            ("corp@h:2222", "ssh://corp@h:2222"),
            ("corp@::1", "corp@::1"),
            ("ssh://corp@[::1]:2222/", "ssh://corp@[::1]:2222"),
            ("ssh://login", "ssh://login"),
            ("ssh://[::1]:22", "ssh://[::1]:22"),
            ("https://Login.example.com/", "https://login.example.com"),
            ("http://127.0.0.1:8080/corp", "http://127.0.0.1:8080/corp"),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), is);
        }
    }

    /// Attack: a name that ssh reads as an option, or a shell as a command.
    #[test]
    fn nothing_runs_a_command() {
        for bad in [
            "login.example.com",
            "corp@-oProxyCommand=x",
            "-oProxyCommand=x@h",
            "corp@h;id",
            "corp@$(id)",
            "corp@h h",
            "corp@",
            "@h",
            "corp@h\n",
            "ssh://corp@h:x",
            "ssh://",
            "ssh://@h",
            "ssh://-oProxyCommand=x",
            "ssh://-v",
            "ssh://h;id",
            "http://login.example.com",
            "http://localhost.example.com",
            "ftp://h",
            "",
        ] {
            assert!(bad.parse::<Destination>().is_err(), "{bad}");
        }
    }
}
