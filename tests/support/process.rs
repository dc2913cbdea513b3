//! Runs programs with a limit, and ends them with everything they started.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A program that has ended.
#[derive(Debug)]
pub struct Done {
    /// What was run, to be shown.
    pub command: String,
    /// The exit code; none when a signal or our limit ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs to the end, without input.
///
/// # Panics
/// If it cannot be started.
pub fn run(command: &mut Command) -> Done {
    run_with(command, b"")
}

/// Runs to the end with this input.
///
/// # Panics
/// If it cannot be started.
pub fn run_with(command: &mut Command, input: &[u8]) -> Done {
    let start = Instant::now();
    let mut running = Running::spawn(command, input);
    let code = running.wait(LIMIT);
    // Whatever it left behind must not hold our pipes.
    running.kill_group();
    running.outputs_end(Duration::from_secs(5));
    Done {
        command: running.command.clone(),
        code,
        stdout: running.stdout(),
        stderr: running.stderr(),
        took: start.elapsed(),
    }
}

impl Done {
    /// It must have succeeded.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// It must have ended with this code.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    #[must_use]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code {code} was expected of\n{self}");
        self
    }

    /// It must have failed by itself, not by our limit, and without a panic.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    #[must_use]
    pub fn fails(self) -> Self {
        assert!(self.code.is_some_and(|code| code != 0), "a failure was expected of\n{self}");
        assert!(!self.stderr.contains("panicked at"), "no panic was expected of\n{self}");
        self
    }

    /// One of its streams must contain this.
    ///
    /// # Panics
    /// If neither does.
    #[track_caller]
    #[must_use]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "`{text}` was expected of\n{self}");
        self
    }

    /// Its only line on stdout, which must end with a newline.
    ///
    /// # Panics
    /// If there is more or less.
    #[track_caller]
    #[must_use]
    pub fn line(self) -> String {
        let line = self.stdout.strip_suffix('\n').filter(|line| !line.is_empty() && !line.contains('\n'));
        line.unwrap_or_else(|| panic!("exactly one line was expected of\n{self}")).to_owned()
    }

    /// Its stdout as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    #[must_use]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("JSON was expected ({error}) of\n{self}"))
    }

    /// Its stdout as one JSON value a line.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    #[must_use]
    pub fn json_lines(self) -> Vec<serde_json::Value> {
        let parse = |line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("a line of JSON was expected ({error}) of\n{self}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.code {
            Some(code) => format!("exit code {code}"),
            None => "ended by a signal or by the limit".to_owned(),
        };
        writeln!(f, "$ {}\n({end} after {:.1} s)", self.command, self.took.as_secs_f64())?;
        writeln!(f, "-- stdout\n{}-- stderr\n{}--", self.stdout, self.stderr)
    }
}

/// A program in the background, with its whole process group; it ends with this value.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    stdout: Arc<Mutex<Stream>>,
    stderr: Arc<Mutex<Stream>>,
}

#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    ended: bool,
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        Self::spawn(command, b"")
    }

    fn spawn(command: &mut Command, input: &[u8]) -> Self {
        let shown = shown(command);
        let mut child = command
            .process_group(0)
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't start `{shown}`: {error}"));
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_vec();
            // It may end without reading all of it.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        Self { command: shown, child, stdout, stderr }
    }

    /// What it printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it complained about so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Both streams so far, to be shown when something went wrong.
    #[must_use]
    pub fn transcript(&self) -> String {
        format!("$ {}\n-- stdout\n{}-- stderr\n{}--", self.command, self.stdout(), self.stderr())
    }

    /// Waits until `look` finds something in what is printed.
    ///
    /// # Panics
    /// If the program ends, or the limit passes, before it is found.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                self.outputs_end(Duration::from_secs(1));
                return look(self)
                    .unwrap_or_else(|| panic!("it ended ({status}) before {what}:\n{}", self.transcript()));
            }
            assert!(start.elapsed() < LIMIT, "{what} was not to be seen:\n{}", self.transcript());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it has not ended.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program itself.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the end; past the limit it is killed. The exit code, unless a signal ended it.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
                _ => {
                    self.kill_group();
                    let _ = self.child.wait();
                    return None;
                }
            }
        }
    }

    fn outputs_end(&self, limit: Duration) {
        let start = Instant::now();
        let ended = |stream: &Arc<Mutex<Stream>>| stream.lock().unwrap_or_else(PoisonError::into_inner).ended;
        while !(ended(&self.stdout) && ended(&self.stderr)) && start.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill_group(&self) {
        if let Some(group) = self.pid() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
        let _ = self.child.wait();
    }
}

fn collect(from: Option<impl Read + Send + 'static>) -> Arc<Mutex<Stream>> {
    let stream = Arc::new(Mutex::new(Stream::default()));
    let shared = Arc::clone(&stream);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        if let Some(mut from) = from {
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let mut stream = shared.lock().unwrap_or_else(PoisonError::into_inner);
                stream.bytes.extend_from_slice(&buffer[..count]);
            }
        }
        shared.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    });
    stream
}

fn text(stream: &Arc<Mutex<Stream>>) -> String {
    String::from_utf8_lossy(&stream.lock().unwrap_or_else(PoisonError::into_inner).bytes).into_owned()
}

fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_ended_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo before; sleep 100 & sleep 100"]);
        let mut running = Running::start(&mut command);
        running.wait_for("a line", |sh| sh.stdout().contains("before").then_some(()));
        let start = Instant::now();
        assert_eq!(running.wait(Duration::from_millis(50)), None);
        running.outputs_end(Duration::from_secs(5));
        assert!(start.elapsed() < Duration::from_secs(2), "a child held the pipe");
    }

    #[test]
    fn what_is_left_behind_does_not_hold_a_test() {
        let done = run(Command::new("sh").args(["-c", "sleep 100 & echo done; exit 3"])).code(3);
        assert!(done.took < Duration::from_secs(5), "{done}");
        assert_eq!(done.line(), "done");
    }
}
