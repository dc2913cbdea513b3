//! `serve` started anew, and its certificate changed, while clients go on: nobody is refused.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use seamless_tests::home::{ED25519, Home};
use seamless_tests::http::{Http, free_port, get_unix};
use seamless_tests::process::{Running, run};
use seamless_tests::realm;
use seamless_tests::serve::{Served, command};
use seamless_tests::skip::skip;

/// Clients that ask again and again, half of them on connections that they keep; of these half rest between.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..8)
            .map(|number| {
                let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
                let rest = Duration::from_millis(if number % 4 == 0 { 20 } else { 0 });
                std::thread::spawn(move || client(address, number % 2 == 0, rest, &stop, &answers))
            })
            .collect();
        Self { stop, answers, clients }
    }

    /// Waits until so many more were answered.
    #[track_caller]
    fn more(&self, count: u64) {
        let (before, start) = (self.answers.load(Ordering::Relaxed), Instant::now());
        while self.answers.load(Ordering::Relaxed) < before + count {
            assert!(start.elapsed() < Duration::from_secs(30), "the answers have stopped");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What went wrong.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    }
}

fn client(
    address: SocketAddr,
    keeps: bool,
    rest: Duration,
    stop: &AtomicBool,
    answers: &AtomicU64,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut kept: Option<TcpStream> = None;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(rest);
        let ask = |stream: &mut TcpStream| -> std::io::Result<String> {
            let close = if keeps { "" } else { "Connection: close\r\n" };
            stream
                .write_all(format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{close}\r\n").as_bytes())?;
            let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
            while !answer.ends_with(b"\r\n\r\nok\n") {
                match stream.read(&mut buffer)? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    count => answer.extend_from_slice(&buffer[..count]),
                }
            }
            Ok(String::from_utf8_lossy(&answer).to_ascii_lowercase())
        };
        let connected = match kept.take() {
            Some(stream) => Ok(stream),
            None => TcpStream::connect(address),
        };
        let asked = connected.and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok((ask(&mut stream)?, stream))
        });
        match asked {
            Ok((answer, stream)) => {
                answers.fetch_add(1, Ordering::Relaxed);
                if !answer.starts_with("http/1.1 200") {
                    failures.push(answer);
                } else if keeps && !answer.contains("connection: close") {
                    kept = Some(stream);
                }
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures
}

#[test]
fn started_anew_it_refuses_nobody_and_reads_its_settings() {
    let mut served = Served::start();
    let id = served.id();
    let load = Load::on(served.http.address);
    for round in 1..=3 {
        load.more(200);
        let toml = served.dir.join("realm.toml");
        let text = std::fs::read_to_string(&toml).expect("realm.toml");
        let text: String = text
            .lines()
            .map(|l| if l.starts_with("ttl = ") { format!("ttl = \"{round}m\"\n") } else { format!("{l}\n") })
            .collect();
        std::fs::write(&toml, text).expect("write realm.toml");
        served.signal(Signal::USR2);
        served.wait_for_lines("the next banner", "Paste into another terminal", round + 1);
        load.more(200);
        assert_eq!(served.id(), id, "the process is the same");
        // Log-ins while it changes wait as well.
        assert_eq!(served.token_json(&[])["expires_in"], 60 * round, "{}", served.transcript());
    }
    let failures = load.end();
    assert!(failures.is_empty(), "{failures:?}\n{}", served.transcript());

    // What would not come up is said, and the old one goes on.
    std::fs::write(served.dir.join("realm.toml"), "nonsense").expect("write realm.toml");
    served.signal(Signal::USR2);
    let line = served.wait_for_line("the refusal", |line| line.contains("not started anew"));
    assert!(line.contains("realm.toml"), "{line}");
    let _ = served.http.get("/healthz", &[]).status(200);
}

#[test]
fn log_ins_under_way_are_finished_and_new_ones_wait() {
    let mut served = Served::start();
    let done = AtomicBool::new(false);
    let tokens = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        let _ = run(&mut served.ssh.ssh(&served.home, &served.key, &[])).ok().line();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let pid = Pid::from_raw(i32::try_from(served.id()).expect("a pid")).expect("a pid");
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(700));
            kill_process(pid, Signal::USR2).expect("a signal");
        }
        std::thread::sleep(Duration::from_millis(1500));
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|c| c.join().expect("every log-in gave a token")).sum::<u32>()
    });
    assert!(tokens > 10, "{tokens} log-ins");
    served.wait_for_lines("the banners", "Paste into another terminal", 2);
}

/// What stands for the service manager: it is told of states, and keeps sockets.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
    path: PathBuf,
    kept: Vec<(String, OwnedFd)>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        Self { folder, socket, path, kept: Vec::new() }
    }

    /// Takes messages until one has that line.
    #[track_caller]
    fn hear(&mut self, line: &str) {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        loop {
            let mut bytes = [0; 4096];
            let mut space = [std::mem::MaybeUninit::uninit(); 256];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let message = recvmsg(
                &self.socket,
                &mut [std::io::IoSliceMut::new(&mut bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
            .unwrap_or_else(|error| panic!("waiting for {line}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..message.bytes]).into_owned();
            let name = text.lines().find_map(|l| l.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
            if text.lines().any(|l| l == "FDSTOREREMOVE=1") {
                self.kept.retain(|(kept, _)| *kept != name);
            }
            for given in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = given {
                    self.kept.extend(fds.map(|fd| (name.clone(), fd)));
                }
            }
            if text.lines().any(|l| l == line) {
                return;
            }
        }
    }

    /// The command, with the kept sockets as a service manager hands them over (sd_listen_fds(3)).
    ///
    /// They go by way of the standard streams, so that no child of another test inherits them.
    fn start(&self, command: &Command) -> Managed {
        let log = self.folder.path().join("log");
        let mut shell = Command::new("bash");
        shell
            .arg("-c")
            .arg("exec 3<&0 4<&1 5<&2 </dev/null >>\"$0\" 2>&1; export LISTEN_PID=$$; exec \"$@\"")
            .arg(&log)
            .arg(command.get_program())
            .args(command.get_args())
            .env("NOTIFY_SOCKET", &self.path);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if !self.kept.is_empty() {
            let names: Vec<_> = self.kept.iter().map(|(name, _)| name.as_str()).collect();
            shell.env("LISTEN_FDS", self.kept.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        let stream = |number: usize| match self.kept.get(number) {
            Some((_, fd)) => Stdio::from(fd.try_clone().expect("a duplicate")),
            None => Stdio::null(),
        };
        let child = shell.stdin(stream(0)).stdout(stream(1)).stderr(stream(2)).spawn().expect("bash");
        Managed { child, log }
    }
}

/// What the manager started; it ends with this value.
struct Managed {
    child: Child,
    log: PathBuf,
}

impl Managed {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("a signal");
    }

    fn ended(&mut self) {
        let start = Instant::now();
        while self.child.try_wait().expect("a child").is_none() {
            assert!(start.elapsed() < Duration::from_secs(10), "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_service_manager_keeps_the_sockets_over_a_restart() {
    let home = Home::new();
    let _key = home.default_key(ED25519);
    let (dir, socket) = (home.join("demo"), home.join("door.sock"));
    let (ssh, http) = (free_port(), free_port());
    let unix = format!("unix:{}", socket.display());
    let command = command(&home, &dir, ssh, http, &["--http", &unix]);
    let mut manager = Manager::new();
    let mut running = manager.start(&command);
    manager.hear("READY=1");
    let mut names: Vec<_> = manager.kept.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    assert_eq!(names, ["seamless-http", "seamless-http", "seamless-ssh"]);

    let load = Load::on(Http::local(http).address);
    for _ in 0..3 {
        load.more(200);
        running.signal(Signal::TERM);
        manager.hear("STOPPING=1");
        running.ended();
        // Nobody answers, and nobody is refused.
        assert!(TcpStream::connect(("127.0.0.1", ssh)).is_ok());
        running = manager.start(&command);
        manager.hear("READY=1");
        assert_eq!(manager.kept.len(), 3, "each is kept once");
        load.more(200);
        let _ = get_unix(&socket, "/healthz", &[]).status(200);
    }
    let failures = load.end();
    assert!(failures.is_empty(), "{failures:?}\n{}", running.log());

    running.signal(Signal::HUP);
    manager.hear("RELOADING=1");
    manager.hear("READY=1");

    // Another address: the old one is given up.
    running.signal(Signal::TERM);
    manager.hear("STOPPING=1");
    running.ended();
    let other = free_port();
    let moved = seamless_tests::serve::command(&home, &dir, ssh, other, &[]);
    let running = manager.start(&moved);
    manager.hear("READY=1");
    assert_eq!(manager.kept.len(), 2, "{}", running.log());
    let _ = Http::local(other).get("/healthz", &[]).status(200);
    assert!(TcpStream::connect(("127.0.0.1", http)).is_err(), "the manager's copy was the last one");
}

#[test]
fn sockets_of_a_socket_unit() {
    if run(Command::new("systemd-socket-activate").arg("--version")).code != Some(0) {
        return skip("no systemd-socket-activate; `apt-get install systemd`");
    }
    let home = Home::new();
    let _key = home.default_key(ED25519);
    let dir = home.join("demo");
    let activate = |name: &str, port: u16| {
        let serve = home.seamless(["serve", "--no-ssh", "--dir"]);
        let mut command = Command::new("systemd-socket-activate");
        command.args(["--listen", &format!("127.0.0.1:{port}"), &format!("--fdname={name}")]);
        for (name, value) in serve.get_envs() {
            if let Some(value) = value {
                command.arg("--setenv").arg(format!(
                    "{}={}",
                    name.to_string_lossy(),
                    value.to_string_lossy()
                ));
            }
        }
        command.arg(serve.get_program()).args(serve.get_args()).arg(&dir);
        command
    };
    let port = free_port();
    let mut running = Running::start(&mut activate("http", port));
    Http::local(port).wait();
    let _ = Http::local(port).get("/healthz", &[]).status(200);
    running.wait_for("the banner", |r| r.stdout().contains("Paste into").then_some(()));
    assert!(
        running.stdout().contains(&format!("http    http://127.0.0.1:{port}")),
        "{}",
        running.transcript()
    );
    drop(running);

    // A name that says nothing is refused, not guessed.
    let port = free_port();
    let mut running = Running::start(&mut activate("web", port));
    Http::local(port).wait();
    assert_eq!(running.wait(Duration::from_secs(10)), Some(2), "{}", running.transcript());
    // Its last words may be on their way yet.
    let start = Instant::now();
    while !running.stderr().contains("FileDescriptorName=http or ssh") {
        assert!(start.elapsed() < Duration::from_secs(10), "{}", running.transcript());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A self-signed certificate of that serial number.
fn certificate(folder: &Path, serial: &str) {
    let done = run(Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-set_serial", serial])
        .arg("-keyout")
        .arg(folder.join("new.key"))
        .arg("-out")
        .arg(folder.join("new.pem")));
    let _ = done.ok();
    for (new, file) in [("new.key", "key.pem"), ("new.pem", "cert.pem")] {
        std::fs::rename(folder.join(new), folder.join(file)).expect("a certificate in its place");
    }
}

/// The serial number of the certificate that is shown there.
fn shown(port: u16) -> String {
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    run(Command::new("sh").args(["-c", &script])).stdout.trim().to_owned()
}

#[test]
fn a_new_certificate_is_read_and_a_broken_one_is_not() {
    let home = Home::new();
    let key = home.default_key(ED25519);
    let folder = home.join("tls");
    std::fs::create_dir(&folder).expect("a folder");
    certificate(&folder, "17");
    let (cert, private) = (folder.join("cert.pem"), folder.join("key.pem"));
    let (dir, second) = (home.join("demo"), free_port());
    let second_http = format!("127.0.0.1:{second}");
    let (cert_text, key_text) = (cert.display().to_string(), private.display().to_string());
    let options = ["--tls-cert", &cert_text, "--tls-key", &key_text, "--http", &second_http];
    let mut served = Served::start_in(home, dir, key, &options);
    let port = served.http.address.port();
    for port in [port, second] {
        assert_eq!(shown(port), "serial=11", "both addresses speak TLS");
    }
    // A kept connection goes on over the change.
    let url = format!("https://127.0.0.1:{port}/healthz");
    let _ = run(Command::new("curl").args(["-sS", "--fail", "--cacert", &cert_text, &url])).ok().says("ok");

    certificate(&folder, "18");
    served.signal(Signal::HUP);
    served.wait_for_line("the new certificate", |l| l.contains("was read anew"));
    assert_eq!((shown(port), shown(second)), ("serial=12".to_owned(), "serial=12".to_owned()));
    let _ = run(Command::new("curl").args(["-sS", "--fail", "--cacert", &cert_text, &url])).ok().says("ok");

    // Without a signal.
    certificate(&folder, "19");
    let start = Instant::now();
    while shown(port) != "serial=13" {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "a changed file is seen:\n{}",
            served.transcript()
        );
        std::thread::sleep(Duration::from_millis(200));
    }

    std::fs::write(&cert, "half a certificate").expect("break it");
    served.signal(Signal::HUP);
    let line = served.wait_for_line("the refusal", |l| l.contains("stays the old one"));
    assert!(line.contains("cert.pem holds no PEM certificate"), "{line}");
    assert_eq!(shown(port), "serial=13");
}

#[test]
fn settings_of_tls_and_addresses_in_the_file() {
    let (home, dir, _key) = Served::start().interrupt();
    let folder = home.join("tls");
    std::fs::create_dir(&folder).expect("a folder");
    certificate(&folder, "33");
    let (one, two) = (free_port(), free_port());
    let toml = dir.join("realm.toml");
    let text = std::fs::read_to_string(&toml).expect("realm.toml");
    let settings = format!(
        "[serve]\nhttp = [\"127.0.0.1:{one}\", \"127.0.0.1:{two}\"]\ntls_cert = \"{0}/cert.pem\"\ntls_key = \"{0}/key.pem\"\n",
        folder.display()
    );
    std::fs::write(&toml, text.replacen("[serve]\n", &settings, 1)).expect("write realm.toml");
    let mut running = Running::start(&mut realm::verb(&home, &dir, &["serve", "--no-ssh"]));
    running.wait_for("the banner", |r| r.stdout().contains("Paste into").then_some(()));
    assert_eq!((shown(one), shown(two)), ("serial=21".to_owned(), "serial=21".to_owned()));
}

#[test]
fn idle_and_dripping_clients_do_not_keep_others_out() {
    let home = Home::new();
    let key = home.default_key(ED25519);
    let folder = home.join("tls");
    std::fs::create_dir(&folder).expect("a folder");
    certificate(&folder, "7");
    let dir = home.join("demo");
    let (plain, served) = (Served::start(), {
        let files = ["cert.pem", "key.pem"].map(|f| folder.join(f).display().to_string());
        Served::start_in(home, dir, key, &["--tls-cert", &files[0], "--tls-key", &files[1]])
    });
    let cacert = folder.join("cert.pem").display().to_string();
    let (http, https) = (plain.http.address, served.http.address);
    let mut held = Vec::new();
    for number in 0..200_u8 {
        for address in [http, https] {
            let mut stream = TcpStream::connect(address).expect("connect");
            // A third each: silent, a head that does not end, a request and then nothing.
            match number % 3 {
                0 => {}
                1 => stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ").expect("send"),
                _ => stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send"),
            }
            held.push(stream);
        }
    }
    let start = Instant::now();
    let url = format!("https://127.0.0.1:{}/healthz", https.port());
    while start.elapsed() < Duration::from_secs(7) {
        // One byte more on each, so that nothing looks idle.
        held.retain_mut(|stream| stream.write_all(b"x").is_ok());
        let _ = plain.http.get("/healthz", &[]).status(200);
        let _ = run(Command::new("curl").args(["-sS", "--fail", "--cacert", &cacert, &url])).ok();
        let _ = plain.login(&[]).ok().line();
        std::thread::sleep(Duration::from_millis(300));
    }
    // Whoever never finished a head is gone by now.
    std::thread::sleep(Duration::from_millis(500));
    held.retain_mut(|stream| stream.write_all(b"x").is_ok() && stream.write_all(b"x").is_ok());
    assert!(held.len() < 150, "{} of 400 are still open", held.len());
}

/// Opens connections from one address, asks on each, and says how many were answered.
const GREEDY: &str = r#"
import socket, ssl, sys
tls = ssl.create_default_context(cafile=sys.argv[1])
tls.check_hostname = False
held = []
for _ in range(100):
    try:
        raw = socket.create_connection(("192.0.2.1", int(sys.argv[2])), 5, ("192.0.2.7", 0))
        stream = tls.wrap_socket(raw)
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if stream.recv(15).startswith(b"HTTP/1.1 200"):
            held.append(stream)
    except OSError:
        pass
print(len(held), flush=True)
sys.stdin.read()
"#;

#[test]
fn one_address_does_not_take_all_places() {
    if !seamless_tests::system_allowed() {
        return skip("needs root, for a network of its own");
    }
    let home = Home::new();
    let _key = home.default_key(ED25519);
    certificate(home.join("").as_path(), "5");
    let files = ["cert.pem", "key.pem"].map(|f| home.join(f).display().to_string());
    let serve = home.seamless(["serve", "--no-ssh", "--http", "192.0.2.1:8443", "--tls-cert", &files[0]]);
    let mut inside = Command::new("unshare");
    let script =
        "ip link set lo up && for n in 1 7 8; do ip addr add 192.0.2.$n/32 dev lo; done && exec \"$@\"";
    inside.args(["--net", "sh", "-c", script, "sh"]).arg(serve.get_program()).args(serve.get_args());
    inside.args(["--tls-key", &files[1], "--dir"]).arg(home.join("demo"));
    for (name, value) in serve.get_envs() {
        if let Some(value) = value {
            inside.env(name, value);
        }
    }
    let mut running = Running::start(&mut inside);
    running.wait_for("the banner", |r| r.stdout().contains("Paste into").then_some(()));
    let enter = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &running.id().to_string()]).args(words);
        command
    };
    let mut python = enter(&["python3", "-c", GREEDY, &files[0], "8443"]);
    let mut greedy = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
    let mut line = String::new();
    let mut output = std::io::BufReader::new(greedy.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
    let from = |address: &str| {
        let url = "https://192.0.2.1:8443/healthz";
        let words = ["curl", "-sS", "--fail", "-k", "--max-time", "3", "-H", "Host: localhost"];
        run(enter(&words).args(["--interface", address, url]))
    };
    let other = from("192.0.2.8");
    drop(greedy.stdin.take());
    let _ = greedy.wait();
    assert_eq!(line.trim(), "64", "as many as one address gets");
    let _ = other.ok().says("ok");
    let _ = from("192.0.2.7").ok().says("ok");
}
