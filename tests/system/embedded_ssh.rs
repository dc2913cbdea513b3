//! Stock `ssh` against the embedded server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use seamless_tests::agent::{Agent, lying_agent};
use seamless_tests::home::{ECDSA, ED25519, KeyType, RSA, public};
use seamless_tests::http::free_port;
use seamless_tests::process::{Done, Running, run};
use seamless_tests::realm::add;
use seamless_tests::serve::Served;

/// Ends without a token, on either stream.
#[track_caller]
fn gives_nothing(done: Done) -> Done {
    assert!(done.code.is_some(), "it ends by itself:\n{done}");
    assert!(!done.stdout.contains("eyJ") && !done.stderr.contains("eyJ"), "no token was expected of\n{done}");
    done
}

#[test]
fn every_key_type_logs_in() {
    let served = Served::start();
    let p384 = KeyType { name: "ecdsa", bits: Some("384") };
    let p521 = KeyType { name: "ecdsa", bits: Some("521") };
    for (name, kind) in [("ed25519", ED25519), ("p256", ECDSA), ("p384", p384), ("p521", p521), ("rsa", RSA)]
    {
        let key = served.home.key(name, kind);
        let refused = gives_nothing(run(&mut served.ssh.ssh(&served.home, &key, &[])).fails());
        let _ = refused.says("Permission denied (publickey)");
        let _ = run(&mut add(&served.home, &served.dir, &key, name)).ok();
        let answer = run(&mut served.ssh.ssh(&served.home, &key, &["token", "--json"])).ok().json();
        assert_eq!(answer["subject"], name, "the key's own user, at once after `add`: {answer}");
    }
}

#[test]
fn a_token_and_a_newline_and_nothing_else() {
    let served = Served::start();
    let done = served.login(&[]).ok();
    assert_eq!(done.stderr, "", "nothing on stderr:\n{done}");
    let token = done.line();
    assert_eq!(token.split('.').count(), 3, "a JWT: {token}");
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "a JWT: {token}");
    assert_ne!(token, served.token(), "each log-in has its own");
}

#[test]
fn the_words_of_a_session() {
    let served = Served::start();
    let answer = served.token_json(&["-t", "1m"]);
    assert_eq!(answer["token_type"], "Bearer", "{answer}");
    assert_eq!(answer["expires_in"], 60, "{answer}");
    assert!(answer["access_token"].is_string() && answer["subject"].is_string(), "{answer}");
    let user = answer["subject"].as_str().unwrap_or_default();

    let _ = served.login(&["whoami"]).ok().says(user);
    let _ = served.login(&["keys"]).ok().says(&served.home.fingerprint(&served.key));
    let _ = served.login(&["help"]).ok().says("token");
    let seamless = served.login(&["token", "--format", "seamless"]);
    if seamless.code == Some(0) {
        assert!(seamless.line().starts_with(&format!("{user}.")), "the original's format");
    } else {
        let _ = seamless.fails().says("seamless: error: ");
    }
}

#[test]
fn what_is_no_word_of_a_session_is_refused() {
    let served = Served::start();
    for words in [
        &["id"][..],
        &["token", "--user", "root"],
        &["token", "--dir", "/"],
        &["token", "--secret-file", "/etc/passwd"],
        &["token;id"],
        &["token\u{1b}[2J"],
        &["init", "x"],
        &["user", "list"],
        &["serve"],
        &["token", "-t", "1x"],
        &["/bin/sh", "-c", "id"],
        &["scp", "-t", "."],
    ] {
        let done = gives_nothing(served.login(words).code(2));
        assert_eq!(done.stdout, "", "{done}");
        assert!(done.stderr.starts_with("seamless: error: "), "one plain line:\n{done}");
        assert!(!done.stderr.contains('\u{1b}'), "control characters are escaped:\n{done}");
    }
    let long = "x".repeat(9000);
    let _ = gives_nothing(served.login(&["token", &long]).fails());
}

#[test]
fn what_the_policy_forbids_is_refused_not_narrowed() {
    let served = Served::start();
    for words in [
        &["token", "-t", "90d"][..],
        &["token", "-t", "0"],
        &["token", "-a", "https://elsewhere.example"],
        &["token", "-s", "no-such-scope"],
    ] {
        let done = gives_nothing(served.login(words).code(3));
        assert_eq!(done.stdout, "", "{done}");
    }
}

#[test]
fn twenty_keys_in_an_agent() {
    let served = Served::start();
    let agent = Agent::start(&served.home);
    for number in 0..19 {
        agent.add(&served.home, &served.home.key(&format!("other{number}"), ED25519));
    }
    agent.add(&served.home, &served.key);
    let done = run(&mut served.ssh.ssh_agent(&served.home, &agent.socket, &[])).ok();
    let _ = done.line();
}

#[test]
fn an_offered_key_that_is_not_proven_gives_nothing() {
    let served = Served::start();
    let agent = Agent::start(&served.home);
    agent.add_refusing(&served.home, &served.key);
    let done = run(&mut served.ssh.ssh_agent(&served.home, &agent.socket, &["-v"])).fails();
    assert!(done.stderr.contains("Server accepts key"), "the key was offered, and known:\n{done}");
    let _ = gives_nothing(done).says("Permission denied (publickey)");
}

#[test]
fn a_key_proven_after_another_was_offered_is_the_one_that_counts() {
    let served = Served::start();
    let mallory = served.home.key("mallory", ED25519);
    let _ = run(&mut add(&served.home, &served.dir, &mallory, "mallory")).ok();
    let agent = Agent::start(&served.home);
    agent.add_refusing(&served.home, &served.key);
    agent.add(&served.home, &mallory);
    let mut ssh = served.ssh.ssh_agent(&served.home, &agent.socket, &[]);
    let answer = run(ssh.args(["token", "--json"])).ok().json();
    assert_eq!(answer["subject"], "mallory", "the offered key lent its name: {answer}");
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let served = Served::start();
    let mallory = served.home.key("mallory", ED25519);
    let agent = Agent::start(&served.home);
    agent.add(&served.home, &mallory);
    let liar = lying_agent(&served.home, &served.key, &mallory, &agent);
    let done = run(&mut served.ssh.ssh_agent(&served.home, &liar, &["-v"])).fails();
    assert!(done.stderr.contains("Server accepts key"), "the key was offered, and known:\n{done}");
    let _ = gives_nothing(done);
}

#[test]
fn only_public_keys_are_asked_for() {
    let served = Served::start();
    for method in ["password", "keyboard-interactive", "hostbased", "gssapi-with-mic", "none"] {
        let preferred = format!("PreferredAuthentications={method}");
        let options =
            ["-T", "-o", &preferred, "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"];
        let done = run(&mut served.ssh.ssh_with(&served.home, &served.key, &options, &[])).fails();
        let _ = gives_nothing(done).says("Permission denied (publickey)");
    }
}

#[test]
fn the_login_name_must_be_the_realm() {
    let mut served = Served::start();
    served.ssh.user = "root".to_owned();
    let _ = gives_nothing(served.login(&[]).fails()).says("Permission denied (publickey)");
}

#[test]
fn a_certificate_does_not_log_in() {
    let served = Served::start();
    let authority = served.home.key("ca", ED25519);
    let user = served.home.key("certified", ED25519);
    let mut keygen = served.home.command("ssh-keygen");
    let _ = run(keygen
        .args(["-q", "-s"])
        .arg(&authority)
        .args(["-I", "id", "-n", &served.ssh.user])
        .arg(public(&user)))
    .ok();
    // The plain key is enrolled; only its certificate is shown.
    let _ = run(&mut add(&served.home, &served.dir, &user, "certified")).ok();
    let certificate = format!("CertificateFile={}-cert.pub", user.display());
    let options =
        ["-T", "-o", &certificate, "-o", "PubkeyAcceptedAlgorithms=ssh-ed25519-cert-v01@openssh.com"];
    let _ = gives_nothing(run(&mut served.ssh.ssh_with(&served.home, &user, &options, &[])).fails());
}

#[test]
fn rsa_with_sha1_is_refused() {
    let served = Served::start();
    let key = served.home.key("rsa", RSA);
    let _ = run(&mut add(&served.home, &served.dir, &key, "rsa")).ok();
    let options = ["-T", "-o", "PubkeyAcceptedAlgorithms=ssh-rsa"];
    let _ = gives_nothing(run(&mut served.ssh.ssh_with(&served.home, &key, &options, &[])).fails());
}

#[test]
fn a_terminal_is_no_shell() {
    let served = Served::start();
    let done = run(&mut served.ssh.ssh_with(&served.home, &served.key, &["-tt"], &[]));
    assert!(done.code.is_some(), "it ends by itself:\n{done}");
    assert!(done.stdout.lines().count() <= 1, "a token at most:\n{done}");
    let shell = run(&mut served.ssh.ssh_with(&served.home, &served.key, &["-tt"], &["/bin/sh", "-i"]));
    let _ = gives_nothing(shell.code(2));
}

#[test]
fn files_are_not_to_be_had() {
    let served = Served::start();
    let remote = |path: &str| format!("{}:{path}", served.ssh.target());
    let local = served.home.join("got");
    let local_text = local.display().to_string();
    let calls: [(&str, Vec<String>); 4] = [
        ("sftp", vec!["-b".into(), "/dev/null".into(), served.ssh.target()]),
        ("scp", vec![remote("/etc/passwd"), local_text.clone()]),
        ("scp", vec!["-O".into(), remote("/etc/passwd"), local_text.clone()]),
        ("scp", vec!["-O".into(), served.key.display().to_string(), remote("/tmp/x")]),
    ];
    for (program, words) in calls {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Options stand before the port, so they go in as they are.
        let (options, rest): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| **word == "-O");
        let done =
            run(&mut served.ssh.transfer(&served.home, program, &served.key, &[options, rest].concat()));
        assert!(done.took < Duration::from_secs(10), "{program} is answered at once:\n{done}");
        let _ = gives_nothing(done.fails());
        assert!(!local.exists(), "{program} got a file");
    }
}

#[test]
fn nothing_is_forwarded_to_elsewhere() {
    let served = Served::start();
    let inside = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = inside.local_addr().expect("an address").port();
    inside.set_nonblocking(true).expect("look without waiting");
    let entry = free_port();
    let forward = format!("{entry}:127.0.0.1:{target}");
    let mut ssh =
        Running::start(&mut served.ssh.ssh_with(&served.home, &served.key, &["-N", "-L", &forward], &[]));
    let mut stream =
        ssh.wait_for("the client's own end of -L", |_| TcpStream::connect(("127.0.0.1", entry)).ok());
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set a time-out");
    let _ = stream.write_all(b"hello");
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert!(got.is_empty(), "-L brought {got:?}");
    assert!(inside.accept().is_err(), "-L reached its target:\n{}", ssh.transcript());

    let words = format!("127.0.0.1:{target}");
    let direct = run(&mut served.ssh.ssh_with(&served.home, &served.key, &["-W", &words], &[]));
    let _ = gives_nothing(direct.fails());
    assert!(inside.accept().is_err(), "-W reached its target");
}

#[test]
fn nothing_is_forwarded_from_elsewhere() {
    let served = Served::start();
    let entry = free_port();
    let forward = format!("{entry}:127.0.0.1:{}", served.http.address.port());
    let options = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", &forward];
    let done = run(&mut served.ssh.ssh_with(&served.home, &served.key, &options, &[]));
    assert!(done.code.is_some(), "-R is refused:\n{done}");
    let _ = gives_nothing(done.fails()).says("remote port forwarding failed");
    assert!(TcpStream::connect(("127.0.0.1", entry)).is_err(), "-R listens");
}

#[test]
fn the_agent_is_not_reached() {
    let served = Served::start();
    let agent = Agent::start(&served.home);
    agent.add(&served.home, &served.key);
    let mut ssh = served.ssh.ssh_agent(&served.home, &agent.socket, &["-A", "-vv"]);
    let done = run(&mut ssh);
    assert!(!done.stderr.contains("client_request_agent"), "the server opened the agent's channel:\n{done}");
    assert!(done.stdout.lines().count() <= 1, "{done}");
}

#[test]
fn two_hundred_idle_connections_hurt_nobody() {
    let served = Served::start();
    let address = ("127.0.0.1", served.ssh.port);
    // Neither of these speaks. The server may close them; it must go on for others.
    let idle: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(address).ok()).collect();
    assert_eq!(idle.len(), 200, "they are at least accepted");
    // Some of one address's connections may be refused while these hang; the grace time is 5 s.
    let start = Instant::now();
    let done = loop {
        let done = served.login(&[]);
        if done.code == Some(0) || start.elapsed() > Duration::from_secs(15) {
            break done;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let _ = done.ok().line();
    for mut stream in idle {
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("set a time-out");
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        let timed_out = end.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        assert!(!timed_out, "a connection that never logs in is closed");
    }
}

#[test]
fn dripped_bytes_do_not_stretch_the_grace_time() {
    let served = Served::start();
    let mut stream = TcpStream::connect(("127.0.0.1", served.ssh.port)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("set a time-out");
    let start = Instant::now();
    let mut buffer = [0; 1024];
    let _ = stream.write_all(b"SSH-2.0-drip\r\n");
    loop {
        assert!(start.elapsed() < Duration::from_secs(12), "one byte at a time keeps a connection open");
        // SSH_MSG_IGNORE would need key exchange; bytes of an unfinished packet do as well.
        if stream.write_all(&[0]).is_err() {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            _ => {}
        }
    }
}

#[test]
fn a_removed_key_and_a_locked_user_do_not_log_in() {
    let served = Served::start();
    let (ada, bob) = (served.home.key("ada", ED25519), served.home.key("bob", ED25519));
    for (key, user) in [(&ada, "ada"), (&bob, "bob")] {
        let _ = run(&mut add(&served.home, &served.dir, key, user)).ok();
        let _ = run(&mut served.ssh.ssh(&served.home, key, &[])).ok().line();
    }
    let fingerprint = served.home.fingerprint(&ada);
    let _ = run(&mut seamless_tests::realm::remove_key(&served.home, &served.dir, &fingerprint)).ok();
    let _ = run(&mut seamless_tests::realm::lock(&served.home, &served.dir, "bob")).ok();
    for key in [&ada, &bob] {
        let _ = gives_nothing(run(&mut served.ssh.ssh(&served.home, key, &[])).fails());
    }
}
