//! A Worker as it is deployed, in the real workerd; and doubles of what Cloudflare runs around one: KV and the network.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::home::Home;
use crate::http::{Http, free_port};
use crate::process::Running;
use crate::skip::skip;

/// Which Worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// edge-examples/cloudflare-worker.
    Rust,
    /// edge-examples/cloudflare-worker-ts.
    TypeScript,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rust, Self::TypeScript];

    /// Its script and its module, as `cargo xtask wasm` leaves them.
    fn modules(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Rust => {
                [("cloudflare-worker/shim.js", "esModule"), ("cloudflare-worker/worker.wasm", "wasm")]
            }
            Self::TypeScript => [
                ("cloudflare-worker-ts/worker.js", "esModule"),
                ("cloudflare-worker-ts/verifier.wasm", "wasm"),
            ],
        }
    }
}

/// What it takes to run Workers; without it a test is skipped.
#[derive(Clone, Debug)]
pub struct Workerd {
    program: PathBuf,
    dist: PathBuf,
}

impl Workerd {
    /// Looks for workerd and for what was built.
    #[must_use]
    pub fn find() -> Option<Self> {
        let npm = std::env::var_os("SEAMLESS_NPM").map(PathBuf::from);
        let program = npm.map(|npm| npm.join("node_modules/@cloudflare/workerd-linux-64/bin/workerd"));
        let Some(program) = program.filter(|program| program.is_file()) else {
            skip("no workerd; `cargo xtask test` installs it where Node is");
            return None;
        };
        let dist =
            std::env::var_os("SEAMLESS_DIST").map_or_else(|| crate::root().join("dist"), PathBuf::from);
        if !dist.join("cloudflare-worker/shim.js").is_file() {
            skip("no Workers in dist/; `cargo xtask wasm` makes them");
            return None;
        }
        Some(Self { program, dist })
    }
}

/// How a Worker is deployed.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// The variable `SEAMLESS`, in the words that this Worker takes.
    pub settings: Value,
    /// The variable `RULES`.
    pub rules: Option<Value>,
    /// The secret `SEAMLESS_SECRET`.
    pub secret: Option<String>,
    /// The variable `ORIGIN`: a port on loopback.
    pub origin: u16,
    /// The KV namespace: a port on loopback.
    pub kv: u16,
    /// Where the clock stands still, in Unix seconds; without it, the machine's.
    pub now: Option<u64>,
    /// What is replaced in the script, for Workers that trap.
    pub patch: Option<(&'static str, &'static str)>,
}

/// A Worker that runs.
#[derive(Debug)]
pub struct Edge {
    /// Its front.
    pub http: Http,
    running: Running,
}

impl Edge {
    /// A fresh isolate.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn start(workerd: &Workerd, home: &Home, kind: Kind, deployment: &Deployment) -> Self {
        let port = free_port();
        let folder = home.join(format!("workerd-{port}"));
        std::fs::create_dir_all(&folder).expect("make a folder");
        let config = folder.join("config.capnp");
        write_config(workerd, &folder, kind, deployment, port);
        let mut command = Command::new(&workerd.program);
        // What a Worker logs is shown with --verbose only.
        command.args(["serve", "--verbose"]).arg(&config);
        let running = Running::start(&mut command);
        let http = Http::local(port);
        http.wait();
        Self { http, running }
    }

    /// What it logged.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.running.transcript()
    }
}

fn write_config(workerd: &Workerd, folder: &Path, kind: Kind, deployment: &Deployment, port: u16) {
    let mut modules = String::new();
    for (file, form) in kind.modules() {
        let name = file.rsplit('/').next().unwrap_or(file);
        let to = folder.join(name);
        std::fs::copy(workerd.dist.join(file), &to).unwrap_or_else(|error| panic!("{file}: {error}"));
        if form == "esModule" {
            let mut script = std::fs::read_to_string(&to).expect("read the script");
            if let Some((from, into)) = deployment.patch {
                assert!(script.contains(from), "{file} has {from}");
                script = script.replacen(from, into, 1);
            }
            if let Some(now) = deployment.now {
                // workerd does not start under libfaketime, so it is the script's clock that stands still.
                script = format!(
                    "const RealDate = Date; globalThis.Date = class extends RealDate {{ \
                     constructor(...all) {{ super(...(all.length > 0 ? all : [{now}000])) }} \
                     static now() {{ return {now}000 }} }};\n{script}"
                );
            }
            std::fs::write(&to, script).expect("write the script");
        }
        let _ = write!(modules, "(name = {name:?}, {form} = embed {name:?}), ");
    }
    let mut bindings = format!("(name = \"ORIGIN\", text = \"http://127.0.0.1:{}\"), ", deployment.origin);
    for (name, value) in [("SEAMLESS", Some(&deployment.settings)), ("RULES", deployment.rules.as_ref())] {
        if let Some(value) = value {
            std::fs::write(folder.join(name), value.to_string()).expect("write a variable");
            let _ = write!(bindings, "(name = {name:?}, json = embed {name:?}), ");
        }
    }
    if let Some(secret) = &deployment.secret {
        std::fs::write(folder.join("secret"), secret).expect("write a secret");
        bindings.push_str("(name = \"SEAMLESS_SECRET\", text = embed \"secret\"), ");
    }
    bindings.push_str("(name = \"KEYS\", kvNamespace = \"kv\"), ");
    let text = format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [
    (name = \"main\", worker = .worker),
    (name = \"kv\", external = (address = \"127.0.0.1:{}\", http = ())),
    (name = \"internet\", network = (allow = [\"local\", \"private\"])),
  ],
  sockets = [(name = \"http\", address = \"127.0.0.1:{port}\", http = (), service = \"main\")],
);
const worker :Workerd.Worker = (
  modules = [{modules}],
  compatibilityDate = \"2026-10-01\",
  bindings = [{bindings}],
);
",
        deployment.kv
    );
    std::fs::write(folder.join("config.capnp"), text).expect("write workerd's configuration");
}

/// A server of the tests' own: an issuer's key set that can go away, or KV's double.
#[derive(Clone, Debug, Default)]
pub struct Double {
    /// Where it listens.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

/// What a double says to a method, a path and a body.
type Answer = fn(&mut State, &str, &str, Vec<u8>) -> (u16, Vec<u8>);

#[derive(Debug, Default)]
struct State {
    values: HashMap<String, Vec<u8>>,
    keys: String,
    status: u16,
    delay: Duration,
    asked: Vec<String>,
}

impl Double {
    /// Serves a key set at any path, like an issuer.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn issuer(keys: &str) -> Self {
        let double = Self::listen(|state, method, path, _| {
            state.asked.push(format!("{method} {path}"));
            (state.status, state.keys.clone().into_bytes())
        });
        double.publish(keys);
        double
    }

    /// Cloudflare's KV, in as much as workerd asks of it over HTTP: a value is put and got by its name.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn kv() -> Self {
        Self::listen(|state, method, path, body| {
            state.asked.push(format!("{method} {path}"));
            let name = path.split('?').next().unwrap_or_default().to_owned();
            if method == "PUT" {
                state.values.insert(name, body);
                return (200, Vec::new());
            }
            state.values.get(&name).map_or((404, Vec::new()), |value| (200, value.clone()))
        })
    }

    /// Other keys from now on.
    pub fn publish(&self, keys: &str) {
        let mut state = self.state();
        keys.clone_into(&mut state.keys);
        state.status = 200;
    }

    /// Answers with this status from now on.
    pub fn fail(&self, status: u16) {
        self.state().status = status;
    }

    /// Answers this late from now on.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// What it was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let double = Self { port, state: Arc::default() };
        let shared = double.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || while shared.exchange(&stream, answer).is_some() {});
            }
        });
        double
    }

    fn exchange(&self, mut stream: &TcpStream, answer: Answer) -> Option<()> {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let mut words = head.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let header = |name: &str| {
            head.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        };
        let mut body = Vec::new();
        if let Some(length) = header("content-length").and_then(|length| length.parse().ok()) {
            body.resize(length, 0);
            reader.read_exact(&mut body).ok()?;
        } else if header("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                reader.read_line(&mut size).ok()?;
                let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).ok()? + 2];
                reader.read_exact(&mut chunk).ok()?;
                if chunk.len() == 2 {
                    break;
                }
                body.extend_from_slice(&chunk[..chunk.len() - 2]);
            }
        }
        let (delay, (status, body)) = {
            let mut state = self.state();
            (state.delay, answer(&mut state, &method, &path, body))
        };
        std::thread::sleep(delay);
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nCache-Control: max-age=300\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
        None
    }
}
