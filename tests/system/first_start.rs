//! One command, no root: `seamless serve`, and the three lines that it prints to paste.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use seamless_tests::agent::Agent;
use seamless_tests::home::{ED25519, Home, RSA, public};
use seamless_tests::http::{free_port, get_unix};
use seamless_tests::process::{Running, run};
use seamless_tests::serve::{self, Served};

/// The lines one after the other, in one shell, as they stand.
fn paste(served: &Served, lines: &[&str]) -> Command {
    let mut bash = served.home.command("bash");
    bash.args(["--norc", "--noprofile", "-c", &lines.join("\n")]);
    bash
}

#[test]
fn the_pasted_lines_work_as_they_stand() {
    let home = Home::real();
    let key = home.default_key(ED25519);
    let dir = home.join("demo");
    let served = Served::start_in(home, dir, key, &[]);
    let [token, accepted, refused] = served.pasted();
    assert!(
        !served.banner.contains("StrictHostKeyChecking=no"),
        "no line may turn host keys off:\n{}",
        served.banner
    );

    let first = run(&mut paste(&served, &[&token, "printf '%s\\n' \"$TOKEN\""])).ok();
    assert_eq!(first.stderr, "", "nothing is asked and nothing complains:\n{first}");
    let printed = first.line();
    assert_eq!(printed.split('.').count(), 3, "the first line sets TOKEN to a JWT, not {printed:?}");

    let call = run(&mut paste(&served, &[&token, &accepted])).ok();
    let subject = served.token_json(&[])["subject"].as_str().unwrap_or_default().to_owned();
    let open =
        call.stdout.find('{').unwrap_or_else(|| panic!("the identity as JSON was expected of\n{call}"));
    let close = call.stdout.rfind('}').unwrap_or(open);
    let identity: serde_json::Value = serde_json::from_str(&call.stdout[open..=close])
        .unwrap_or_else(|error| panic!("the identity as JSON was expected ({error}) of\n{call}"));
    assert_eq!(identity["subject"], subject.as_str(), "{call}");

    let call = run(&mut paste(&served, &[&token, &refused]));
    let said = format!("{}{}", call.stdout, call.stderr);
    assert!(
        ["401", "invalid token", "bad authorization", "token expired"].iter().any(|word| said.contains(word)),
        "the third call is refused, and says so:\n{call}"
    );
}

#[test]
fn a_login_is_one_line_of_the_log() {
    let mut served = Served::start();
    let token = served.token();
    let fingerprint = served.home.fingerprint(&served.key);
    let line = served
        .wait_for_line("the line of a log-in", |line| line.contains(&fingerprint) && line.contains("jwt"));
    assert!(line.contains("aud="), "who, key, format, audience and lifetime: {line}");
    assert!(line.trim_end().ends_with("5m"), "who, key, format, audience and lifetime: {line}");
    let secret = token.rsplit('.').next().unwrap_or_default();
    assert!(!served.transcript().contains(secret), "a token in the log:\n{}", served.transcript());
}

#[test]
fn a_second_start_keeps_realm_and_host_key() {
    let served = Served::start();
    let token = served.token();
    let issuer =
        served.http.get("/verify", &[("Authorization", &format!("Bearer {token}"))]).status(200).json();
    let read = |dir: &std::path::Path, name: &str| {
        std::fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{} in the realm: {error}", name))
    };
    let host_key = read(&served.dir, "ssh_host_ed25519_key");
    let (home, dir, key) = served.interrupt();

    let again = Served::start_in(home, dir, key, &[]);
    assert_eq!(host_key, read(&again.dir, "ssh_host_ed25519_key"), "the same host key");
    let verdict = again.verify(&token).status(200).json();
    assert_eq!(verdict["subject"], issuer["subject"], "a token of before is good after");
    let _ = again.token();
    let _ = again.interrupt();
}

#[test]
fn ctrl_c_ends_it_with_a_session_open() {
    let served = Served::start();
    // A client that stays: it has logged in and asks for nothing.
    let mut idle = Running::start(&mut served.ssh.ssh_with(&served.home, &served.key, &["-N", "-v"], &[]));
    idle.wait_for("a log-in", |ssh| ssh.stderr().contains("Authenticated to").then_some(()));
    let _ = served.interrupt();
}

#[test]
fn keys_of_the_agent_are_enrolled() {
    let home = Home::new();
    let key = home.key("elsewhere", ED25519);
    let agent = Agent::start(&home);
    agent.add(&home, &key);
    let dir = home.join("demo");
    let (ssh, http) = (free_port(), free_port());
    let mut command = serve::command(&home, &dir, ssh, http, &[]);
    let mut running = Running::start(command.env("SSH_AUTH_SOCK", &agent.socket));
    running.wait_for("the banner", |serve| serve::pasted(&format!("{}{}", serve.stdout(), serve.stderr())));
    let server = seamless_tests::ssh::SshServer {
        user: "demo".to_owned(),
        port: ssh,
        known_hosts: dir.join("known_hosts"),
    };
    let _ = run(&mut server.ssh(&home, &key, &[])).ok().line();
}

#[test]
fn a_public_key_without_its_private_half_is_not_enrolled() {
    let home = Home::new();
    let own = home.default_key(ED25519);
    let friend = home.key("friend", RSA);
    std::fs::copy(public(&friend), home.join(".ssh/friend.pub")).expect("copy a public key");
    let dir = home.join("demo");
    let served = Served::start_in(home, dir, own, &[]);
    let refused = run(&mut served.ssh.ssh(&served.home, &friend, &[])).fails();
    assert_eq!(refused.stdout, "", "{refused}");
    let _ = refused.says("Permission denied (publickey)");
}

#[test]
fn without_a_key_it_says_how_to_make_one() {
    let home = Home::new();
    let mut serve =
        Running::start(&mut serve::command(&home, &home.join("demo"), free_port(), free_port(), &[]));
    serve.wait_for("how to make a key", |serve| {
        format!("{}{}", serve.stdout(), serve.stderr()).contains("ssh-keygen").then_some(())
    });
}

#[test]
fn a_taken_port_that_was_named_is_an_error() {
    let home = Home::new();
    let _ = home.default_key(ED25519);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    for (ssh, http) in [(port, free_port()), (free_port(), port)] {
        let _ = run(&mut serve::command(&home, &home.join("demo"), ssh, http, &[]))
            .fails()
            .says("seamless: error: ")
            .says(&port.to_string());
    }
}

#[test]
fn a_taken_default_port_gives_way() {
    // Whoever holds them, neither default is free now.
    let _held = ["127.0.0.1:2222", "127.0.0.1:8080"].map(TcpListener::bind);
    let home = Home::new();
    let _ = home.default_key(ED25519);
    let mut serve = Running::start(home.seamless(["serve", "--dir"]).arg(home.join("demo")));
    let [token, ..] =
        serve.wait_for("the banner", |serve| serve::pasted(&format!("{}{}", serve.stdout(), serve.stderr())));
    assert!(!token.contains(" 2222 "), "the next free port is printed: {token}");
    let mut bash = home.command("bash");
    let _ = run(bash.args(["--norc", "-c", &format!("{token}\nprintf '%s\\n' \"$TOKEN\"")])).ok().line();
}

#[test]
fn one_door_alone() {
    let home = Home::new();
    let _ = home.default_key(ED25519);
    let dir = home.join("demo");
    let (ssh, http) = (free_port(), free_port());
    let refused = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_err();
    {
        let mut command =
            home.seamless(["serve", "--no-ssh", "--http", &format!("127.0.0.1:{http}"), "--dir"]);
        let mut serve = Running::start(command.arg(&dir));
        serve.wait_for("the banner", |serve| serve.stdout().contains("1.").then_some(()));
        assert!(!refused(http), "HTTP is there:\n{}", serve.transcript());
        assert!(refused(ssh), "--no-ssh:\n{}", serve.transcript());
    }
    let mut command = home.seamless(["serve", "--no-http", "--ssh", &format!("127.0.0.1:{ssh}"), "--dir"]);
    let mut serve = Running::start(command.arg(&dir));
    serve.wait_for("the banner", |serve| serve.stdout().contains("1.").then_some(()));
    assert!(!refused(ssh), "ssh is there:\n{}", serve.transcript());
    assert!(refused(http), "--no-http:\n{}", serve.transcript());
}

#[test]
fn http_on_a_unix_socket() {
    let home = Home::new();
    let _ = home.default_key(ED25519);
    let socket = home.join("http.sock");
    let mut command =
        home.seamless(["serve", "--no-ssh", "--http", &format!("unix:{}", socket.display()), "--dir"]);
    let mut serve = Running::start(command.arg(home.join("demo")));
    serve.wait_for("the socket", |_| std::os::unix::net::UnixStream::connect(&socket).is_ok().then_some(()));
    let _ = get_unix(&socket, "/healthz", &[]).status(200);
    serve.signal(rustix::process::Signal::INT);
    assert_eq!(serve.wait(Duration::from_secs(10)), Some(0), "{}", serve.transcript());
    assert!(!socket.exists(), "the socket is removed at the end");
}
