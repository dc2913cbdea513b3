//! A plain HTTP/1.1 client that sends exactly what a test writes, and a server that shows what reached it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A server to talk to.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where it listens.
    pub address: SocketAddr,
}

/// What it answered.
#[derive(Debug)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Http {
    /// A server on loopback.
    #[must_use]
    pub fn local(port: u16) -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// `GET path` with these headers.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let host = self.address.to_string();
        self.get_as(&host, path, headers)
    }

    /// The same with another `Host`.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    #[must_use]
    pub fn get_as(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let stream = TcpStream::connect(self.address)
            .unwrap_or_else(|error| panic!("can't connect to {}: {error}", self.address));
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("set a time-out");
        exchange(stream, host, path, headers)
    }

    /// Any method, with a body; headers as they are written.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    #[must_use]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let stream = TcpStream::connect(self.address)
            .unwrap_or_else(|error| panic!("can't connect to {}: {error}", self.address));
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("set a time-out");
        let length = body.len().to_string();
        let mut all = headers.to_vec();
        if !body.is_empty() || !matches!(method, "GET" | "HEAD") {
            all.push(("Content-Length", &length));
        }
        exchange_with(stream, method, &self.address.to_string(), path, &all, body)
    }

    /// Waits until something listens.
    ///
    /// # Panics
    /// If nothing does.
    #[track_caller]
    pub fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(start.elapsed() < crate::process::LIMIT, "nothing listens on {}", self.address);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// `GET path` over a unix socket.
///
/// # Panics
/// If there is no answer.
#[track_caller]
#[must_use]
pub fn get_unix(socket: &Path, path: &str, headers: &[(&str, &str)]) -> Response {
    let stream = UnixStream::connect(socket)
        .unwrap_or_else(|error| panic!("can't connect to {}: {error}", socket.display()));
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("set a time-out");
    exchange(stream, "localhost", path, headers)
}

#[track_caller]
fn exchange(stream: impl Read + Write, host: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    exchange_with(stream, "GET", host, path, headers, b"")
}

#[track_caller]
fn exchange_with(
    mut stream: impl Read + Write,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(&[request.as_bytes(), body].concat()).expect("send a request");
    let mut answer = Vec::new();
    // A server may reset after its answer; what arrived is judged.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {path}: {answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Response { status: status.unwrap_or_else(|| panic!("no status in {head:?}")), headers, body }
}

impl Response {
    /// The only value of a header.
    ///
    /// # Panics
    /// If it is there twice.
    #[track_caller]
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// It must have this status.
    ///
    /// # Panics
    /// If it has another.
    #[track_caller]
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "status {status} was expected: {self:#?}");
        self
    }

    /// Its body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("JSON was expected ({error}): {self:#?}"))
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        whole.push_str(chunk);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// Starts a server that answers every request with its own head, so that a test sees what a proxy passed on.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn mirror() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                let mut head = String::new();
                let mut reader = BufReader::new(&stream);
                while matches!(reader.read_line(&mut head), Ok(1..)) && !head.ends_with("\r\n\r\n") {}
                let _ = write!(
                    &stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{head}",
                    head.len()
                );
            });
        }
    });
    port
}

/// A port that was free a moment ago, and that no other test gets.
///
/// Below the range that the kernel gives to outgoing connections, which would take one now and then.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    (0..2000)
        .map(|_| 12_000 + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
