//! A token for a user: over ssh by OpenSSH's own client, or over HTTP with ssh-agent.

use std::num::NonZeroU64;
use std::time::Duration;

use client::{Destination, Options, Wish};
use pyo3::prelude::*;

use crate::arguments::{flag, names, path, seconds, text};
use crate::errors::{self, value};

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

/// One log-in: where, for what, and how. Words that make no sense are errors here, before anybody is asked.
#[pyclass(frozen, module = "seamless")]
pub(crate) struct LogIn {
    destination: Destination,
    wish: Wish,
    options: Options,
    interactive: Option<bool>,
}

#[pymethods]
impl LogIn {
    #[new]
    #[pyo3(signature = (ssh, *, audience = None, scope = None, format = None, ttl = None, user = None, identity = None, timeout = None, interactive = None))]
    #[allow(clippy::too_many_arguments)] // Python's keywords.
    fn new(
        ssh: &Bound<'_, PyAny>,
        audience: Option<&Bound<'_, PyAny>>,
        scope: Option<&Bound<'_, PyAny>>,
        format: Option<&Bound<'_, PyAny>>,
        ttl: Option<&Bound<'_, PyAny>>,
        user: Option<&Bound<'_, PyAny>>,
        identity: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
        interactive: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let ssh = text("ssh", ssh)?;
        // As the original's: a name of ssh's configuration, whose user is there.
        let alias = (!ssh.contains(['@', '/'])).then(|| format!("ssh://{ssh}").parse().ok()).flatten();
        let destination = alias.map_or_else(|| ssh.parse(), Ok);
        let destination: Destination = destination.map_err(|error| unusable("ssh", &error))?;
        let user = user.map(|user| text("user", user)).transpose()?;
        if user.is_some() && matches!(destination, Destination::Ssh { .. }) {
            return Err(value("user", "goes with an https address: over ssh, the key says who one is"));
        }
        let format = format.map(|format| text("format", format)).transpose()?;
        if format.as_deref().is_some_and(|format| !["jwt", "seamless"].contains(&format)) {
            return Err(value("format", "is jwt or seamless"));
        }
        let wish = Wish {
            audiences: names("audience", audience)?,
            scopes: names("scope", scope)?,
            format,
            ttl: ttl.map(|ttl| seconds::<NonZeroU64>("ttl", ttl, "1 or more")).transpose()?.map(u64::from),
        };
        for (argument, names) in [("audience", &wish.audiences), ("scope", &wish.scopes)] {
            let check = |name: &String| client::check(&destination, name);
            names.iter().try_for_each(check).map_err(|error| unusable(argument, &error))?;
        }
        let defaults = Options::default();
        let options = Options {
            user,
            identity: identity.map(|identity| path("identity", identity)).transpose()?,
            timeout: timeout.map(patience).transpose()?.unwrap_or(defaults.timeout),
            ..defaults
        };
        let interactive = interactive.map(|interactive| flag("interactive", interactive)).transpose()?;
        Ok(Self { destination, wish, options, interactive })
    }

    /// Logs in. Other threads of Python go on meanwhile.
    #[pyo3(signature = (at_terminal, /))]
    fn fetch(&self, py: Python<'_>, at_terminal: bool) -> PyResult<Token> {
        let interactive = self.interactive.unwrap_or(at_terminal);
        let options = Options { interactive, ..self.options.clone() };
        let fetched = py.detach(|| client::fetch(&self.destination, &self.wish, &options));
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

    fn __repr__(&self) -> String {
        format!("LogIn('{}')", self.destination)
    }
}

fn patience(given: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let seconds: f64 = given.extract().map_err(|_| errors::kind("timeout", "is a number of seconds"))?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|timeout| (1..=3600).contains(&timeout.as_secs()))
        .ok_or_else(|| value("timeout", "is 1 to 3600 seconds"))
}

fn unusable(argument: &str, error: &client::Error) -> PyErr {
    let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    value(argument, format_args!("{}{hint}", error.message))
}
