//! `realm.toml`: what an operator decides for a realm. Every key is known or an error with its line.

mod crtauth;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

pub use crtauth::{Crtauth, FakeFingerprint};
pub use sources::{Directory, Github, Ldap, Pages, Source};

use crate::backends::files;
use crate::backends::store::SigningAlgorithm;
use crate::duration::Seconds;
use crate::error::{Error, Result};
use crate::names::{self, RealmName};

/// The file's name in a realm's directory.
pub const FILE: &str = "realm.toml";

/// The most that `realm.toml` may allow a token to live, in seconds.
const LONGEST_TTL: u64 = 86_400;

/// How long a revocation is kept: as long as a token can live under any settings, leeway included. Under those of
/// today it would not do, since a token may be from the day before they were made shorter.
pub const REVOKED_FOR: u64 = LONGEST_TTL + 60;

/// How long after its end a revocation is forgotten. A clock that went ahead and is set back must not bring
/// tokens back to life that were taken back before.
pub const FORGOTTEN_AFTER: u64 = 30 * 86_400;

/// A realm's settings, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The realm's name.
    pub realm: String,
    /// The issuer URL: `iss` of its tokens, and what the HTTP paths lie below.
    pub issuer: String,
    /// What a mint without words gives, and the limits of one with them.
    #[serde(default)]
    pub tokens: Tokens,
    /// The `seamless` format.
    #[serde(default)]
    pub seamless: Seamless,
    /// By audience: who may ask for it, how it is signed, how long it lasts.
    #[serde(default)]
    pub audiences: BTreeMap<String, Audience>,
    /// What `/verify` and `seamless verify` demand.
    #[serde(default)]
    pub verify: Verify,
    /// Where `serve` listens.
    #[serde(default)]
    pub serve: Serve,
    /// How sshd learns the keys.
    #[serde(default)]
    pub sshd: Sshd,
    /// Log-ins over HTTP, signed by an ssh-agent.
    #[serde(default)]
    pub crtauth: Crtauth,
    /// Where keys come from beside the realm's own store.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// `[tokens]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// `jwt` or `seamless`.
    pub default_format: Format,
    /// The audience of a JWT that names none; empty: the issuer URL.
    pub default_audience: String,
    /// Lifetime of a JWT that names none.
    pub ttl: Seconds,
    /// The longest lifetime that may be asked for.
    pub max_ttl: Seconds,
}

/// A token format's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JWS, profile `access`.
    Jwt,
    /// The original's.
    Seamless,
}

/// `[seamless]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seamless {
    /// The HMAC's hash.
    pub digest: Digest,
    /// How long such a token is accepted.
    pub max_age: Seconds,
    /// Audiences its secret stands for; none unless the operator binds it.
    pub audiences: Vec<String>,
    /// Scopes its secret stands for; none unless the operator binds them.
    pub scopes: Vec<String>,
}

/// A digest's name as itsdangerous users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// The original's default.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// `[audiences."URL"]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audience {
    /// What its tokens are signed with.
    pub algorithm: JwsAlgorithm,
    /// In place of `[tokens] ttl`.
    pub ttl: Option<Seconds>,
    /// In place of `[tokens] max_ttl`.
    pub max_ttl: Option<Seconds>,
    /// The scopes it knows; absent: any that the user has.
    pub scopes: Option<Vec<String>>,
    /// The groups of which a user must be in one; absent: every user may ask for it.
    pub groups: Option<Vec<String>>,
}

/// A JWS algorithm by its registered name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum JwsAlgorithm {
    /// Ed25519.
    #[default]
    EdDSA,
    /// ECDSA on P-256.
    ES256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
}

/// `[verify]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// A token passes if it names one of them; empty: the default audience.
    pub audience: Vec<String>,
    /// Clock difference that is forgiven, at most 60 s.
    pub leeway: Seconds,
    /// The `rules.json` by which `/verify` judges the request that a proxy asks about; relative to the realm.
    pub rules: Option<PathBuf>,
}

/// `[serve]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// The embedded ssh server's address.
    pub ssh: Option<String>,
    /// The HTTP address, or `unix:PATH`; one or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub http: Vec<String>,
    /// The TLS certificate chain of the TCP addresses, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its private key.
    pub tls_key: Option<PathBuf>,
    /// Peers whose X-Forwarded-For counts.
    pub behind_proxy: Vec<IpNet>,
}

/// `[sshd]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sshd {
    /// `file`: `sync` writes authorized_keys. `command`: sshd asks `seamless authorized-keys`.
    pub keys: KeysBy,
}

/// How sshd learns the keys of a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeysBy {
    /// By `.ssh/authorized_keys`.
    File,
    /// By AuthorizedKeysCommand.
    Command,
}

/// A string, or a list of them.
fn one_or_many<'de, T: From<String>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a string or a list of strings")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one.into()],
        OneOrMany::Many(many) => many.into_iter().map(Into::into).collect(),
    })
}

impl Config {
    /// Reads and checks a realm directory's `realm.toml`.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let bytes = files::read_small(&path, 256 * 1024)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::internal(format!("{} is not UTF-8 text", path.display())))?;
        Self::parse(text).map_err(|e| {
            let error = Error::internal(format!("{}: {}", path.display(), e.message()));
            match e.hint_text() {
                Some(hint) => error.hint(hint),
                None => error.hint("mend that line, or take the file from a backup"),
            }
        })
    }

    /// Reads and checks the text of a `realm.toml`.
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|e| toml_error(text, &e))?;
        config.check()?;
        Ok(config)
    }

    /// The realm's name.
    pub fn name(&self) -> Result<RealmName> {
        self.realm.parse()
    }

    /// The audience of a JWT that names none.
    #[must_use]
    pub fn default_audience(&self) -> &str {
        if self.tokens.default_audience.is_empty() { &self.issuer } else { &self.tokens.default_audience }
    }

    /// What `/verify` demands where the request doesn't say.
    #[must_use]
    pub fn verify_audiences(&self) -> Vec<&str> {
        if self.verify.audience.is_empty() {
            return vec![self.default_audience()];
        }
        self.verify.audience.iter().map(String::as_str).collect()
    }

    /// What holds for one audience; the defaults for the default audience, none for an unknown one.
    #[must_use]
    pub fn audience(&self, name: &str) -> Option<Audience> {
        self.audiences
            .get(name)
            .cloned()
            .or_else(|| (name == self.default_audience()).then(Audience::default))
    }

    /// The longest that a token minted under these settings can be alive, leeway included: how long a retired key
    /// stays published.
    #[must_use]
    pub fn longest_life(&self) -> u64 {
        let by_audience = self.audiences.values().filter_map(|a| a.max_ttl).map(|s| s.0).max().unwrap_or(0);
        self.tokens.max_ttl.0.max(by_audience).max(self.seamless.max_age.0) + 60
    }

    fn check(&self) -> Result<()> {
        self.name()?;
        if self.serve.tls_cert.is_some() != self.serve.tls_key.is_some() {
            return Err(Error::internal("serve.tls_cert and serve.tls_key need each other"));
        }
        check_issuer(&self.issuer)?;
        let range = |what: &str, value: Seconds, from: u64, to: u64| {
            if (from..=to).contains(&value.0) {
                return Ok(());
            }
            Err(Error::internal(format!("{what} is {value}, outside {}..{}", Seconds(from), Seconds(to))))
        };
        range("tokens.max_ttl", self.tokens.max_ttl, 1, LONGEST_TTL)?;
        range("tokens.ttl", self.tokens.ttl, 1, self.tokens.max_ttl.0)?;
        range("seamless.max_age", self.seamless.max_age, 1, LONGEST_TTL)?;
        range("verify.leeway", self.verify.leeway, 0, 60)?;
        let lists = [&self.verify.audience, &self.seamless.audiences];
        for audience in lists.into_iter().flatten().chain(self.audiences.keys()) {
            names::check_audience(audience).map_err(internal)?;
        }
        if !self.tokens.default_audience.is_empty() {
            names::check_audience(&self.tokens.default_audience).map_err(internal)?;
        }
        for (name, audience) in &self.audiences {
            let max = audience.max_ttl.unwrap_or(self.tokens.max_ttl);
            range(&format!("audiences.{name:?}.max_ttl"), max, 1, LONGEST_TTL)?;
            range(&format!("audiences.{name:?}.ttl"), audience.ttl.unwrap_or(Seconds(1)), 1, max.0)?;
            for scope in audience.scopes.iter().flatten() {
                names::check_scope(scope).map_err(internal)?;
            }
            for group in audience.groups.iter().flatten() {
                names::check_group(group).map_err(internal)?;
            }
        }
        for scope in &self.seamless.scopes {
            names::check_scope(scope).map_err(internal)?;
        }
        self.sources.iter().try_for_each(Source::check)?;
        self.crtauth.check()
    }
}

/// An issuer URL: https, or http on loopback; no query, no fragment, no final slash (RFC 8414 section 2).
pub fn check_issuer(url: &str) -> Result<()> {
    let bad = |why: &str| {
        Err(Error::internal(format!("issuer {url:?} {why}"))
            .hint("an https URL such as https://login.example.com/corp"))
    };
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return bad("is not an http(s) URL"),
    };
    names::check_audience(url).map_err(internal)?;
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return bad("has no plain host");
    }
    if url.contains(['?', '#']) || url.ends_with('/') {
        return bad("has a query, a fragment or a final slash");
    }
    if !secure && !is_loopback_authority(authority) {
        return bad("is plain http beyond loopback");
    }
    Ok(())
}

/// Whether `host[:port]` means this machine alone.
#[must_use]
pub fn is_loopback_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    // `127.0.0.1:80@elsewhere` is elsewhere.
    port.bytes().all(|b| b.is_ascii_digit())
        && (host == "[::1]"
            || host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()))
}

impl JwsAlgorithm {
    /// The signing algorithm of that name.
    #[must_use]
    pub const fn signing(self) -> SigningAlgorithm {
        match self {
            Self::EdDSA => SigningAlgorithm::EdDsa,
            Self::ES256 => SigningAlgorithm::Es256,
            Self::RS256 => SigningAlgorithm::Rs256,
        }
    }
}

impl Digest {
    /// As the token core names it.
    #[must_use]
    pub const fn token(self) -> token::Digest {
        match self {
            Self::Sha1 => token::Digest::Sha1,
            Self::Sha256 => token::Digest::Sha256,
            Self::Sha512 => token::Digest::Sha512,
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            default_format: Format::Jwt,
            default_audience: String::new(),
            ttl: Seconds(300),
            max_ttl: Seconds(3600),
        }
    }
}

impl Default for Seamless {
    fn default() -> Self {
        Self { digest: Digest::Sha1, max_age: Seconds(60), audiences: Vec::new(), scopes: Vec::new() }
    }
}

impl Default for Verify {
    fn default() -> Self {
        Self { audience: Vec::new(), leeway: Seconds(5), rules: None }
    }
}

impl Default for Sshd {
    fn default() -> Self {
        Self { keys: KeysBy::File }
    }
}

/// What a new realm's file says. Every key is there, explained, at its default.
#[must_use]
pub fn template(realm: &RealmName, issuer: &str, format: Format, digest: Digest, keys: KeysBy) -> String {
    let format = match format {
        Format::Jwt => "jwt",
        Format::Seamless => "seamless",
    };
    let digest = match digest {
        Digest::Sha1 => "sha1",
        Digest::Sha256 => "sha256",
        Digest::Sha512 => "sha512",
    };
    let keys = match keys {
        KeysBy::File => "file",
        KeysBy::Command => "command",
    };
    format!(
        r#"# Settings of the realm {realm}. Lengths of time are written 90s, 5m, 1h, 90d.
# A change counts from the next token on; a running `seamless serve` reads it when it is
# restarted, which refuses no connection: systemctl restart seamless@{realm}, or SIGUSR2.

realm = "{realm}"

# The issuer URL: the `iss` of every JWT, and what its keys are published below. Verifiers compare it exactly,
# so set it before the first service trusts it.
issuer = "{issuer}"

[tokens]
# What `ssh -T {realm}@host` alone prints: "jwt", or "seamless" (the format of the Python package).
default_format = "{format}"
# The audience of a JWT that names none; "" means the issuer URL.
default_audience = ""
# Lifetime of a JWT that asks for none, and the longest that may be asked for (at most 1d).
ttl = "5m"
max_ttl = "1h"

[seamless]
# The HMAC's hash: "sha1" (the original's), "sha256" or "sha512". Every verifier must be told the same.
digest = "{digest}"
# How long such a token is accepted (at most 1d).
max_age = "60s"
# Such a token carries no audience and no scope; it passes a policy that demands one only if it is named here.
audiences = []
scopes = []

# One table for each service that tokens may be asked for with `-a`:
# [audiences."https://api.example.com"]
# algorithm = "EdDSA"            # or "ES256", "RS256"; `seamless signing-key rotate --algorithm` makes its key
# ttl = "5m"
# max_ttl = "1h"
# scopes = ["read", "write"]     # the scopes it knows; without this line any that the user has
# groups = ["staff"]             # only users in one of these groups; without this line every user

[verify]
# What /verify demands: a token passes if it names one of these; [] means the default audience.
audience = []
# Clock difference that is forgiven, at most 60s.
leeway = "5s"
# Which request needs what, for proxies that say which request they ask about (X-Forwarded-Method, -Host and -Uri).
# rules = "rules.json"           # in the realm's directory; read when `seamless serve` starts

[serve]
# Where `seamless serve` listens; --ssh and --http come before these.
# ssh = "127.0.0.1:2222"
# http = "127.0.0.1:8080"        # or "unix:/run/seamless/{realm}/http.sock", or a list of them
# tls_cert = "/etc/seamless/fullchain.pem"  # where there is no proxy; read again when it changes, and on SIGHUP
# tls_key = "/etc/seamless/privkey.pem"
# behind_proxy = ["10.0.0.0/8"]  # the proxies in front of it, whose X-Forwarded-For counts

[sshd]
# How the system's sshd learns this realm's keys: "file" (`seamless sync` writes authorized_keys) or "command"
# (sshd asks `seamless authorized-keys`). After a change run `seamless sync {realm}`.
keys = "{keys}"

[crtauth]
# Whether `seamless serve` answers /_auth: log-ins over HTTP with the same keys, signed by an ssh-agent. It speaks
# crtauth's versions 0 and 1, and version 2 for any key that an agent can use (docs/protocol-v2.md).
enabled = false
# What challenges call this server; "" means the issuer URL's host. Clients compare it with the host they went to.
server_name = ""
# The oldest version that is spoken. Version 0 is what clients from before 2014 speak.
lowest_version = 1
# What clients of versions 0 and 1 get: crtauth tokens of version 0 (what the Python original's services check) or 1
# (the Java original's), and for how long (at most 598s). Clients of version 2 get what [tokens] says.
token_version = 1
token_ttl = "60s"
# The secret shared with servers of the originals: a file in the realm, or a list of them, of which the first signs.
# Without it the realm makes one of its own, and services find what verifies tokens in signing/chap-token.secret.
# secret = "crtauth.secret"
# What fingerprints of unknown users are made with beside servers of the Python ("sha1") or Java original ("sha256").
fake_fingerprint = "sha1"
# Such a token carries no audience and no scope; it passes a policy that demands one only if it is named here.
audiences = []
scopes = []
# Only users in one of these groups may log in this way; [] means every user.
groups = []
# How many messages a minute are answered, of one address and about one name; a log-in takes two. 0 means any number.
# Behind a proxy that is not named under [serve] behind_proxy, all clients are one address.
per_address = 600
per_name = 120

# Where keys come from beside those enrolled here, one table for each, in the order in which they are asked
# (docs/key-sources.md). For ssh set [sshd] keys = "command": sshd's command asks the running `seamless serve`.
# [[sources]]
# kind = "directory"             # files NAME.pub and NAME_id_rsa.pub
# path = "/etc/seamless/keys"
# groups = ["staff"]             # its users count as members of these
# [[sources]]
# kind = "ldap"
# url = "ldaps://ldap.example.com"   # or "ldap://…", which speaks StartTLS
# base_dn = "dc=example,dc=com"  # users are uid=NAME,cn=users,BASE with sshPublicKey
# bind_dn = "cn=seamless,dc=example,dc=com"
# password_file = "ldap.password"
# group = "ops"                  # only members of cn=ops,cn=groups,BASE, in the sources behind this one too
# [[sources]]
# kind = "github"                # https://github.com/NAME.keys of users that the realm knows
# [[sources]]
# kind = "url"
# url = "https://keys.example.com/{{user}}.keys"
# fresh = "5m"                   # how long a page is good without asking again
# stale = "1h"                   # how long where nobody answers
"#
    )
}

fn internal(error: Error) -> Error {
    Error::internal(error.message().to_owned()).hint(error.hint_text().unwrap_or_default().to_owned())
}

/// `line 7: unknown field `tll`, expected one of …`: one line, with the place.
fn toml_error(text: &str, error: &toml::de::Error) -> Error {
    let message = error.message().lines().next().unwrap_or("not TOML").trim_end_matches('.').to_owned();
    let line =
        error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => Error::internal(format!("line {line}: {message}")),
        None => Error::internal(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> String {
        template(
            &"corp".parse().unwrap(),
            "https://login.example/corp",
            Format::Jwt,
            Digest::Sha1,
            KeysBy::File,
        )
    }

    #[test]
    fn the_template_parses_to_the_defaults() {
        let config = Config::parse(&sample()).unwrap();
        assert_eq!(config.default_audience(), "https://login.example/corp");
        assert_eq!(config.tokens.ttl, Seconds(300));
        assert_eq!(config.longest_life(), 3660);
        let bare = Config::parse("realm = \"corp\"\nissuer = \"https://login.example/corp\"\n").unwrap();
        assert_eq!(format!("{config:?}"), format!("{bare:?}"), "the template states the defaults");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Config::parse("realm = \"corp\"\nissuer = \"https://x/corp\"\n[tokens]\ntll = \"5m\"\n")
            .unwrap_err();
        assert!(error.message().starts_with("line 4: unknown field `tll`"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (from, to) in [
            ("ttl = \"5m\"", "ttl = \"2h\""),
            ("max_ttl = \"1h\"", "max_ttl = \"2d\""),
            ("max_age = \"60s\"", "max_age = \"0s\""),
            ("leeway = \"5s\"", "leeway = \"61s\""),
            ("issuer = \"https://login.example/corp\"", "issuer = \"http://login.example/corp\""),
            ("issuer = \"https://login.example/corp\"", "issuer = \"https://login.example/corp/\""),
            ("issuer = \"https://login.example/corp\"", "issuer = \"https://a@b/corp\""),
            ("realm = \"corp\"", "realm = \"Corp\""),
            ("digest = \"sha1\"", "digest = \"md5\""),
        ] {
            let text = sample().replacen(from, to, 1);
            assert_ne!(text, sample());
            assert!(Config::parse(&text).is_err(), "{to}");
        }
    }

    #[test]
    fn loopback_means_this_machine() {
        for good in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:80"] {
            assert!(is_loopback_authority(good), "{good}");
        }
        for bad in [
            "127.0.0.1:80@example",
            "localhost@example",
            "[::1]@example",
            "localhost.example",
            "128.0.0.1",
            "127.0.0.1.example",
            "[::2]",
            "example",
            "0.0.0.0",
            "",
        ] {
            assert!(!is_loopback_authority(bad), "{bad}");
        }
    }
}
