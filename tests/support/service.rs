//! A service of somebody's: it answers as a test says, and remembers what reached it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A request that reached it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Such as `GET`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// As many bytes as it announced, or all of its chunks.
    pub body: Vec<u8>,
}

impl Asked {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What stands in `Authorization`.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }
}

/// An answer: the status, more lines of the head, the body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Whole lines, without their ends.
    pub head: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// With a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, head: Vec::new(), body: body.into() }
    }

    /// With one more line in its head.
    #[must_use]
    pub fn with(mut self, line: impl Into<String>) -> Self {
        self.head.push(line.into());
        self
    }
}

/// It runs until the tests end.
#[derive(Clone, Debug)]
pub struct Service {
    /// On loopback.
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                    let Some(request) = read(&mut BufReader::new(&stream)) else { return };
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    let Answer { status, head, body } = answer(&request);
                    let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} Status\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n"
                    );
                    let mut stream = &stream;
                    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
                });
            }
        });
        Self { port, asked }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All that reached it.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    let mut next = |reader: &mut dyn BufRead| {
        line.clear();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = next(reader)?;
    let mut words = first.split(' ');
    let mut asked =
        Asked { method: words.next()?.to_owned(), path: words.next()?.to_owned(), ..Asked::default() };
    loop {
        let line = next(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        asked.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if asked.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = u64::from_str_radix(next(reader)?.trim(), 16).ok()?;
            reader.take(size).read_to_end(&mut asked.body).ok()?;
            next(reader)?;
            if size == 0 {
                return Some(asked);
            }
        }
    }
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut asked.body).ok()?;
    Some(asked)
}
