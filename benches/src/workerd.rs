//! What verification costs in a Worker: processor time of a request in workerd.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::edge::{Error, Plan, Server, free_port, given, measure as measure_all};
use crate::meter::{Goal, median, print};
use crate::tokens::{AUDIENCE, ISSUER, SECRET, Tokens};

/// Measures all of them in one run. `SEAMLESS_WORKERS` holds a folder for each Worker, with a `worker.js` and what it
/// imports; benches/node/workers.mjs makes it.
pub fn measure(quick: bool) -> Result<(), Error> {
    let (workerd, workers) = (given("SEAMLESS_WORKERD")?, given("SEAMLESS_WORKERS")?);
    let folder = tempfile::tempdir()?;
    let tokens = Tokens::mint()?;
    let seamless = format!("seamless {}", tokens.seamless);
    let (eddsa, hs256) = (format!("Bearer {}", tokens.eddsa), format!("Bearer {}", tokens.hs256));
    let jwks = tokens.jwks.to_string();
    let bindings = [
        ("SECRET", SECRET),
        ("ISSUER", ISSUER),
        ("AUDIENCE", AUDIENCE),
        ("JWKS", jwks.as_str()),
        ("REALM", "corp"),
        ("MAX_AGE", "3600"),
    ];
    let start = |name: &'static str, worker: &str, authorization: &str| {
        let port = free_port()?;
        let source = workers.join(worker);
        let config = source.join(format!("{port}.capnp"));
        std::fs::write(&config, capnp(&source, port, &bindings)?)?;
        let mut command = Command::new(&workerd);
        command.arg("serve").arg(&config);
        Server::start(
            name,
            &mut command,
            port,
            Some(authorization),
            &folder.path().join(format!("{port}.log")),
        )
    };
    let mut servers = vec![
        start("bare", "bare", &seamless)?,
        start("ours, seamless", "ours", &seamless)?,
        start("ours, EdDSA", "ours-jwt", &eddsa)?,
        start("crypto.subtle", "subtle", &seamless)?,
        start("jose", "jose", &hs256)?,
    ];
    measure_all(&Plan::new(quick), &mut servers)?;

    let [bare, seamless, eddsa, subtle, jose] = servers.as_slice() else {
        return Err("five servers".into());
    };
    const OURS: &str = "Worker, CPU a request: ours, `seamless`";
    print(OURS, &seamless.cpu_ns, "a bare Worker", &bare.cpu_ns, Goal::Ratio(1.1));
    print(OURS, &seamless.cpu_ns, "a Worker with `crypto.subtle` (HMAC-SHA1)", &subtle.cpu_ns, Goal::None);
    print(OURS, &seamless.cpu_ns, "a Worker with `jose` (HS256)", &jose.cpu_ns, Goal::None);
    const JWT: &str = "Worker, CPU a request: ours, JWT (EdDSA), seen before";
    print(JWT, &eddsa.cpu_ns, "a bare Worker", &bare.cpu_ns, Goal::None);
    for server in [bare, seamless] {
        let rate = median(&mut server.rate.clone()).round();
        println!(
            "{}",
            json!({"name": format!("workerd: {}", server.name()), "count": rate, "unit": "requests/s"})
        );
    }
    Ok(())
}

fn capnp(folder: &Path, port: u16, bindings: &[(&str, &str)]) -> Result<String, Error> {
    let mut modules = String::new();
    let mut files: Vec<String> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    // The first module is the one that is run.
    files.sort_by_key(|name| (name != "worker.js", name.clone()));
    for name in files {
        let kind = match name.rsplit('.').next() {
            Some("js") => "esModule",
            Some("wasm") => "wasm",
            _ => continue,
        };
        write!(modules, "(name = {name:?}, {kind} = embed {name:?}), ")?;
    }
    let bindings: String =
        bindings.iter().map(|(name, text)| format!("(name = {name:?}, text = {text:?}), ")).collect();
    Ok(format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [(name = \"main\", worker = .worker)],
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
