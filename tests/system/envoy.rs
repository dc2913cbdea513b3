//! Envoy with the filter, configured by the example that users copy, and attacked.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seamless_tests::envoy::{Envoy, command, needs};
use seamless_tests::home::Home;
use seamless_tests::http::{Http, Response, free_port, mirror};
use seamless_tests::process::run;
use seamless_tests::realm::Realm;
use seamless_tests::serve::Served;
use seamless_tests::skip::skip;
use serde_json::{Value, json};

/// The example, with the ports of one test.
struct Example {
    program: PathBuf,
    home: Home,
    yaml: String,
    front: u16,
    admin: u16,
}

impl Example {
    /// In front of a server that answers with what reached it; keys come from the port `seamless`.
    fn new(seamless: u16) -> Option<Self> {
        let (program, filter) = needs()?;
        let (front, admin) = (free_port(), free_port());
        let path = seamless_tests::root().join("edge-examples/envoy/envoy.yaml");
        let mut yaml = std::fs::read_to_string(&path).expect("the example");
        let changes = [
            ("8082", "@FRONT@", front.to_string()),
            ("9901", "@ADMIN@", admin.to_string()),
            ("9000", "@SERVICE@", mirror().to_string()),
            ("8080", "@SEAMLESS@", seamless.to_string()),
            ("filename: seamless-filter.wasm", "@FILTER@", format!("filename: {}", filter.display())),
        ];
        for (from, mark, _) in &changes {
            assert!(yaml.contains(from), "the example has {from}");
            yaml = yaml.replace(from, mark);
        }
        for (_, mark, to) in &changes {
            yaml = yaml.replace(mark, to);
        }
        Some(Self { program, home: Home::new(), yaml, front, admin })
    }

    /// The filter's settings, changed.
    fn settings(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let (start, end) = self.settings_at();
        let mut settings = serde_json::from_str(&self.yaml[start..end]).expect("settings");
        change(&mut settings);
        self.yaml.replace_range(start..end, &format!("\n{:20}{settings}\n{:10}", "", ""));
        self
    }

    fn settings_at(&self) -> (usize, usize) {
        let start = self.yaml.find("value: |").expect("settings") + "value: |".len();
        let end = self.yaml[start..].find("- name: envoy.filters.http.router").expect("their end") + start;
        (start, end)
    }

    fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.yaml.contains(from), "the example has {from}");
        self.yaml = self.yaml.replace(from, to);
        self
    }

    /// Envoy itself looks at no path and no name: what is turned away, the filter turned away.
    fn bare(self) -> Self {
        self.replace("normalize_path: true", "normalize_path: false")
            .replace("merge_slashes: true", "merge_slashes: false")
            .replace(
                "path_with_escaped_slashes_action: REJECT_REQUEST",
                "path_with_escaped_slashes_action: KEEP_UNCHANGED",
            )
            .replace(
                "headers_with_underscores_action: REJECT_REQUEST",
                "headers_with_underscores_action: ALLOW",
            )
    }

    #[track_caller]
    fn start(&self, environment: &[(&str, &str)]) -> (Envoy, Http) {
        let envoy = Envoy::start(&self.program, &self.home, &self.yaml, self.admin, environment);
        (envoy, Http::local(self.front))
    }

    /// Started with a configuration that must not come up; what it says.
    fn refused(&self, environment: &[(&str, &str)]) -> String {
        run(&mut command(&self.program, &self.home, &self.yaml, environment)).fails().stderr
    }
}

/// Asks with a token until the answer has this status: Envoy serves before its workers have fetched the keys.
#[track_caller]
fn until(front: &Http, status: u16, path: &str, headers: &[(&str, &str)]) -> Response {
    let start = Instant::now();
    loop {
        let answer = front.get(path, headers);
        if answer.status == status || start.elapsed() > Duration::from_secs(20) {
            return answer.status(status);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Every value of a header in the mirrored head.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// The token with another signature of the same length.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let first = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{first}{}", &signature[1..])
}

/// A server that answers every `GET` with what is in the box, or hangs up where that is empty; it can be counted.
struct Issuer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<String>>,
}

impl Issuer {
    fn start(port: u16, answer: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port");
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(answer)));
        let (notes, box_) = (Arc::clone(&asked), Arc::clone(&answer));
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                let mut head = String::new();
                let mut reader = BufReader::new(&stream);
                while matches!(reader.read_line(&mut head), Ok(1..)) && !head.ends_with("\r\n\r\n") {}
                notes.lock().unwrap_or_else(PoisonError::into_inner).push(head);
                let answer = box_.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Self { port, asked, answer }
    }

    fn says(&self, answer: String) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ok(body: &str, headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn jwks(served: &Served) -> String {
    served.http.get("/demo/.well-known/jwks.json", &[]).status(200).body
}

/// Trusts the keys of `served` as they are now, given in the configuration.
fn inline(settings: &mut Value, served: &Served) {
    let issuer = format!("http://127.0.0.1:{}/demo", served.http.address.port());
    let settings = settings.as_object_mut().expect("an object");
    settings.retain(|name, _| !name.starts_with("jwks"));
    settings.insert("jwks".into(), serde_json::from_str(&jwks(served)).expect("a key set"));
    settings.insert("issuer".into(), json!(issuer));
    settings.insert("audience".into(), json!(issuer));
}

#[test]
fn the_whole_way() {
    let served = Served::start();
    let Some(example) = Example::new(served.http.address.port()) else { return };
    let (mut envoy, front) = example.start(&[]);
    let token = served.token();
    let subject = served.verify(&token).status(200).json()["subject"].as_str().unwrap_or_default().to_owned();
    let good = bearer(&token);

    // A token by ssh opens, and the service learns who it is, but not the token.
    let passed = until(&front, 200, "/x", &[("Authorization", &good)]);
    assert_eq!(values(&passed.body, "x-seamless-user"), [subject.as_str()], "{}", passed.body);
    assert_eq!(values(&passed.body, "authorization"), [""; 0], "{}", passed.body);

    // Nobody says who they are by themselves.
    let spoofed = [
        ("Authorization", good.as_str()),
        ("X-Seamless-User", "mallory"),
        ("x-seamless-USER", "mallory"),
        ("X-Seamless-Groups", "mallory"),
        ("X-Seamless-Scope", "mallory"),
        ("X-Seamless-Whatever", "mallory"),
    ];
    let passed = front.get("/x", &spoofed).status(200);
    assert_eq!(values(&passed.body, "x-seamless-user"), [subject.as_str()], "{}", passed.body);
    assert!(!passed.body.contains("mallory"), "{}", passed.body);
    for path in ["/open/x", "/hello"] {
        let passed = front.get(path, &spoofed[1..]).status(200);
        assert!(!passed.body.contains("mallory"), "{path}: {}", passed.body);
    }
    let _ = front.get("/x", &[("Authorization", &good), ("x_seamless_user", "mallory")]).status(400);

    // What is no good token.
    let other = Served::start();
    let short = served.login(&["token", "-t", "1s"]).ok().line();
    let forgery = bearer(&forged(&token));
    let foreign = bearer(&other.token());
    for (authorization, verdict) in [
        (None, "missing_authorization"),
        (Some(forgery.as_str()), "bad_signature"),
        (Some(foreign.as_str()), "unknown_key"),
        (Some("Bearer ada.ZVPxAA.AAAA"), "malformed"),
        (Some("Basic YTpi"), "bad_authorization"),
    ] {
        let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
        let answer = front.get("/x", &headers).status(401);
        let challenges: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "www-authenticate")
            .map(|(_, v)| v.as_str())
            .collect();
        assert_eq!(
            challenges,
            ["seamless realm=\"demo\"", "Bearer realm=\"demo\", error=\"invalid_token\""],
            "{answer:#?}"
        );
        assert!(!answer.body.contains("mirror"), "{answer:#?}");
        assert!(envoy.stat(&format!("wasmcustom.seamless_verdict_{verdict}")) > 0, "{verdict}");
    }
    for pair in [[&good, &forgery], [&forgery, &good], [&good, &good]] {
        let twice = pair.map(|value| ("Authorization", value.as_str()));
        let _ = front.get("/x", &twice).status(401);
    }
    let answer = front.get("/admin/x", &[("Authorization", &good)]).status(403);
    assert_eq!(answer.body, "insufficient scope\n");
    std::thread::sleep(Duration::from_secs(7));
    let answer = front.get("/x", &[("Authorization", &bearer(&short))]).status(401);
    assert_eq!(answer.body, "token expired\n");

    // The log says who and why, and nothing that opens a door.
    let line = envoy.wait_for_line("a line of the access log", |line| line.contains("\"expired\""));
    assert!(line.contains("\"status\":401"), "{line}");
    let line = envoy.wait_for_line("a line of the access log", |line| line.contains("\"ok\""));
    assert!(line.contains(&format!("\"subject\":\"{subject}\"")), "{line}");
    let prometheus = envoy.admin.get("/stats/prometheus", &[]).status(200).body;
    assert!(prometheus.contains("seamless_verdict_expired"), "the counter is exported");
    let printed = envoy.transcript() + &prometheus + &envoy.admin.get("/config_dump", &[]).body;
    for token in [&token, &short] {
        for piece in token.split('.').skip(1) {
            assert!(!printed.contains(piece), "a token was written");
        }
    }

    // The issuer rotates. Half a minute after the last fetch an unknown key brings the next one forward, and the request
    // waits for it.
    let rotate = ["signing-key", "rotate", "--now"];
    let _ = run(&mut served.verb(&rotate)).ok();
    let mut rotated = bearer(&served.token());
    if served.token().split('.').next() == token.split('.').next() {
        let _ = run(&mut served.verb(&rotate)).ok();
        rotated = bearer(&served.token());
    }
    std::thread::sleep(Duration::from_secs(31));
    let passed = front.get("/x", &[("Authorization", &rotated)]).status(200);
    assert_eq!(values(&passed.body, "x-seamless-user"), [subject.as_str()], "{}", passed.body);
    assert!(envoy.alive(), "{}", envoy.transcript());
}

#[test]
fn attacks_that_envoy_lets_through() {
    let served = Served::start();
    let Some(example) = Example::new(served.http.address.port()) else { return };
    let example = example.bare().settings(|settings| inline(settings, &served));
    let (mut envoy, front) = example.start(&[]);
    let good = bearer(&served.token());

    let passed = front.get(
        "/x",
        &[("Authorization", &good), ("x_seamless_user", "mallory"), ("X_Seamless-Groups", "mallory")],
    );
    assert!(!passed.status(200).body.contains("mallory"));

    for path in [
        "/open/../admin",
        "/open/./x",
        "/open%2f..%2fadmin",
        "/open/%2e%2E/admin",
        "//admin",
        "/open//x",
        "/open;x/../admin",
        "/open/..\\admin",
        "/open%5C..%5cadmin",
        "/open%00/x",
        "/open%25%32%65/x",
    ] {
        let answer = front.get(path, &[("Authorization", &good)]);
        assert_eq!(answer.status, 400, "{path}: {answer:#?}");
        assert!(answer.body == "bad request path\n" || path.contains("%00"), "{path}: {answer:#?}");
    }
    for path in ["/OPEN/x", "/opener", "/%6Fpen%20", "/admin?/open", "/admin?x=/open/"] {
        let _ = front.get(path, &[]).status(401);
    }
    let passed = front.get("/%6Fpen/x", &[]).status(200);
    assert!(passed.body.starts_with("GET /%6Fpen/x "), "what was judged goes on: {}", passed.body);
    // Host decides nothing here, but what can't be read is turned away.
    let _ = front.get_as("open@127.0.0.1", "/open/x", &[]).status(400);

    let upgrade = [("Connection", "upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
    assert!(matches!(front.get("/x", &upgrade).status, 401 | 403));

    for (path, headers, status) in [
        ("/pack.Service/Method", vec![], "16"),
        ("/admin/pack.Service", vec![("Authorization", good.as_str())], "7"),
    ] {
        let answer =
            front.get(path, &[headers, vec![("Content-Type", "application/grpc")]].concat()).status(200);
        assert_eq!(answer.header("grpc-status"), Some(status), "{answer:#?}");
        assert!(!answer.header("grpc-message").unwrap_or_default().contains("%0A"), "{answer:#?}");
    }
    assert!(envoy.alive(), "{}", envoy.transcript());
}

#[test]
fn a_wrong_configuration_never_opens() {
    let served = Served::start();
    let Some(_) = Example::new(1) else { return };
    let refused = |change: &dyn Fn(&mut Value), says: &str| {
        let example = Example::new(served.http.address.port()).expect("the same").settings(|s| change(s));
        let said = example.refused(&[]);
        assert!(said.contains("seamless: configuration: ") && said.contains(says), "{says}\n{said}");
    };
    refused(&|s| s["leeway"] = json!(61), "leeway");
    refused(&|s| s["dry-run"] = json!(true), "dry-run");
    refused(&|s| s["issuer"] = json!(""), "issuer");
    refused(&|s| s["rules"]["rules"][0]["need"] = json!("maybe"), "need");
    refused(&|s| s["secrets"] = json!([{"env": "NOT_HANDED_IN"}]), "NOT_HANDED_IN");
    refused(&|s| _ = s.as_object_mut().map(|s| s.remove("audience")), "audience");
    // Not by whoever can read the configuration, either.
    let example =
        Example::new(1).expect("the same").settings(|s| s["secrets"] = json!([{"value": "too short"}]));
    assert!(!example.refused(&[]).contains("too short"));
}

#[test]
fn without_keys_it_stays_shut_and_recovers() {
    let served = Served::start();
    let port = free_port();
    let Some(example) = Example::new(port) else { return };
    let issuer = format!("http://127.0.0.1:{}/demo", served.http.address.port());
    let example = example.settings(|settings| {
        settings["issuer"] = json!(issuer);
        settings["audience"] = json!(issuer);
    });
    let (mut envoy, front) = example.start(&[]);
    let good = bearer(&served.token());
    let headers = [("Authorization", good.as_str())];
    let answer = front.get("/x", &headers).status(503);
    assert_eq!(answer.body, "verification keys unavailable\n");
    let _ = front.get("/open/x", &[]).status(200);
    let _ = envoy.wait_for_line("a warning", |line| line.contains("seamless: jwks_cluster seamless"));

    // Somewhere else is not followed, and what is no key set is not taken.
    let keys = jwks(&served);
    let moved = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        served.http.address.port()
    );
    let server = Issuer::start(port, moved);
    std::thread::sleep(Duration::from_secs(2));
    let _ = front.get("/x", &headers).status(503);
    server.says(ok(&format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(70_000)), ""));
    std::thread::sleep(Duration::from_secs(3));
    let _ = front.get("/x", &headers).status(503);
    server.says(ok(&keys, "ETag: \"1\"\r\nCache-Control: max-age=5\r\n"));
    let _ = until(&front, 200, "/x", &headers);

    // Later it may be down for a while: the keys stay. It is asked with what it said.
    server.says(String::new());
    std::thread::sleep(Duration::from_secs(7));
    let _ = front.get("/x", &headers).status(200);
    assert!(server.asked().iter().any(|head| head.to_ascii_lowercase().contains("if-none-match: \"1\"")));
    assert!(server.asked().iter().all(|head| head.starts_with("GET /demo/.well-known/jwks.json ")));
    assert!(
        envoy.stat("wasmcustom.seamless_jwks_failed") > 0
            && envoy.stat("wasmcustom.seamless_jwks_fetched") > 0
    );
    assert!(server.port == port && envoy.alive(), "{}", envoy.transcript());
}

#[test]
fn a_trap_shuts_the_door_for_a_moment() {
    let served = Served::start();
    let Some(example) = Example::new(served.http.address.port()) else { return };
    let trapping = std::env::var_os("SEAMLESS_TRAP_FILTER").map(PathBuf::from).filter(|path| path.is_file());
    let Some(trapping) = trapping else { return skip("no filter that traps; `cargo xtask wasm` makes it") };
    let mut example = example.settings(|settings| inline(settings, &served));
    let (_, filter) = needs().expect("the same");
    example = example.replace(&filter.display().to_string(), &trapping.display().to_string());
    let (mut envoy, front) = example.start(&[]);
    let good = bearer(&served.token());
    let _ = front.get("/x", &[("Authorization", &good)]).status(200);
    for _ in 0..2 {
        let answer = front.get("/x", &[("Authorization", &good), ("X-Trap", "1")]);
        assert_eq!(answer.status, 503, "{answer:#?}");
        let answer = until(&front, 200, "/x", &[("Authorization", &good), ("X-Seamless-User", "mallory")]);
        assert!(!answer.body.contains("mallory"), "{}", answer.body);
        assert_eq!(front.get("/x", &[]).status, 401);
    }
    assert!(envoy.stat("wasm.seamless.vm_reload_success") > 0, "{}", envoy.transcript());
    assert!(envoy.alive(), "{}", envoy.transcript());
}

#[test]
fn a_dry_run_judges_and_lets_pass() {
    let served = Served::start();
    let Some(example) = Example::new(served.http.address.port()) else { return };
    let example = example.settings(|settings| settings["dry_run"] = json!(true));
    let (mut envoy, front) = example.start(&[]);
    let passed = front.get("/x", &[("X-Seamless-User", "mallory")]).status(200);
    assert!(!passed.body.contains("mallory"), "{}", passed.body);
    assert_eq!(envoy.stat("wasmcustom.seamless_would_reject_missing_authorization"), 1);
    let _ = envoy.wait_for_line("a warning", |line| line.contains("dry_run is on"));
    let good = bearer(&served.token());
    let start = Instant::now();
    while values(&front.get("/x", &[("Authorization", &good)]).status(200).body, "x-seamless-user").is_empty()
    {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", envoy.transcript());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_secret_by_the_environment_is_seen_nowhere() {
    let Some(example) = Example::new(1) else { return };
    let realm = Realm::init(&[]);
    let token = realm.token("ada", &[]).ok().line();
    let secret = secret(&realm.dir);
    let example = example.settings(|settings| {
        *settings = json!({
            "realm": "demo",
            "secrets": [{"env": "SEAMLESS_SECRET", "scopes": ["admin"]}],
            "rules": settings["rules"],
        });
    });
    let (mut envoy, front) = example.start(&[("SEAMLESS_SECRET", &secret)]);
    let good = format!("seamless {token}");
    let passed = front.get("/admin/x", &[("Authorization", &good)]).status(200);
    assert_eq!(values(&passed.body, "x-seamless-user"), ["ada"], "{}", passed.body);
    assert_eq!(values(&passed.body, "x-seamless-scope"), ["admin"], "{}", passed.body);
    let _ = front.get("/x", &[("Authorization", &format!("seamless x{token}"))]).status(401);
    let admin = &envoy.admin;
    let shown: String =
        ["/config_dump", "/stats", "/server_info"].map(|path| admin.get(path, &[]).body).concat();
    assert!(!shown.contains(&secret) && !envoy.transcript().contains(&secret));
    assert!(envoy.alive(), "{}", envoy.transcript());
}

/// The realm's shared secret.
fn secret(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir.join("signing")).expect("the folder of the keys");
    let file = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "secret"));
    let text = std::fs::read_to_string(file.expect("a secret")).expect("read it");
    text.trim_end().to_owned()
}

#[test]
fn rules_arrive_while_it_runs() {
    let served = Served::start();
    let Some(example) = Example::new(served.http.address.port()) else { return };
    let mut example = example.settings(|settings| inline(settings, &served));
    // The filter's configuration moves to a file of its own, which Envoy watches (ECDS from the file system).
    let start = example.yaml.find("- name: seamless\n            typed_config:").expect("the filter");
    let end = example.yaml[start..].find("- name: envoy.filters.http.router").expect("its end") + start;
    let filter: Vec<String> = example.yaml[start..end]
        .lines()
        .skip(2)
        .map(|line| line.get(14..).unwrap_or("").to_owned())
        .collect();
    let resource = |rules: &str| {
        let filter = filter.join("\n    ").replace("/open", rules);
        format!(
            "version_info: \"{rules}\"\nresources:\n- \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig\n  \
             name: seamless\n  typed_config:\n    {filter}\n"
        )
    };
    let file = example.home.write("ecds/filter.yaml", resource("/open"));
    let discovered = format!(
        "- name: seamless\n            config_discovery:\n              config_source:\n                \
         path_config_source: {{ path: {} }}\n                resource_api_version: V3\n              type_urls: \
         [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]\n          ",
        file.display()
    );
    example.yaml.replace_range(start..end, &discovered);
    // Without a name Envoy asks nobody for anything.
    example.yaml.insert_str(0, "node: { id: front, cluster: front }\n");
    let (mut envoy, front) = example.start(&[]);
    let _ = until(&front, 200, "/open/x", &[]);
    let _ = front.get("/free/x", &[]).status(401);

    // Envoy sees a file that is moved into place.
    let next = example.home.write("ecds/next.yaml", resource("/free"));
    std::fs::rename(next, &file).expect("move it");
    let _ = until(&front, 200, "/free/x", &[]);
    let _ = front.get("/open/x", &[]).status(401);

    // A bad one changes nothing.
    let next = example.home.write("ecds/next.yaml", resource("/free/../x"));
    std::fs::rename(next, &file).expect("move it");
    let _ = envoy.wait_for_line("the refusal", |line| {
        line.contains("seamless: configuration") && line.contains("rules")
    });
    let _ = front.get("/free/x", &[]).status(200);
    let _ = front.get("/x", &[]).status(401);
    assert!(envoy.alive(), "{}", envoy.transcript());
}

#[test]
fn tokens_pass_envoys_own_filter() {
    let served = Served::start();
    let Some(mut example) = Example::new(served.http.address.port()) else { return };
    let start = example.yaml.find("- name: seamless\n            typed_config:").expect("the filter");
    let end = example.yaml[start..].find("- name: envoy.filters.http.router").expect("its end") + start;
    let issuer = format!("http://127.0.0.1:{}/demo", served.http.address.port());
    let filter = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"seamless": {
            "issuer": issuer,
            "audiences": [issuer],
            "claim_to_headers": [{"header_name": "x-subject", "claim_name": "sub"}],
            "remote_jwks": {
                "http_uri": {"uri": format!("{issuer}/.well-known/jwks.json"), "cluster": "seamless", "timeout": "5s"},
                "async_fetch": {},
            },
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "seamless"}}],
    });
    let native =
        format!("- name: envoy.filters.http.jwt_authn\n            typed_config: {filter}\n          ");
    example.yaml.replace_range(start..end, &native);
    let (mut envoy, front) = example.start(&[]);
    let token = served.token();
    let subject = served.verify(&token).status(200).json()["subject"].as_str().unwrap_or_default().to_owned();
    let passed = until(&front, 200, "/x", &[("Authorization", &bearer(&token))]);
    assert_eq!(values(&passed.body, "x-subject"), [subject.as_str()], "{}", passed.body);
    let _ = front.get("/x", &[("Authorization", &bearer(&forged(&token)))]).status(401);
    assert!(envoy.alive(), "{}", envoy.transcript());
}

#[test]
fn the_script_says_what_is_missing() {
    let script = seamless_tests::root().join("edge-examples/envoy/run.sh");
    let mut command = Command::new(script);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    let _ = run(&mut command).fails().says("run.sh: hint: ");
}
