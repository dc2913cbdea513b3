//! Caddy with `forward_auth`, configured by the example that users copy.

use std::path::Path;

use seamless_tests::http::{Http, free_port, mirror};
use seamless_tests::process::Running;
use seamless_tests::serve::{RULES, Served};
use seamless_tests::skip::needs;

/// Caddy in front of a server that answers with what reached it.
struct Caddy {
    front: Http,
    _running: Running,
}

fn start(program: &Path, served: &Served) -> Caddy {
    let front = free_port();
    let example = seamless_tests::root().join("edge-examples/caddy/Caddyfile");
    let mut text = std::fs::read_to_string(&example).expect("the example");
    for (from, mark) in [("8081", "@FRONT@"), ("9000", "@UPSTREAM@"), ("8080", "@SEAMLESS@")] {
        assert!(text.contains(from), "the example has port {from}");
        text = text.replace(from, mark);
    }
    // The example's host is what the browser asks for; here the tests ask for many.
    text = text.replace("http://127.0.0.1:@FRONT@ {", "http://:@FRONT@ {\n\tbind 127.0.0.1");
    for (mark, port) in
        [("@FRONT@", front), ("@UPSTREAM@", mirror()), ("@SEAMLESS@", served.http.address.port())]
    {
        text = text.replace(mark, &port.to_string());
    }
    let file = served.home.join("Caddyfile");
    std::fs::write(&file, text).expect("write the Caddyfile");
    let mut caddy = served.home.command(program);
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
    let mut running = Running::start(&mut caddy);
    let front = Http::local(front);
    running.wait_for("caddy", |_| std::net::TcpStream::connect(front.address).ok());
    Caddy { front, _running: running }
}

#[test]
fn a_token_opens_and_the_identity_goes_on() {
    let Some(program) = needs("caddy") else { return };
    let served = Served::start();
    let caddy = start(&program, &served);
    let token = served.token();
    let subject = served.verify(&token).status(200).json()["subject"].as_str().unwrap_or_default().to_owned();
    let header = format!("Bearer {token}");
    let spoofed = [
        ("Authorization", header.as_str()),
        ("X-Seamless-User", "mallory"),
        ("x_seamless_user", "mallory"),
        ("X-Seamless-Groups", "admins"),
        ("X-Seamless_Scope", "everything"),
    ];
    let passed = caddy.front.get("/x", &spoofed).status(200);
    assert_eq!(values(&passed.body, "x-seamless-user"), [subject.as_str()], "{}", passed.body);
    for forged in ["mallory", "admins", "everything", "Bearer"] {
        assert!(!passed.body.contains(forged), "{forged} reached the service:\n{}", passed.body);
    }
    let answer = caddy.front.get("/x", &[]).status(401);
    assert!(answer.body.starts_with("bad authorization header format"), "{answer:#?}");
    let _ = caddy.front.get("/x", &[("Authorization", "Bearer eyJ.e30.AAAA")]).status(401);

    // Attack: a query that would be the verifier's, had it been passed on; the audience would be the client's choice.
    for path in ["/x?audience=https://elsewhere.example", "/x?scope=admin", "/x?y"] {
        let passed = caddy.front.get(path, &[("Authorization", &header)]).status(200);
        assert!(passed.body.starts_with(&format!("GET {path} ")), "{}", passed.body);
    }
}

/// Attacks: name another request than the one that is sent, and paths that are read in two ways.
#[test]
fn the_rules_judge_what_is_forwarded() {
    let Some(program) = needs("caddy") else { return };
    let served = Served::by_rules(RULES);
    let caddy = start(&program, &served);
    let front = &caddy.front;
    let open = front.get("/open/x?y=1", &[("X-Seamless-User", "mallory")]).status(200);
    assert!(open.body.starts_with("GET /open/x?y=1 "), "{}", open.body);
    assert!(!open.body.contains("mallory"), "{}", open.body);
    let _ = front.get("/maybe", &[]).status(200);
    let _ = front.get("/opener", &[]).status(401);
    let _ = front.get_as("b.example", "/open/b", &[]).status(401);

    let header = format!("Bearer {}", served.token());
    let _ = front.get("/x", &[("Authorization", &header)]).status(200);
    let _ = front.get("/admin", &[("Authorization", &header)]).status(403);
    for name in ["X-Forwarded-Uri", "X-Original-URI", "X_Forwarded_Uri"] {
        let _ = front.get("/admin", &[(name, "/open")]).status(401);
    }
    for (name, value) in [("X-Forwarded-Method", "GET"), ("X-Forwarded-Host", "a.example")] {
        let _ = front.get_as("b.example", "/open/b", &[(name, value)]).status(401);
    }
    for path in ["/open/../admin", "/open/%2e%2e/admin", "/open%2f..%2fadmin", "//admin", "/open;/../admin"] {
        let _ = front.get(path, &[("Authorization", &header)]).status(403);
    }
    let _ = front.get("/%61dmin", &[("Authorization", &header)]).status(403);
}

fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}
