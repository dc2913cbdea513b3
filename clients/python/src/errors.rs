//! Python's exceptions. They are classes of `seamless._errors`, so that they can be inherited from and pickled.
//!
//! Looked up each time: an interpreter among several in a process (Apache's mod_wsgi) has classes of its own, and catches
//! no others.

use pyo3::call::PyCallArgs;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use token::Rejection;

pub(crate) fn rejection(py: Python<'_>, rejection: Rejection) -> PyErr {
    let code = rejection.code;
    let arguments = (code.as_str(), code.status(), rejection.to_string(), rejection.skew);
    raise(py, "Rejection", arguments)
}

/// A log-in that failed; a bad word of the caller's is a `ValueError`, unless it was the other side that didn't know it.
pub(crate) fn log_in(py: Python<'_>, error: &client::Error) -> PyErr {
    let hint = error
        .hint
        .as_ref()
        .map(|hint| WORDS.iter().fold(hint.clone(), |hint, (there, here)| hint.replace(there, here)));
    let kind = match error.kind {
        client::Kind::Usage if error.exit_status.is_some() => "refused",
        client::Kind::Usage => {
            let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            return PyValueError::new_err(format!("{}{hint}", error.message));
        }
        client::Kind::Refused => "refused",
        client::Kind::NoAgent => "no_agent",
        client::Kind::NoKey => "no_key",
        client::Kind::Clock => "clock",
        client::Kind::Network => "network",
        client::Kind::Server => "server",
        _ => "internal",
    };
    raise(py, "AuthenticationError", (error.message.as_str(), hint, error.exit_status, kind))
}

/// Words of the command line in hints, and the keywords that they are here.
const WORDS: [(&str, &str); 3] =
    [("--identity ", "identity="), ("--identity", "identity=…"), ("--user NAME", "user=NAME")];

pub(crate) fn value(argument: &str, why: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("{argument}: {why}"))
}

pub(crate) fn kind(argument: &str, why: impl std::fmt::Display) -> PyErr {
    PyTypeError::new_err(format!("{argument}: {why}"))
}

fn raise<'py>(py: Python<'py>, class: &str, arguments: impl PyCallArgs<'py>) -> PyErr {
    let module = py.import("seamless._errors");
    match module.and_then(|module| module.getattr(class)?.call1(arguments)) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
