//! Who a verified token speaks for.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use token::Format;
use token::headers::{IDENTITY_HEADERS, header_value};

/// Owned, since Python keeps it as long as it likes.
#[pyclass(frozen, eq, hash, module = "seamless")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    format: Format,
    subject: String,
    issued_at: u64,
    expires_at: u64,
    /// Nothing of it is in a `seamless` token whose secret is bound to nothing: most of them.
    more: Option<Box<More>>,
}

#[derive(PartialEq, Eq, Hash, Default)]
struct More {
    issuer: Option<String>,
    client_id: Option<String>,
    jti: Option<String>,
    ssh_fp: Option<String>,
    kid: Option<String>,
    audiences: Vec<String>,
    scopes: Vec<String>,
    groups: Vec<String>,
    amr: Vec<String>,
}

impl From<token::Identity<'_>> for Identity {
    fn from(identity: token::Identity<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let plain = identity.format() == Format::Seamless
            && identity.audiences().next().is_none()
            && identity.scopes().next().is_none();
        let more = (!plain).then(|| {
            Box::new(More {
                issuer: owned(identity.issuer()),
                client_id: owned(identity.client_id()),
                jti: owned(identity.jti()),
                ssh_fp: owned(identity.ssh_fp()),
                kid: owned(identity.kid()),
                audiences: identity.audiences().map(str::to_owned).collect(),
                scopes: identity.scopes().map(str::to_owned).collect(),
                groups: identity.groups().map(str::to_owned).collect(),
                amr: identity.amr().map(str::to_owned).collect(),
            })
        });
        Self {
            format: identity.format(),
            subject: identity.subject().to_owned(),
            issued_at: identity.issued_at(),
            expires_at: identity.expires_at(),
            more,
        }
    }
}

impl Identity {
    /// What stands in the three headers, in the order of [`IDENTITY_HEADERS`]; always all three.
    pub(crate) fn header_values(&self) -> [String; 3] {
        let join = |names: &[String], separator| header_value(names.iter().map(String::as_str), separator);
        let (scope, groups) = match &self.more {
            Some(more) => (join(&more.scopes, ' '), join(&more.groups, ',')),
            None => (String::new(), String::new()),
        };
        [header_value([self.subject.as_str()], ' '), scope, groups]
    }

    fn text(&self, of: impl Fn(&More) -> &Option<String>) -> Option<&str> {
        of(self.more.as_ref()?).as_deref()
    }

    fn list<'py>(
        &self,
        py: Python<'py>,
        of: impl Fn(&More) -> &Vec<String>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        match &self.more {
            Some(more) => PyTuple::new(py, of(more)),
            None => Ok(PyTuple::empty(py)),
        }
    }
}

#[pymethods]
impl Identity {
    /// The user's name, as it stands in the token.
    #[getter]
    fn subject(&self) -> &str {
        &self.subject
    }

    /// seamless, jwt or chap.
    #[getter]
    fn format(&self) -> &'static str {
        self.format.as_str()
    }

    /// Unix seconds.
    #[getter]
    fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// Unix seconds. A stream that is open outlives it.
    #[getter]
    fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// iss; only a JWT has one.
    #[getter]
    fn issuer(&self) -> Option<&str> {
        self.text(|more| &more.issuer)
    }

    /// client_id: ssh for a JWT that was minted over ssh.
    #[getter]
    fn client_id(&self) -> Option<&str> {
        self.text(|more| &more.client_id)
    }

    /// jti: the token's own name.
    #[getter]
    fn jti(&self) -> Option<&str> {
        self.text(|more| &more.jti)
    }

    /// ssh_fp: the fingerprint of the SSH key that was proven at the mint.
    #[getter]
    fn ssh_fp(&self) -> Option<&str> {
        self.text(|more| &more.ssh_fp)
    }

    /// The key that vouches for the token.
    #[getter]
    fn kid(&self) -> Option<&str> {
        self.text(|more| &more.kid)
    }

    /// Whom the token is for.
    #[getter]
    fn audiences<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, |more| &more.audiences)
    }

    /// What the token may do.
    #[getter]
    fn scopes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, |more| &more.scopes)
    }

    /// The groups of the user.
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, |more| &more.groups)
    }

    /// How the user authenticated (RFC 8176).
    #[getter]
    fn amr<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, |more| &more.amr)
    }

    /// Whether the token may do this.
    fn has_scope(&self, scope: &str) -> bool {
        self.more.as_ref().is_some_and(|more| more.scopes.iter().any(|one| one == scope))
    }

    /// The headers that carry the identity to a server behind this one.
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let headers = PyDict::new(py);
        for (name, value) in IDENTITY_HEADERS.into_iter().zip(self.header_values()) {
            headers.set_item(name, value)?;
        }
        Ok(headers)
    }

    /// Names the user alone: what else is in a token may be nobody's business.
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let subject = pyo3::types::PyString::new(py, &self.subject).repr()?;
        Ok(format!("Identity(subject={subject}, format='{}')", self.format))
    }
}
