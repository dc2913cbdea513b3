//! `[[sources]]`: where keys come from beside the realm's own store, in the order in which they are asked.

use std::path::PathBuf;

use serde::Deserialize;

use crate::backends::http_get::HttpsUrl;
use crate::duration::Seconds;
use crate::error::{Error, Result};
use crate::names;

/// One of `[[sources]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// A folder of public key files.
    Directory(Directory),
    /// A directory service.
    Ldap(Box<Ldap>),
    /// Pages of public keys.
    Url(Pages),
    /// The same at GitHub, or an installation of one's own.
    Github(Github),
}

/// `kind = "directory"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// The folder: files `NAME.pub` and `NAME_id_rsa.pub`.
    pub path: PathBuf,
    /// The groups that its users count as members of.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// `kind = "ldap"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ldap {
    /// `ldaps://host[:port]`, or `ldap://host[:port]`, which then speaks StartTLS.
    pub url: String,
    /// Where everything lies below.
    pub base_dn: String,
    /// Where users lie: `uid=NAME,<users>,<base_dn>`.
    #[serde(default = "users")]
    pub users: String,
    /// Where groups lie: `cn=NAME,<groups>,<base_dn>`.
    #[serde(default = "groups")]
    pub groups: String,
    /// Who asks; absent: anybody.
    pub bind_dn: Option<String>,
    /// Its password, a file relative to the realm.
    pub password_file: Option<PathBuf>,
    /// Only members of this group.
    pub group: Option<String>,
    /// The certificates to trust in place of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Speak without TLS: passwords and keys for whoever listens.
    #[serde(default)]
    pub insecure: bool,
    /// How long to wait.
    #[serde(default = "five_seconds")]
    pub timeout: Seconds,
}

/// `kind = "url"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// An https URL with `{user}` in it.
    pub url: String,
    /// The groups that its users count as members of.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How long a page is good without asking again.
    #[serde(default = "five_minutes")]
    pub fresh: Seconds,
    /// How long it is good where nobody answers.
    #[serde(default = "an_hour")]
    pub stale: Seconds,
    /// Let in whoever has a page, and not only users that the realm knows.
    #[serde(default)]
    pub any_user: bool,
}

/// `kind = "github"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Github {
    /// Where it is.
    #[serde(default = "github")]
    pub base: String,
    /// As for pages.
    #[serde(default)]
    pub groups: Vec<String>,
    /// As for pages.
    #[serde(default = "five_minutes")]
    pub fresh: Seconds,
    /// As for pages.
    #[serde(default = "an_hour")]
    pub stale: Seconds,
}

impl Source {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::internal(format!("sources: {what}")));
        match self {
            Self::Directory(directory) => check_groups(&directory.groups),
            Self::Ldap(ldap) => {
                if !ldap.url.starts_with("ldaps://") && !ldap.url.starts_with("ldap://") {
                    return wrong("url is ldaps://HOST or ldap://HOST");
                }
                if ldap.insecure && ldap.url.starts_with("ldaps://") {
                    return wrong("insecure is for ldap://");
                }
                if ldap.base_dn.is_empty() || ldap.users.is_empty() || ldap.groups.is_empty() {
                    return wrong("base_dn, users and groups are not empty");
                }
                if ldap.bind_dn.is_some() != ldap.password_file.is_some() {
                    return wrong("bind_dn and password_file need each other");
                }
                if !(1..=30).contains(&ldap.timeout.0) {
                    return wrong("timeout is 1s to 30s");
                }
                check_groups(ldap.group.as_slice())
            }
            Self::Url(pages) => pages.check(),
            Self::Github(github) => github.pages().check(),
        }
    }
}

impl Pages {
    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::internal(format!("sources: {what}")));
        let (before, after) = self.url.split_once("{user}").unwrap_or((&self.url, ""));
        let authority_ends = before.strip_prefix("https://").is_some_and(|rest| rest.contains('/'));
        if !self.url.contains("{user}") || after.contains("{user}") || !authority_ends {
            return wrong(
                "url has {user} once, behind the host: https://keys.example.com/{user}.keys".into(),
            );
        }
        HttpsUrl::parse(&self.url.replace("{user}", "x"))
            .map_err(|e| Error::internal(format!("sources: {e}")))?;
        if self.stale.0 < self.fresh.0 || self.stale.0 > 7 * 86_400 || self.fresh.0 == 0 {
            return wrong(format!(
                "fresh is {} and stale {}, which is no less and at most 7d",
                self.fresh, self.stale
            ));
        }
        check_groups(&self.groups)
    }
}

impl Github {
    /// The pages that it is.
    #[must_use]
    pub fn pages(&self) -> Pages {
        Pages {
            url: format!("{}/{{user}}.keys", self.base.trim_end_matches('/')),
            groups: self.groups.clone(),
            fresh: self.fresh,
            stale: self.stale,
            any_user: false,
        }
    }
}

fn check_groups(groups: &[String]) -> Result<()> {
    groups.iter().try_for_each(|group| names::check_group(group).map_err(super::internal))
}

fn users() -> String {
    "cn=users".to_owned()
}

fn groups() -> String {
    "cn=groups".to_owned()
}

fn github() -> String {
    "https://github.com".to_owned()
}

const fn five_seconds() -> Seconds {
    Seconds(5)
}

const fn five_minutes() -> Seconds {
    Seconds(300)
}

const fn an_hour() -> Seconds {
    Seconds(3600)
}
