//! The keywords of `Verifier` as a verifier of the core's.

use std::path::PathBuf;

use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use seamless_tower::{KeyFetch, SharedVerifier};
use token::{Audiences, ChapSecret, Leeway, MaxAge, PublicKeys, Revocations, Rules, Secret, Verifier};

use crate::arguments::{self, Document, document, names, seconds, secrets};
use crate::errors::value;

/// Shorter secrets can be guessed by whoever has one token.
const SHORT: usize = 16;

/// All that a verifier is made of, so that it can be made again in a forked process.
pub(crate) struct Settings {
    pub(crate) verifier: Verifier,
    keys: Option<Keys>,
}

/// Public keys that are kept fresh.
struct Keys {
    issuer: String,
    place: Place,
}

enum Place {
    Url(String),
    File(PathBuf),
}

/// The keywords, as they came.
pub(crate) struct Keywords<'a, 'py> {
    pub(crate) secret: Option<&'a Bound<'py, PyAny>>,
    pub(crate) max_age: Option<&'a Bound<'py, PyAny>>,
    pub(crate) digest: Option<&'a Bound<'py, PyAny>>,
    pub(crate) secret_audience: Option<&'a Bound<'py, PyAny>>,
    pub(crate) secret_scope: Option<&'a Bound<'py, PyAny>>,
    pub(crate) chap_secret: Option<&'a Bound<'py, PyAny>>,
    pub(crate) jwks: Option<&'a Bound<'py, PyAny>>,
    pub(crate) issuer: Option<&'a Bound<'py, PyAny>>,
    pub(crate) audience: Option<&'a Bound<'py, PyAny>>,
    pub(crate) scope: Option<&'a Bound<'py, PyAny>>,
    pub(crate) leeway: Option<&'a Bound<'py, PyAny>>,
    pub(crate) rules: Option<&'a Bound<'py, PyAny>>,
    pub(crate) revocations: Option<&'a Bound<'py, PyAny>>,
    pub(crate) realm: &'a str,
}

impl Settings {
    /// What is missing, empty or out of range is an error that begins with the argument's name.
    pub(crate) fn new(py: Python<'_>, given: &Keywords<'_, '_>) -> PyResult<Self> {
        if given.secret.is_none() && given.chap_secret.is_none() && given.jwks.is_none() {
            return Err(value("secret", "is missing, as are chap_secret and jwks: nothing would be trusted"));
        }
        if given.realm.contains(char::is_control) {
            return Err(value("realm", "has control characters"));
        }
        let mut verifier = Verifier::new(given.realm);
        if let Some(leeway) = given.leeway {
            verifier = verifier.with_leeway(seconds::<Leeway>("leeway", leeway, "0 to 60")?);
        }
        verifier = verifier.with_scopes(names("scope", given.scope)?);
        verifier = with_secrets(py, verifier, given)?;
        let audience = names("audience", given.audience)?;
        let (mut verifier, keys) = with_keys(verifier, given, &audience)?;
        if let Some(audiences) = Audiences::new(audience) {
            verifier = verifier.with_audience(audiences);
        }
        if let Some(rules) = given.rules {
            let rules = Rules::from_json(&arguments::json("rules", rules)?);
            verifier = verifier.with_rules(rules.map_err(|error| value("rules", error))?);
        }
        if let Some(list) = given.revocations {
            verifier = verifier.with_revocations(revocations(list)?);
        }
        Ok(Self { verifier, keys })
    }

    /// Starts to keep the keys fresh, where there are any to fetch.
    pub(crate) fn share(&self) -> PyResult<SharedVerifier> {
        let verifier = self.verifier.clone();
        let Some(keys) = &self.keys else { return Ok(SharedVerifier::new(verifier)) };
        let fetch = match &keys.place {
            Place::Url(url) => KeyFetch::new(&keys.issuer, url).map_err(|error| value("jwks", error))?,
            Place::File(path) => KeyFetch::from_file(&keys.issuer, path),
        };
        SharedVerifier::fetching(verifier, fetch.on_warning(warn)).map_err(|error| value("jwks", error))
    }
}

pub(crate) fn revocations(given: &Bound<'_, PyAny>) -> PyResult<Revocations> {
    let json = arguments::json("revocations", given)?;
    Revocations::from_json(&json).map_err(|error| value("revocations", error))
}

fn with_secrets(py: Python<'_>, verifier: Verifier, given: &Keywords<'_, '_>) -> PyResult<Verifier> {
    let audience = names("secret_audience", given.secret_audience)?;
    let scope = names("secret_scope", given.secret_scope)?;
    let digest = arguments::digest(given.digest)?;
    let max_age: MaxAge = match given.max_age {
        Some(max_age) => seconds("max_age", max_age, "1 to 86400")?,
        None => MaxAge::default(),
    };
    let mut verifier = verifier;
    if let Some(given) = given.secret {
        let mut all = Vec::new();
        for bytes in secrets("secret", given)? {
            warn_if_short(py, "secret", &bytes)?;
            let secret = Secret::new(&bytes, digest).map_err(|error| value("secret", error))?;
            all.push(secret.with_audiences(audience.clone()).with_scopes(scope.clone()));
        }
        verifier = verifier.with_secrets(all, max_age);
    }
    if let Some(given) = given.chap_secret {
        let mut all = Vec::new();
        for bytes in secrets("chap_secret", given)? {
            warn_if_short(py, "chap_secret", &bytes)?;
            let secret = ChapSecret::new(&bytes).map_err(|error| value("chap_secret", error))?;
            all.push(secret.with_audiences(audience.clone()).with_scopes(scope.clone()));
        }
        verifier = verifier.with_chap_secrets(all);
    }
    Ok(verifier)
}

fn with_keys(
    verifier: Verifier,
    given: &Keywords<'_, '_>,
    audience: &[String],
) -> PyResult<(Verifier, Option<Keys>)> {
    let Some(jwks) = given.jwks else {
        if given.issuer.is_some() {
            return Err(value("issuer", "goes with jwks, and there is none"));
        }
        return Ok((verifier, None));
    };
    let issuer = given.issuer.map(|issuer| arguments::text("issuer", issuer)).transpose()?;
    let issuer = issuer.filter(|issuer| !issuer.is_empty());
    let issuer = issuer.ok_or_else(|| value("issuer", "goes with jwks: the realm's issuer URL"))?;
    let audiences = Audiences::new(audience.iter().cloned());
    let audiences = audiences.ok_or_else(|| value("audience", "goes with jwks: whom tokens must be for"))?;
    let parse = |json: &str| PublicKeys::from_jwks(&issuer, json).map_err(|error| value("jwks", error));
    Ok(match document("jwks", jwks)? {
        Document::Json(json) => (verifier.with_public_keys(parse(&json)?, audiences), None),
        Document::File(path) => {
            // Read at once as well: a wrong path shows now.
            let keys = parse(&arguments::read("jwks", &path)?)?;
            (verifier.with_public_keys(keys, audiences), Some(Keys { issuer, place: Place::File(path) }))
        }
        Document::Url(url) => {
            (verifier.with_issuer(&issuer, audiences), Some(Keys { issuer, place: Place::Url(url) }))
        }
    })
}

/// No error: the original took any, and its users are to find this package no stricter than their set-up.
fn warn_if_short(py: Python<'_>, argument: &str, secret: &[u8]) -> PyResult<()> {
    if secret.len() >= SHORT {
        return Ok(());
    }
    let text = format!("{argument}: under {SHORT} bytes, so whoever has a token can guess it\0");
    let text = std::ffi::CString::from_vec_with_nul(text.into_bytes()).unwrap_or_default();
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)
}

/// To Python's log `seamless`, from the thread that fetches; to nowhere where Python is on its way out.
fn warn(text: &str) {
    let _ = Python::try_attach(|py| {
        let logger =
            py.import("logging").and_then(|logging| logging.call_method1("getLogger", ("seamless",)));
        logger.and_then(|logger| logger.call_method1("warning", ("%s", text))).map(drop)
    });
}
