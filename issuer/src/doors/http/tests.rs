//! The door as its clients see it: answers without a network first, then what only a socket shows.

use std::sync::Mutex;

use http_body_util::BodyExt as _;
use hyper::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    HOST, IF_NONE_MATCH, WWW_AUTHENTICATE,
};
use hyper::http::request::Builder;
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::*;
use crate::backends::audit::AuditLog;
use crate::backends::files;
use crate::backends::store::{
    Change, Enrolled, Enrolment, Fingerprint, KeyState, Revoked, SigningAlgorithm, SigningKey, Store,
    StoredRevocation, Then, Totals, User, UserKey,
};
use crate::clock::FixedClock;
use crate::config::Config;
use crate::names::UserName;
use crate::services::signing;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.example/corp";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Signing keys and revocations, and a store that can break.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    keys: Vec<SigningKey>,
    revocations: Vec<StoredRevocation>,
    version: u64,
    broken: bool,
}

impl Shelf {
    fn change(&self, change: impl FnOnce(&mut Contents)) {
        let mut contents = self.0.lock().unwrap();
        change(&mut contents);
        contents.version += 1;
    }

    fn read<T>(&self, read: impl FnOnce(&Contents) -> T) -> Result<T> {
        let contents = self.0.lock().unwrap();
        if contents.broken {
            Err(Error::internal("can't read /var/secret/place: disk on fire"))
        } else {
            Ok(read(&contents))
        }
    }
}

impl Store for Shelf {
    fn spend(&self, _: &[u8], _: u64, _: u64) -> Result<bool> {
        unreachable!("nobody logs in here")
    }

    fn user(&self, _: &UserName) -> Result<Option<User>> {
        Ok(None)
    }
    fn each_user(&self, _: &mut dyn FnMut(User) -> Result<()>) -> Result<()> {
        Ok(())
    }
    fn key(&self, _: &Fingerprint) -> Result<Option<UserKey>> {
        Ok(None)
    }
    fn each_key(&self, _: Option<&UserName>, _: &mut dyn FnMut(UserKey) -> Result<()>) -> Result<()> {
        Ok(())
    }
    fn keys_ending(&self, _: u64, _: u32) -> Result<(Vec<UserKey>, u64)> {
        Ok((vec![], 0))
    }
    fn totals(&self) -> Result<Totals> {
        Ok(Totals { users: 0, keys: 0 })
    }
    fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        self.read(|c| c.keys.clone())
    }
    fn revocations(&self, _: u64) -> Result<Vec<StoredRevocation>> {
        self.read(|c| c.revocations.clone())
    }
    fn check(&self) -> Result<()> {
        self.read(|_| ())
    }
    fn version(&self) -> Result<u64> {
        self.read(|c| c.version)
    }
    fn copy_to(&self, _: &std::path::Path, _: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        Err(Error::internal("this store is not copied"))
    }
    fn apply(&self, _: &[Change], _: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        Err(Error::internal("this store is for reading"))
    }
    fn enrol(&self, _: &[Enrolment], _: u64, _: &mut dyn FnMut(&[Enrolled]) -> Result<Then>) -> Result<()> {
        Err(Error::internal("this store is for reading"))
    }
}

struct Stage {
    dir: tempfile::TempDir,
    shelf: Shelf,
    clock: Arc<FixedClock>,
    signer: token::Ed25519Signer,
    site: Site,
    realm: Arc<Realm>,
    log: Arc<Mutex<Vec<String>>>,
}

fn stage() -> Stage {
    stage_with("", |_| ())
}

/// A realm with an Ed25519 key and a secret, behind a door with these settings.
fn stage_with(settings: &str, options: impl FnOnce(&mut Options)) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let signer = token::Ed25519Signer::from_seed(&[7; 32]);
    let public = signer.public_key();
    let jwk = Some(public.to_jwk());
    let shelf = Shelf::default();
    shelf.change(|c| c.keys.push(signing_key(public.kid(), SigningAlgorithm::EdDsa, jwk)));
    let secret = signing_key("s1", SigningAlgorithm::Hmac, None);
    files::create_dir(&dir.path().join("signing"), 0o700).unwrap();
    files::create_private(&signing::path(dir.path(), &secret), SECRET).unwrap();
    shelf.change(|c| c.keys.push(secret));

    let config = Config::parse(&format!("realm = \"corp\"\nissuer = \"{ISSUER}\"\n{settings}")).unwrap();
    let clock = Arc::new(FixedClock::at(NOW));
    let realm = Arc::new(Realm {
        sources: crate::services::sources::Sources::new(&[], dir.path()),
        upgraded_from: None,
        name: config.name().unwrap(),
        dir: dir.path().to_owned(),
        config,
        store: Box::new(shelf.clone()),
        audit: AuditLog::at(&dir.path().join("audit")),
        clock: clock.clone(),
        metrics: std::sync::OnceLock::new(),
        trust: Default::default(),
        strangers: Default::default(),
    });
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    let mut with = Options {
        log: Arc::new(move |line| lines.lock().unwrap().push(line.to_owned())),
        ..Options::default()
    };
    options(&mut with);
    Stage { dir, shelf, clock, signer, site: Site::new(Arc::clone(&realm), None, with), realm, log }
}

fn signing_key(kid: &str, algorithm: SigningAlgorithm, jwk: Option<String>) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        algorithm,
        state: KeyState::Active,
        jwk,
        created_at: NOW,
        activated_at: Some(NOW),
        retired_at: None,
        expires_at: None,
    }
}

impl Stage {
    async fn send(&self, request: Builder) -> Seen {
        self.send_from(request, Peer::Tcp([127, 0, 0, 1].into())).await
    }

    async fn send_from(&self, request: Builder, peer: Peer) -> Seen {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Seen::of(self.site.answer(&parts, peer).await).await
    }

    async fn get(&self, path: &str) -> Seen {
        self.send(get(path)).await
    }

    /// `/verify` with this Authorization header.
    async fn verify(&self, path: &str, authorization: &str) -> Seen {
        self.send(get(path).header(AUTHORIZATION, authorization)).await
    }

    fn jwt(&self, edit: impl FnOnce(&mut token::AccessClaims<'_>)) -> String {
        let mut claims = token::AccessClaims {
            issuer: ISSUER,
            subject: "ada",
            audiences: &[ISSUER],
            client_id: "ssh",
            issued_at: NOW,
            expires_at: NOW + 300,
            jti: "abc",
            scopes: &["read", "write"],
            groups: &["staff", "ops"],
            amr: &[],
            ssh_fp: Some("SHA256:x"),
        };
        edit(&mut claims);
        format!("Bearer {}", token::mint_access(&claims, &self.signer).unwrap())
    }
}

fn get(path: &str) -> Builder {
    Request::get(path).header(HOST, "login.example")
}

fn seamless(subject: &str, issued_at: u64) -> String {
    let secret = token::Secret::new(SECRET, token::Digest::Sha1).unwrap();
    format!("seamless {}", token::mint_seamless(subject, issued_at, &secret).unwrap())
}

#[derive(Debug)]
struct Seen {
    status: u16,
    headers: hyper::HeaderMap,
    body: String,
}

impl Seen {
    async fn of(answer: Answer) -> Self {
        let (parts, body): (_, _) = Response::into_parts(answer);
        let body = body.collect().await.unwrap().to_bytes();
        let seen = Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        assert_eq!(seen.header("x-content-type-options"), Some("nosniff"), "{seen:?}");
        assert_eq!(seen.header("server"), None, "{seen:?}");
        assert_eq!(seen.header("access-control-allow-credentials"), None, "{seen:?}");
        seen
    }

    #[track_caller]
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|v| v.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// What holds of a refusal by `/verify`.
    #[track_caller]
    fn refused(&self, status: u16, verdict: &str, line: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body, format!("{line}\n"), "{self:?}");
        assert_eq!(self.header("x-seamless-error"), Some(line), "{self:?}");
        assert_eq!(self.header("x-seamless-verdict"), Some(verdict), "{self:?}");
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"));
        self.identity("", "", "");
        let challenges: Vec<_> =
            self.headers.get_all(WWW_AUTHENTICATE).iter().map(|v| v.to_str().unwrap()).collect();
        if status == 401 {
            assert_eq!(
                challenges,
                ["seamless realm=\"corp\"", "Bearer realm=\"corp\", error=\"invalid_token\""]
            );
        } else {
            assert!(challenges.is_empty(), "{self:?}");
        }
    }

    #[track_caller]
    fn identity(&self, user: &str, scope: &str, groups: &str) {
        assert_eq!(self.header("x-seamless-user"), Some(user), "{self:?}");
        assert_eq!(self.header("x-seamless-scope"), Some(scope), "{self:?}");
        assert_eq!(self.header("x-seamless-groups"), Some(groups), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.header("access-control-allow-origin"), None, "{self:?}");
    }
}

#[tokio::test]
async fn a_jwt_is_an_identity() {
    let stage = stage();
    for path in ["/verify", "/corp/verify"] {
        let seen = stage.verify(path, &stage.jwt(|_| ())).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        seen.identity("ada", "read write", "staff,ops");
        assert_eq!(seen.header("x-seamless-verdict"), Some("ok"));
        assert_eq!(seen.header("x-seamless-error"), None);
        assert_eq!(
            seen.json(),
            json!({
                "verdict": "ok", "subject": "ada", "format": "jwt", "issuer": ISSUER, "client_id": "ssh", "jti": "abc",
                "kid": stage.signer.public_key().kid(), "ssh_fp": "SHA256:x", "scope": "read write",
                "audience": [ISSUER], "groups": ["staff", "ops"], "issued_at": NOW, "expires_at": NOW + 300,
            })
        );
    }
}

#[tokio::test]
async fn absent_things_are_empty_headers_and_no_members() {
    let stage = stage();
    let bare = stage.jwt(|c| (c.scopes, c.groups, c.ssh_fp) = (&[], &[], None));
    let seen = stage.verify("/verify", &bare).await;
    seen.identity("ada", "", "");
    for member in ["scope", "groups", "ssh_fp", "amr"] {
        assert_eq!(seen.json().get(member), None, "{seen:?}");
    }
    let seen = stage.verify("/verify", &seamless("ada lovelace", NOW)).await;
    assert_eq!(seen.status, 200, "{seen:?}");
    seen.identity("ada%20lovelace", "", "");
    assert_eq!(
        seen.json(),
        json!({"verdict": "ok", "subject": "ada lovelace", "format": "seamless", "issued_at": NOW, "expires_at": NOW + 60})
    );
}

#[tokio::test]
async fn any_method_asks_and_head_has_no_body() {
    let stage = stage();
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let request = get("/verify").method(method).header(AUTHORIZATION, stage.jwt(|_| ()));
        assert_eq!(stage.send(request).await.status, 200, "{method}");
    }
    let head = stage.send(get("/verify").method("HEAD").header(AUTHORIZATION, stage.jwt(|_| ()))).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    head.identity("ada", "read write", "staff,ops");
    let full = stage.verify("/verify", &stage.jwt(|_| ())).await;
    assert_eq!(head.header(CONTENT_LENGTH.as_str()), Some(full.body.len().to_string().as_str()));
}

#[tokio::test]
async fn authorization_is_one_header_of_one_value() {
    let stage = stage();
    let good = stage.jwt(|_| ());
    const BAD: &str = "bad authorization header format";
    stage.get("/verify").await.refused(401, "missing_authorization", BAD);
    for values in [
        &[good.as_str(), &good][..],
        &[&good, ""],
        &["", &good],
        &[&format!("{good},{good}")],
        &[&format!("{good},")],
        &[&good.replace("Bearer ", "Bearer  ")],
        &[&good.replace("Bearer ", "Basic ")],
        &[good.trim_start_matches("Bearer ")],
        &["Bearer"],
        &[""],
    ] {
        let request = values.iter().fold(get("/verify"), |r, v| r.header(AUTHORIZATION, *v));
        let seen = stage.send(request).await;
        seen.refused(401, "bad_authorization", BAD);
    }
    let latin1 = get("/verify").header(AUTHORIZATION, &b"Bearer \xe9.x.y"[..]);
    let seen = stage.send(latin1).await;
    assert_eq!(
        (seen.status, seen.body.as_str()),
        (401, "invalid token\n"),
        "bytes beyond UTF-8 are judged, not dropped"
    );
    assert_eq!(stage.verify("/verify", &good.replace("Bearer", "bEARER")).await.status, 200);
}

#[tokio::test]
async fn every_rejection_has_its_line() {
    let stage = stage();
    let jwt = |edit: fn(&mut token::AccessClaims<'_>)| stage.jwt(edit);
    let forged = {
        let good = jwt(|_| ());
        let (head, signature) = good.rsplit_once('.').unwrap();
        format!("{head}.{}", signature.chars().rev().collect::<String>())
    };
    let long = format!("Bearer {}", "a".repeat(8 * 1024 + 1));
    for (authorization, status, verdict, line) in [
        (jwt(|c| (c.issued_at, c.expires_at) = (NOW - 60, NOW - 5)), 401, "expired", "token expired"),
        (seamless("ada", NOW - 61), 401, "expired", "token expired"),
        (jwt(|c| c.audiences = &["https://other.example"]), 401, "wrong_audience", "invalid token"),
        (jwt(|c| c.issuer = "https://login.example/other"), 401, "wrong_issuer", "invalid token"),
        (long, 401, "too_large", "invalid token"),
        ("Bearer nonsense".to_owned(), 401, "malformed", "invalid token"),
        ("chap:AXTOZVPw".to_owned(), 401, "unsupported_algorithm", "invalid token"),
    ] {
        stage.verify("/verify", &authorization).await.refused(status, verdict, line);
    }
    let seen = stage.verify("/verify", &forged).await;
    assert_eq!((seen.status, seen.body.as_str()), (401, "invalid token\n"), "{seen:?}");
    let early = stage.verify("/verify", &jwt(|c| c.issued_at = NOW + 31)).await;
    assert_eq!(early.header("x-seamless-verdict"), Some("not_yet_valid"));
    let line = early.header("x-seamless-error").unwrap().to_owned();
    assert!(line.starts_with("token not yet valid") && line.contains("31"), "{line}");
    early.refused(401, "not_yet_valid", &line);
}

#[tokio::test]
async fn json_only_where_it_is_asked_for() {
    let stage = stage();
    for (accept, asks) in [
        ("application/json", true),
        ("text/html, Application/JSON;q=0.9", true),
        ("*/*", false),
        ("application/*", false),
        ("application/json-seq", false),
        ("text/plain", false),
    ] {
        let seen = stage.send(get("/verify").header(ACCEPT, accept)).await;
        assert_eq!(seen.status, 401);
        let is_json = seen.header(CONTENT_TYPE.as_str()) == Some("application/json");
        assert_eq!(is_json, asks, "{accept}");
        if asks {
            assert_eq!(
                seen.json(),
                json!({"verdict": "missing_authorization", "error": "bad authorization header format"})
            );
        }
    }
}

#[tokio::test]
async fn the_query_demands() {
    let stage = stage();
    let own = stage.jwt(|_| ());
    let other = stage.jwt(|c| c.audiences = &["https://api.example"]);
    for (query, authorization, status, verdict) in [
        ("", &own, 200, "ok"),
        ("scope=read", &own, 200, "ok"),
        ("scope=read&scope=write", &own, 200, "ok"),
        ("scope=read&scope=admin", &own, 403, "missing_scope"),
        ("audience=https%3A%2F%2Fapi.example", &other, 200, "ok"),
        ("audience=https%3A%2F%2Fapi.example&scope=read", &other, 200, "ok"),
        ("audience=https://api.example", &own, 401, "wrong_audience"),
        ("", &other, 401, "wrong_audience"),
        ("unknown=1", &own, 403, "bad_path"),
        ("audience=a&audience=b", &other, 403, "bad_path"),
        ("audience=", &own, 403, "bad_path"),
        ("scope=%zz", &own, 403, "bad_path"),
    ] {
        let seen = stage.verify(&format!("/verify?{query}"), authorization).await;
        assert_eq!((seen.status, seen.header("x-seamless-verdict")), (status, Some(verdict)), "{query}");
    }
    stage.verify("/verify?scope=admin", &own).await.refused(403, "missing_scope", "insufficient scope");
    stage.verify("/verify?scopes=admin", &own).await.refused(403, "bad_path", "bad request query");
    stage.get("/verify?unknown=1").await.refused(403, "bad_path", "bad request query");
    // A `seamless` token has only what its secret is bound to.
    stage.verify("/verify?audience=a", &seamless("ada", NOW)).await.refused(
        401,
        "wrong_audience",
        "invalid token",
    );
    stage.verify("/verify?scope=a", &seamless("ada", NOW)).await.refused(
        403,
        "missing_scope",
        "insufficient scope",
    );
}

#[tokio::test]
async fn the_realm_s_audience_holds_without_a_query() {
    let stage = stage_with("[verify]\naudience = [\"https://api.example\"]\n", |_| ());
    let api = stage.jwt(|c| c.audiences = &["https://api.example"]);
    assert_eq!(stage.verify("/verify", &api).await.status, 200);
    stage.verify("/verify", &stage.jwt(|_| ())).await.refused(401, "wrong_audience", "invalid token");
    stage.verify("/verify", &seamless("ada", NOW)).await.refused(401, "wrong_audience", "invalid token");
    let query = format!("/verify?audience={ISSUER}");
    assert_eq!(stage.verify(&query, &stage.jwt(|_| ())).await.status, 200, "the query replaces it");
}

const RULES: &str = r#"{"rules": [
    {"path_prefix": "/open", "need": "open"},
    {"path_prefix": "/maybe", "need": "optional"},
    {"path_prefix": "/admin", "need": "required", "scopes": ["admin"]},
    {"path_prefix": "/open", "host": "b.example", "methods": ["POST"], "need": "required"}
]}"#;

/// A realm whose /verify judges by these rules.
fn stage_by_rules(options: impl FnOnce(&mut Options)) -> Stage {
    let stage = stage_with("[verify]\nrules = \"rules.json\"\n", options);
    std::fs::write(stage.dir.path().join("rules.json"), RULES).unwrap();
    stage
}

fn about(method: &str, host: &str, uri: &str) -> Builder {
    get("/verify")
        .header("x-forwarded-method", method)
        .header("x-forwarded-host", host)
        .header("x-forwarded-uri", uri)
}

#[tokio::test]
async fn the_rules_judge_the_request_that_a_proxy_asks_about() {
    let stage = stage_by_rules(|_| ());
    let open = stage.send(about("GET", "a.example", "/open/x?y=/admin")).await;
    open.identity("", "", "");
    assert_eq!((open.status, open.header("x-seamless-verdict")), (200, Some("open")));
    let anonymous = stage.send(about("GET", "a.example", "/maybe")).await;
    anonymous.identity("", "", "");
    assert_eq!((anonymous.status, anonymous.header("x-seamless-verdict")), (200, Some("anonymous")));

    let line = "bad authorization header format";
    stage.send(about("GET", "a.example", "/")).await.refused(401, "missing_authorization", line);
    stage.send(about("GET", "a.example", "/opener")).await.refused(401, "missing_authorization", line);
    stage.send(about("POST", "B.example:443", "/open")).await.refused(401, "missing_authorization", line);
    let bad = about("GET", "a.example", "/maybe").header(AUTHORIZATION, "Bearer nonsense");
    stage.send(bad).await.refused(401, "malformed", "invalid token");

    let with = |uri: &str, token: &str| about("GET", "a.example", uri).header(AUTHORIZATION, token);
    let (plain, admin) = (stage.jwt(|c| c.scopes = &["read"]), stage.jwt(|c| c.scopes = &["admin"]));
    stage.send(with("/admin/x", &plain)).await.refused(403, "missing_scope", "insufficient scope");
    let good = stage.send(with("/admin/x", &admin)).await;
    assert_eq!((good.status, good.header("x-seamless-verdict")), (200, Some("ok")));
    assert_eq!(good.header("x-seamless-scope"), Some("admin"));
}

/// nginx passes on no 400, and what a proxy and a service may read in two ways is open to nobody.
#[tokio::test]
async fn paths_that_servers_read_differently_are_403() {
    let stage = stage_by_rules(|_| ());
    for uri in [
        "/open/../admin",
        "/open/%2e%2e/admin",
        "/open%2f..%2fadmin",
        "/open/..%2Fadmin",
        "//admin",
        "/open;/x",
        "/open\\..\\admin",
        "/open/%00",
        "open",
        "",
        "https://a.example/open",
    ] {
        stage.send(about("GET", "a.example", uri)).await.refused(403, "bad_path", "bad request path");
    }
    for host in ["a.example,b.example", "x@a.example", "a.example/open", "a.example:x"] {
        stage.send(about("GET", host, "/open")).await.refused(403, "bad_path", "bad request path");
    }
}

/// Attack: a second header of the name that the proxy sets; and the mistake: a proxy that sets none.
#[tokio::test]
async fn a_proxy_that_does_not_say_which_request_lets_nobody_pass() {
    let stage = stage_by_rules(|_| ());
    let token = stage.jwt(|c| c.scopes = &["admin"]);
    let refused = |seen: Seen| seen.refused(403, "bad_path", "bad request path");
    refused(stage.verify("/verify", &token).await);
    for missing in ["x-forwarded-method", "x-forwarded-host", "x-forwarded-uri"] {
        let mut request = about("GET", "a.example", "/open").header(AUTHORIZATION, &token);
        request.headers_mut().unwrap().remove(missing);
        refused(stage.send(request).await);
        let twice = about("GET", "a.example", "/open").header(AUTHORIZATION, &token).header(missing, "/open");
        refused(stage.send(twice).await);
    }
    // Only these three count.
    let other = get("/verify").header("x-original-uri", "/open").header("x-original-method", "GET");
    refused(stage.send(other).await);
    // What is demanded stands in the rules alone.
    let query = get("/verify?scope=read")
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-host", "a.example")
        .header("x-forwarded-uri", "/open");
    stage.send(query).await.refused(403, "bad_path", "bad request query");
}

#[tokio::test]
async fn only_a_proxy_is_believed_about_a_request() {
    let far = Peer::Tcp([203, 0, 113, 9].into());
    let open = || about("GET", "a.example", "/open");
    let stage = stage_by_rules(|_| ());
    stage.send_from(open(), far).await.refused(403, "bad_path", "bad request path");
    assert_eq!(stage.send_from(open(), Peer::Unix).await.status, 200);
    assert_eq!(stage.send(open()).await.status, 200, "loopback");
    let stage = stage_by_rules(|o| o.behind_proxy = vec!["203.0.113.0/24".parse().unwrap()]);
    assert_eq!(stage.send_from(open(), far).await.status, 200);
}

#[tokio::test]
async fn rules_that_cannot_be_read_keep_the_door_shut() {
    let stage = stage_by_rules(|_| ());
    std::fs::write(stage.dir.path().join("rules.json"), "{\"rules\": [\n {\"need\": \"maybe\"}]}").unwrap();
    let listener = Listener::Tcp(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (_stop, stopped) = watch::channel(false);
    let error =
        serve(Arc::clone(&stage.realm), vec![listener], Options::default(), stopped).await.unwrap_err();
    assert!(error.message().ends_with("rules.json:2:18: need is open, optional or required"), "{error}");
    // And where it gets that far, nobody passes.
    assert_eq!(stage.send(about("GET", "a.example", "/open")).await.status, 503);

    // An edit counts at the next start.
    let stage = stage_by_rules(|_| ());
    assert_eq!(stage.send(about("GET", "a.example", "/open")).await.status, 200);
    std::fs::write(stage.dir.path().join("rules.json"), "{").unwrap();
    stage.shelf.change(|_| ());
    assert_eq!(stage.send(about("GET", "a.example", "/open")).await.status, 200);
}

#[tokio::test]
async fn a_revocation_and_the_clock_count_at_once() {
    let stage = stage();
    let token = stage.jwt(|_| ());
    assert_eq!(stage.verify("/verify", &token).await.status, 200);
    assert_eq!(stage.verify("/verify", &token).await.status, 200, "now it is remembered");
    stage.shelf.change(|c| {
        c.revocations.push(StoredRevocation {
            what: Revoked::Jti("abc".to_owned()),
            created_at: NOW,
            keep_until: NOW + 900,
        });
    });
    stage.verify("/verify", &token).await.refused(401, "revoked", "invalid token");
    stage.shelf.change(|c| c.revocations.clear());
    assert_eq!(stage.verify("/verify", &token).await.status, 200);
    stage.clock.set(NOW + 305);
    stage.verify("/verify", &token).await.refused(401, "expired", "token expired");
}

#[tokio::test]
async fn trouble_is_503_and_goes_to_the_log_once() {
    let stage = stage();
    stage.shelf.change(|c| c.broken = true);
    for _ in 0..3 {
        let seen = stage.verify("/verify?scope=read", &stage.jwt(|_| ())).await;
        seen.refused(503, "keys_unavailable", "verification keys unavailable");
    }
    let log = stage.log.lock().unwrap().clone();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(
        log[0].contains("disk on fire") && !log[0].contains("eyJ") && !log[0].contains("scope"),
        "{log:?}"
    );
    for path in ["/corp/.well-known/jwks.json", "/healthz"] {
        let seen = stage.get(path).await;
        assert_eq!(seen.status, 503, "{seen:?}");
        assert!(!seen.body.contains("disk") && seen.body.lines().count() == 1, "{seen:?}");
        assert_eq!(seen.header(CACHE_CONTROL.as_str()), Some("no-store"));
    }
    stage.shelf.change(|c| c.broken = false);
    assert_eq!(stage.verify("/verify", &stage.jwt(|_| ())).await.status, 200);
}

#[tokio::test]
async fn the_key_set_is_cached_by_others_and_never_stale_here() {
    let stage = stage();
    let path = "/corp/.well-known/jwks.json";
    let first = stage.get(path).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header(CONTENT_TYPE.as_str()), Some("application/jwk-set+json"));
    assert_eq!(first.header(CACHE_CONTROL.as_str()), Some("public, max-age=300"));
    assert_eq!(first.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str()), Some("*"));
    assert_eq!(first.json()["keys"].as_array().unwrap().len(), 1);
    let tag = first.header(ETAG.as_str()).unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.len() > 20, "strong: {tag}");

    let again = stage.send(get(path).header(IF_NONE_MATCH, &tag)).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header(ETAG.as_str()), Some(tag.as_str()));
    assert_eq!(again.header(CACHE_CONTROL.as_str()), Some("public, max-age=300"));
    assert_eq!(again.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str()), Some("*"));
    assert_eq!(again.header(CONTENT_TYPE.as_str()), None);

    let head = stage.send(get(path).method("HEAD")).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header(CONTENT_LENGTH.as_str()), Some(first.body.len().to_string().as_str()));
    let head = stage.send(get(path).method("HEAD").header(IF_NONE_MATCH, &tag)).await;
    assert_eq!((head.status, head.header(CONTENT_LENGTH.as_str())), (304, None));

    let next = token::Ed25519Signer::from_seed(&[8; 32]).public_key();
    let mut key = signing_key(next.kid(), SigningAlgorithm::EdDsa, Some(next.to_jwk()));
    key.state = KeyState::Next;
    stage.shelf.change(|c| c.keys.push(key));
    let changed = stage.send(get(path).header(IF_NONE_MATCH, &tag)).await;
    assert_eq!(changed.status, 200, "in the same second");
    assert_eq!(changed.json()["keys"].as_array().unwrap().len(), 2);
    stage.shelf.change(|c| c.keys[0].state = KeyState::Compromised);
    assert_eq!(stage.get(path).await.json()["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_secret_leaves_the_public_keys() {
    let stage = stage();
    std::fs::remove_dir_all(stage.dir.path().join("signing")).unwrap();
    assert_eq!(stage.get("/corp/.well-known/jwks.json").await.status, 200);
    assert_eq!(stage.get("/corp/.well-known/jwks.json").await.status, 200);
    stage.verify("/verify", &stage.jwt(|_| ())).await.refused(
        503,
        "keys_unavailable",
        "verification keys unavailable",
    );
}

#[tokio::test]
async fn discovery_has_three_names() {
    let stage = stage_with("[audiences.\"https://api.example\"]\nalgorithm = \"ES256\"\n", |_| ());
    for path in [
        "/corp/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/corp",
        "/corp/.well-known/oauth-authorization-server",
    ] {
        let seen = stage.get(path).await;
        assert_eq!(seen.status, 200, "{path}");
        assert_eq!(seen.header(CONTENT_TYPE.as_str()), Some("application/json"));
        assert_eq!(seen.header(CACHE_CONTROL.as_str()), Some("public, max-age=300"));
        assert_eq!(seen.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str()), Some("*"));
        let document = seen.json();
        assert_eq!(document["issuer"], ISSUER);
        assert_eq!(document["jwks_uri"], format!("{ISSUER}/.well-known/jwks.json"));
        assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
        let tag = seen.header(ETAG.as_str()).unwrap().to_owned();
        assert_eq!(stage.send(get(path).header(IF_NONE_MATCH, tag)).await.status, 304);
        assert_eq!(stage.send(get(path).method("HEAD")).await.body, "");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let stage = stage();
    for path in ["/", "/corp", "/no-such-path", "/.well-known/jwks.json", "/corp/metrics"] {
        let seen = stage.get(path).await;
        assert_eq!((seen.status, seen.body.as_str()), (404, "not found\n"), "{path}");
        assert_eq!(seen.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str()), None);
    }
    for path in
        ["/healthz", "/metrics", "/corp/.well-known/jwks.json", "/corp/.well-known/openid-configuration"]
    {
        for method in ["POST", "PUT", "OPTIONS", "DELETE"] {
            let seen = stage.send(get(path).method(method)).await;
            assert_eq!((seen.status, seen.body.as_str()), (405, "method not allowed\n"), "{method} {path}");
            assert_eq!(seen.header("allow"), Some("GET, HEAD"));
        }
    }
}

#[tokio::test]
async fn health_needs_a_key_that_signs() {
    let stage = stage();
    let seen = stage.get("/healthz").await;
    assert_eq!((seen.status, seen.body.as_str()), (200, "ok\n"));
    stage.shelf.change(|c| c.keys.iter_mut().for_each(|k| k.expires_at = Some(NOW)));
    let seen = stage.get("/healthz").await;
    assert_eq!((seen.status, seen.body.as_str()), (503, "no active signing key\n"));
    stage.shelf.change(|c| c.keys.clear());
    assert_eq!(stage.get("/healthz").await.status, 503);
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let stage = stage();
    for _ in 0..2 {
        assert_eq!(stage.verify("/verify", &stage.jwt(|_| ())).await.status, 200);
    }
    assert_eq!(stage.get("/verify").await.status, 401);
    assert_eq!(stage.get("/ada").await.status, 404);
    let seen = stage.get("/metrics").await;
    assert_eq!(seen.status, 200);
    assert!(
        seen.header(CONTENT_TYPE.as_str())
            .unwrap()
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    for line in [
        "seamless_verify_total{verdict=\"ok\"} 2",
        "seamless_verify_total{verdict=\"missing_authorization\"} 1",
        "seamless_http_requests_total{path=\"verify\",status=\"200\"} 2",
        "seamless_http_requests_total{path=\"other\",status=\"404\"} 1",
    ] {
        assert!(seen.body.lines().any(|l| l == line), "{line} in\n{}", seen.body);
    }
    for private in ["ada", "SHA256", "eyJ"] {
        assert!(!seen.body.contains(private), "{private} in\n{}", seen.body);
    }
}

#[tokio::test]
async fn only_our_names_are_answered() {
    let stage = stage();
    let ask = |host: &'static str| stage.send(Request::get("/healthz").header(HOST, host));
    assert_eq!(ask("localhost:8080").await.status, 200);
    let seen = ask("evil.example").await;
    assert_eq!((seen.status, seen.body.as_str()), (421, "misdirected request\n"));
    assert_eq!(ask("a b").await.status, 400);
    assert_eq!(stage.send(Request::get("/healthz")).await.status, 400);
    let rebound =
        Request::get("/verify").header(HOST, "evil.example").header(AUTHORIZATION, stage.jwt(|_| ()));
    let seen = stage.send(rebound).await;
    assert_eq!((seen.status, seen.header("x-seamless-user")), (421, None));
    let unix = stage.send_from(Request::get("/healthz").header(HOST, "seamless-upstream"), Peer::Unix).await;
    assert_eq!(unix.status, 200, "a unix socket has no name to rebind");
}

#[tokio::test]
async fn behind_a_proxy_nobody_else_is_answered() {
    let stage = stage_with("", |o| o.behind_proxy = vec!["10.0.0.0/8".parse().unwrap()]);
    for (peer, status) in
        [("10.1.2.3", 200), ("::ffff:10.1.2.3", 200), ("127.0.0.1", 403), ("192.0.2.1", 403)]
    {
        let seen = stage.send_from(get("/healthz"), Peer::Tcp(peer.parse().unwrap())).await;
        assert_eq!(seen.status, status, "{peer}");
    }
    assert_eq!(stage.send_from(get("/healthz"), Peer::Unix).await.status, 200);
    let other = Request::get("/healthz").header(HOST, "evil.example");
    assert_eq!(
        stage.send_from(other, Peer::Tcp([10, 1, 2, 3].into())).await.status,
        421,
        "a proxy's Host is checked too"
    );
}

/// A door that listens, until this goes.
struct Open {
    at: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<()>>,
}

async fn open(stage: &Stage, options: Options) -> Open {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(Arc::clone(&stage.realm), vec![Listener::Tcp(listener)], options, stopped));
    Open { at, stop, task }
}

impl Open {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }
}

fn unix_listener(listener: std::os::unix::net::UnixListener) -> Listener {
    listener.set_nonblocking(true).unwrap();
    Listener::Unix(tokio::net::UnixListener::from_std(listener).unwrap())
}

const HEAD: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";

async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn short() -> Options {
    let limits = Limits {
        opening: Duration::from_millis(200),
        closing: Duration::from_millis(500),
        ..Limits::default()
    };
    Options { limits, ..Options::default() }
}

#[tokio::test]
async fn http_1_and_2_share_a_port() {
    let stage = stage();
    let open = open(&stage, Options::default()).await;
    let mut one = open.connect().await;
    one.write_all(format!("{HEAD}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let answer = rest(&mut one).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("\r\nserver:"), "{answer}");

    let mut two = open.connect().await;
    // RFC 9113 section 3.4: the preface, an empty SETTINGS frame.
    two.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    two.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the server's SETTINGS come back: {frame:?}");
}

#[tokio::test]
async fn slow_heads_are_cut_off() {
    let stage = stage();
    let open = open(&stage, short()).await;
    for sent in ["", "G", "PRI * HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let mut stream = open.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(2), rest(&mut stream)).await;
        assert!(closed.is_ok(), "{sent:?} still open");
    }
    let mut dripping = open.connect().await;
    let dripped = tokio::time::timeout(Duration::from_secs(3), async {
        for byte in HEAD.bytes().chain(std::iter::repeat(b'x')) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if dripping.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    assert!(dripped.await.is_ok(), "dripping stretches no deadline");
}

#[tokio::test]
async fn heads_have_a_size() {
    let stage = stage();
    let open = open(&stage, Options::default()).await;
    let with = |size: usize| {
        format!("{HEAD}Connection: close\r\nAuthorization: Bearer {}\r\n\r\n", "a".repeat(size))
    };
    let mut stream = open.connect().await;
    stream.write_all(with(9 * 1024).as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
    let mut stream = open.connect().await;
    let _ = stream.write_all(with(80 * 1024).as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let stage = stage();
    let open = open(&stage, Options::default()).await;
    let mut stream = open.connect().await;
    let head = "POST /verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    tokio::time::timeout(Duration::from_secs(2), stream.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"HTTP/1.1 401");
}

#[tokio::test]
async fn a_full_house_waits_and_goes_on() {
    let stage = stage();
    let mut options = short();
    options.limits.caps.connections = 2;
    options.limits.opening = Duration::from_millis(400);
    let open = open(&stage, options).await;
    let _idle = (open.connect().await, open.connect().await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut third = open.connect().await;
    third.write_all(format!("{HEAD}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(3), rest(&mut third)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn closing_is_bounded_and_lets_answers_out() {
    let stage = stage();
    let open = open(
        &stage,
        Options {
            limits: Limits { closing: Duration::from_millis(500), ..Limits::default() },
            ..Options::default()
        },
    )
    .await;
    let mut kept = open.connect().await;
    kept.write_all(format!("{HEAD}\r\n").as_bytes()).await.unwrap();
    let mut some = [0; 15];
    kept.read_exact(&mut some).await.unwrap();
    let mut half = open.connect().await;
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    open.stop.send(true).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(2), open.task).await;
    assert!(matches!(ended, Ok(Ok(Ok(())))), "{ended:?}");
    assert!(rest(&mut kept).await.ends_with("ok\n"));
    assert!(TcpStream::connect(open.at).await.is_err());
}

#[tokio::test]
async fn a_unix_socket_is_made_for_its_group_and_stale_ones_give_way() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = stage();
    let path = stage.dir.path().join("door.sock");
    let listener = bind_unix(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o660);
    let error = bind_unix(&path).unwrap_err();
    assert!(error.message().contains("another process listens"), "{error}");
    drop(listener);
    assert!(path.exists(), "left behind as by a kill");

    let listener = bind_unix(&path).unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(
        Arc::clone(&stage.realm),
        vec![unix_listener(listener)],
        Options::default(),
        stopped,
    ));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: upstream\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
    drop(stop);
    task.await.unwrap().unwrap();
    assert!(path.exists(), "whoever hands the socket over needs its path");
    forget_unix(&path);
    assert!(!path.exists(), "cleared away");

    std::fs::write(&path, "precious").unwrap();
    assert!(bind_unix(&path).unwrap_err().message().contains("not a socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(bind_unix(&path).is_err(), "a link is not followed");
}

#[tokio::test]
async fn tls_speaks_both_protocols() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = stage();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: stage.dir.path().join("c.pem"), key: stage.dir.path().join("k.pem") };
    std::fs::write(&files.cert, pair.cert.pem()).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let open =
        open(&stage, Options { tls: Some(Arc::new(Tls::load(files.clone()).unwrap())), ..short() }).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    for (offered, spoken) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|p| p.as_bytes().to_vec()).collect();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().unwrap();
        let mut stream = connector.connect(name, open.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), spoken.map(str::as_bytes));
        if spoken != Some("h2") {
            stream.write_all(format!("{HEAD}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
            assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
        }
    }
    let mut silent = open.connect().await;
    let closed = tokio::time::timeout(Duration::from_secs(2), rest(&mut silent)).await;
    assert!(closed.is_ok(), "a handshake that does not come is not waited for");

    let path = stage.dir.path().join("tls.sock");
    let (_stop, stopped) = watch::channel(false);
    let unix = unix_listener(bind_unix(&path).unwrap());
    let tls = Some(Arc::new(Tls::load(files).unwrap()));
    let error =
        serve(Arc::clone(&stage.realm), vec![unix], Options { tls, ..Options::default() }, stopped).await;
    assert!(error.unwrap_err().message().contains("unix socket"));
}
