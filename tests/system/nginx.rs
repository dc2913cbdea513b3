//! nginx with `auth_request`, configured by the example that users copy.

use std::path::{Path, PathBuf};

use seamless_tests::crtauth::{Door, Originals};
use seamless_tests::http::{Http, free_port, mirror};
use seamless_tests::process::{Running, run};
use seamless_tests::serve::{RULES, Served};
use seamless_tests::skip::needs;

/// nginx in front of a server that answers with what reached it.
struct Nginx {
    front: Http,
    running: Running,
}

fn start(program: &Path, served: &Served) -> Nginx {
    start_with(program, served, "")
}

/// With more in its `server` block.
fn start_with(program: &Path, served: &Served, more: &str) -> Nginx {
    let front = free_port();
    let folder = served.home.join("nginx");
    std::fs::create_dir_all(&folder).expect("make a folder");
    let file = configure(&folder, more, [front, mirror(), served.http.address.port()]);
    let mut nginx = served.home.command(program);
    nginx.arg("-p").arg(&folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(&file);
    let mut test = served.home.command(program);
    test.args(nginx.get_args()).arg("-t");
    let _ = run(&mut test).ok();
    let mut running = Running::start(nginx.args(["-g", "daemon off; master_process off;"]));
    let front = Http::local(front);
    running.wait_for("nginx", |_| std::net::TcpStream::connect(front.address).ok());
    Nginx { front, running }
}

/// The example as it stands, but for its ports and the folders that need root.
fn configure(folder: &Path, more: &str, ports: [u16; 3]) -> PathBuf {
    let path = seamless_tests::root().join("edge-examples/nginx/nginx.conf");
    let example =
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = example.replacen("server {", &format!("server {{\n{more}"), 1);
    for (from, mark) in [("8081", "@FRONT@"), ("9000", "@UPSTREAM@"), ("8080", "@SEAMLESS@")] {
        assert!(text.contains(from), "the example has port {from}");
        text = text.replace(from, mark);
    }
    for (mark, port) in ["@FRONT@", "@UPSTREAM@", "@SEAMLESS@"].iter().zip(ports) {
        text = text.replace(mark, &port.to_string());
    }
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .filter(|name| !text.contains(&format!("{name}_temp_path")))
        .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
        .collect();
    let logs = if text.contains("access_log") { "" } else { "access_log off;\n" };
    let inside = format!("{folders}{logs}");
    if let Some((before, after)) = text.split_once("http {") {
        text = format!("{before}http {{\n{inside}{after}");
    } else {
        text = format!("events {{}}\nhttp {{\n{inside}{text}\n}}\n");
    }
    if !text.contains("\npid ") && !text.starts_with("pid ") {
        text = format!("pid {}/nginx.pid;\n{text}", folder.display());
    }
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).expect("write nginx.conf");
    file
}

/// Attacks: name another request than the one that is sent, in each of the headers that any proxy uses for it; and
/// paths that nginx reads otherwise than the service behind.
#[test]
fn the_rules_judge_what_is_forwarded() {
    let Some(program) = needs("nginx") else { return };
    let served = Served::by_rules(RULES);
    let nginx = start(&program, &served);
    let front = &nginx.front;
    let open = front.get("/open/x?y=1", &[("X-Seamless-User", "mallory")]).status(200);
    assert!(open.body.starts_with("GET /open/x?y=1 "), "{}", open.body);
    assert_eq!(values(&open.body, "x-seamless-user"), [""; 0], "{}", open.body);
    let _ = front.get("/maybe", &[("X-Seamless-User", "mallory")]).status(200);
    let _ = front.get("/", &[]).status(401);
    let _ = front.get("/opener", &[]).status(401);
    let _ = front.get_as("b.example", "/open/b", &[]).status(401);
    let _ = front.get("/maybe", &[("Authorization", "Bearer nonsense")]).status(401);

    let header = format!("Bearer {}", served.token());
    let _ = front.get("/x", &[("Authorization", &header)]).status(200);
    let poor = front.get("/admin", &[("Authorization", &header)]).status(403);
    assert!(poor.body.starts_with("insufficient scope"), "{}", poor.body);

    for name in ["X-Forwarded-Uri", "X-Original-URI", "X-Original-URL", "X-Rewrite-URL", "X_Forwarded_Uri"] {
        let _ = front.get("/admin", &[(name, "/open")]).status(401);
    }
    for (name, value) in [("X-Forwarded-Method", "GET"), ("X-Forwarded-Host", "a.example")] {
        let _ = front.get_as("b.example", "/open/b", &[(name, value)]).status(401);
    }
    for path in ["/open/../admin", "/open/%2e%2e/admin", "/open%2f..%2fadmin", "//admin", "/open;/../admin"] {
        let seen = front.get(path, &[("Authorization", &header)]).status(403);
        assert!(seen.body.starts_with("bad request path"), "{path}: {}", seen.body);
    }
    // The query says nothing about the path, and the path is compared as it is forwarded.
    let _ = front.get("/admin?/open", &[]).status(401);
    let _ = front.get("/%61dmin", &[("Authorization", &header)]).status(403);
}

/// The lines of docs/migrate-from-crtauth.md, and the original's plugin, which sends the body and the query along.
#[test]
fn the_originals_plugin_logs_in_through_it() {
    let (Some(program), Some(originals)) = (needs("nginx"), Originals::find()) else { return };
    let page = std::fs::read_to_string(seamless_tests::root().join("docs/migrate-from-crtauth.md"))
        .expect("the page");
    let lines =
        page.split_once("```nginx\n").and_then(|(_, rest)| rest.split_once("```")).expect("its lines").0;
    let door = Door::start("");
    let nginx = start_with(&program, &door.served, lines);
    let url = format!("http://localhost:{}/x?y=1", nginx.front.address.port());
    for request in [["GET", "0"], ["POST", "200000"]] {
        let words = [&["plugin", "1", &url, "ada"], request.as_slice()].concat();
        let said = originals.client(&door.served.home, &door.agent, &words);
        assert_eq!(said["handshake"].to_string(), "[401,200,200]", "{said}");
        let body = said["body"].as_str().unwrap_or_default();
        assert!(body.starts_with(&format!("{} /x?y=1 ", request[0])), "{said}");
        assert_eq!(values(body, "x-seamless-user"), ["ada"], "{said}");
    }
}

#[test]
fn a_token_opens_and_the_identity_goes_on() {
    let Some(program) = needs("nginx") else { return };
    let served = Served::start();
    let mut nginx = start(&program, &served);
    let token = served.token();
    let subject = served.verify(&token).status(200).json()["subject"].as_str().unwrap_or_default().to_owned();
    let header = format!("Bearer {token}");

    let passed = nginx.front.get("/x", &[("Authorization", &header)]).status(200);
    assert_eq!(
        values(&passed.body, "x-seamless-user"),
        [subject.as_str()],
        "what reached the service:\n{}",
        passed.body
    );

    let spoofed = nginx
        .front
        .get(
            "/x",
            &[
                ("Authorization", &header),
                ("X-Seamless-User", "mallory"),
                ("x_seamless_user", "mallory"),
                ("X-Seamless-Groups", "admins"),
                ("X-Seamless-Scope", "everything"),
            ],
        )
        .status(200);
    assert_eq!(values(&spoofed.body, "x-seamless-user"), [subject.as_str()], "{}", spoofed.body);
    for forged in ["mallory", "admins", "everything"] {
        assert!(
            !spoofed.body.contains(forged),
            "a client's own identity header reached the service:\n{}",
            spoofed.body
        );
    }
    assert!(nginx.running.alive(), "{}", nginx.running.transcript());
}

#[test]
fn without_a_good_token_it_stays_shut() {
    let Some(program) = needs("nginx") else { return };
    let served = Served::start();
    let nginx = start(&program, &served);
    for (headers, first) in [
        (vec![], "bad authorization header format"),
        (vec![("Authorization", "Bearer eyJ.e30.AAAA")], "invalid token"),
        (vec![("X-Seamless-User", "root")], "bad authorization header format"),
    ] {
        let answer = nginx.front.get("/x", &headers).status(401);
        assert!(answer.body.starts_with(first), "the body says why: {answer:#?}");
        let challenges: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "www-authenticate")
            .map(|(_, value)| value)
            .collect();
        assert!(
            challenges.iter().any(|value| value.contains("seamless realm=")),
            "what the original's client looks for: {answer:#?}"
        );
    }
}

#[test]
fn a_revoked_token_is_refused_at_once() {
    let Some(program) = needs("nginx") else { return };
    let served = Served::start();
    let nginx = start(&program, &served);
    let token = served.token();
    let header = format!("Bearer {token}");
    let subject = served.verify(&token).status(200).json()["subject"].as_str().unwrap_or_default().to_owned();
    let _ = nginx.front.get("/x", &[("Authorization", &header)]).status(200);
    let _ = run(&mut seamless_tests::realm::lock(&served.home, &served.dir, &subject)).ok();
    let _ = nginx.front.get("/x", &[("Authorization", &header)]).status(401);
}

/// Every value of a header in the mirrored head.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}
