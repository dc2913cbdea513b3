//! `servers.toml`: which service's tokens come from where. Written by the user alone.
//!
//! ```toml
//! [[service]]
//! url = "https://api.example.com"          # this origin, and below this path
//! login = "corp@login.example.com"         # or "https://login.example.com"; absent: the service's own origin
//! audiences = ["https://api.example.com"]  # whom the tokens are for
//! ```
//!
//! A service never says where to log in or for whom a token is to be: one that could would have tokens made for others.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Destination;
use crate::error::{Error, Kind, Result};
use crate::origin::Url;

const MOST_BYTES: u64 = 256 * 1024;

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its origin, and the path below which it lies.
    pub url: String,
    /// Where its tokens come from; absent: its own origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Who one is there, over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whom the tokens are for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// What they may do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// `jwt` or `seamless`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// All services that the user has named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Servers {
    /// In the file's order.
    #[serde(default)]
    pub service: Vec<Service>,
}

/// Where the file lies.
pub fn path() -> Result<PathBuf> {
    let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let config = of("XDG_CONFIG_HOME").or_else(|| of("HOME").map(|home| home.join(".config")));
    let config = config.ok_or_else(|| {
        Error::new(Kind::Internal, "neither XDG_CONFIG_HOME nor HOME says where your settings are")
    })?;
    Ok(config.join("seamless").join("servers.toml"))
}

impl Servers {
    /// Reads the user's file; none is the same as an empty one.
    pub fn read() -> Result<Self> {
        Self::read_from(&path()?)
    }

    /// Reads that file. Refuses one that others can write: they would say where tokens go.
    pub fn read_from(path: &Path) -> Result<Self> {
        let file = match std::fs::File::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            opened => opened.map_err(|e| Error::file("read", path, &e))?,
        };
        let metadata = file.metadata().map_err(|e| Error::file("look at", path, &e))?;
        let ours = [rustix::process::geteuid().as_raw(), 0].contains(&metadata.uid());
        if !ours || metadata.mode() & 0o022 != 0 {
            return Err(Error::new(Kind::Internal, format!("others can write {}", path.display()))
                .hint(format!("look at what it says, then: chmod 600 {}", path.display())));
        }
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(|e| Error::file("read", path, &e))?;
        Self::parse(&text).map_err(|e| Error { message: format!("{}: {}", path.display(), e.message), ..e })
    }

    /// Reads and checks the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        let servers: Self = toml::from_str(text).map_err(|e| {
            let line = e
                .span()
                .and_then(|span| text.get(..span.start))
                .map(|before| before.matches('\n').count() + 1);
            let why = e.message().lines().next().unwrap_or("not TOML").to_owned();
            Error::new(Kind::Usage, line.map_or_else(|| why.clone(), |line| format!("line {line}: {why}")))
        })?;
        for service in &servers.service {
            Url::parse(&service.url)?;
            if let Some(login) = &service.login {
                login.parse::<Destination>()?;
            }
        }
        Ok(servers)
    }

    /// The entry for a URL: of its origin, and the one with the longest path that it lies below.
    #[must_use]
    pub fn find(&self, url: &str) -> Option<&Service> {
        let url = Url::parse(url).ok()?;
        let below = |service: &&Service| Url::parse(&service.url).is_ok_and(|own| own.covers(&url));
        let length = |service: &&Service| {
            Url::parse(&service.url).map_or(0, |own| own.path.trim_end_matches('/').len())
        };
        self.service.iter().filter(below).max_by_key(length)
    }
}

impl Service {
    /// The entry as it stands in the file, to be put at its end.
    pub fn to_toml(&self) -> Result<String> {
        let body = toml::to_string(self)
            .map_err(|e| Error::new(Kind::Usage, format!("the entry can't be written: {e}")))?;
        Ok(format!("[[service]]\n{body}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[[service]]
url = "https://api.example.com"
login = "corp@login.example.com"
audiences = ["https://api.example.com"]

[[service]]
url = "https://api.example.com/admin/"
login = "https://login.example.com"
user = "root"
"#;

    #[test]
    fn the_nearest_entry_counts() {
        let servers = Servers::parse(TEXT).unwrap();
        let found = |url: &str| servers.find(url).map(|service| service.login.clone().unwrap());
        assert_eq!(found("https://API.example.com:443/x?y").as_deref(), Some("corp@login.example.com"));
        assert_eq!(found("https://api.example.com/admin").as_deref(), Some("https://login.example.com"));
        assert_eq!(found("https://api.example.com/admin/x").as_deref(), Some("https://login.example.com"));
        assert_eq!(found("https://api.example.com/administer").as_deref(), Some("corp@login.example.com"));
    }

    /// Attack: a service whose address looks like another's gets that one's token.
    #[test]
    fn an_address_that_looks_alike_is_another() {
        let servers = Servers::parse(TEXT).unwrap();
        for other in [
            "http://api.example.com",
            "https://api.example.com:8443/",
            "https://api.example.com.evil/",
            "https://api.example.com@evil/",
            "https://evil/https://api.example.com",
            "https://evil\\@api.example.com/",
            "api.example.com",
        ] {
            assert_eq!(servers.find(other), None, "{other}");
        }
    }

    #[test]
    fn mistakes_have_a_line() {
        for (text, says) in [
            ("[[service]]\nurl = 1", "line 2: "),
            ("[[service]]\nurl = \"https://h\"\nlogn = \"x\"", "line 3: unknown field `logn`"),
            ("[[service]]\nurl = \"h\"", "\"h\" is no http(s) URL"),
            ("[[service]]\nurl = \"https://h\"\nlogin = \"-x@h\"", "is no log-in server"),
        ] {
            let error = Servers::parse(text).unwrap_err();
            assert!(error.message.contains(says), "{error}");
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let service = Servers::parse(TEXT).unwrap().service.swap_remove(1);
        let again = Servers::parse(&service.to_toml().unwrap()).unwrap();
        assert_eq!(again.service, [service]);
    }

    #[test]
    fn others_may_not_write_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("servers.toml");
        assert_eq!(Servers::read_from(&path).unwrap(), Servers::default());
        std::fs::write(&path, TEXT).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        assert!(Servers::read_from(&path).unwrap_err().message.contains("others can write"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Servers::read_from(&path).unwrap().service.len(), 2);
    }
}
