//! The layer, as a service sees it: vectors, attacks, keys that change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use seamless_tower::token::{
    AccessClaims, Audiences, Digest, Ed25519Signer, MaxAge, PublicKeys, Rules, Secret, Verifier, mint_access,
    mint_seamless,
};
use seamless_tower::{Access, FetchError, Identity, KeyFetch, SeamlessLayer};
use tower::ServiceExt as _;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://login.example/corp";
const AUDIENCE: &str = "https://api.example";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn secret() -> Secret {
    Secret::new(SECRET, Digest::Sha1).unwrap()
}

fn token() -> String {
    mint_seamless("ada", now(), &secret()).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new("corp").with_secrets(vec![secret()], MaxAge::default())
}

fn jwt(signer: &Ed25519Signer) -> String {
    let claims = AccessClaims {
        issuer: ISSUER,
        subject: "ada",
        audiences: &[AUDIENCE],
        client_id: "ssh",
        issued_at: now(),
        expires_at: now() + 60,
        jti: "1",
        scopes: &["deploy"],
        groups: &["ops", "a,b"],
        amr: &[],
        ssh_fp: None,
    };
    mint_access(&claims, signer).unwrap()
}

/// Answers with who is there and with the headers that came through.
fn app(layer: SeamlessLayer) -> Router {
    async fn who(identity: Option<Identity>, request: Request<Body>) -> String {
        let access = request.extensions().get::<Access>().cloned();
        let mut seen: Vec<String> = request
            .headers()
            .iter()
            .filter(|(name, _)| name.as_str().contains("seamless"))
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        seen.sort();
        let name = identity.map_or("-".to_owned(), |identity| identity.subject().to_owned());
        let kind = match access.unwrap() {
            Access::Open => "open",
            Access::Anonymous => "anonymous",
            Access::Identity(_) => "identity",
        };
        format!("{kind} {name} {}", seen.join(" "))
    }
    Router::new()
        .route("/strict", get(async |identity: Identity| identity.subject().to_owned()))
        .fallback(who)
        .layer(layer)
}

async fn ask(app: &Router, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String, Response<()>) {
    let mut request = Request::builder().uri(path).header("host", "api.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, text, Response::from_parts(parts, ()))
}

#[tokio::test]
async fn a_good_token_brings_an_identity() {
    let app = app(SeamlessLayer::new(verifier()).with_headers());
    let header = format!("seamless {}", token());
    let (status, text, _) = ask(&app, "/", &[("authorization", &header)]).await;
    let expected = "identity ada x-seamless-groups= x-seamless-scope= x-seamless-user=ada";
    assert_eq!((status, text.as_str()), (StatusCode::OK, expected));
    let (_, text, _) = ask(&app, "/strict", &[("authorization", &header)]).await;
    assert_eq!(text, "ada");
}

#[tokio::test]
async fn a_bad_one_is_answered_as_the_design_says() {
    let app = app(SeamlessLayer::new(verifier()));
    let (status, text, response) = ask(&app, "/", &[]).await;
    assert_eq!((status, text.as_str()), (StatusCode::UNAUTHORIZED, "bad authorization header format\n"));
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["seamless realm=\"corp\"", "Bearer realm=\"corp\", error=\"invalid_token\""]);
    assert_eq!(response.headers()["cache-control"], "no-store");

    let old = mint_seamless("ada", now() - 61, &secret()).unwrap();
    let (status, text, _) = ask(&app, "/", &[("authorization", &format!("Bearer {old}"))]).await;
    assert_eq!((status, text.as_str()), (StatusCode::UNAUTHORIZED, "token expired\n"));
}

#[tokio::test]
async fn grpc_gets_its_own_answer() {
    let app = app(SeamlessLayer::new(verifier()));
    let (status, text, response) = ask(&app, "/", &[("content-type", "application/grpc+proto")]).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, ""));
    assert_eq!(response.headers()["grpc-status"], "16");
}

/// Attack: name yourself in a header, in any spelling that a server behind reads as ours.
#[tokio::test]
async fn inbound_identity_headers_never_arrive() {
    let rules = Rules::from_json(r#"{"rules": [{"path_prefix": "/", "need": "optional"}]}"#).unwrap();
    let app = app(SeamlessLayer::new(verifier().with_rules(rules)).with_headers());
    for name in ["X-Seamless-User", "x_seamless_user", "X-Seamless_Groups", "x-seamless-anything"] {
        let (status, text, _) = ask(&app, "/", &[(name, "root"), (name, "admin")]).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "anonymous - "), "{name}");
    }
    let (status, _, _) = ask(&app, "/strict", &[("x-seamless-user", "root")]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

/// Attack: two credentials, of which each server believes another.
#[tokio::test]
async fn two_credentials_are_none() {
    let app = app(SeamlessLayer::new(verifier()));
    let good = format!("seamless {}", token());
    for headers in [
        vec![("authorization", good.as_str()), ("authorization", good.as_str())],
        vec![("authorization", "seamless x.y.z"), ("authorization", good.as_str())],
    ] {
        assert_eq!(ask(&app, "/", &headers).await.0, StatusCode::UNAUTHORIZED);
    }
    let joined = format!("{good}, {good}");
    assert_eq!(ask(&app, "/", &[("authorization", &joined)]).await.0, StatusCode::UNAUTHORIZED);
}

/// Mistake: the layer was forgotten.
#[tokio::test]
async fn without_the_layer_nobody_is_anonymous() {
    async fn optional(_: Option<Identity>) {}
    async fn required(_: Identity) {}
    let app: Router = Router::new().route("/optional", get(optional)).route("/required", get(required));
    for path in ["/optional", "/required"] {
        assert_eq!(ask(&app, path, &[]).await.0, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
}

#[tokio::test]
async fn rules_see_the_path_as_it_was_sent() {
    let rules =
        r#"{"rules": [{"path_prefix": "/open", "need": "open"}, {"path_prefix": "/", "need": "required"}]}"#;
    let app = app(SeamlessLayer::new(verifier().with_rules(Rules::from_json(rules).unwrap())));
    assert_eq!(ask(&app, "/open/x", &[]).await.1, "open - ");
    assert_eq!(ask(&app, "/opener", &[]).await.0, StatusCode::UNAUTHORIZED);
    for path in ["/open/../admin", "/open/%2e%2e/admin", "/open%2fadmin", "//open", "/open;x", "/open/%00"] {
        assert_eq!(ask(&app, path, &[]).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
    let two_hosts = [("host", "other.example")];
    assert_eq!(ask(&app, "/open/x", &two_hosts).await.0, StatusCode::BAD_REQUEST);
}

/// An issuer on loopback that answers with whatever stands in `keys`, and counts.
struct Issuer {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
        let (text, count) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(text.lock().unwrap().as_bytes());
            }
        });
        Self { url, answer, asked }
    }

    fn publish(&self, signers: &[&Ed25519Signer]) {
        let keys = signers.iter().map(|signer| signer.public_key()).collect();
        let body = PublicKeys::from_keys(ISSUER, keys).unwrap().to_jwks();
        self.say(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: max-age=300\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ));
    }

    fn say(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.to_owned();
    }

    /// Whose clock can be put forward.
    fn layer_with(&self, ahead: &Arc<AtomicU64>) -> SeamlessLayer {
        let ahead = Arc::clone(ahead);
        let keys = KeyFetch::new(ISSUER, &self.url)
            .unwrap()
            .with_clock(move || now() + ahead.load(Ordering::SeqCst));
        let verifier = Verifier::new("corp").with_issuer(ISSUER, Audiences::new([AUDIENCE]).unwrap());
        SeamlessLayer::fetching(verifier, keys).unwrap()
    }

    fn layer(&self) -> (SeamlessLayer, Arc<Mutex<Vec<String>>>) {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&warnings);
        let keys = KeyFetch::new(ISSUER, &self.url)
            .unwrap()
            .on_warning(move |text| heard.lock().unwrap().push(text.to_owned()));
        let verifier = Verifier::new("corp").with_issuer(ISSUER, Audiences::new([AUDIENCE]).unwrap());
        (SeamlessLayer::fetching(verifier, keys).unwrap(), warnings)
    }
}

async fn until_it_is(app: &Router, header: &str, wanted: StatusCode) {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, text, _) = ask(app, "/", &[("authorization", header)]).await;
        if status == wanted {
            return;
        }
        assert!(Instant::now() < limit, "{status} {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn keys_are_fetched_and_fetched_again_for_a_new_one() {
    let (old, new) = (Ed25519Signer::from_seed(&[1; 32]), Ed25519Signer::from_seed(&[2; 32]));
    let issuer = Issuer::start();
    issuer.publish(&[&old]);
    let ahead = Arc::new(AtomicU64::new(0));
    let app = app(issuer.layer_with(&ahead));
    let (by_old, by_new) = (format!("Bearer {}", jwt(&old)), format!("Bearer {}", jwt(&new)));
    until_it_is(&app, &by_old, StatusCode::OK).await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);

    // Not within half a minute of the last fetch: anybody can send an unknown key.
    issuer.publish(&[&old, &new]);
    assert_eq!(ask(&app, "/", &[("authorization", &by_new)]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    ahead.store(31, Ordering::SeqCst);
    // The request waits for the one fetch that its key brings about.
    assert_eq!(ask(&app, "/", &[("authorization", &by_new)]).await.0, StatusCode::OK);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);

    // One more unknown key costs no more fetches, and a second at most.
    let forged = format!("Bearer {}", jwt(&Ed25519Signer::from_seed(&[3; 32])));
    let began = Instant::now();
    assert_eq!(ask(&app, "/", &[("authorization", &forged)]).await.0, StatusCode::UNAUTHORIZED);
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn before_the_first_keys_it_is_503_and_no_wrong_answer_is_taken() {
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    let issuer = Issuer::start();
    for answer in [
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_owned(),
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", " ".repeat(70_000)),
    ] {
        issuer.say(&answer);
        let (layer, warnings) = issuer.layer();
        let app = app(layer);
        let header = format!("Bearer {}", jwt(&signer));
        let limit = Instant::now() + Duration::from_secs(20);
        while warnings.lock().unwrap().is_empty() {
            assert!(Instant::now() < limit, "no warning after {answer:.40}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (status, text, _) = ask(&app, "/", &[("authorization", &header)]).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer:.40}");
        assert_eq!(text, "verification keys unavailable\n");
        let said = warnings.lock().unwrap().join("\n");
        assert!(!said.contains(&header[7..]), "no token in a warning: {said}");
    }
}

#[test]
fn keys_come_by_https_or_from_loopback() {
    for good in
        ["https://login.example/jwks.json", "http://127.0.0.1:8/x", "http://[::1]:8/x", "http://localhost/x"]
    {
        assert!(KeyFetch::new(ISSUER, good).is_ok(), "{good}");
    }
    for bad in ["http://login.example/x", "http://127.0.0.1.example/x", "ftp://localhost/x", "/x"] {
        let error = KeyFetch::new(ISSUER, bad).err();
        assert!(matches!(error, Some(FetchError::NotHttps | FetchError::Url(_))), "{bad}");
    }
}
