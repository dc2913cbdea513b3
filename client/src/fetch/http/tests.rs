//! Against servers that should not be trusted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crtauth::{Keys as ServerKeys, Request, Terms};

use super::*;

const BLOB: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A server that answers each message by `answer`, and counts them; its URL.
fn server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut message = String::new();
            while let Some(Ok(line)) = lines.next().filter(|line| line.as_ref().is_ok_and(|l| !l.is_empty()))
            {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("x-chap: ") {
                    message = line[line.len() - value.len()..].to_owned();
                }
            }
            let _ = stream.write_all(answer(&message).as_bytes());
        }
    });
    url
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// What becomes of a log-in there, and how often the agent was asked to sign.
fn log_in(url: &str) -> (Error, usize) {
    log_in_from(Version::V1, url)
}

fn log_in_from(lowest: Version, url: &str) -> (Error, usize) {
    use std::io::Read as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 4];
            while stream.read_exact(&mut length).is_ok() {
                let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
                stream.read_exact(&mut frame).unwrap();
                let mut answer = vec![12, 0, 0, 0, 1];
                if frame[0] == 13 {
                    counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    answer = vec![5];
                } else {
                    answer.extend(u32::try_from(BLOB.len()).unwrap().to_be_bytes());
                    answer.extend(BLOB);
                    answer.extend([0, 0, 0, 0]);
                }
                stream.write_all(&u32::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        }
    });
    let place = Url::parse(url).unwrap();
    let options = Options { timeout: Duration::from_secs(2), ..Options::default() };
    let mut agent = Agent::at(&path).unwrap();
    let listed = agent.list().unwrap();
    let mut keys = Keys { agent, listed, only: None, _private: None };
    let server = Server { agent: http_agent(false, &options), url: format!("{url}/_auth"), place: &place };
    let wish = Asked::default();
    let expect = Expect { server_name: &place.host, user: "ada", wish: &wish, now: 1000, lowest };
    let error = server
        .challenge(&expect)
        .and_then(|challenge| keys.answer(&challenge, "ada"))
        .and_then(|response| server.token(&response, "ada"))
        .unwrap_err();
    (error, asked.load(std::sync::atomic::Ordering::SeqCst))
}

fn challenge(request: &str, server_name: &str, now: u64) -> String {
    let request = Request::parse(request.strip_prefix("request:").unwrap()).unwrap();
    let terms = Terms { server_name, nonce: &[1; 32], now };
    let value = crtauth::challenge(&ServerKeys::derived(b"s"), &terms, &request, &[BLOB]).unwrap();
    http("200 OK", &format!("X-CHAP: {value}\r\n"), "")
}

#[test]
fn nothing_is_signed_for_a_server_that_should_not_be_trusted() {
    type Peer = Box<dyn Fn(&str) -> String + Send>;
    let cases: Vec<(Peer, Kind, &str)> = vec![
        (
            Box::new(|m: &str| challenge(m, "elsewhere.example", 1000)),
            Kind::Server,
            "is one of \"elsewhere.example\"",
        ),
        (Box::new(|m: &str| challenge(m, "127.0.0.1", 4000)), Kind::Clock, "3000 s ahead of"),
        (Box::new(|m: &str| challenge(m, "127.0.0.1", 100)), Kind::Clock, "900 s behind"),
        (Box::new(|_: &str| http("200 OK", "", "")), Kind::Server, "no X-CHAP"),
        (
            Box::new(|_: &str| http("200 OK", "X-CHAP: challenge:AAAA\r\n", "")),
            Kind::Server,
            "makes no sense",
        ),
        (Box::new(|_: &str| http("200 OK", "X-CHAP: token:abc\r\n", "")), Kind::Server, "makes no sense"),
        (
            Box::new(|_: &str| http("302 Found", "Location: https://elsewhere.example/_auth\r\n", "")),
            Kind::Server,
            "sends us elsewhere",
        ),
        (Box::new(|_: &str| http("404 Not Found", "", "not found\n")), Kind::Server, "no log-in over HTTP"),
        (
            Box::new(|_: &str| http("429 Too Many Requests", "Retry-After: 7\r\n", "")),
            Kind::Refused,
            "try again in 7 s",
        ),
        (Box::new(|_: &str| http("400 Bad Request", "", "say please\n")), Kind::Refused, "say please"),
        (
            Box::new(|_: &str| http("503 Service Unavailable", "", "\x1b[31mred\n")),
            Kind::Server,
            "answered 503: ?[31mred",
        ),
        (Box::new(|_: &str| "nonsense\r\n\r\n".to_owned()), Kind::Network, "can't reach"),
    ];
    for (answer, kind, says) in cases {
        let (error, signed) = log_in(&server(answer));
        assert!(error.kind == kind && error.message.contains(says), "{says}: {error:?}");
        assert_eq!(signed, 0, "{says}");
    }
}

/// Attack: say nothing, for ever.
#[test]
fn a_silent_server_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (error, _) = log_in(&format!("http://{}", listener.local_addr().unwrap()));
    assert_eq!(error.kind, Kind::Network);
}

#[test]
fn a_known_key_is_asked_for_one_signature() {
    let (error, signed) = log_in(&server(|m| challenge(m, "127.0.0.1", 1000)));
    assert_eq!((error.kind, signed), (Kind::NoAgent, 1), "{error}");
    assert!(error.message.contains("refuses to sign with SHA256:"), "{error}");
}

#[test]
fn a_server_from_before_version_1_takes_every_request_for_a_name() {
    let old = |m: &str| {
        let name = m.strip_prefix("request:").unwrap().to_owned();
        let request = Request { version: Version::V0, user: name, wish: Asked::default() };
        let terms = Terms { server_name: "127.0.0.1", nonce: &[1; 32], now: 1000 };
        let value = crtauth::challenge(&ServerKeys::derived(b"s"), &terms, &request, &[BLOB]).unwrap();
        http("200 OK", &format!("X-CHAP: {value}\r\n"), "")
    };
    let (error, signed) = log_in_from(Version::V0, &server(old));
    assert_eq!((error.kind, signed), (Kind::NoKey, 0), "{error}");
    assert!(error.message.contains("speaks version 0 of crtauth, which knows RSA keys alone"), "{error}");
    let (error, signed) = log_in(&server(old));
    assert_eq!((error.kind, signed), (Kind::Server, 0), "{error}");
    assert!(error.hint.unwrap_or_default().contains("--allow-v0"));
}
