//! `/verify`: forward authentication for nginx, Traefik, Caddy and whoever asks before letting a request in.
//!
//! It answers 200, 401, 403 and 503 only, since nginx's auth_request understands no others, and always all three
//! identity headers: one that an answer leaves out would keep the client's own value (GHSA-7r4p-vjf4-gxv4).

use std::cell::RefCell;

use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use serde_json::json;
use token::seen::Seen;
use token::{Code, Demand, Identity, Outcome, Rejection, RequestView, Scratch, Verdict, Verifier};

use super::query::Query;
use super::reply::{self, Answer};
use super::{Peer, Site};
use crate::clock::random;
use crate::services::accepted::Accepted;
use crate::services::trust;

/// In the order in which the token core names them.
const IDENTITY: [HeaderName; 3] = [
    HeaderName::from_static("x-seamless-user"),
    HeaderName::from_static("x-seamless-scope"),
    HeaderName::from_static("x-seamless-groups"),
];
const ERROR: HeaderName = HeaderName::from_static("x-seamless-error");
const VERDICT: HeaderName = HeaderName::from_static("x-seamless-verdict");

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk::new());
}

/// What one worker needs to judge tokens, kept between them.
struct Desk {
    scratch: Scratch,
    /// Saves the signature check of a token that was good before; time, policy and revocation are judged anew.
    /// None without randomness for its seed: slower, as right.
    seen: Option<Seen>,
}

/// Judges the request's token. Never waits: the verifier is at hand, and asking for it costs one pragma.
pub(super) fn answer(site: &Site, request: &Parts, peer: Peer) -> Answer {
    let asks_json = asks_json(&request.headers);
    let Ok(query) = Query::parse(request.uri.query()) else { return bad_query(site, asks_json) };
    let verifier = match trust::verifier(&site.realm) {
        Ok(verifier) => verifier,
        Err(error) => {
            site.report("tokens can't be verified", &error);
            return judged(site, Err(Code::KeysUnavailable.into()), asks_json);
        }
    };
    if verifier.rules().is_some() {
        let asked = Asked::read(&request.headers).filter(|_| site.believes(peer));
        return by_rules(site, asked, &verifier, &query, asks_json);
    }
    let audience = query.audience.as_deref();
    let scopes: Vec<&str> = query.scopes.iter().map(AsRef::as_ref).collect();
    let demand = Demand { audiences: audience.as_slice(), scopes: &scopes };
    let values = request.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    DESK.with(|desk| match desk.try_borrow_mut() {
        Ok(mut desk) => judged(site, desk.judge(&verifier, values, &demand, site.realm.now()), asks_json),
        // Only a verification inside a verification would find it taken, and there is none.
        Err(_) => judged(site, Err(Code::KeysUnavailable.into()), asks_json),
    })
}

/// What the rules want of the request that the proxy asks about. Its address demands nothing more then: which request
/// needs what has one place.
fn by_rules(
    site: &Site,
    asked: Option<Asked<'_>>,
    verifier: &Verifier,
    query: &Query<'_>,
    asks_json: bool,
) -> Answer {
    if *query != Query::default() {
        return bad_query(site, asks_json);
    }
    let Some(asked) = asked else {
        // No proxy of ours says which: nobody passes.
        return judged(site, Err(Code::BadPath.into()), asks_json);
    };
    DESK.with(|desk| {
        let Ok(mut desk) = desk.try_borrow_mut() else {
            return judged(site, Err(Code::KeysUnavailable.into()), asks_json);
        };
        let Desk { scratch, seen } = &mut *desk;
        let outcome = match seen {
            Some(seen) => verifier.check_seen(&asked, site.realm.now(), scratch, seen),
            None => verifier.check(&asked, site.realm.now(), scratch),
        };
        match outcome {
            Outcome::Identity(identity) => judged(site, Ok(identity), asks_json),
            Outcome::Rejection(rejection) => judged(site, Err(rejection), asks_json),
            Outcome::Open => nobody(site, "open"),
            Outcome::Anonymous => nobody(site, "anonymous"),
        }
    })
}

/// The request that a proxy asks about, by the headers that Traefik and Caddy send and the nginx example sets.
///
/// Each must be there once: a second one would be the client's own.
struct Asked<'a> {
    headers: &'a HeaderMap,
    method: &'a str,
    host: &'a str,
    path: &'a [u8],
}

impl<'a> Asked<'a> {
    fn read(headers: &'a HeaderMap) -> Option<Self> {
        let once = |name: &str| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none())
        };
        Some(Self {
            headers,
            method: once("x-forwarded-method")?.to_str().ok()?,
            host: once("x-forwarded-host")?.to_str().ok()?,
            path: once("x-forwarded-uri")?.as_bytes(),
        })
    }
}

impl RequestView for Asked<'_> {
    fn method(&self) -> &str {
        self.method
    }

    fn scheme(&self) -> &str {
        ""
    }

    fn authority(&self) -> &str {
        self.host
    }

    fn path(&self) -> Option<&[u8]> {
        Some(self.path)
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

impl Desk {
    fn new() -> Self {
        Self { scratch: Scratch::new(), seen: random().ok().map(Seen::new) }
    }

    fn judge<'a>(
        &'a mut self,
        verifier: &'a Verifier,
        headers: impl Iterator<Item = &'a [u8]>,
        demand: &Demand<'_>,
        now: u64,
    ) -> Verdict<'a> {
        let token = token::request::credentials(headers)?.ok_or(Code::MissingAuthorization)?;
        match &mut self.seen {
            Some(seen) if demand.audiences.is_empty() && demand.scopes.is_empty() => {
                verifier.verify_seen(token, now, &mut self.scratch, seen)
            }
            _ => verifier.verify_with(token, demand, now, &mut self.scratch),
        }
    }
}

fn judged(site: &Site, verdict: Verdict<'_>, asks_json: bool) -> Answer {
    site.metrics.verified(verdict.as_ref().err().map(|rejection| rejection.code));
    match verdict {
        Ok(identity) => {
            accepted(&identity).unwrap_or_else(|| rejected(site, Code::Malformed.into(), asks_json))
        }
        Err(rejection) => rejected(site, rejection, asks_json),
    }
}

/// The rules let the request pass, and nobody is in it.
fn nobody(site: &Site, verdict: &'static str) -> Answer {
    site.metrics.verified(None);
    let mut answer = reply::fresh(StatusCode::OK, reply::JSON, format!("{}\n", json!({"verdict": verdict})));
    let headers = answer.headers_mut();
    for name in IDENTITY {
        headers.insert(name, HeaderValue::from_static(""));
    }
    headers.insert(VERDICT, HeaderValue::from_static(verdict));
    answer
}

/// None where an identity would not fit into headers, which the core's encoding rules out.
fn accepted(identity: &Identity<'_>) -> Option<Answer> {
    let mut body = Vec::with_capacity(512);
    serde_json::to_writer(&mut body, &Accepted(identity)).ok()?;
    body.push(b'\n');
    let mut answer = reply::fresh(StatusCode::OK, reply::JSON, body);
    let headers = answer.headers_mut();
    for (name, (_, value)) in IDENTITY.into_iter().zip(token::identity_headers(identity)) {
        headers.insert(name, HeaderValue::try_from(value).ok()?);
    }
    headers.insert(VERDICT, HeaderValue::from_static("ok"));
    Some(answer)
}

fn rejected(site: &Site, rejection: Rejection, asks_json: bool) -> Answer {
    let code = rejection.code;
    let status = match code.status() {
        401 => StatusCode::UNAUTHORIZED,
        503 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    };
    let mut answer = match rejection.skew {
        None => refusal(status, code, HeaderValue::from_static(code.message()), code.message(), asks_json),
        Some(_) => {
            let line = rejection.to_string();
            let value =
                HeaderValue::try_from(line.as_str()).unwrap_or(HeaderValue::from_static(code.message()));
            refusal(status, code, value, &line, asks_json)
        }
    };
    if status == StatusCode::UNAUTHORIZED {
        // `seamless` comes first: the original's client looks at how the joined header begins.
        for challenge in token::www_authenticate(code, site.realm.name.as_str()) {
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                answer.headers_mut().append(WWW_AUTHENTICATE, challenge);
            }
        }
    }
    answer
}

/// The proxy's settings are wrong, whatever the token: nobody passes.
fn bad_query(site: &Site, asks_json: bool) -> Answer {
    const LINE: &str = "bad request query";
    site.metrics.verified(Some(Code::BadPath));
    refusal(StatusCode::FORBIDDEN, Code::BadPath, HeaderValue::from_static(LINE), LINE, asks_json)
}

fn refusal(status: StatusCode, code: Code, header: HeaderValue, line: &str, asks_json: bool) -> Answer {
    let (content_type, body) = if asks_json {
        (reply::JSON, format!("{}\n", json!({"verdict": code.as_str(), "error": line})))
    } else {
        (reply::TEXT, format!("{line}\n"))
    };
    let mut answer = reply::fresh(status, content_type, Bytes::from(body));
    let headers = answer.headers_mut();
    for name in IDENTITY {
        headers.insert(name, HeaderValue::from_static(""));
    }
    headers.insert(ERROR, header);
    headers.insert(VERDICT, HeaderValue::from_static(code.as_str()));
    answer
}

/// Only where it is named: `*/*` is what everybody sends, and the original's clients read text.
fn asks_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|range| range.split(|b| *b == b';').next())
        .any(|range| range.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}
