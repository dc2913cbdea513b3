//! Python's values as ours; what does not fit is named by its argument. PyO3's own conversions name it in a note, which few
//! show and CPython before 3.11 does not have.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use token::Digest;
use zeroize::Zeroizing;

use crate::errors::{kind, value};

/// A token as it came. Text is UTF-8; what can't be is no token.
pub(crate) fn token<'py>(argument: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    if let Ok(text) = argument.cast::<PyString>() {
        return Ok(text.encode_utf8().ok());
    }
    let bytes = argument.cast::<PyBytes>().map_err(|_| kind("token", "is text or bytes"))?;
    Ok(Some(bytes.clone()))
}

/// Text as the bytes of a header, Latin-1; None where it can't be.
pub(crate) fn latin1(argument: &Bound<'_, PyAny>) -> Option<Vec<u8>> {
    if let Ok(bytes) = argument.cast::<PyBytes>() {
        return Some(bytes.as_bytes().to_vec());
    }
    let text = argument.cast::<PyString>().ok()?;
    let text = text.to_cow().ok()?;
    if text.is_ascii() {
        return Some(text.into_owned().into_bytes());
    }
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

pub(crate) fn text(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = given.cast::<PyString>().map_err(|_| kind(argument, "is text"))?;
    text.extract().map_err(|_| value(argument, "is no text"))
}

pub(crate) fn path(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    given.extract().map_err(|_| kind(argument, "is a path"))
}

pub(crate) fn flag(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<bool> {
    given.extract().map_err(|_| kind(argument, "is True or False"))
}

/// A name, or several.
pub(crate) fn names(argument: &str, names: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
    let wrong = || kind(argument, "is a name or a list of names");
    let Some(names) = names else { return Ok(Vec::new()) };
    let one = |name: &Bound<'_, PyAny>| {
        if !name.is_instance_of::<PyString>() {
            return Err(wrong());
        }
        let name = text(argument, name)?;
        if name.is_empty() { Err(value(argument, "a name is empty")) } else { Ok(name) }
    };
    if names.is_instance_of::<PyString>() {
        return Ok(vec![one(names)?]);
    }
    if names.is_instance_of::<PyBytes>() || names.is_instance_of::<PyDict>() {
        return Err(wrong());
    }
    names.try_iter().map_err(|_| wrong())?.map(|name| one(&name?)).collect()
}

/// One secret, or several; none of them empty.
pub(crate) fn secrets(argument: &str, secrets: &Bound<'_, PyAny>) -> PyResult<Vec<Zeroizing<Vec<u8>>>> {
    let one = |secret: &Bound<'_, PyAny>| {
        let bytes = match (secret.cast::<PyString>(), secret.cast::<PyBytes>()) {
            (Ok(text), _) => {
                // Python's own error would show the text.
                let text = text.to_cow().map_err(|_| value(argument, "is no text"))?;
                Zeroizing::new(text.as_bytes().to_vec())
            }
            (_, Ok(bytes)) => Zeroizing::new(bytes.as_bytes().to_vec()),
            _ => return Err(kind(argument, "is text, bytes or a list of them")),
        };
        if bytes.is_empty() { Err(value(argument, "is empty")) } else { Ok(bytes) }
    };
    if secrets.is_instance_of::<PyList>() || secrets.is_instance_of::<PyTuple>() {
        let all: Vec<_> = secrets.try_iter()?.map(|secret| one(&secret?)).collect::<PyResult<_>>()?;
        return if all.is_empty() { Err(value(argument, "is empty")) } else { Ok(all) };
    }
    Ok(vec![one(secrets)?])
}

/// The hash below the HMAC; SHA-1, the format's own, where none is named.
pub(crate) fn digest(given: Option<&Bound<'_, PyAny>>) -> PyResult<Digest> {
    let Some(given) = given else { return Ok(Digest::default()) };
    text("digest", given)?.parse().map_err(|_| value("digest", "is sha1, sha256 or sha512"))
}

/// A number of seconds.
pub(crate) fn seconds<T: TryFrom<u64>>(
    argument: &str,
    number: &Bound<'_, PyAny>,
    range: &str,
) -> PyResult<T> {
    // True is a number to Python, and no duration to anybody.
    if number.is_instance_of::<pyo3::types::PyBool>() || !number.is_instance_of::<pyo3::types::PyInt>() {
        return Err(kind(argument, "is a whole number of seconds"));
    }
    let seconds: Option<u64> = number.extract().ok();
    seconds
        .and_then(|seconds| T::try_from(seconds).ok())
        .ok_or_else(|| value(argument, format_args!("is {range} seconds")))
}

/// JSON, as text or as Python has it, or where it lies.
pub(crate) enum Document {
    Json(String),
    Url(String),
    File(PathBuf),
}

pub(crate) fn document(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<Document> {
    let py = given.py();
    if given.is_instance_of::<PyDict>() || given.is_instance_of::<PyList>() {
        let text = py.import("json")?.call_method1("dumps", (given,));
        return Ok(Document::Json(text.map_err(|_| value(argument, "is no JSON"))?.extract()?));
    }
    if given.is_instance_of::<PyString>() {
        let text = text(argument, given)?;
        return Ok(match text.trim_start() {
            start if start.starts_with(['{', '[']) => Document::Json(text),
            start if start.starts_with("https://") || start.starts_with("http://") => Document::Url(text),
            "" => return Err(value(argument, "is empty")),
            _ => Document::File(text.into()),
        });
    }
    let path = given.call_method0("__fspath__");
    let path = path.map_err(|_| kind(argument, "is JSON (text or dict), a path or a URL"))?;
    Ok(Document::File(path.extract()?))
}

/// JSON that does not change, read where it is a file.
pub(crate) fn json(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<String> {
    match document(argument, given)? {
        Document::Json(text) => Ok(text),
        Document::File(path) => read(argument, &path),
        Document::Url(_) => Err(value(argument, "is not fetched: give JSON or a path")),
    }
}

pub(crate) fn read(argument: &str, path: &std::path::Path) -> PyResult<String> {
    std::fs::read_to_string(path)
        .map_err(|error| value(argument, format_args!("can't read {}: {error}", path.display())))
}
