//! One set of vectors, every runtime: `tests/conformance`. Fails where any verdict differs on any of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, find, output};
use crate::stages::Workspace;
use crate::{python, tools, wasm};

/// Where system tests leave what these said, in `target/conformance/lines`: they stand in the table, too.
const BY_SYSTEM_TESTS: [&str; 3] = ["envoy", "worker-rust", "worker-ts"];

/// Runs the vectors everywhere and compares; the number of runtimes, and those that could not be asked.
pub fn run(space: &Workspace, log: &mut Log) -> Result<(usize, Vec<&'static str>)> {
    let place = Place::prepare(space, log)?;
    place.native()?;
    place.python(log)?;
    for (name, command) in place.javascript()? {
        place.keep(name, command)?;
    }
    place.workerd(log)?;
    let mut missing = Vec::new();
    if let Some(chromium) = find("chromium") {
        place.chromium(&chromium, log)?;
    } else {
        missing.push("chromium");
    }
    missing
        .extend(BY_SYSTEM_TESTS.iter().filter(|name| !place.lines.join(format!("{name}.jsonl")).is_file()));
    let table = output(
        Command::new(&place.node)
            .arg(space.root.join("tests/conformance/matrix.mjs"))
            .args([&place.vectors, &place.lines]),
    )?;
    print!("{table}");
    table.lines().for_each(|line| log.line(line));
    let runtimes = std::fs::read_dir(&place.lines).doing("count the runtimes")?.count();
    Ok((runtimes, missing))
}

struct Place<'a> {
    space: &'a Workspace,
    node: PathBuf,
    peers: PathBuf,
    builders: PathBuf,
    vectors: PathBuf,
    /// As a user's project: the package in node_modules, and our scripts.
    project: PathBuf,
    lines: PathBuf,
}

impl<'a> Place<'a> {
    fn prepare(space: &'a Workspace, log: &mut Log) -> Result<Self> {
        let node = find("node").ok_or_else(|| Failure::new("node is not installed"))?;
        let tools = tools::folder()?;
        let folder = space.target.join("conformance");
        let project = folder.join("project");
        let place = Self {
            space,
            node,
            peers: tools::peers(&tools, &space.root, log)?,
            builders: tools::builders(&tools, &space.root, log)?,
            vectors: space.root.join("tests/vectors"),
            lines: folder.join("lines"),
            project,
        };
        wasm::install(&space.root.join("dist"), &place.project, log)?;
        make_folder(&place.lines)?;
        let scripts = space.root.join("tests/conformance");
        for entry in std::fs::read_dir(&scripts).doing("read tests/conformance")? {
            let entry = entry.doing("read tests/conformance")?;
            std::fs::copy(entry.path(), place.project.join(entry.file_name())).doing("copy a script")?;
        }
        wasm::vectors_in_one(&place.node, &space.root, &place.project.join("vectors.json"))?;
        Ok(place)
    }

    fn native(&self) -> Result {
        let mut command = cargo();
        command
            .args(["run", "--quiet", "--locked", "--package", "seamless-token", "--example", "verdicts"])
            .args(["--features", "chap,eddsa,es256", "--"])
            .arg(&self.vectors)
            .current_dir(&self.space.root);
        self.keep("native", command)
    }

    /// With the wheel that the stage `python` made, or one that is made now.
    fn python(&self, log: &mut Log) -> Result {
        let wheel = match python::wheel(&self.space.root) {
            Some(wheel) => wheel,
            None => python::build(self.space, "release", log)?,
        };
        let newest = python::interpreters().pop().ok_or_else(|| Failure::new("no CPython is installed"))?;
        let sources = self.space.root.join("clients/python");
        let mut command = Command::new(python::environment(&newest, &sources, &wheel, log)?);
        command.arg(self.project.join("run.py")).arg(&self.vectors);
        self.keep("python", command)
    }

    fn javascript(&self) -> Result<Vec<(&'static str, Command)>> {
        let script = |program: &Path, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args).arg(&self.vectors).current_dir(&self.project);
            command
        };
        let deno = self.program("@deno/linux-x64-glibc/deno", "deno/bin.cjs")?;
        let bun = self.program("@oven/bun-linux-x64/bin/bun", "bun/bin/bun.exe")?;
        Ok(vec![
            ("node-esm", script(&self.node, &["run.mjs"])),
            ("node-cjs", script(&self.node, &["run.cjs"])),
            ("slim", script(&self.node, &["slim.mjs"])),
            (
                "deno",
                script(&deno, &["run", "--allow-read", "--node-modules-dir=manual", "--no-lock", "run.mjs"]),
            ),
            ("bun", script(&bun, &["run.mjs"])),
        ])
    }

    /// npm packages with a binary inside put it in place by a script, which is not run; so it is started where it lies.
    fn program(&self, binary: &str, script: &str) -> Result<PathBuf> {
        let modules = self.peers.join("node_modules");
        [binary, script]
            .map(|name| modules.join(name))
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| Failure::new(format!("{binary} is not among the packages of tests/peers")))
    }

    fn workerd(&self, log: &mut Log) -> Result {
        let out = self.bundle("worker", log)?;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .doing("find a free port")?
            .port();
        let mut modules = String::new();
        let mut files: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(&out).doing("read the bundle")? {
            files.push(entry.doing("read the bundle")?.file_name().to_string_lossy().into_owned());
        }
        // The first module is the one that is run.
        files.sort_by_key(|name| (name != "worker.js", name.clone()));
        for name in files {
            let kind = match name.rsplit('.').next() {
                Some("js") => "esModule",
                Some("wasm") => "wasm",
                _ => continue,
            };
            modules.push_str(&format!("(name = {name:?}, {kind} = embed {name:?}), "));
        }
        let config = out.join("config.capnp");
        let text = format!(
            "using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [(name = \"main\", worker = .worker)],
  sockets = [(name = \"http\", address = \"127.0.0.1:{port}\", http = (), service = \"main\")],
);
const worker :Workerd.Worker = (modules = [{modules}], compatibilityDate = \"2026-10-01\");
"
        );
        std::fs::write(&config, text).doing("write workerd's configuration")?;
        let workerd = self.program("@cloudflare/workerd-linux-64/bin/workerd", ".bin/workerd")?;
        let _server = Server::start(Command::new(workerd).arg("serve").arg(&config))?;
        let lines = get(port)?;
        std::fs::write(self.lines.join("workerd.jsonl"), lines).doing("write workerd's lines")
    }

    fn chromium(&self, chromium: &Path, log: &mut Log) -> Result {
        let out = self.bundle("page", log)?;
        let mut command = Command::new(&self.node);
        command
            .arg(self.project.join("browser.mjs"))
            .arg(out.join("page.js"))
            .env("SEAMLESS_CHROMIUM", chromium)
            .env("SEAMLESS_NPM", &self.peers);
        self.keep("chromium", command)
    }

    fn bundle(&self, what: &str, log: &mut Log) -> Result<PathBuf> {
        let out = self.project.join(format!("bundle-{what}"));
        let _ = std::fs::remove_dir_all(&out);
        log.run(
            Command::new(&self.node)
                .arg(self.project.join("bundle.mjs"))
                .arg(what)
                .args([&self.project, &out])
                .env("SEAMLESS_BUILD", &self.builders),
        )?;
        Ok(out)
    }

    fn keep(&self, name: &str, mut command: Command) -> Result {
        let lines = output(&mut command).map_err(|failure| Failure::new(format!("{name}: {failure}")))?;
        std::fs::write(self.lines.join(format!("{name}.jsonl")), lines)
            .doing(format_args!("write {name}'s lines"))
    }
}

/// A server that ends with the value.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map(Self).doing("start workerd")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until somebody answers; the body.
fn get(port: u16) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match ask(port) {
            Ok(text) => {
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
                if head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.0 200") {
                    return Ok(body.to_owned());
                }
                return Err(Failure::new(format!("workerd: {text}")));
            }
            Err(error) if Instant::now() > deadline => return Err(Failure::new(format!("workerd: {error}"))),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    // 1.0: the answer ends with the connection, so no chunks to put together.
    stream.write_all(b"GET / HTTP/1.0\r\nHost: vectors\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn make_folder(path: &Path) -> Result {
    std::fs::create_dir_all(path).doing(format_args!("make {}", path.display()))
}
