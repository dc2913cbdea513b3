//! `seamless login`, `header` and `curl`: a token gets to the service that it is for, and to nobody else.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use seamless_tests::agent::Agent;
use seamless_tests::home::public;
use seamless_tests::laptop::Laptop;
use seamless_tests::process::{Done, run, run_with};
use seamless_tests::service::{Answer, Service};
use seamless_tests::skip::needs;

/// A service that is content with everybody.
fn content() -> Service {
    Service::start(|_| Answer::new(200, "fine\n"))
}

fn curl(laptop: &Laptop, words: &[&str]) -> Done {
    run(&mut laptop.seamless(&[&["curl", "-sS"], words].concat()))
}

#[test]
fn a_token_and_a_newline_over_ssh() {
    let laptop = Laptop::new("");
    let done = run(&mut laptop.seamless(&["login", &laptop.login()])).ok();
    assert_eq!(done.stderr, "");
    let token = done.line();
    let _ = laptop.served.verify(&token).status(200);
    let json = run(&mut laptop.seamless(&["login", &laptop.login(), "--json"])).ok().json();
    assert_eq!(json["access_token"], token.as_str(), "the kept one");
    assert_eq!((&json["token_type"], &json["subject"]), (&"Bearer".into(), &"ada".into()));
    assert!(json["expires_in"].as_u64().is_some_and(|left| (1..=300).contains(&left)), "{json}");
}

#[test]
fn a_token_and_a_newline_over_http() {
    let laptop = Laptop::with_http();
    let agent = Agent::start(&laptop.home);
    let other = laptop.home.key("other-key", seamless_tests::home::RSA);
    agent.add(&laptop.home, &other);
    agent.add(&laptop.home, &laptop.key);
    let login = |words: &[&str]| {
        let mut command = laptop.seamless(&[&["login", &laptop.login_http(), "--no-cache"], words].concat());
        run(command.env("SSH_AUTH_SOCK", &agent.socket))
    };
    let token = login(&[]).ok().line();
    assert!(laptop.served.verify(&token).status(200).body.contains("\"ada\""));
    let _ = login(&["--key", &laptop.home.fingerprint(&public(&laptop.key))]).ok().line();
    let _ = login(&["--user", "bob"]).fails().says("--user NAME");
    let _ = login(&["--key", &laptop.home.fingerprint(&public(&other))]).fails();
    let _ = login(&["--audience", "https://not.allowed.example"]).code(3);
    // Without an agent, by a file of hers.
    let mut by_file = laptop.seamless(&["login", &laptop.login_http(), "--identity"]);
    let _ = laptop.served.verify(&run(by_file.arg(&laptop.key)).ok().line()).status(200);
    let _ =
        run(&mut laptop.seamless(&["login", &laptop.login_http(), "--no-cache"])).fails().says("ssh-agent");
}

#[test]
fn a_token_is_kept_for_its_owner_alone_and_forgotten_when_told() {
    let laptop = Laptop::new("");
    let login = |words: &[&str]| {
        run(&mut laptop.seamless(&[&["login", &laptop.login()], words].concat())).ok().line()
    };
    let first = login(&[]);
    assert_eq!(login(&[]), first);
    assert_ne!(login(&["--no-cache"]), first);
    assert_ne!(login(&["--ttl", "2m"]), first, "what was asked for is part of what is kept");
    let mut files = vec![laptop.home.join(".cache/seamless")];
    while let Some(path) = files.pop() {
        let meta = path.metadata().expect("what is kept");
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        if meta.is_dir() {
            files.extend(std::fs::read_dir(path).expect("a folder").flatten().map(|entry| entry.path()));
        }
    }
    let _ = run(&mut laptop.seamless(&["logout", "corp@elsewhere.example.com"])).ok().says("no token");
    assert_eq!(login(&[]), first);
    let _ = run(&mut laptop.seamless(&["logout", &laptop.login()])).ok().says("2 tokens are forgotten");
    assert_ne!(login(&[]), first);
}

#[test]
fn what_went_wrong_is_one_line_and_its_mend() {
    let laptop = Laptop::new("");
    let user = laptop.served.ssh.user.clone();
    let closed = seamless_tests::http::free_port();
    for (words, says) in [
        (vec!["login".to_owned(), format!("http://127.0.0.1:{closed}")], "ssh-agent"),
        (vec!["login".to_owned(), format!("{user}@127.0.0.1:{closed}")], "Connection refused"),
        (
            vec!["login".to_owned(), laptop.login(), "-a".to_owned(), "https://no.example".to_owned()],
            "audience",
        ),
    ] {
        let done = run(laptop.home.seamless(words).env("USER", "ada")).fails();
        assert!(done.stdout.is_empty() && done.stderr.starts_with("seamless: error: "), "{done}");
        assert!(done.stderr.lines().count() <= 2, "{done}");
        let _ = done.says(says);
    }
}

#[test]
fn curl_gets_the_header_and_nobody_sees_it() {
    let laptop = Laptop::new("");
    if needs("curl").is_none() {
        return;
    }
    // While curl waits for its answer: every argv and environment of the machine.
    let seen = Arc::new(Mutex::new(String::new()));
    let watch = Arc::clone(&seen);
    let service = Service::start(move |asked| {
        let token =
            asked.authorization().and_then(|value| value.split(' ').nth(1)).unwrap_or("none").to_owned();
        for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
            for file in ["cmdline", "environ"] {
                let bytes = std::fs::read(process.path().join(file)).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let mut seen = watch.lock().expect("what was seen");
                if text.contains(&token) {
                    seen.push_str(&format!("{token} is in {file}: {text}\n"));
                }
                if file == "cmdline" && text.starts_with("curl\0") {
                    seen.push_str("curl was there");
                }
            }
        }
        Answer::new(200, asked.body.clone())
    });
    laptop.trusts(&service.url(), &[]);
    let said = run_with(
        &mut laptop.seamless(&["curl", "-sS", "--data-binary", "@-", &format!("{}/echo?x=1", service.url())]),
        b"its own standard input",
    );
    assert_eq!(said.ok().stdout, "its own standard input");
    let seen = seen.lock().expect("what was seen").clone();
    assert!(!seen.contains(" is in ") && seen.contains("curl was there"), "{seen}");
    let asked = &service.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/echo?x=1"));
    let token = asked.authorization().and_then(|value| value.strip_prefix("Bearer ")).expect("a token");
    let _ = laptop.served.verify(token).status(200);
    let header = run(&mut laptop.seamless(&["header", &service.url()])).ok().line();
    assert_eq!(header, format!("Authorization: Bearer {token}"));
}

#[test]
fn curls_words_and_exit_codes_are_curls() {
    let laptop = Laptop::new("");
    if needs("curl").is_none() {
        return;
    }
    let service = Service::start(|asked| Answer::new(if asked.path == "/no" { 404 } else { 200 }, "body\n"));
    laptop.trusts(&service.url(), &[]);
    let at = |path: &str| format!("{}{path}", service.url());
    assert_eq!(curl(&laptop, &[&at("/")]).ok().stdout, "body\n");
    let out = laptop.home.join("out");
    let out = out.to_str().expect("a path");
    let done = curl(&laptop, &["-o", out, "-w", "%{http_code}", &at("/no")]).ok();
    assert_eq!(
        (done.stdout.as_str(), std::fs::read_to_string(out).expect("a file").as_str()),
        ("404", "body\n")
    );
    let _ = curl(&laptop, &["-f", &at("/no")]).code(22);
    assert_eq!(curl(&laptop, &["--json", "{}", &at("/json"), &at("/json")]).ok().stdout, "body\nbody\n");
    let last = service.asked().pop().expect("a request");
    assert_eq!((last.header("content-type"), last.body.as_slice()), (Some("application/json"), &b"{}"[..]));
    let closed = format!("http://127.0.0.1:{}", seamless_tests::http::free_port());
    laptop.trusts(&closed, &[]);
    let _ = curl(&laptop, &[&closed]).code(7);
}

#[test]
fn a_refused_token_is_replaced_once() {
    let laptop = Laptop::new("");
    if needs("curl").is_none() {
        return;
    }
    let count = AtomicUsize::new(0);
    let service =
        Service::start(move |asked| match (asked.path.as_str(), count.fetch_add(1, Ordering::SeqCst)) {
            ("/never", _) | (_, 0) => Answer::new(401, "no\n"),
            _ => Answer::new(200, "yes\n"),
        });
    laptop.trusts(&service.url(), &[]);
    let tokens = |from: usize| -> Vec<String> {
        service
            .asked()
            .iter()
            .skip(from)
            .map(|asked| asked.authorization().expect("a token").to_owned())
            .collect()
    };
    assert_eq!(curl(&laptop, &["-d", "x", &service.url()]).ok().stdout, "yes\n");
    let first = tokens(0);
    assert!(first.len() == 2 && first[0] != first[1], "{first:?}");
    let never = format!("{}/never", service.url());
    let done = curl(&laptop, &["-w", "%{http_code}", &never]).ok();
    assert_eq!(done.stdout, "no\n401");
    assert_eq!(tokens(2).len(), 2, "once, and not for ever");
    // What is read once is not sent half.
    let done = run_with(&mut laptop.seamless(&["curl", "-sS", "-T", "-", &never]), b"body");
    assert_eq!(done.ok().stdout, "no\n");
    let asked = service.asked();
    assert_eq!((asked.len(), asked[4].body.as_slice()), (5, &b"body"[..]));
}

/// Attack: a service that sends its callers elsewhere, to collect their tokens.
#[test]
fn a_redirect_does_not_carry_the_token_to_another_origin() {
    let laptop = Laptop::new("");
    if needs("curl").is_none() {
        return;
    }
    let thief = content();
    let lure = format!("Location: {}/take", thief.url());
    let service = Service::start(move |asked| match asked.path.as_str() {
        "/own" => Answer::new(302, "").with("Location: /there"),
        "/there" => Answer::new(200, "there\n"),
        _ => Answer::new(307, "").with(lure.clone()),
    });
    laptop.trusts(&service.url(), &[]);
    // The thief's place is a service of hers too, with a token of its own: not even then.
    laptop.trusts(&thief.url(), &["--audience", &format!("{}/demo", laptop.login_http())]);
    for words in [&["-L"][..], &["--location"], &["-L", "-X", "POST", "-d", "x"], &["-sfLo", "/dev/null"]] {
        let _ = curl(&laptop, &[words, &[&service.url()]].concat()).ok();
    }
    let taken = thief.asked();
    assert_eq!(taken.len(), 4, "curl followed");
    assert!(taken.iter().all(|asked| asked.authorization().is_none()), "{taken:?}");
    assert_eq!(curl(&laptop, &["-L", &format!("{}/own", service.url())]).ok().stdout, "there\n");
    assert!(service.asked().last().is_some_and(|asked| asked.authorization().is_some()), "its own origin");

    for word in ["--location-trusted", "--location-trust"] {
        let _ = curl(&laptop, &[word, &service.url()]).code(2);
    }
    // As a habit.
    laptop.home.write(".curlrc", "location-trusted\ninsecure\n");
    let _ = curl(&laptop, &[&service.url()]).ok();
    let _ = curl(&laptop, &["-L", &service.url()]).ok();
    assert!(thief.asked().iter().all(|asked| asked.authorization().is_none()), "{:?}", thief.asked());
}

/// Attack: a proxy by the environment or ~/.curlrc reads what plain http on loopback carries.
#[test]
fn no_proxy_sees_a_token_of_loopback() {
    let laptop = Laptop::new("");
    if needs("curl").is_none() {
        return;
    }
    let (proxy, service) = (content(), content());
    laptop.trusts(&service.url(), &[]);
    let mut command = laptop.seamless(&["curl", "-sS", &service.url()]);
    let _ = run(command.env("http_proxy", proxy.url()).env("ALL_PROXY", proxy.url())).ok();
    laptop.home.write(".curlrc", format!("proxy = \"{}\"\n", proxy.url()));
    let _ = curl(&laptop, &[&service.url()]).ok();
    assert_eq!((proxy.asked().len(), service.asked().len()), (0, 2));
}

/// Attack: a service asks for another's token, by a URL that looks alike or in one call with it.
#[test]
fn a_token_is_for_its_own_service() {
    let laptop = Laptop::new("[audiences.\"https://a.example\"]\n[audiences.\"https://b.example\"]\n");
    if needs("curl").is_none() {
        return;
    }
    let (one, two) = (content(), content());
    laptop.trusts(&format!("{}/a", one.url()), &["--audience", "https://a.example"]);
    laptop.trusts(&format!("{}/b", one.url()), &["--audience", "https://b.example"]);
    let get = |url: &str| curl(&laptop, &[url]);
    for path in ["/a", "/a/x?y", "/b"] {
        let _ = get(&format!("{}{path}", one.url())).ok();
    }
    let tokens: BTreeSet<_> =
        one.asked().iter().map(|asked| asked.authorization().map(str::to_owned)).collect();
    assert_eq!(tokens.len(), 2, "one for each audience: {tokens:?}");
    let both = [format!("{}/a", one.url()), format!("{}/b", one.url())];
    let _ = curl(&laptop, &[&both[0], &both[1]]).code(2);
    let _ = curl(&laptop, &[&both[0], &two.url()]).code(2);
    for path in ["/a/../b", "/a/%2e%2e/b", "/a/..%2fb"] {
        let _ = get(&format!("{}{path}", one.url())).code(2);
    }
    // What curl makes of braces, nobody has seen.
    let _ = get(&format!("{}/a/{{.,..}}/b", one.url())).code(2);
    let _ = curl(&laptop, &["--request-target", "/b", &both[0]]).code(2);
    // -L could lead from one to the other.
    let _ = curl(&laptop, &["-L", &both[0]]).code(2);
    assert_eq!(one.asked().len(), 3);
    // No entry: the service is its own log-in, and is shown no token of another.
    let _ = get(&two.url()).fails();
    let _ = get(&format!("{}/ab", one.url())).fails();
    assert!(
        two.asked().iter().chain(one.asked().iter().skip(3)).all(|asked| asked.authorization().is_none())
    );
}

#[test]
fn a_service_without_an_entry_is_its_own_log_in() {
    let laptop = Laptop::with_http();
    if needs("curl").is_none() {
        return;
    }
    let agent = Agent::start(&laptop.home);
    agent.add(&laptop.home, &laptop.key);
    let verify = format!("{}/verify", laptop.login_http());
    let done = run(laptop.seamless(&["curl", "-sS", &verify]).env("SSH_AUTH_SOCK", &agent.socket)).ok();
    assert_eq!(done.json()["subject"], "ada");
}
