//! One verifier for all threads.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, Request};
use token::seen::Seen;
use token::{Code, Outcome, Rejection, Scratch, Verifier};

use crate::request::{self, View};
use crate::{Access, Identity};

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// What a request may do, with the headers that say so.
pub(crate) struct Judgement {
    pub(crate) access: Access,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// The verifier that counts now; a thread that fetches keys changes it.
pub(crate) struct Judge {
    verifier: RwLock<Verifier>,
    /// Where it is busy, a signature is checked once more: cheaper than to wait.
    seen: Option<Mutex<Seen>>,
}

impl Judge {
    pub(crate) fn new(verifier: Verifier) -> Self {
        let mut seed = [0; 32];
        // Without randomness nothing is remembered.
        let seen = getrandom::fill(&mut seed).is_ok().then(|| Mutex::new(Seen::new(seed)));
        Self { verifier: RwLock::new(verifier), seen }
    }

    /// Changes the verifier once nobody is judging by it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Verifier) -> T) -> T {
        change(&mut self.verifier.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lends the verifier that counts now, with this thread's scratch and, where it is to `remember` and nobody else has
    /// it, the memory of good signatures. None within another loan on the same thread.
    pub(crate) fn lend<T>(
        &self,
        remember: bool,
        run: impl FnOnce(&Verifier, &mut Scratch, Option<&mut Seen>) -> T,
    ) -> Option<T> {
        SCRATCH.with(|scratch| {
            let mut scratch = scratch.try_borrow_mut().ok()?;
            let verifier = self.verifier.read().unwrap_or_else(PoisonError::into_inner);
            let seen = self.seen.as_ref().filter(|_| remember);
            let mut seen = seen.and_then(|seen| seen.try_lock().ok());
            Some(run(&verifier, &mut scratch, seen.as_deref_mut()))
        })
    }

    pub(crate) fn judge<B>(&self, request: &Request<B>, with_headers: bool) -> Result<Judgement, Rejection> {
        self.judge_at(request, with_headers, now())
    }

    fn judge_at<B>(
        &self,
        request: &Request<B>,
        with_headers: bool,
        now: u64,
    ) -> Result<Judgement, Rejection> {
        let view = View(request);
        let owned = |outcome: Outcome<'_>| match outcome {
            Outcome::Open => Ok(Judgement { access: Access::Open, headers: Vec::new() }),
            Outcome::Anonymous => Ok(Judgement { access: Access::Anonymous, headers: Vec::new() }),
            Outcome::Identity(identity) => Ok(Judgement {
                headers: if with_headers { request::values(&identity) } else { Vec::new() },
                access: Access::Identity(Identity::from(identity)),
            }),
            Outcome::Rejection(rejection) => Err(rejection),
        };
        let judged = self.lend(true, |verifier, scratch, seen| match seen {
            Some(seen) => owned(verifier.check_seen(&view, now, scratch, seen)),
            None => owned(verifier.check(&view, now, scratch)),
        });
        // A handler can't run within a judgement, so nobody else on this thread has the scratch.
        judged.unwrap_or_else(|| Err(Code::KeysUnavailable.into()))
    }
}

/// Unix seconds; a clock before 1970 is a clock at 1970, when no token is valid yet.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The vectors that every edge is held to, through the view that this one has of a request.
#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::Value;
    use token::{Audiences, Leeway, MaxAge, PublicKeys, Rules, Secret};

    fn file(name: &str) -> Value {
        let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn verifier(file: &Value) -> (Verifier, u64) {
        let made = &file["verifier"];
        let text = |name: &str| made[name].as_str().unwrap();
        let digest = text("digest").parse().unwrap();
        let secrets = made["secrets"].as_array().unwrap().iter();
        let secrets = secrets.map(|s| Secret::new(s.as_str().unwrap().as_bytes(), digest).unwrap()).collect();
        let keys = PublicKeys::from_jwks(text("issuer"), &made["jwks"].to_string()).unwrap();
        let leeway = u8::try_from(made["leeway"].as_u64().unwrap()).unwrap();
        let verifier = Verifier::new(text("realm"))
            .with_secrets(secrets, MaxAge::try_from(made["max_age"].as_u64().unwrap()).unwrap())
            .with_public_keys(keys, Audiences::new([text("audience")]).unwrap())
            .with_leeway(Leeway::try_from(leeway).unwrap());
        (verifier, made["now"].as_u64().unwrap())
    }

    /// Characters are bytes.
    fn latin1(text: &str) -> Vec<u8> {
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    }

    fn outcome(judgement: Result<Judgement, Rejection>) -> String {
        match judgement.map(|judgement| judgement.access) {
            Ok(Access::Open) => "open".into(),
            Ok(Access::Anonymous) => "anonymous".into(),
            Ok(Access::Identity(_)) => "identity".into(),
            Err(rejection) => rejection.code.as_str().into(),
        }
    }

    #[test]
    fn authorization_headers() {
        let file = file("headers.json");
        let (verifier, now) = verifier(&file);
        let judge = Judge::new(verifier);
        let (mut judged, mut unsendable) = (0, 0);
        for case in file["authorization"].as_array().unwrap() {
            let mut request = Request::builder().uri("/");
            for value in case["authorization"].as_array().unwrap() {
                request = request.header("authorization", latin1(value.as_str().unwrap()));
            }
            // What `http` can't hold never got so far.
            let Ok(request) = request.body(()) else {
                assert_ne!(case["verdict"], "ok", "{case}");
                unsendable += 1;
                continue;
            };
            // Twice: the second time the signature is remembered.
            for _ in 0..2 {
                let (verdict, subject) = match judge.judge_at(&request, true, now) {
                    Ok(Judgement { access: Access::Identity(identity), .. }) => {
                        ("ok".to_owned(), Some(identity.subject().to_owned()))
                    }
                    other => (outcome(other), None),
                };
                assert_eq!(verdict, case["verdict"].as_str().unwrap(), "{case}");
                assert_eq!(subject.as_deref(), case["subject"].as_str(), "{case}");
            }
            judged += 1;
        }
        assert!(judged > 20 && unsendable < judged, "{judged} {unsendable}");
    }

    #[test]
    fn requests_under_rules() {
        let file = file("rules.json");
        let (verifier, now) = verifier(&file);
        let (mut judged, mut unsendable) = (0, 0);
        for set in file["sets"].as_array().unwrap() {
            let rules = Rules::from_json(&set["rules"].to_string()).unwrap();
            let judge = Judge::new(verifier.clone().with_rules(rules));
            for case in set["requests"].as_array().unwrap() {
                let text = |name: &str| case[name].as_str().unwrap();
                let authority = text("authority");
                let mut request = Request::builder().method(text("method"));
                // Without a path it is a CONNECT, whose target is the authority alone.
                let target = case["path"].as_str().map_or_else(|| latin1("a.example:443"), latin1);
                request = request.uri(target.as_slice());
                if !authority.is_empty() {
                    request = request.header("host", latin1(authority));
                }
                if let Some(name) = case["token"].as_str() {
                    let token = file["tokens"][name].as_str().unwrap();
                    request = request.header("authorization", format!("Bearer {token}"));
                }
                let expected = text("outcome");
                let Ok(request) = request.body(()) else {
                    assert_eq!(expected, "bad_path", "{case}");
                    unsendable += 1;
                    continue;
                };
                assert_eq!(outcome(judge.judge_at(&request, false, now)), expected, "{} {case}", set["name"]);
                judged += 1;
            }
        }
        assert!(judged > 20 && unsendable < judged, "{judged} {unsendable}");
    }
}
