//! The configuration of an edge as one JSON object: the same words in Envoy and in a Worker.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};

use zeroize::Zeroizing;

#[cfg(feature = "chap")]
use crate::ChapSecret;
use crate::json::{Kind, Reader};
use crate::rules::{RulesError, Wrong, string, strings};
use crate::{Audiences, Digest, KeyError, Leeway, MaxAge, PublicKeys, Revocations, Rules, Secret, Verifier};

/// The shortest secret that an edge takes, in bytes: whoever guesses it can mint.
const MIN_SECRET: usize = 16;

/// What an edge is told.
///
/// | member | type | means |
/// |---|---|---|
/// | `realm` | text | the name in `WWW-Authenticate`; required |
/// | `secrets` | list of `{value or env, purpose, digest, audience, scopes}` | trusts `seamless` tokens, or with the purpose `chap` those of crtauth |
/// | `max_age` | seconds, 60 | how old those may be |
/// | `issuer`, `audience` | text; text or list | required with public keys |
/// | `jwks` | a JWKS | public keys, given here |
/// | `jwks_cluster`, `jwks_path` | text | public keys, fetched from a cluster of the proxy |
/// | `jwks_authority` | text, the issuer's host | what the cluster is called in that fetch |
/// | `jwks_url` | text | public keys, fetched from there |
/// | `scope` | list | demanded of every token |
/// | `leeway` | seconds, 5 | how far clocks may differ |
/// | `rules` | what `rules.json` holds | which request needs what |
/// | `revocations` | list | what is taken back |
/// | `dry_run` | true or false | judge, count, and let pass |
#[derive(Debug)]
pub struct Settings {
    /// Ready, but for keys that have to be fetched.
    pub verifier: Verifier,
    /// Where public keys are fetched from.
    pub source: Option<KeySource>,
    /// Whose tokens are believed.
    pub issuer: Option<String>,
    /// Nothing is turned away.
    pub dry_run: bool,
    /// A secret stands in the text itself, where whoever can read the configuration reads it.
    pub inline_secret: bool,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// An address.
    Url(String),
    /// A named cluster of the proxy.
    Cluster {
        /// Its name.
        cluster: String,
        /// The path to ask for.
        path: String,
        /// The `:authority` to ask with.
        authority: String,
    },
}

/// As it stands in the text.
#[derive(Default)]
struct Draft {
    realm: Option<String>,
    secrets: Vec<Secret>,
    #[cfg(feature = "chap")]
    chap_secrets: Vec<ChapSecret>,
    max_age: Option<MaxAge>,
    issuer: Option<String>,
    audience: Vec<String>,
    jwks: Option<String>,
    jwks_url: Option<String>,
    jwks_cluster: Option<String>,
    jwks_path: Option<String>,
    jwks_authority: Option<String>,
    scope: Vec<String>,
    leeway: Option<Leeway>,
    rules: Option<Rules>,
    revocations: Revocations,
    dry_run: bool,
    inline_secret: bool,
}

impl Settings {
    /// Reads the object. `secret` answers with the secret of a name, where `secrets` has an `env`.
    ///
    /// Whatever is unknown, missing or out of range is an error that names the member and the place.
    pub fn from_json<F>(json: &str, secret: F) -> Result<Self, RulesError>
    where
        F: Fn(&str) -> Option<Zeroizing<Vec<u8>>>,
    {
        let mut draft = Draft::default();
        // An error of a file within the file says where by itself.
        let mut within = None;
        let mut settings = None;
        let done = RulesError::locate(json, |reader| {
            reader.object(|reader, name| draft.member(json, reader, name, &secret, &mut within))?;
            settings = Some(core::mem::take(&mut draft).finish()?);
            Ok(())
        });
        done.map_err(|error| within.unwrap_or(error))?;
        settings.ok_or_else(|| RulesError { message: String::new(), line: 1, column: 1 })
    }
}

impl Draft {
    fn member<F>(
        &mut self,
        json: &str,
        reader: &mut Reader<'_>,
        name: crate::json::Span,
        secret: &F,
        within: &mut Option<RulesError>,
    ) -> Result<(), Wrong>
    where
        F: Fn(&str) -> Option<Zeroizing<Vec<u8>>>,
    {
        match reader.bytes(name) {
            b"$schema" => _ = reader.string()?,
            b"realm" => self.realm = Some(text(reader, "realm is a name")?),
            b"secrets" => self.read_secrets(json, reader, secret, within)?,
            b"max_age" => {
                let seconds = reader.number()?.and_then(|seconds| MaxAge::try_from(seconds).ok());
                self.max_age = Some(seconds.ok_or("max_age is 1 to 86400 seconds")?);
            }
            b"leeway" => {
                let seconds = reader.number()?.and_then(|seconds| Leeway::try_from(seconds).ok());
                self.leeway = Some(seconds.ok_or("leeway is 0 to 60 seconds")?);
            }
            b"issuer" => self.issuer = Some(text(reader, "issuer is the realm's issuer URL")?),
            b"audience" => self.audience = names(reader, "audience is a name or a list of names")?,
            b"scope" => self.scope = names(reader, "scope is a name or a list of names")?,
            b"jwks" => self.jwks = Some(part(json, reader)?.1.to_owned()),
            b"jwks_url" => self.jwks_url = Some(text(reader, "jwks_url is an address")?),
            b"jwks_cluster" => {
                self.jwks_cluster = Some(text(reader, "jwks_cluster is a cluster's name")?);
            }
            b"jwks_path" => {
                let path = text(reader, "jwks_path begins with /")?;
                if !path.starts_with('/') {
                    return Err("jwks_path begins with /".into());
                }
                self.jwks_path = Some(path);
            }
            b"jwks_authority" => {
                self.jwks_authority = Some(text(reader, "jwks_authority is a host name")?);
            }
            b"rules" => {
                let (start, text) = part(json, reader)?;
                self.rules = Some(Rules::from_json(text).map_err(|error| {
                    *within = Some(error.below(json, start, "rules"));
                    "rules"
                })?);
            }
            b"revocations" => {
                let (start, text) = part(json, reader)?;
                self.revocations = Revocations::from_json(text).map_err(|error| {
                    *within = Some(error.below(json, start, "revocations"));
                    "revocations"
                })?;
            }
            b"dry_run" => self.dry_run = boolean(reader, "dry_run is true or false")?,
            _ => {
                let message = ["unknown member ", reader.str(name)?].concat();
                *within = Some(RulesError::at(json, reader.position(), &message));
                return Err("unknown member".into());
            }
        }
        Ok(())
    }

    fn read_secrets<F>(
        &mut self,
        json: &str,
        reader: &mut Reader<'_>,
        secret: &F,
        within: &mut Option<RulesError>,
    ) -> Result<(), Wrong>
    where
        F: Fn(&str) -> Option<Zeroizing<Vec<u8>>>,
    {
        reader.array(|reader| {
            let mut bytes: Option<Zeroizing<Vec<u8>>> = None;
            let mut digest = None;
            let mut chap = false;
            let (mut audience, mut scopes) = (Vec::new(), Vec::new());
            let mut sources = 0;
            reader.object(|reader, name| {
                match reader.bytes(name) {
                    b"value" => {
                        let value = reader.string()?;
                        bytes = Some(Zeroizing::new(reader.bytes(value).to_vec()));
                        self.inline_secret = true;
                        sources += 1;
                    }
                    b"env" => {
                        let variable = reader.string()?;
                        let variable = reader.str(variable)?;
                        let Some(found) = secret(variable) else {
                            let message =
                                ["secrets: ", variable, ", which env names, is not set or not handed in"];
                            *within = Some(RulesError::at(json, reader.position(), &message.concat()));
                            return Err("secrets: env".into());
                        };
                        bytes = Some(found);
                        sources += 1;
                    }
                    b"digest" => {
                        let name = reader.string()?;
                        let named: Digest = reader
                            .str(name)?
                            .parse()
                            .map_err(|_| "secrets: digest is sha1, sha256 or sha512")?;
                        digest = Some(named);
                    }
                    b"purpose" => {
                        let name = reader.string()?;
                        chap = match reader.str(name)? {
                            "seamless" => false,
                            #[cfg(feature = "chap")]
                            "chap" => true,
                            _ => return Err("secrets: purpose is seamless or chap".into()),
                        };
                    }
                    b"audience" => {
                        audience = names(reader, "secrets: audience is a name or a list of names")?;
                    }
                    b"scopes" => scopes = names(reader, "secrets: scopes is a list of names")?,
                    _ => {
                        let message = ["secrets: unknown member ", reader.str(name)?].concat();
                        *within = Some(RulesError::at(json, reader.position(), &message));
                        return Err("secrets: unknown member".into());
                    }
                }
                Ok::<_, Wrong>(())
            })?;
            let bytes = bytes.filter(|_| sources == 1).ok_or("secrets: each has one of env and value")?;
            // As in a secret file, a final newline is no part of it.
            let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            if bytes.len() < MIN_SECRET {
                return Err("secrets: a secret has at least 16 bytes".into());
            }
            if chap && digest.is_some() {
                return Err("secrets: digest is for seamless tokens, those of crtauth have their own".into());
            }
            #[cfg(feature = "chap")]
            if chap {
                let secret = ChapSecret::new(bytes).map_err(|_| "secrets: the secret is empty")?;
                self.chap_secrets.push(secret.with_audiences(audience).with_scopes(scopes));
                return Ok(());
            }
            let secret = Secret::new(bytes, digest.unwrap_or_default());
            let secret = secret.map_err(|_| "secrets: the secret is empty")?;
            self.secrets.push(secret.with_audiences(audience).with_scopes(scopes));
            Ok::<_, Wrong>(())
        })
    }

    fn finish(self) -> Result<Settings, Wrong> {
        let realm = self.realm.ok_or("realm is missing: the name in WWW-Authenticate")?;
        let source = match (self.jwks_url, self.jwks_cluster) {
            (Some(_), Some(_)) => return Err("jwks_url and jwks_cluster: one of them".into()),
            (Some(url), None) => Some(KeySource::Url(url)),
            (None, Some(cluster)) => Some(KeySource::Cluster {
                path: self.jwks_path.ok_or("jwks_path is missing: it goes with jwks_cluster")?,
                authority: self
                    .jwks_authority
                    .or_else(|| authority(self.issuer.as_deref()?).map(str::to_owned))
                    .unwrap_or_else(|| cluster.clone()),
                cluster,
            }),
            (None, None) if self.jwks_path.is_some() || self.jwks_authority.is_some() => {
                return Err("jwks_cluster is missing: jwks_path and jwks_authority go with it".into());
            }
            (None, None) => None,
        };
        if source.is_some() && self.jwks.is_some() {
            return Err("jwks is given, so it can't be fetched as well".into());
        }
        let public = source.is_some() || self.jwks.is_some();
        #[cfg(feature = "chap")]
        let chap = !self.chap_secrets.is_empty();
        #[cfg(not(feature = "chap"))]
        let chap = false;
        if self.secrets.is_empty() && !chap && !public {
            return Err("nothing to trust: give secrets, jwks, jwks_cluster or jwks_url".into());
        }
        let audiences = Audiences::new(self.audience);
        let mut verifier = Verifier::new(&realm)
            .with_leeway(self.leeway.unwrap_or_default())
            .with_scopes(self.scope)
            .with_revocations(self.revocations);
        if !self.secrets.is_empty() {
            verifier = verifier.with_secrets(self.secrets, self.max_age.unwrap_or_default());
        } else if self.max_age.is_some() {
            return Err("max_age is for secrets of seamless tokens, and there are none".into());
        }
        #[cfg(feature = "chap")]
        {
            verifier = verifier.with_chap_secrets(self.chap_secrets);
        }
        if public {
            let issuer = self.issuer.as_deref().ok_or("issuer is missing: it goes with public keys")?;
            let audiences = audiences.clone().ok_or("audience is missing: it goes with public keys")?;
            verifier = match &self.jwks {
                Some(jwks) => {
                    let keys = PublicKeys::from_jwks(issuer, jwks).map_err(jwks_error)?;
                    verifier.with_public_keys(keys, audiences)
                }
                None => verifier.with_issuer(issuer, audiences),
            };
        } else if self.issuer.is_some() {
            return Err(
                "issuer is for public keys, and there are none: give jwks, jwks_cluster or jwks_url".into()
            );
        }
        if let Some(audiences) = audiences {
            verifier = verifier.with_audience(audiences);
        }
        if let Some(rules) = self.rules {
            verifier = verifier.with_rules(rules);
        }
        let (dry_run, inline_secret) = (self.dry_run, self.inline_secret);
        Ok(Settings { verifier, source, issuer: self.issuer, dry_run, inline_secret })
    }
}

/// The host and port of an issuer's URL.
fn authority(issuer: &str) -> Option<&str> {
    let (_, rest) = issuer.split_once("://")?;
    rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())
}

/// A value as it stands in the text, and where it begins.
fn part<'j>(json: &'j str, reader: &mut Reader<'_>) -> Result<(usize, &'j str), Wrong> {
    reader.peek()?;
    let start = reader.position();
    reader.skip()?;
    Ok((start, json.get(start..reader.position()).unwrap_or_default()))
}

fn text(reader: &mut Reader<'_>, message: &'static str) -> Result<String, Wrong> {
    if reader.peek()? != Kind::String {
        return Err(message.into());
    }
    let span = reader.clean_string().map_err(|_| message)?;
    match reader.str(span)? {
        "" => Err(message.into()),
        text => Ok(text.to_owned()),
    }
}

/// One name, or a list of at least one.
fn names(reader: &mut Reader<'_>, message: &'static str) -> Result<Vec<String>, Wrong> {
    let names = match reader.peek()? {
        Kind::Array => strings(reader)?,
        Kind::String => Vec::from([string(reader)?]),
        _ => return Err(message.into()),
    };
    let good = |name: &String| !name.is_empty() && !name.chars().any(char::is_control);
    if names.is_empty() || !names.iter().all(good) { Err(message.into()) } else { Ok(names) }
}

fn boolean(reader: &mut Reader<'_>, message: &'static str) -> Result<bool, Wrong> {
    if reader.peek()? != Kind::Word {
        return Err(message.into());
    }
    let rest = reader.rest();
    let value = rest.starts_with(b"true");
    if !value && !rest.starts_with(b"false") {
        return Err(message.into());
    }
    reader.skip()?;
    Ok(value)
}

/// Names the member before what is wrong with it.
fn jwks_error(error: KeyError) -> Wrong {
    match error {
        KeyError::Json => "jwks: not a key set: malformed or duplicate members",
        KeyError::Member => "jwks: a member of a key is missing or not canonical base64url",
        KeyError::Private => "jwks: a private or secret key among public keys",
        KeyError::Use => "jwks: a key is not for verifying signatures",
        KeyError::Algorithm => "jwks: the algorithm does not fit its key",
        KeyError::DuplicateKid => "jwks: two keys have the same kid",
        KeyError::TooManyKeys => "jwks: more than 32 keys",
        KeyError::TooLarge => "jwks: over 64 KiB",
        KeyError::Issuer => "issuer is empty",
        _ => "jwks: a key is refused",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;
    use std::{format, vec};

    fn read(json: &str) -> Result<Settings, RulesError> {
        Settings::from_json(json, |name| {
            (name == "SECRET").then(|| Zeroizing::new(b"0123456789abcdef\n".to_vec()))
        })
    }

    #[test]
    fn a_whole_one() {
        let settings = read(
            r#"{"realm": "corp", "secrets": [{"env": "SECRET", "digest": "sha256", "audience": "a", "scopes": ["s"]}],
                "max_age": 300, "issuer": "https://i.example:8443/corp", "audience": ["a", "b"], "scope": "s", "leeway": 0,
                "jwks_cluster": "issuer", "jwks_path": "/corp/jwks.json", "dry_run": true,
                "rules": {"rules": [{"path_prefix": "/open", "need": "open"}]}, "revocations": [{"jti": "x"}]}"#,
        )
        .unwrap();
        let source = KeySource::Cluster {
            cluster: "issuer".into(),
            path: "/corp/jwks.json".into(),
            authority: "i.example:8443".into(),
        };
        assert_eq!(settings.source, Some(source));
        assert!(settings.dry_run && !settings.inline_secret);
        assert_eq!(settings.verifier.realm(), "corp");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let secret = r#""realm":"r","secrets":[{"env":"SECRET"}]"#;
        for (json, says) in [
            ("{}".into(), "line 1 column 3: realm is missing: the name in WWW-Authenticate"),
            (
                r#"{"realm":"r"}"#.into(),
                "line 1 column 14: nothing to trust: give secrets, jwks, jwks_cluster or jwks_url",
            ),
            (r#"{"realm":""}"#.into(), "line 1 column 12: realm is a name"),
            (format!("{{{secret},\n\"max_age\":90000}}"), "line 2 column 16: max_age is 1 to 86400 seconds"),
            (format!("{{{secret},\"leeway\":61}}"), "leeway is 0 to 60 seconds"),
            (format!("{{{secret},\"issuer\":\"i\"}}"), "issuer is for public keys"),
            (format!("{{{secret},\"issuer\":\"i\",\"jwks\":{{\"keys\":[]}}}}"), "audience is missing"),
            (format!("{{{secret},\"audience\":\"a\",\"jwks\":{{\"keys\":[]}}}}"), "issuer is missing"),
            (format!("{{{secret},\"jwks_cluster\":\"c\"}}"), "jwks_path is missing"),
            (format!("{{{secret},\"jwks_path\":\"/x\"}}"), "jwks_cluster is missing"),
            (format!("{{{secret},\"jwks_cluster\":\"c\",\"jwks_path\":\"x\"}}"), "jwks_path begins with /"),
            (format!("{{{secret},\"dry_run\":1}}"), "dry_run is true or false"),
            (format!("{{{secret},\"dry-run\":true}}"), "unknown member dry-run"),
            (
                format!("{{{secret},\n \"rules\": {{\"rules\":[\n  {{\"need\":\"maybe\"}}]}}}}"),
                "line 3 column 18: rules: need is open, optional or required",
            ),
            (format!("{{{secret},\"revocations\":[{{\"who\":1}}]}}"), "revocations: "),
            (
                r#"{"realm":"r","secrets":[{"env":"OTHER"}]}"#.into(),
                "secrets: OTHER, which env names, is not set",
            ),
            (r#"{"realm":"r","secrets":[{"value":"short"}]}"#.into(), "at least 16 bytes"),
            (r#"{"realm":"r","secrets":[{"digest":"sha1"}]}"#.into(), "one of env and value"),
            (r#"{"realm":"r","secrets":[{"env":"SECRET","digest":"md5"}]}"#.into(), "digest is"),
            #[cfg(feature = "chap")]
            (
                r#"{"realm":"r","secrets":[{"env":"SECRET","purpose":"chap","digest":"sha1"}]}"#.into(),
                "digest is for seamless tokens",
            ),
            (
                r#"{"realm":"r","secrets":[{"env":"SECRET","purpose":"x"}]}"#.into(),
                "purpose is seamless or chap",
            ),
            #[cfg(feature = "chap")]
            (
                r#"{"realm":"r","secrets":[{"env":"SECRET","purpose":"chap"}],"max_age":9}"#.into(),
                "max_age is for secrets",
            ),
            (r#"{"realm":"r","realm":"s"}"#.into(), "a member of this name is there already"),
        ] {
            let error = read(&json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}\n{error}\n{says}");
        }
    }

    #[cfg(all(feature = "chap", feature = "mint"))]
    #[test]
    fn a_secret_of_crtauth() {
        let json = r#"{"realm":"r","audience":"a","secrets":[{"value":"server_secret_16","purpose":"chap","audience":"a"}]}"#;
        let verifier = read(json).unwrap().verifier;
        let secret = ChapSecret::new(b"server_secret_16").unwrap();
        let token = crate::mint_chap(&secret, crate::ChapVersion::V1, "ada", 1000, 1060).unwrap();
        let mut scratch = crate::Scratch::new();
        assert_eq!(verifier.verify(token.as_bytes(), 1030, &mut scratch).unwrap().subject(), "ada");
    }

    #[test]
    fn a_secret_in_the_text_is_told() {
        let settings = read(r#"{"realm":"r","secrets":[{"value":"0123456789abcdef"}]}"#).unwrap();
        assert!(settings.inline_secret && settings.source.is_none());
        let _ = vec![settings.dry_run];
    }
}
