//! A directory service, with crtauth's schema: users `uid=NAME,cn=users,BASE` with the attribute `sshPublicKey`, groups
//! `cn=NAME,cn=groups,BASE` with `memberUid`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{LdapConnAsync, LdapConnSettings, Scope, SearchEntry, ldap_escape};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::Runtime;

use super::{Answer, KeySource, usable};
use crate::backends::files;
use crate::config;
use crate::error::{Error, Result};
use crate::names::{self, UserName};
use crate::public_key::PublicKey;

/// The attributes that are read.
const ATTRIBUTES: [&str; 3] = ["uid", "cn", "sshPublicKey"];
/// Connections that are kept for the next question.
const IDLE: usize = 4;
/// Entries a page of a list.
const PAGE: i32 = 500;

/// The directory service. Connects when it is first asked, and again after a connection broke.
pub struct Ldap {
    name: String,
    settings: config::Ldap,
    realm: PathBuf,
    /// Where users and where groups lie.
    users: String,
    groups: String,
    runtime: OnceLock<Runtime>,
    idle: Mutex<Vec<ldap3::Ldap>>,
}

impl Ldap {
    /// As the settings say.
    #[must_use]
    pub fn new(settings: &config::Ldap, realm: &Path) -> Self {
        Self {
            name: format!("ldap {}", settings.url),
            settings: settings.clone(),
            realm: realm.to_owned(),
            users: format!("{},{}", settings.users, settings.base_dn),
            groups: format!("{},{}", settings.groups, settings.base_dn),
            runtime: OnceLock::new(),
            idle: Mutex::default(),
        }
    }

    /// Asks on a connection that was kept, and if that broke meanwhile on a new one.
    fn ask<T>(&self, question: impl AsyncFn(&mut ldap3::Ldap) -> Result<T, ldap3::LdapError>) -> Result<T> {
        let runtime = self.runtime()?;
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        runtime.block_on(async {
            if let Some(mut ldap) = kept.filter(|ldap| !ldap.clone().is_closed())
                && let Ok(answer) = question(&mut ldap).await
            {
                self.keep(ldap);
                return Ok(answer);
            }
            let mut ldap = self.connect().await?;
            let answer = question(&mut ldap).await.map_err(|e| self.failed("the search failed", &e))?;
            self.keep(ldap);
            Ok(answer)
        })
    }

    fn keep(&self, ldap: ldap3::Ldap) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(ldap);
        }
    }

    /// A connection that is encrypted, and bound as whom the settings say: a bind that fails is a failure. (The
    /// original did not look, and went on as anybody.)
    async fn connect(&self) -> Result<ldap3::Ldap> {
        let mut settings = LdapConnSettings::new().set_conn_timeout(self.timeout());
        if self.settings.url.starts_with("ldap://") && !self.settings.insecure {
            settings = settings.set_starttls(true);
        }
        if let Some(file) = &self.settings.ca_file {
            settings = settings.set_config(self.trusting(file)?);
        }
        let connected = LdapConnAsync::with_settings(settings, &self.settings.url);
        // StartTLS has no time-out of its own.
        let connected = tokio::time::timeout(self.timeout() * 2, connected).await;
        let (connection, mut ldap) = connected
            .map_err(|_| self.error("no connection in time"))?
            .map_err(|e| self.failed("no connection", &e))?;
        tokio::spawn(async move {
            // Its end shows where it is used next.
            let _ = connection.drive().await;
        });
        if let (Some(dn), Some(file)) = (&self.settings.bind_dn, &self.settings.password_file) {
            let mut password = files::read_private(&self.realm.join(file))?;
            if password.ends_with(b"\n") {
                password.pop();
            }
            let password =
                std::str::from_utf8(&password).map_err(|_| self.error("the password is not UTF-8"))?;
            if password.is_empty() {
                // RFC 4513 section 5.1.2: a name without a password binds as nobody, and succeeds.
                return Err(self.error("the password is empty"));
            }
            let bound = ldap.with_timeout(self.timeout()).simple_bind(dn, password).await;
            bound.and_then(ldap3::LdapResult::success).map_err(|e| {
                self.failed("the bind failed", &e).hint("look at bind_dn and at what is in password_file")
            })?;
        }
        Ok(ldap)
    }

    fn trusting(&self, file: &Path) -> Result<Arc<rustls::ClientConfig>> {
        let path = self.realm.join(file);
        let pem = files::read_small(&path, 1024 * 1024)?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
            added.ok_or_else(|| Error::internal(format!("{} has a broken certificate", path.display())))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(format!("TLS: {e}")))?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    }

    /// Those entries that the filter finds, anywhere below the base.
    fn search(&self, filter: &str) -> Result<Vec<SearchEntry>> {
        let timeout = self.timeout();
        self.ask(async |ldap| {
            let found = ldap
                .with_timeout(timeout)
                .search(&self.settings.base_dn, Scope::Subtree, filter, ATTRIBUTES)
                .await?
                .success()?;
            Ok(found.0.into_iter().map(SearchEntry::construct).collect())
        })
    }

    /// A runtime of its own: it is asked by threads that may wait, also where no server runs.
    fn runtime(&self) -> Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ldap")
            .enable_all()
            .build()
            .map_err(|e| Error::internal(format!("the runtime does not start: {e}")))?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.settings.timeout.0)
    }

    fn error(&self, why: &str) -> Error {
        Error::internal(format!("{}: {why}", self.name))
    }

    fn failed(&self, what: &str, error: &ldap3::LdapError) -> Error {
        let why = error.to_string();
        let why = why.lines().next().unwrap_or_default().chars().take(200).collect::<String>();
        self.error(&format!("{what}: {why}"))
    }
}

impl KeySource for Ldap {
    fn name(&self) -> &str {
        &self.name
    }

    fn keys_of(&self, user: &UserName, _known: bool, _now: u64) -> Result<Answer> {
        let uid = ldap_escape(user.as_str());
        let found = self.search(&format!(
            "(|(&(uid={uid})(objectClass=posixAccount))(&(memberUid={uid})(objectClass=posixGroup)))"
        ))?;
        // LDAP matches names in any case, and ours differ by it.
        let mut people =
            found.iter().filter(|entry| lies_in(&entry.dn, &self.users) && has(entry, "uid", user.as_str()));
        let Some(person) = people.next() else { return Ok(Answer::Unknown) };
        if people.next().is_some() {
            return Ok(Answer::Refused("the directory service has two users of this name"));
        }
        let groups: Vec<String> = found
            .iter()
            .filter(|entry| lies_in(&entry.dn, &self.groups))
            .flat_map(|entry| entry.attrs.get("cn").into_iter().flatten())
            .filter(|name| names::check_group(name).is_ok())
            .cloned()
            .collect();
        if self.settings.group.as_ref().is_some_and(|group| !groups.contains(group)) {
            return Ok(Answer::Refused("the user is not in the group that may log in"));
        }
        Ok(Answer::User { keys: keys(person, &self.name), groups })
    }

    fn each(&self, _known: &[UserName], _now: u64, each: &mut dyn FnMut(UserName, PublicKey)) -> Result<()> {
        let timeout = self.timeout();
        let entries = self.ask(async |ldap| {
            let adapters: Vec<Box<dyn Adapter<_, _>>> =
                vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(PAGE))];
            let filter = "(&(objectClass=posixAccount)(sshPublicKey=*))";
            let mut stream = ldap
                .with_timeout(timeout)
                .streaming_search_with(adapters, &self.users, Scope::OneLevel, filter, ATTRIBUTES)
                .await?;
            let mut entries = Vec::new();
            while let Some(entry) = stream.next().await? {
                entries.push(SearchEntry::construct(entry));
            }
            stream.finish().await.success()?;
            Ok(entries)
        })?;
        for entry in entries.iter().filter(|entry| lies_in(&entry.dn, &self.users)) {
            for uid in entry.attrs.get("uid").into_iter().flatten() {
                let Ok(user) = uid.parse::<UserName>() else { continue };
                keys(entry, &self.name).into_iter().for_each(|key| each(user.clone(), key));
            }
        }
        Ok(())
    }

    fn restriction(&self) -> Option<&str> {
        self.settings.group.as_deref()
    }

    fn check(&self) -> Result<()> {
        let timeout = self.timeout();
        self.ask(async |ldap| {
            let found = ldap.with_timeout(timeout);
            found.search(&self.users, Scope::Base, "(objectClass=*)", ["1.1"]).await?.success().map(|_| ())
        })
    }
}

/// Every key of an entry that may log in. (The original takes a second value for an error.)
fn keys(entry: &SearchEntry, name: &str) -> Vec<PublicKey> {
    entry.attrs.get("sshPublicKey").into_iter().flatten().flat_map(|value| usable(value, name)).collect()
}

/// Whether an entry lies right below this one.
fn lies_in(dn: &str, container: &str) -> bool {
    parent(dn).is_some_and(|parent| plain(parent) == plain(container))
}

/// What stands behind the first comma that separates (RFC 4514).
fn parent(dn: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, character) in dn.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => return dn.get(at + 1..),
            _ => {}
        }
    }
    None
}

/// Attribute names and the values of containers don't differ by case, nor by blanks between parts.
fn plain(dn: &str) -> String {
    dn.split(',').map(|part| part.trim().to_ascii_lowercase()).collect::<Vec<_>>().join(",")
}

fn has(entry: &SearchEntry, attribute: &str, value: &str) -> bool {
    entry.attrs.get(attribute).is_some_and(|values| values.iter().any(|one| one == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lies_right_below() {
        let users = "cn=users,dc=example,dc=com";
        for good in [
            "uid=ada,cn=users,dc=example,dc=com",
            "uid=ada, CN=users, dc=example,dc=COM",
            "uid=a\\+b,cn=users,dc=example,dc=com",
            "uid=a\\,b,cn=users,dc=example,dc=com",
        ] {
            assert!(lies_in(good, users), "{good}");
        }
        for bad in [
            "uid=ada,cn=evil,cn=users,dc=example,dc=com",
            "uid=ada,cn=groups,dc=example,dc=com",
            "uid=ada\\,cn=users,dc=example,dc=com",
            "cn=users,dc=example,dc=com",
            "",
        ] {
            assert!(!lies_in(bad, users), "{bad}");
        }
    }
}
