//! Log-ins over HTTP, beside the original server of crtauth. Signing is what a client's agent does: it is not measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crtauth::client::{self, Expect};
use crtauth::{Version, Wish, agent};
use seamless_bench::edge::{Error, cpu};
use seamless_bench::meter::{Goal, median, print};

use crate::issuer::{Installed, Realm, run, wait_for};
use crate::lookup::import;
use crate::{number, say};

/// Clients, each on a thread, and the connections that each keeps, with one message on its way on every one.
const CLIENTS: usize = 2;
const CONNECTIONS: usize = 16;
/// At least 50 log-ins for one of the original's: a fiftieth of the time.
const GOAL: f64 = 0.02;

/// Measures log-ins, challenges, and who can be told apart by them.
pub(crate) fn measure(quick: bool) -> Result<(), Error> {
    let (rounds, many, users) = if quick { (3, 200, 1_000) } else { (7, 2_000, 1_000_000) };
    let installed = Installed::new()?;
    let agent = Agent::start(&installed)?;
    let realm = realm(&installed, "crtauth", &agent)?;
    let ours = Peer::seamless(&installed, &realm)?;
    let original = Peer::original(&installed, &agent)?;

    let (mut own, mut own_cpu, mut other, mut other_cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut own_v2 = Vec::new();
    for round in 0..=rounds {
        let v1 = log_ins(&ours, &agent, Version::V1, many)?;
        let v2 = log_ins(&ours, &agent, Version::V2, many)?;
        let beside =
            original.as_ref().map(|peer| log_ins(peer, &agent, Version::V1, many / 10)).transpose()?;
        // The first round warms up.
        if round > 0 {
            own.push(v1.each_ns);
            own_cpu.push(v1.cpu_ns);
            own_v2.push(v2.each_ns);
            if let Some(beside) = beside {
                other.push(beside.each_ns);
                other_cpu.push(beside.cpu_ns);
            }
        }
    }
    const ORIGINAL: &str = "crtauth 0.99.4 on CPython 2.7";
    if other.is_empty() {
        say("no CPython 2.7: nothing beside it")?;
    } else {
        print("a log-in, version 1 with RSA-2048", &own, ORIGINAL, &other, Goal::Ratio(GOAL));
        print("a log-in, version 1: CPU of the server", &own_cpu, ORIGINAL, &other_cpu, Goal::Ratio(GOAL));
        crate::rate("log-ins at the original", &other, "a second");
    }
    crate::rate("log-ins, version 1 with RSA-2048", &own, "a second");
    crate::rate("log-ins, version 2 with Ed25519", &own_v2, "a second");
    number("log-ins, version 1: CPU of the server", median(&mut own_cpu) / 1e6, "ms", None);

    four_states(&installed, &ours, &realm, if quick { 100 } else { 1_000 })?;
    challenges(&installed, &ours, many, "challenges, a realm of one user")?;
    drop(ours);
    let large = self::realm(&installed, "large", &agent)?;
    import(&installed, &large, users)?;
    let ours = Peer::seamless(&installed, &large)?;
    challenges(&installed, &ours, many, &format!("challenges, a realm of {users} users"))?;
    percentiles(&ours, "ada", many, &format!("a challenge for a known name of {users}"))?;
    percentiles(&ours, "nobody", many, &format!("a challenge for an unknown name beside {users}"))
}

/// A realm that answers log-ins without limits, with the agent's keys as ada's.
fn realm(installed: &Installed, name: &str, agent: &Agent) -> Result<Realm, Error> {
    let realm = installed.realm(name, "jwt")?;
    let path = realm.dir.join("realm.toml");
    let text = std::fs::read_to_string(&path)?;
    let with = text
        .replace("enabled = false", "enabled = true")
        .replace("per_address = 600", "per_address = 0")
        .replace("per_name = 120", "per_name = 0");
    std::fs::write(&path, with)?;
    for key in [&agent.rsa, &agent.ed25519] {
        run(realm.verb(installed, &["add", "--user", "ada"]).arg(key.with_extension("pub")))?;
    }
    Ok(realm)
}

/// What one round found.
struct Round {
    each_ns: f64,
    cpu_ns: f64,
}

/// So many log-ins: challenges for all, signatures off the clock, responses for all.
fn log_ins(peer: &Peer, agent: &Agent, version: Version, many: usize) -> Result<Round, Error> {
    let wish = Wish::default();
    let request = client::request("ada", version, &wish);
    let before = cpu(peer.child.id())?;
    let start = Instant::now();
    let challenges = peer.send_all(&vec![request; many])?;
    let (mut seconds, mut server) = (start.elapsed(), cpu(peer.child.id())? - before);

    let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let expect = Expect { server_name: peer.name, user: "ada", wish: &wish, now, lowest: Version::V1 };
    let mut stream = agent.connect()?;
    let mut responses = Vec::new();
    for value in &challenges {
        let challenge = client::challenge(value, &expect)?;
        let key = agent.blobs.iter().find(|blob| {
            challenge.wants(blob) && (version == Version::V1 || blob.starts_with(b"\0\0\0\x0bssh-ed25519"))
        });
        let key = key.ok_or("the server wants another key")?;
        let to_sign = challenge.to_sign(key)?;
        let signature = ask(&mut stream, &agent::sign_request(key, &to_sign.data, to_sign.flags))?;
        responses.push(challenge.response(key, &agent::signature(&signature)?)?);
    }

    let before = cpu(peer.child.id())?;
    let start = Instant::now();
    let tokens = peer.send_all(&responses)?;
    seconds += start.elapsed();
    server += cpu(peer.child.id())? - before;
    for token in &tokens {
        client::token(token)?;
    }
    let each = |total: f64| total / f64::from(u32::try_from(many).unwrap_or(u32::MAX));
    Ok(Round { each_ns: each(seconds.as_secs_f64() * 1e9), cpu_ns: each(server) })
}

/// Challenges a second, and what each costs.
fn challenges(_: &Installed, peer: &Peer, many: usize, name: &str) -> Result<(), Error> {
    let request = client::request("ada", Version::V1, &Wish::default());
    let mut each = Vec::new();
    for round in 0..6 {
        let start = Instant::now();
        peer.send_all(&vec![request.clone(); many])?;
        if round > 0 {
            each.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(many)?));
        }
    }
    crate::rate(name, &each, "a second");
    Ok(())
}

/// How long one waits for a challenge, one after the other on one connection.
fn percentiles(peer: &Peer, user: &str, many: usize, name: &str) -> Result<(), Error> {
    let request = client::request(user, Version::V1, &Wish::default());
    let mut connection = Connection::open(peer)?;
    let mut took = Vec::new();
    for _ in 0..many {
        let start = Instant::now();
        connection.send(&request)?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or(f64::NAN);
    number(&format!("{name}: median"), at(50), "µs", None);
    number(&format!("{name}: p99"), at(99), "µs", None);
    Ok(())
}

/// Known, unknown, locked and without a key: interleaved, and no median may stand out.
fn four_states(installed: &Installed, peer: &Peer, realm: &Realm, many: usize) -> Result<(), Error> {
    let public = realm.dir.join("another.pub");
    for (name, seed) in [("known", 0), ("locked", 1), ("keyless", 2)] {
        std::fs::write(&public, crate::test_keys::line(seed))?;
        run(realm.verb(installed, &["add", "--user", name]).arg(&public))?;
    }
    run(&mut realm.verb(installed, &["user", "lock", "locked", "--yes"]))?;
    let list = run(&mut realm.verb(installed, &["--json", "key", "list"]))?;
    let keys: serde_json::Value = serde_json::from_str(&list)?;
    let key = keys.as_array().into_iter().flatten().find(|key| key["user"] == "keyless");
    let fingerprint = key.and_then(|key| key["fingerprint"].as_str()).ok_or("keyless has a key at first")?;
    run(&mut realm.verb(installed, &["key", "remove", fingerprint, "--yes"]))?;

    let states = ["known", "nobody", "locked", "keyless"];
    let mut connection = Connection::open(peer)?;
    let mut took = [const { Vec::new() }; 4];
    for round in 0..=many {
        for turn in 0..states.len() {
            let at = (turn + round) % states.len();
            let request = client::request(states[at], Version::V2, &Wish::default());
            let start = Instant::now();
            connection.send(&request)?;
            if round > 0 {
                took[at].push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    let medians: Vec<f64> = took.iter_mut().map(|all| median(all)).collect();
    for (state, median) in states.iter().zip(&medians) {
        number(&format!("a challenge, version 2, for {state}: median"), *median, "µs", None);
    }
    let (least, most) = medians.iter().fold((f64::MAX, 0.0_f64), |(a, b), m| (a.min(*m), b.max(*m)));
    number("how far these medians lie apart", (most / least - 1.0) * 100.0, "%", Some(5.0));
    Ok(())
}

/// A stock ssh-agent with two keys.
struct Agent {
    child: Child,
    socket: PathBuf,
    rsa: PathBuf,
    ed25519: PathBuf,
    blobs: Vec<Vec<u8>>,
}

impl Agent {
    fn start(installed: &Installed) -> Result<Self, Error> {
        let folder = installed.work.path();
        let socket = folder.join("agent");
        let mut command = Command::new("ssh-agent");
        let child = command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn()?;
        let (rsa, ed25519) = (folder.join("rsa"), folder.join("ed25519"));
        let mut agent = Self { child, socket, rsa, ed25519, blobs: Vec::new() };
        let start = Instant::now();
        while agent.connect().is_err() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        for (path, kind) in [(&agent.rsa, ["rsa", "2048"]), (&agent.ed25519, ["ed25519", "256"])] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-N", "", "-t", kind[0], "-b", kind[1], "-f"])
                .arg(path))?;
            run(Command::new("ssh-add").arg("-q").arg(path).env("SSH_AUTH_SOCK", &agent.socket))?;
        }
        let listed = ask(&mut agent.connect()?, &agent::request_identities())?;
        agent.blobs = agent::identities(&listed)?.into_iter().map(|key| key.blob).collect();
        Ok(agent)
    }

    fn connect(&self) -> Result<UnixStream, Error> {
        Ok(UnixStream::connect(&self.socket)?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(stream: &mut UnixStream, frame: &[u8]) -> Result<Vec<u8>, Error> {
    stream.write_all(&u32::try_from(frame.len())?.to_be_bytes())?;
    stream.write_all(frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A server of the protocol. It ends with this value.
struct Peer {
    child: Child,
    address: SocketAddr,
    /// What its challenges call it.
    name: &'static str,
    /// The original closes each connection.
    keeps: bool,
}

impl Peer {
    fn seamless(installed: &Installed, realm: &Realm) -> Result<Self, Error> {
        let mut command = realm.verb(installed, &["serve", "--no-ssh", "--http", &realm.http.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        wait_for(realm.http, || None)?;
        Ok(Self { child, address: realm.http, name: "127.0.0.1", keeps: true })
    }

    /// None where there is no CPython 2.7.
    fn original(installed: &Installed, agent: &Agent) -> Result<Option<Self>, Error> {
        let (Some(python), Some(script)) =
            (std::env::var_os("SEAMLESS_PYTHON2"), std::env::var_os("SEAMLESS_CRTAUTH"))
        else {
            return Ok(None);
        };
        let folder = installed.work.path();
        let keys = folder.join("keys");
        std::fs::create_dir(&keys)?;
        std::fs::copy(agent.rsa.with_extension("pub"), keys.join("ada_id_rsa.pub"))?;
        std::fs::write(folder.join("secret"), "a secret of twenty-six bytes")?;
        let mut command = Command::new(python);
        command.arg(Path::new(&script)).arg(folder.join("secret")).arg(&keys).args(["127.0.0.1", "01"]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.as_mut() {
            std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        }
        let port: u16 = line.trim().rsplit(' ').next().unwrap_or_default().parse()?;
        Ok(Some(Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            name: "127.0.0.1",
            keeps: false,
        }))
    }

    /// Sends all of them over a few connections, and returns what came back for each.
    fn send_all(&self, messages: &[String]) -> Result<Vec<String>, Error> {
        let connections = if self.keeps { CONNECTIONS } else { 1 };
        let part = messages.len().div_ceil(CLIENTS);
        std::thread::scope(|scope| {
            let threads: Vec<_> = messages
                .chunks(part)
                .map(|chunk| {
                    scope.spawn(move || {
                        let open = |_| Connection::open(self).map_err(|e| e.to_string());
                        let mut open = (0..connections).map(open).collect::<Result<Vec<_>, String>>()?;
                        let mut answers = Vec::new();
                        for messages in chunk.chunks(connections) {
                            for (connection, message) in open.iter_mut().zip(messages) {
                                connection.ask(message).map_err(|e| e.to_string())?;
                            }
                            for (connection, _) in open.iter_mut().zip(messages) {
                                answers.push(connection.answer().map_err(|e| e.to_string())?);
                            }
                        }
                        Ok::<_, String>(answers)
                    })
                })
                .collect();
            let mut answers = Vec::new();
            for thread in threads {
                answers.extend(thread.join().map_err(|_| "a client broke")??);
            }
            Ok(answers)
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Connection<'a> {
    peer: &'a Peer,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn open(peer: &'a Peer) -> Result<Self, Error> {
        Ok(Self { peer, stream: None, buffer: Vec::new() })
    }

    /// What stands in the answer's X-CHAP.
    fn send(&mut self, message: &str) -> Result<String, Error> {
        self.ask(message)?;
        self.answer()
    }

    fn ask(&mut self, message: &str) -> Result<(), Error> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.peer.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(20)))?;
                stream
            }
        };
        // A HEAD has no body to wait for.
        let request =
            format!("HEAD /_auth HTTP/1.1\r\nHost: {}\r\nX-CHAP: {message}\r\n\r\n", self.peer.address);
        stream.write_all(request.as_bytes())?;
        self.stream = Some(stream);
        Ok(())
    }

    fn answer(&mut self) -> Result<String, Error> {
        let mut stream = self.stream.take().ok_or("nothing was asked")?;
        self.buffer.clear();
        let mut piece = [0; 4096];
        while !self.buffer.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Err("the connection was closed".into());
            }
            self.buffer.extend_from_slice(&piece[..read]);
        }
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        if text.split(' ').nth(1).is_none_or(|status| status != "200") {
            return Err(text.into());
        }
        if self.peer.keeps {
            self.stream = Some(stream);
        }
        let header = text.lines().find(|line| line.to_ascii_lowercase().starts_with("x-chap:"));
        Ok(header
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .ok_or("no X-CHAP")?)
    }
}
