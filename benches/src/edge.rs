//! Servers under load: the processor time that one request costs, and requests a second.

use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whatever went wrong.
pub type Error = Box<dyn std::error::Error>;

/// How long to measure.
pub struct Plan {
    /// Rounds; in each, every server is measured once.
    pub rounds: usize,
    /// Requests of a sample.
    pub requests: usize,
    /// Connections that are kept busy at once.
    pub connections: usize,
}

impl Plan {
    /// The plan of a full run, or of a glance.
    pub fn new(quick: bool) -> Self {
        let (rounds, requests) = if quick { (5, 2_000) } else { (15, 10_000) };
        Self { rounds, requests, connections: 4 }
    }
}

/// A server, what it is asked, and what was measured of it.
pub struct Server {
    name: &'static str,
    child: Child,
    port: u16,
    request: String,
    /// Processor time of a request in nanoseconds, round by round.
    pub cpu_ns: Vec<f64>,
    /// Requests a second, round by round.
    pub rate: Vec<f64>,
}

impl Server {
    /// Starts a server that will listen on that port, and waits until it answers this request with 200.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        port: u16,
        request: String,
        log: &Path,
    ) -> Result<Self, Error> {
        let log_file = std::fs::File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file).spawn()?;
        let server = Self { name, child, port, request, cpu_ns: Vec::new(), rate: Vec::new() };
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match server.load(1, 1) {
                Ok(()) => return Ok(server),
                Err(error) if Instant::now() > deadline => {
                    let said = std::fs::read_to_string(log).unwrap_or_default();
                    let tail: Vec<&str> = said.lines().rev().take(20).collect();
                    return Err(format!("{name} does not answer: {error}\n{}", tail.join("\n")).into());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Fails unless this request is answered by 401.
    pub fn refuses(&self, request: &str) -> Result<(), Error> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(request.as_bytes())?;
        match read_answer(&mut stream, &mut [0; 16 * 1024])? {
            (401, _) => Ok(()),
            (status, _) => Err(format!("{} answers {status} to nobody", self.name).into()),
        }
    }

    /// One sample.
    fn sample(&mut self, plan: &Plan) -> Result<(), Error> {
        let (before, start) = (self.cpu()?, Instant::now());
        self.load(plan.requests, plan.connections).map_err(|error| format!("{}: {error}", self.name))?;
        let (seconds, spent) = (start.elapsed().as_secs_f64(), self.cpu()? - before);
        let requests = plan.requests as f64;
        self.cpu_ns.push(spent / requests);
        self.rate.push(requests / seconds);
        Ok(())
    }

    /// Sends that many requests over that many connections, one in flight on each; all must answer 200.
    fn load(&self, requests: usize, connections: usize) -> Result<(), Error> {
        let mut open = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            open.push(stream);
        }
        let mut buffer = vec![0; 16 * 1024];
        for _ in 0..requests.div_ceil(connections) {
            for stream in &mut open {
                stream.write_all(self.request.as_bytes())?;
            }
            for stream in &mut open {
                answer(stream, &mut buffer)?;
            }
        }
        Ok(())
    }

    fn cpu(&self) -> Result<f64, Error> {
        cpu(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures all servers, each round in another order, after one round that only warms up.
pub fn measure(plan: &Plan, servers: &mut [Server]) -> Result<(), Error> {
    for server in &mut *servers {
        server.load(plan.requests, plan.connections).map_err(|error| format!("{}: {error}", server.name))?;
    }
    for round in 0..plan.rounds {
        let count = servers.len();
        for turn in 0..count {
            let at = if round % 2 == 0 { turn } else { count - 1 - turn };
            servers[(at + round / 2) % count].sample(plan)?;
        }
    }
    Ok(())
}

/// The head of a GET request, which has no body.
pub fn request(path: &str, host: &str, authorization: Option<&str>) -> String {
    let authorization = authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n")
}

/// Nanoseconds that all threads of a process have run. Those of threads that have ended are not in it.
pub fn cpu(process: u32) -> Result<f64, Error> {
    let mut sum = 0.0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end meanwhile.
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().unwrap_or_default().parse::<f64>().unwrap_or(0.0);
    }
    Ok(sum)
}

/// A port that is free just now.
pub fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A folder or file that `cargo xtask bench` names.
pub fn given(name: &str) -> Result<PathBuf, Error> {
    std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set").into())
}

/// Reads one answer: 200, with its length in `content-length` or in chunks.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<(), Error> {
    let (status, have) = read_answer(stream, buffer)?;
    if status != 200 {
        return Err(String::from_utf8_lossy(&buffer[..have]).into_owned().into());
    }
    Ok(())
}

/// Reads one answer into the buffer: its status and its length.
pub fn read_answer(stream: &mut impl Read, buffer: &mut [u8]) -> Result<(u16, usize), Error> {
    let mut have = 0;
    loop {
        let read = stream.read(&mut buffer[have..])?;
        if read == 0 {
            return Err("the connection was closed".into());
        }
        have += read;
        let got = &buffer[..have];
        let Some(head) = got.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let whole = match content_length(&got[..head]) {
            Some(length) => have >= head + 4 + length,
            None => got.ends_with(b"0\r\n\r\n"),
        };
        if whole {
            let status = got.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
            return Ok((status.ok_or("an answer without a status")?, have));
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line =
        lines.find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}
