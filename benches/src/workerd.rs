//! What verification costs in a Worker: processor time of a request in workerd.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use seamless_bench::edge::{Error, Plan, Server, free_port, given, measure as measure_all, request};
use seamless_bench::meter::{Goal, median, print};

use crate::tokens::{AUDIENCE, ISSUER, SECRET, Tokens};

/// Measures all of them. `SEAMLESS_WORKERS` holds a folder for each Worker, with its script and what that imports;
/// benches/node/workers.mjs makes them, and the examples are copied from dist/.
pub fn measure(quick: bool) -> Result<(), Error> {
    let bench = Bench {
        workerd: given("SEAMLESS_WORKERD")?,
        workers: given("SEAMLESS_WORKERS")?,
        logs: tempfile::tempdir()?,
        tokens: Tokens::mint()?,
    };
    bench.alone(quick)?;
    bench.in_front_of_an_origin(quick)
}

struct Bench {
    workerd: PathBuf,
    workers: PathBuf,
    logs: tempfile::TempDir,
    tokens: Tokens,
}

impl Bench {
    /// Workers that answer by themselves: what verification adds to nothing.
    fn alone(&self, quick: bool) -> Result<(), Error> {
        let jwks = self.tokens.jwks.to_string();
        let texts = [
            ("SECRET", SECRET),
            ("ISSUER", ISSUER),
            ("AUDIENCE", AUDIENCE),
            ("JWKS", jwks.as_str()),
            ("REALM", "corp"),
            ("MAX_AGE", "3600"),
        ];
        let bindings: String = texts.iter().map(|(name, value)| text(name, value)).collect();
        let (seamless, eddsa, hs256) = self.credentials();
        let mut servers = vec![
            self.start("bare", &seamless, &bindings)?,
            self.start("ours", &seamless, &bindings)?,
            self.start("ours-jwt", &eddsa, &bindings)?,
            self.start("subtle", &seamless, &bindings)?,
            self.start("jose", &hs256, &bindings)?,
        ];
        measure_all(&Plan::new(quick), &mut servers)?;
        let [bare, ours, ours_jwt, subtle, jose] = servers.as_slice() else {
            return Err("five servers".into());
        };
        const OURS: &str = "Worker, CPU a request: ours, `seamless`";
        print(OURS, &ours.cpu_ns, "a bare Worker", &bare.cpu_ns, Goal::Ratio(1.1));
        print(OURS, &ours.cpu_ns, "a Worker with `crypto.subtle` (HMAC-SHA1)", &subtle.cpu_ns, Goal::None);
        print(OURS, &ours.cpu_ns, "a Worker with `jose` (HS256)", &jose.cpu_ns, Goal::None);
        const JWT: &str = "Worker, CPU a request: ours, JWT (EdDSA), seen before";
        print(JWT, &ours_jwt.cpu_ns, "a bare Worker", &bare.cpu_ns, Goal::None);
        for (name, server) in [("a bare Worker", bare), ("ours, `seamless`", ours)] {
            let rate = median(&mut server.rate.clone()).round();
            println!("{}", json!({"name": format!("workerd: {name}"), "count": rate, "unit": "requests/s"}));
        }
        Ok(())
    }

    /// The examples as they are deployed, beside a Worker that hands requests on and does nothing else.
    fn in_front_of_an_origin(&self, quick: bool) -> Result<(), Error> {
        let (seamless, ..) = self.credentials();
        let origin = self.start("bare", &seamless, "")?;
        let to_origin = text("ORIGIN", &format!("http://127.0.0.1:{}", origin.port()));
        let example = |settings: &str| {
            let json = |name: &str, value: &str| format!("(name = {name:?}, json = {value:?}), ");
            [
                to_origin.clone(),
                json("SEAMLESS", settings),
                json("RULES", r#"{"rules":[]}"#),
                text("SEAMLESS_SECRET", SECRET),
                // Asked for public keys alone, and there are none here.
                "(name = \"KEYS\", kvNamespace = \"internet\"), ".to_owned(),
            ]
            .concat()
        };
        let mut servers = vec![
            self.start("forward", &seamless, &to_origin)?,
            self.start("example-ts", &seamless, &example(r#"{"realm":"corp","maxAge":3600}"#))?,
            self.start(
                "example-rust",
                &seamless,
                &example(r#"{"realm":"corp","secrets":[{"env":"SEAMLESS_SECRET"}],"max_age":3600}"#),
            )?,
        ];
        measure_all(&Plan::new(quick), &mut servers)?;
        let [forward, typescript, rust] = servers.as_slice() else { return Err("three servers".into()) };
        const TYPESCRIPT: &str = "Worker in front of an origin, CPU a request: the example in TypeScript";
        const RUST: &str = "Worker in front of an origin, CPU a request: the example in Rust (`worker`)";
        const FORWARD: &str = "a Worker that forwards and does no more";
        print(TYPESCRIPT, &typescript.cpu_ns, FORWARD, &forward.cpu_ns, Goal::None);
        print(RUST, &rust.cpu_ns, FORWARD, &forward.cpu_ns, Goal::None);
        Ok(())
    }

    /// `Authorization` with each token: `seamless`, EdDSA, HS256.
    fn credentials(&self) -> (String, String, String) {
        let Tokens { seamless, eddsa, hs256, .. } = &self.tokens;
        (format!("seamless {seamless}"), format!("Bearer {eddsa}"), format!("Bearer {hs256}"))
    }

    fn start(&self, worker: &'static str, authorization: &str, bindings: &str) -> Result<Server, Error> {
        let port = free_port()?;
        let source = self.workers.join(worker);
        let config = source.join(format!("{port}.capnp"));
        std::fs::write(&config, capnp(&source, port, bindings)?)?;
        let mut command = Command::new(&self.workerd);
        command.arg("serve").arg(&config);
        let log = self.logs.path().join(format!("{port}.log"));
        let asked = request("/api/things", "api.example.com", Some(authorization));
        Server::start(worker, &mut command, port, asked, &log)
    }
}

fn text(name: &str, value: &str) -> String {
    format!("(name = {name:?}, text = {value:?}), ")
}

fn capnp(folder: &Path, port: u16, bindings: &str) -> Result<String, Error> {
    let mut modules = String::new();
    let mut files: Vec<String> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    // The first module is the one that is run.
    files.sort_by_key(|name| (name != "worker.js" && name != "shim.js", name.clone()));
    for name in files {
        let kind = match name.rsplit('.').next() {
            Some("js") => "esModule",
            Some("wasm") => "wasm",
            _ => continue,
        };
        write!(modules, "(name = {name:?}, {kind} = embed {name:?}), ")?;
    }
    Ok(format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [
    (name = \"main\", worker = .worker),
    (name = \"internet\", network = (allow = [\"local\", \"private\"])),
  ],
  sockets = [(name = \"http\", address = \"127.0.0.1:{port}\", http = (), service = \"main\")],
);
const worker :Workerd.Worker = (
  modules = [{modules}],
  bindings = [{bindings}],
  compatibilityDate = \"2026-10-01\",
);
"
    ))
}
