//! A request as Python's servers hand it out.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use token::{Code, Rejection, RequestView, is_identity_header};

use crate::arguments::latin1;

/// What the core asks of a request. Where there are no rules it asks for nothing but `Authorization`.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) authorization: Vec<Vec<u8>>,
}

impl RequestView for Request {
    fn method(&self) -> &str {
        &self.method
    }

    fn scheme(&self) -> &str {
        &self.scheme
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let known = name == "authorization";
        self.authorization.iter().filter(move |_| known).map(Vec::as_slice)
    }
}

impl Request {
    /// From a WSGI environ (PEP 3333).
    pub(crate) fn wsgi(environ: &Bound<'_, PyDict>, has_rules: bool) -> PyResult<Result<Self, Rejection>> {
        let py = environ.py();
        let mut request = Self::default();
        if let Some(value) = environ.get_item(pyo3::intern!(py, "HTTP_AUTHORIZATION"))? {
            let Some(value) = latin1(&value) else { return Ok(Err(Code::BadAuthorization.into())) };
            request.authorization.push(value);
        }
        if !has_rules {
            return Ok(Ok(request));
        }
        let text = |name: &Bound<'_, PyString>| -> PyResult<String> {
            Ok(environ.get_item(name)?.and_then(|value| value.extract().ok()).unwrap_or_default())
        };
        request.method = text(pyo3::intern!(py, "REQUEST_METHOD"))?;
        request.scheme = text(pyo3::intern!(py, "wsgi.url_scheme"))?;
        request.authority = text(pyo3::intern!(py, "HTTP_HOST"))?;
        // The application goes by the decoded path, so that is what is judged: encoded anew, each byte that could mean anything.
        let mut path = Vec::new();
        for name in [pyo3::intern!(py, "SCRIPT_NAME"), pyo3::intern!(py, "PATH_INFO")] {
            match environ.get_item(name)?.map(|part| latin1(&part)) {
                Some(Some(part)) => path.extend(part),
                Some(None) => return Ok(Err(Code::BadPath.into())),
                None => {}
            }
        }
        request.path = Some(encoded(&path));
        Ok(Ok(request))
    }

    /// From an ASGI scope, with the headers that are nobody's identity.
    pub(crate) fn asgi(scope: &Bound<'_, PyDict>, has_rules: bool) -> PyResult<(Self, Headers)> {
        let py = scope.py();
        let mut request = Self::default();
        let mut kept = Headers::new();
        let mut hosts = Vec::new();
        if let Some(headers) = scope.get_item(pyo3::intern!(py, "headers"))? {
            for pair in headers.try_iter()? {
                let [name, value] = pair_of(&pair?)?;
                let (name, value) = (name.cast_into::<PyBytes>()?, value.cast_into::<PyBytes>()?);
                let text = String::from_utf8_lossy(name.as_bytes());
                if is_identity_header(&text) {
                    continue;
                }
                if text.eq_ignore_ascii_case("authorization") {
                    request.authorization.push(value.as_bytes().to_vec());
                } else if text.eq_ignore_ascii_case("host") {
                    hosts.push(value.as_bytes().to_vec());
                }
                kept.push((name.unbind(), value.unbind()));
            }
        }
        if has_rules {
            let text = |name: &Bound<'_, PyString>| -> PyResult<Option<String>> {
                Ok(scope.get_item(name)?.and_then(|value| value.extract().ok()))
            };
            // A websocket has none, and begins with a GET.
            request.method = text(pyo3::intern!(py, "method"))?.unwrap_or_else(|| "GET".to_owned());
            request.scheme = text(pyo3::intern!(py, "scheme"))?.unwrap_or_default();
            // What isn't one host's name is refused where rules look at it.
            request.authority = match hosts.as_slice() {
                [] => String::new(),
                [host] => String::from_utf8(host.clone()).unwrap_or_else(|_| ",".to_owned()),
                _ => ",".to_owned(),
            };
            request.path = text(pyo3::intern!(py, "path"))?.map(|path| encoded(path.as_bytes()));
        }
        Ok((request, kept))
    }
}

pub(crate) type Headers = Vec<(Py<PyBytes>, Py<PyBytes>)>;

/// Name and value: tuples of most servers, lists of some.
pub(crate) fn pair_of<'py>(pair: &Bound<'py, PyAny>) -> PyResult<[Bound<'py, PyAny>; 2]> {
    match pair.extract() {
        Ok((name, value)) => Ok([name, value]),
        Err(_) => pair.extract(),
    }
}

/// The headers of an ASGI scope without what could pass for ours.
#[pyfunction]
pub(crate) fn without_ours(headers: &Bound<'_, PyAny>) -> PyResult<Headers> {
    let scope = PyDict::new(headers.py());
    scope.set_item(pyo3::intern!(headers.py(), "headers"), headers)?;
    Ok(Request::asgi(&scope, false)?.1)
}

/// Takes away what could pass for our headers.
pub(crate) fn strip(environ: &Bound<'_, PyDict>) -> PyResult<()> {
    let mut ours = Vec::new();
    for key in environ.keys() {
        let Ok(key) = key.cast_into::<PyString>() else { continue };
        // Most are too short to be one, which costs nothing to see.
        let long = key.len()? >= "HTTP_X_SEAMLESS_".len();
        if long && key.to_cow()?.strip_prefix("HTTP_").is_some_and(is_identity_header) {
            ours.push(key);
        }
    }
    ours.iter().try_for_each(|key| environ.del_item(key))
}

/// A decoded path as it would be sent.
fn encoded(path: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut sent = Vec::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,:@=".contains(&byte) {
            sent.push(byte);
        } else {
            let digit = |index: u8| DIGITS.get(usize::from(index)).copied().unwrap_or(b'0');
            sent.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    if sent.is_empty() {
        sent.push(b'/');
    }
    sent
}
