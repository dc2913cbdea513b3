//! One verifier for all threads of a process, and for those it forks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use seamless_tower::SharedVerifier;
use token::headers::IDENTITY_HEADERS;
use token::{Code, Demand, Format, Outcome, Rejection, www_authenticate};

use crate::arguments::{self, latin1, names, seconds, text};
use crate::errors;
use crate::identity::Identity;
use crate::request::{self, Headers, Request};
use crate::settings::{Keywords, Settings, revocations};
use crate::signer::now;

/// Judges tokens and requests, in any thread and in forked processes. Wrong settings raise TypeError or ValueError with the
/// argument's name in front.
///
/// secret: trusts seamless tokens of these secrets, up to max_age seconds (1 to 86 400, 60 unless given); secret_audience and
/// secret_scope are what such tokens stand for, since they carry none.
/// chap_secret: trusts tokens of crtauth.
/// jwks: trusts JWTs of issuer for audience: JSON, a path, or an https URL; file and URL are kept fresh.
/// audience, scope: demanded of every token. leeway: seconds that clocks may differ, 0 to 60, 5 unless given.
/// rules: rules.json, as text, dict or path. revocations: what is taken back, as JSON.
/// realm: the name in WWW-Authenticate.
#[pyclass(frozen, module = "seamless")]
pub(crate) struct Verifier {
    has_rules: bool,
    realm: String,
    live: Mutex<Live>,
}

/// What is at work in this process. The lock is never held while Python's is given up, so no fork finds it taken.
struct Live {
    settings: Settings,
    shared: Arc<SharedVerifier>,
    forks: usize,
}

#[pymethods]
impl Verifier {
    #[new]
    #[pyo3(signature = (
        secret = None, *, max_age = None, digest = None, secret_audience = None, secret_scope = None, chap_secret = None,
        jwks = None, issuer = None, audience = None, scope = None, leeway = None, rules = None, revocations = None, realm = None
    ))]
    #[allow(clippy::too_many_arguments)] // Python's keywords.
    fn new(
        py: Python<'_>,
        secret: Option<&Bound<'_, PyAny>>,
        max_age: Option<&Bound<'_, PyAny>>,
        digest: Option<&Bound<'_, PyAny>>,
        secret_audience: Option<&Bound<'_, PyAny>>,
        secret_scope: Option<&Bound<'_, PyAny>>,
        chap_secret: Option<&Bound<'_, PyAny>>,
        jwks: Option<&Bound<'_, PyAny>>,
        issuer: Option<&Bound<'_, PyAny>>,
        audience: Option<&Bound<'_, PyAny>>,
        scope: Option<&Bound<'_, PyAny>>,
        leeway: Option<&Bound<'_, PyAny>>,
        rules: Option<&Bound<'_, PyAny>>,
        revocations: Option<&Bound<'_, PyAny>>,
        realm: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let realm = realm.map(|realm| text("realm", realm)).transpose()?.unwrap_or_default();
        let keywords = Keywords {
            secret,
            max_age,
            digest,
            secret_audience,
            secret_scope,
            chap_secret,
            jwks,
            issuer,
            audience,
            scope,
            leeway,
            rules,
            revocations,
            realm: &realm,
        };
        let settings = Settings::new(py, &keywords)?;
        let shared = Arc::new(settings.share()?);
        let forks = crate::forks();
        let live = Mutex::new(Live { settings, shared, forks });
        Ok(Self { has_rules: rules.is_some(), realm, live })
    }

    /// The name in `WWW-Authenticate`.
    #[getter]
    fn realm(&self) -> &str {
        &self.realm
    }

    /// Judges a token now; raises Rejection. A key that is fetched and missing is waited for, a second at most.
    fn verify(&self, py: Python<'_>, token: &Bound<'_, PyAny>) -> PyResult<Identity> {
        self.judge(py, token, &Wanted::default(), now, true)
    }

    /// verify, by what is demanded here beside the verifier's own policy: one of these audiences in place of its own, all of
    /// these scopes. now is another time than the clock's, in Unix seconds; wait=False waits for no key.
    #[pyo3(signature = (token, *, audience = None, scope = None, now = None, wait = true))]
    fn verify_with(
        &self,
        py: Python<'_>,
        token: &Bound<'_, PyAny>,
        audience: Option<&Bound<'_, PyAny>>,
        scope: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
        wait: bool,
    ) -> PyResult<Identity> {
        let now: Option<u64> = now.map(|now| seconds("now", now, "0 or more")).transpose()?;
        let wanted = Wanted { audience: names("audience", audience)?, scope: names("scope", scope)? };
        self.judge(py, token, &wanted, || now.unwrap_or_else(crate::signer::now), wait)
    }

    /// Judges a request: what the rules want of it, and the token in its Authorization header. None lets it pass as nobody;
    /// raises Rejection. The path is as it was sent; text in headers is Latin-1.
    #[pyo3(signature = (method, scheme, authority, path, headers, *, wait = true))]
    #[allow(clippy::too_many_arguments)]
    fn check(
        &self,
        py: Python<'_>,
        method: &Bound<'_, PyAny>,
        scheme: &Bound<'_, PyAny>,
        authority: &Bound<'_, PyAny>,
        path: Option<&Bound<'_, PyAny>>,
        headers: &Bound<'_, PyAny>,
        wait: bool,
    ) -> PyResult<Option<Identity>> {
        let request = match of_parts(method, scheme, authority, path, headers)? {
            Ok(request) => request,
            Err(rejection) => return Err(errors::rejection(py, rejection)),
        };
        self.admit(py, &request, wait)
    }

    /// check as one word: open, anonymous, identity or the rejection's code.
    #[pyo3(signature = (method, scheme, authority, path, headers, *, now = None))]
    #[allow(clippy::too_many_arguments)]
    fn outcome(
        &self,
        py: Python<'_>,
        method: &Bound<'_, PyAny>,
        scheme: &Bound<'_, PyAny>,
        authority: &Bound<'_, PyAny>,
        path: Option<&Bound<'_, PyAny>>,
        headers: &Bound<'_, PyAny>,
        now: Option<u64>,
    ) -> PyResult<&'static str> {
        let request = match of_parts(method, scheme, authority, path, headers)? {
            Ok(request) => request,
            Err(rejection) => return Ok(rejection.code.as_str()),
        };
        let now = now.unwrap_or_else(crate::signer::now);
        let judged = self.request(py, &request, now)?;
        Ok(match judged {
            Ok(Access::Open) => "open",
            Ok(Access::Anonymous) => "anonymous",
            Ok(Access::Identity(_)) => "identity",
            Err(rejection) => rejection.code.as_str(),
        })
    }

    /// Judges a WSGI request, takes every inbound HTTP_X_SEAMLESS_* out of its environ and puts ours in.
    fn check_wsgi(&self, py: Python<'_>, environ: &Bound<'_, PyDict>) -> PyResult<Option<Identity>> {
        request::strip(environ)?;
        let request = match Request::wsgi(environ, self.has_rules)? {
            Ok(request) => request,
            Err(rejection) => return Err(errors::rejection(py, rejection)),
        };
        let identity = self.admit(py, &request, true)?;
        if let Some(identity) = &identity {
            let names = [
                pyo3::intern!(py, "HTTP_X_SEAMLESS_USER"),
                pyo3::intern!(py, "HTTP_X_SEAMLESS_SCOPE"),
                pyo3::intern!(py, "HTTP_X_SEAMLESS_GROUPS"),
            ];
            for (name, value) in names.into_iter().zip(identity.header_values()) {
                environ.set_item(name, value)?;
            }
        }
        Ok(identity)
    }

    /// Judges an ASGI connection, and gives the headers to go on with: inbound x-seamless-* gone, ours there. Waits for no
    /// key: see may_wait.
    fn check_asgi(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<(Option<Identity>, Headers)> {
        let (request, mut headers) = Request::asgi(scope, self.has_rules)?;
        let identity = self.admit(py, &request, false)?;
        if let Some(identity) = &identity {
            for (name, value) in IDENTITY_HEADERS.into_iter().zip(identity.header_values()) {
                let pair = (name.as_bytes(), value.as_bytes());
                headers.push((PyBytes::new(py, pair.0).unbind(), PyBytes::new(py, pair.1).unbind()));
            }
        }
        Ok((identity, headers))
    }

    /// Whether a key that was missing may be on its way: wait_for_keys, then judge once more.
    fn may_wait(&self, rejection: &Bound<'_, PyAny>) -> PyResult<bool> {
        let code: String = rejection.getattr("code")?.extract()?;
        let code: Option<Code> = code.parse().ok();
        Ok(match code {
            Some(code) => self.shared()?.may_wait(Rejection::from(code)),
            None => false,
        })
    }

    /// Blocks until keys have been looked after, a second at most.
    fn wait_for_keys(&self, py: Python<'_>) -> PyResult<()> {
        let shared = self.shared()?;
        py.detach(|| shared.wait());
        Ok(())
    }

    /// The values of WWW-Authenticate that go with a rejection.
    fn challenges(&self, code: &str) -> PyResult<[String; 2]> {
        let code: Code = code.parse().map_err(|_| errors::value("code", "is none of a rejection's"))?;
        Ok(www_authenticate(code, &self.realm))
    }

    /// Puts a new list in the place of the one before.
    #[pyo3(name = "set_revocations")]
    fn replace_revocations(&self, revocations: &Bound<'_, PyAny>) -> PyResult<()> {
        let list = self::revocations(revocations)?;
        self.live()?.settings.verifier.set_revocations(list.clone());
        self.shared()?.change(|verifier| verifier.set_revocations(list));
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("Verifier(realm={:?})", self.realm)
    }
}

/// What a request may do.
enum Access {
    Open,
    Anonymous,
    Identity(Identity),
}

/// What one call demands beside the verifier's own policy.
#[derive(Default)]
struct Wanted {
    audience: Vec<String>,
    scope: Vec<String>,
}

impl Wanted {
    fn judge(
        &self,
        by: &SharedVerifier,
        remember: bool,
        token: &[u8],
        now: u64,
    ) -> Result<Identity, Rejection> {
        let audiences: Vec<&str> = self.audience.iter().map(String::as_str).collect();
        let scopes: Vec<&str> = self.scope.iter().map(String::as_str).collect();
        let demand = Demand { audiences: &audiences, scopes: &scopes };
        by.lend(remember, |verifier, scratch, seen| {
            let verdict = match seen {
                Some(seen) => verifier.verify_with_seen(token, &demand, now, scratch, seen),
                None => verifier.verify_with(token, &demand, now, scratch),
            };
            verdict.map(Identity::from)
        })
    }
}

impl Verifier {
    fn judge(
        &self,
        py: Python<'_>,
        token: &Bound<'_, PyAny>,
        wanted: &Wanted,
        now: impl Fn() -> u64 + Sync,
        wait: bool,
    ) -> PyResult<Identity> {
        let Some(token) = arguments::token(token)? else {
            return Err(errors::rejection(py, Code::Malformed.into()));
        };
        let token = token.as_bytes();
        // An HMAC takes less time than to let other threads go on.
        let verdict = if Format::of(token) == Format::Jwt {
            let shared = self.shared()?;
            py.detach(|| match wanted.judge(&shared, true, token, now()) {
                Err(rejection) if wait && shared.may_wait(rejection) => {
                    shared.wait();
                    wanted.judge(&shared, true, token, now())
                }
                verdict => verdict,
            })
        } else {
            wanted.judge(&self.live()?.shared, false, token, now())
        };
        verdict.map_err(|rejection| errors::rejection(py, rejection))
    }

    fn admit(&self, py: Python<'_>, request: &Request, wait: bool) -> PyResult<Option<Identity>> {
        let mut judged = self.request(py, request, now())?;
        if let Err(rejection) = judged
            && wait
        {
            let shared = self.shared()?;
            if shared.may_wait(rejection) {
                py.detach(|| shared.wait());
                judged = self.request(py, request, now())?;
            }
        }
        match judged {
            Ok(Access::Identity(identity)) => Ok(Some(identity)),
            Ok(Access::Open | Access::Anonymous) => Ok(None),
            Err(rejection) => Err(errors::rejection(py, rejection)),
        }
    }

    fn request(&self, py: Python<'_>, request: &Request, now: u64) -> PyResult<Result<Access, Rejection>> {
        let shared = self.shared()?;
        let judge = || {
            shared.lend(true, |verifier, scratch, seen| {
                let outcome = match seen {
                    Some(seen) => verifier.check_seen(request, now, scratch, seen),
                    None => verifier.check(request, now, scratch),
                };
                match outcome {
                    Outcome::Open => Ok(Access::Open),
                    Outcome::Anonymous => Ok(Access::Anonymous),
                    Outcome::Identity(identity) => Ok(Access::Identity(identity.into())),
                    Outcome::Rejection(rejection) => Err(rejection),
                }
            })
        };
        // A JWT is longer than any other scheme's greeting; an HMAC takes less time than to let other threads go on.
        let long = request.authorization.first().is_some_and(|value| value.len() > 160);
        Ok(if long { py.detach(judge) } else { judge() })
    }

    fn live(&self) -> PyResult<MutexGuard<'_, Live>> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let forks = crate::forks();
        if live.forks != forks {
            // Neither the thread that fetched keys nor whoever held a lock came along: all of it is made anew, and the
            // old one is left as it lies, since its locks may never be free.
            let fresh = Arc::new(live.settings.share()?);
            std::mem::forget(std::mem::replace(&mut live.shared, fresh));
            live.forks = forks;
        }
        Ok(live)
    }

    fn shared(&self) -> PyResult<Arc<SharedVerifier>> {
        Ok(Arc::clone(&self.live()?.shared))
    }
}

fn of_parts(
    method: &Bound<'_, PyAny>,
    scheme: &Bound<'_, PyAny>,
    authority: &Bound<'_, PyAny>,
    path: Option<&Bound<'_, PyAny>>,
    headers: &Bound<'_, PyAny>,
) -> PyResult<Result<Request, Rejection>> {
    let mut request = Request {
        method: text("method", method)?,
        scheme: text("scheme", scheme)?,
        authority: text("authority", authority)?,
        ..Request::default()
    };
    if let Some(path) = path {
        match latin1(path) {
            Some(path) => request.path = Some(path),
            None => return Ok(Err(Code::BadPath.into())),
        }
    }
    for pair in headers.try_iter().map_err(|_| errors::kind("headers", "are pairs of name and value"))? {
        let [name, value] =
            request::pair_of(&pair?).map_err(|_| errors::kind("headers", "are pairs of name and value"))?;
        let name = latin1(&name);
        if !name.is_some_and(|name| name.eq_ignore_ascii_case(b"authorization")) {
            continue;
        }
        match latin1(&value) {
            Some(value) => request.authorization.push(value),
            None => return Ok(Err(Code::BadAuthorization.into())),
        }
    }
    Ok(Ok(request))
}
