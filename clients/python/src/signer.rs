//! Making tokens of the original's format, for programs that hold the secret.

use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use token::{Secret, mint_seamless};

use crate::arguments::{self, secrets};
use crate::errors::value;

/// Signs with one secret.
#[pyclass(frozen, module = "seamless")]
pub(crate) struct Signer {
    secret: Secret,
}

#[pymethods]
impl Signer {
    /// Of several secrets the last signs, as itsdangerous has it.
    #[new]
    #[pyo3(signature = (secret, digest = None))]
    fn new(secret: &Bound<'_, PyAny>, digest: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let digest = arguments::digest(digest)?;
        let all = secrets("secret", secret)?;
        let newest = all.last().ok_or_else(|| value("secret", "is empty"))?;
        Ok(Self { secret: Secret::new(newest, digest).map_err(|error| value("secret", error))? })
    }

    #[pyo3(signature = (subject, issued_at = None))]
    fn sign(&self, subject: &Bound<'_, PyAny>, issued_at: Option<u64>) -> PyResult<String> {
        let subject = arguments::text("subject", subject)?;
        let issued_at = issued_at.unwrap_or_else(now);
        mint_seamless(&subject, issued_at, &self.secret).map_err(|error| value("subject", error))
    }
}

/// Unix seconds; a clock before 1970 is a clock at 1970, when no token is valid yet.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
