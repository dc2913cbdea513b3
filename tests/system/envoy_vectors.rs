//! tests/vectors through the real Envoy: the same verdicts as everywhere.
//!
//! Each set of settings is a listener of its own, all in one process and one module instance; the clock is `tests/peers/clock.c`'s.
//! What HTTP/1.1 or Envoy itself can't carry to the filter is left out: a NUL in a header, white space at its end; an empty
//! header beside another of its name, which Envoy takes away. So are tokens that are no header's, with a comma or a space
//! in front.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seamless_tests::envoy::{Envoy, needs};
use seamless_tests::home::Home;
use seamless_tests::http::{free_port, mirror};
use serde_json::{Value, json};

/// A request and what is to be said about it.
struct Case {
    suite: &'static str,
    name: String,
    settings: Value,
    now: u64,
    method: String,
    authority: String,
    path: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    wanted: Vec<String>,
}

impl Case {
    fn new(suite: &'static str, name: &str, settings: Value, now: u64) -> Self {
        let (method, authority) = ("GET".to_owned(), "api.example".to_owned());
        let (headers, wanted) = (Vec::new(), Vec::new());
        Self {
            suite,
            name: name.into(),
            settings,
            now,
            method,
            authority,
            path: b"/".into(),
            headers,
            wanted,
        }
    }

    fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn bearer(self, token: &str) -> Self {
        self.header("authorization", &[b"Bearer ", token.as_bytes()].concat())
    }

    /// The verdict, and those that are right too.
    fn wants(mut self, case: &Value) -> Self {
        let or = case["or"].as_array().into_iter().flatten();
        self.wanted =
            [&case["verdict"]].into_iter().chain(or).filter_map(Value::as_str).map(Into::into).collect();
        self
    }

    /// Whether it can be written as HTTP/1.1 so that it arrives as it is.
    fn is_http(&self) -> bool {
        let value = |v: &[u8]| {
            let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
            v.iter().all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f))
                && !blank(v.first())
                && !blank(v.last())
        };
        // An empty one beside another of its name is taken away.
        let carried =
            |n: &str, v: &[u8]| !v.is_empty() || self.headers.iter().filter(|(m, _)| m == n).count() == 1;
        let token = |v: &[u8]| {
            let token = v.strip_prefix(b"Bearer ").unwrap_or_default();
            self.suite == "authorization" || !(token.starts_with(b" ") || token.contains(&b','))
        };
        let name =
            |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        self.path.starts_with(b"/")
            && self.path.iter().all(|b| *b > 0x20 && *b != 0x7f)
            && self.headers.iter().all(|(n, v)| name(n) && value(v) && carried(n, v) && token(v))
    }

    /// What Envoy answered, unparsed.
    fn send(&self, port: u16, number: usize) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("Envoy listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set a time-out");
        let mut head = format!("{} ", self.method).into_bytes();
        head.extend(&self.path);
        head.extend(
            format!(" HTTP/1.1\r\nhost: {}\r\nx-case: {number}\r\nconnection: close\r\n", self.authority)
                .bytes(),
        );
        for (name, value) in &self.headers {
            head.extend(name.bytes().chain(*b": "));
            head.extend(value);
            head.extend(*b"\r\n");
        }
        head.extend(*b"\r\n");
        stream.write_all(&head).expect("send a request");
        let mut answer = Vec::new();
        // It may reset after its answer.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn vectors(name: &str) -> Value {
    let path = seamless_tests::root().join("tests/vectors").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).expect("vectors")).expect("JSON")
}

fn items<'v>(file: &'v Value, member: &str) -> impl Iterator<Item = &'v Value> {
    file[member].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Each character is a byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// A secret of any length, for settings that take none under 16 bytes: HMAC itself fills a key up with zeros. A final
/// newline needs one as well, or it is taken off.
fn secret(value: &str) -> String {
    let block = 64;
    let mut long = value.to_owned();
    while (long.len() < 16 || long.ends_with('\n')) && long.len() < block {
        long.push('\0');
    }
    long
}

/// What headers.json, rules.json and paths.json are judged by. Their audience is for JWTs alone.
fn made(file: &Value, more: &Value) -> Value {
    let made = &file["verifier"];
    let secrets: Vec<_> = items(made, "secrets")
        .map(|s| json!({"value": secret(text(s)), "digest": made["digest"], "audience": made["audience"]}))
        .collect();
    let mut settings = json!({
        "realm": made["realm"], "secrets": secrets, "max_age": made["max_age"], "jwks": made["jwks"],
        "issuer": made["issuer"], "audience": made["audience"], "leeway": made["leeway"],
    });
    if let (Some(settings), Some(more)) = (settings.as_object_mut(), more.as_object()) {
        settings.extend(more.clone());
    }
    settings
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let number = |value: &Value| value.as_u64().unwrap_or_default();

    let file = vectors("seamless-v1.json");
    for case in items(&file, "cases") {
        let secrets: Vec<_> = items(case, "secrets")
            .map(|s| json!({"value": secret(text(s)), "digest": case["digest"]}))
            .collect();
        let settings = json!({
            "realm": "corp", "secrets": secrets, "max_age": case["max_age"], "leeway": file["leeway"],
        });
        let one = Case::new("seamless", text(&case["name"]), settings, number(&case["now"]));
        cases.push(one.bearer(text(&case["token"])).wants(case));
    }

    let file = vectors("chap.json");
    for case in items(&file, "cases") {
        let secrets: Vec<_> =
            items(case, "secrets").map(|s| json!({"value": secret(text(s)), "purpose": "chap"})).collect();
        let settings = json!({"realm": "corp", "secrets": secrets});
        let one = Case::new("chap", text(&case["name"]), settings, number(&case["now"]));
        cases.push(one.bearer(text(&case["token"])).wants(case));
    }

    let file = vectors("jwt.json");
    for case in items(&file, "cases") {
        let policy = &case["policy"];
        let mut settings = json!({
            "realm": "corp", "jwks": file["jwks"], "issuer": policy["issuer"], "audience": policy["audience"],
            "leeway": policy["leeway"],
        });
        for (name, value) in [("scope", &policy["scope"]), ("revocations", &case["revoked"])] {
            if value.as_array().is_some_and(|list| !list.is_empty()) {
                settings[name] = value.clone();
            }
        }
        let mut one = Case::new("jwt", text(&case["name"]), settings, number(&case["now"]));
        one = one.bearer(text(&case["token"])).wants(case);
        // No edge's build does RS256.
        one.wanted.push("unsupported_algorithm".into());
        cases.push(one);
    }

    let file = vectors("headers.json");
    let (settings, now) = (made(&file, &json!({})), number(&file["verifier"]["now"]));
    for case in items(&file, "authorization") {
        let mut one = Case::new("authorization", text(&case["name"]), settings.clone(), now).wants(case);
        for value in items(case, "authorization") {
            one = one.header("authorization", &latin1(text(value)));
        }
        cases.push(one);
    }
    for case in items(&file, "identity") {
        let one =
            Case::new("identity", text(&case["name"]), settings.clone(), now).bearer(text(&case["token"]));
        let headers: BTreeMap<&str, &Value> =
            case["headers"].as_object().into_iter().flatten().map(|(n, v)| (n.as_str(), v)).collect();
        cases.push(Case { wanted: vec![json!(headers).to_string()], ..one });
    }
    let open = made(&file, &json!({"rules": {"rules": [{"path_prefix": "/", "need": "open"}]}}));
    for case in items(&file, "strip") {
        let one = Case::new("strip", text(&case["name"]), open.clone(), now)
            .header(text(&case["name"]), b"mallory");
        let wanted = if case["strip"] == true { "stripped" } else { "kept" };
        cases.push(Case { wanted: vec![wanted.into()], ..one });
    }

    let file = vectors("rules.json");
    for set in items(&file, "sets") {
        let settings = made(&file, &json!({"rules": set["rules"]}));
        for (i, request) in items(set, "requests").enumerate() {
            let path = request["path"].as_str();
            let name =
                format!("{} {i} {} {}", text(&set["name"]), text(&request["method"]), path.unwrap_or("null"));
            let mut one = Case::new("rules", &name, settings.clone(), now);
            if let Some(token) = request["token"].as_str() {
                one = one.bearer(text(&file["tokens"][token]));
            }
            cases.push(Case {
                method: text(&request["method"]).into(),
                authority: text(&request["authority"]).into(),
                path: latin1(path.unwrap_or_default()),
                wanted: vec![text(&request["outcome"]).into()],
                ..one
            });
        }
    }

    let paths = vectors("paths.json");
    for case in items(&paths, "cases") {
        let Some(path) = case["path"].as_str() else { continue };
        let wanted = if case["verdict"] == "ok" { "open" } else { text(&case["verdict"]) };
        let one = Case::new("paths", path, open.clone(), now);
        cases.push(Case { path: latin1(path), wanted: vec![wanted.into()], ..one });
    }
    for case in items(&paths, "prefixes") {
        let (path, prefix) = (text(&case["path"]), text(&case["prefix"]));
        let settings = made(&file, &json!({"rules": {"rules": [{"path_prefix": prefix, "need": "open"}]}}));
        let wanted = if case["below"] == true { "open" } else { "missing_authorization" };
        let one = Case::new("prefixes", &format!("{path} below {prefix}"), settings, now);
        cases.push(Case { path: latin1(path), wanted: vec![wanted.into()], ..one });
    }
    cases
}

/// A listener for each of the settings.
fn configuration(settings: &[(Value, u16)], filter: &Path, admin: u16) -> Value {
    let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let listeners: Vec<_> = settings
        .iter()
        .map(|(settings, port)| {
            let wasm = json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": "seamless", "failure_policy": "FAIL_RELOAD",
                    "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": filter}}},
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.StringValue", "value": settings.to_string(),
                    },
                },
            });
            let manager = json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
                          HttpConnectionManager",
                "stat_prefix": "front",
                // It would wait a second for us to hang up first.
                "delayed_close_timeout": "0s",
                "common_http_protocol_options": {"headers_with_underscores_action": "ALLOW"},
                "access_log": [{"name": "stdout", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                    "log_format": {"json_format": {
                        "case": "%REQ(X-CASE)%",
                        "verdict": "%FILTER_STATE(wasm.seamless.verdict:PLAIN)%",
                        "subject": "%FILTER_STATE(wasm.seamless.subject:PLAIN)%",
                    }},
                }}],
                "route_config": {"virtual_hosts": [
                    {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service"}}]},
                ]},
                "http_filters": [
                    {"name": "seamless", "typed_config": wasm},
                    {"name": "router", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    }},
                ],
            });
            json!({
                "address": address(*port),
                "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
            })
        })
        .collect();
    json!({
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [{"name": "service", "load_assignment": {"cluster_name": "service", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(mirror())}}]},
            ]}}],
        },
    })
}

#[test]
fn envoy_says_what_the_vectors_say() {
    let Some((program, filter)) = needs() else { return };
    let home = Home::new();
    let Some(library) = seamless_tests::skip::clock(&home) else { return };
    let mut cases = cases();
    let all = cases.len();
    cases.retain(Case::is_http);
    cases.sort_by_key(|case| case.now);

    let mut settings: Vec<(Value, u16)> = Vec::new();
    for case in &cases {
        if !settings.iter().any(|(known, _)| *known == case.settings) {
            settings.push((case.settings.clone(), free_port()));
        }
    }
    let admin = free_port();
    let clock = home.write("clock", "1700000000");
    let environment =
        [("LD_PRELOAD", library.display().to_string()), ("SEAMLESS_CLOCK", clock.display().to_string())];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // JSON is YAML.
    let yaml = configuration(&settings, &filter, admin).to_string();
    let mut envoy = Envoy::start(&program, &home, &yaml, admin, &environment);

    let mut answers = Vec::new();
    let mut then = None;
    for (number, case) in cases.iter().enumerate() {
        if then != Some(case.now) {
            // Moved into place, never half written.
            let next = home.write("clock.next", case.now.to_string());
            std::fs::rename(next, &clock).expect("set the clock");
            then = Some(case.now);
        }
        let port = settings.iter().find(|(known, _)| *known == case.settings).expect("a listener").1;
        answers.push(case.send(port, number));
    }
    let last = format!("\"case\":\"{}\"", cases.len() - 1);
    let _ = envoy.wait_for_line("the last line of the access log", |line| line.contains(&last));
    let log = envoy.transcript();
    let logged: BTreeMap<usize, Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| Some((line["case"].as_str()?.parse().ok()?, line)))
        .collect();

    let mut wrong = Vec::new();
    let mut lines = Vec::new();
    let mut said_by: BTreeMap<String, (u8, String)> = BTreeMap::new();
    for (number, (case, answer)) in cases.iter().zip(&answers).enumerate() {
        let Some(log) = logged.get(&number) else { continue };
        // Envoy itself turned it away before the filter saw it.
        let Some(verdict) = log["verdict"].as_str().filter(|verdict| *verdict != "-") else { continue };
        let (got, subject) = match case.suite {
            "rules" if verdict == "ok" => ("identity".to_owned(), None),
            "identity" if verdict == "ok" => (identity(answer), None),
            "strip" if answer.contains("mallory") => ("kept".to_owned(), None),
            "strip" if verdict == "open" => ("stripped".to_owned(), None),
            "rules" | "paths" | "prefixes" => (verdict.to_owned(), None),
            _ => (verdict.to_owned(), log["subject"].as_str().filter(|_| verdict == "ok").map(decoded)),
        };
        let rejected = case.wanted.iter().any(|wanted| wanted == "rejected") && got != "ok";
        if !case.wanted.contains(&got) && !rejected {
            wrong.push(format!("{} {}: {got}, not {:?}", case.suite, case.name, case.wanted));
        }
        let mut line = json!({"suite": case.suite, "case": case.name, "got": got});
        if let Some(subject) = subject {
            line["subject"] = json!(subject);
        }
        lines.push(line.to_string());
        // Whoever rejects for the same reason says the same, but for the skew: the last of jwt.json counts, as everywhere.
        let place = match case.suite {
            "jwt" => 2,
            "authorization" | "paths" => 1,
            _ => 0,
        };
        if let Some(said) = said(answer).filter(|_| place > 0)
            && said_by.get(verdict).is_none_or(|(known, _)| *known <= place)
        {
            said_by.insert(verdict.to_owned(), (place, said));
        }
    }
    lines.extend(
        said_by
            .iter()
            .map(|(code, (_, got))| json!({"suite": "answers", "case": code, "got": got}).to_string()),
    );
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
    let judged = lines.iter().filter(|line| !line.contains("\"answers\"")).count();
    println!("{judged} of {all} cases reached the filter, in {} configurations", settings.len());
    assert!(judged * 10 > all * 8, "only {judged} of {all} cases reached the filter");
    if let Some(folder) = std::env::var_os("SEAMLESS_LINES").map(PathBuf::from) {
        std::fs::create_dir_all(&folder).expect("make a folder");
        std::fs::write(folder.join("envoy.jsonl"), lines.join("\n") + "\n").expect("write the lines");
    }
    assert!(envoy.alive(), "{}", envoy.transcript());
}

/// The three headers as the service got them.
fn identity(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let headers: BTreeMap<_, _> = body
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.starts_with("x-seamless-"))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    json!(headers).to_string()
}

/// The answer to a rejection, in the form of the other runtimes' suite.
fn said(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    if status == 200 {
        return None;
    }
    let message = body.lines().next()?;
    let challenges: Vec<_> =
        head.lines().filter_map(|line| line.strip_prefix("www-authenticate: ")).collect();
    // In the order that JavaScript writes members in.
    let mut said = format!(
        r#"{{"status":{status},"message":{},"skew":{},"sent":{status}"#,
        json!(message),
        message.contains("skew")
    );
    if matches!(status, 401 | 403) {
        said.push_str(&format!(r#","challenges":{}"#, json!(challenges.join(", "))));
    }
    Some(said + "}")
}

/// Percent-decoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let hex =
            (*byte == b'%').then(|| tail.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
