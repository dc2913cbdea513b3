//! A token for a user: over ssh by OpenSSH's own client, or over HTTP with ssh-agent.

use std::path::PathBuf;
use std::time::Duration;

use client::{Destination, Options, Wish};
use pyo3::prelude::*;

use crate::arguments::names;
use crate::errors;

/// A token that was fetched, and what is known of it.
#[pyclass(frozen, get_all, module = "seamless")]
pub(crate) struct Token {
    access_token: String,
    token_type: String,
    issued_at: Option<u64>,
    expires_at: Option<u64>,
    subject: Option<String>,
    authorization: String,
}

#[pymethods]
impl Token {
    /// Without the token.
    fn __repr__(&self) -> String {
        let expires_at = self.expires_at.map_or_else(|| "None".to_owned(), |at| at.to_string());
        format!("Token(token_type='{}', expires_at={expires_at})", self.token_type)
    }
}

/// Logs in. Other threads of Python go on meanwhile.
#[pyfunction]
#[pyo3(signature = (ssh, *, audience = None, scope = None, format = None, ttl = None, user = None, identity = None, timeout = 20.0, interactive = false))]
#[allow(clippy::too_many_arguments)] // Python's keywords.
pub(crate) fn fetch_token(
    py: Python<'_>,
    ssh: &str,
    audience: Option<&Bound<'_, PyAny>>,
    scope: Option<&Bound<'_, PyAny>>,
    format: Option<String>,
    ttl: Option<u64>,
    user: Option<String>,
    identity: Option<PathBuf>,
    timeout: f64,
    interactive: bool,
) -> PyResult<Token> {
    let destination: Destination = ssh.parse().map_err(|error| errors::log_in(py, &error))?;
    let timeout = Duration::try_from_secs_f64(timeout)
        .ok()
        .filter(|timeout| (1..=3600).contains(&timeout.as_secs()))
        .ok_or_else(|| errors::value("timeout", "is 1 to 3600 seconds"))?;
    let wish = Wish { audiences: names("audience", audience)?, scopes: names("scope", scope)?, format, ttl };
    let options = Options { user, identity, timeout, interactive, ..Options::default() };
    let fetched = py.detach(|| client::fetch(&destination, &wish, &options));
    let token = fetched.map_err(|error| errors::log_in(py, &error))?;
    let seen = token::inspect(token.access_token.as_bytes()).ok();
    Ok(Token {
        authorization: token.authorization().to_string(),
        access_token: token.access_token.to_string(),
        token_type: token.token_type,
        issued_at: seen.and_then(|seen| seen.issued_at),
        expires_at: token.expires_at,
        subject: token.subject,
    })
}
