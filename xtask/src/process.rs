//! Starts programs, writes what they say to the stage's log, and counts the tests in it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::count::Counts;
use crate::outcome::{Doing, Failure, Result};

/// Where the output of a stage goes: always to its log, with `--verbose` also to the terminal.
pub struct Log {
    path: PathBuf,
    file: File,
    verbose: bool,
    counts: Counts,
}

impl Log {
    /// A new, empty log.
    pub fn create(path: PathBuf, verbose: bool) -> Result<Self> {
        let file = File::create(&path).doing(format_args!("write {}", path.display()))?;
        Ok(Self { path, file, verbose, counts: Counts::default() })
    }

    /// The tests counted so far.
    pub fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// One more line.
    pub fn line(&mut self, line: &str) {
        self.counts.read(line);
        // A full disk must not hide how the tests ended.
        let _ = writeln!(self.file, "{line}");
        if self.verbose {
            println!("  {line}");
        }
    }

    /// The end of the log, for whoever has to find out why a stage failed.
    pub fn tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs to the end; an exit code other than 0 is a failure.
    pub fn run(&mut self, command: &mut Command) -> Result {
        self.line(&format!("$ {}", shown(command)));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(format_args!("start {}", shown(command)))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let log = Mutex::new(&mut *self);
        std::thread::scope(|scope| {
            scope.spawn(|| copy_lines(out, &log));
            scope.spawn(|| copy_lines(err, &log));
        });
        let status = child.wait().doing("wait for a child process")?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("`{}`: {status}", shown(command))))
    }
}

/// Runs to the end and returns what it printed; its errors go to our own.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .doing(format_args!("start {}", shown(command)))?;
    if !done.status.success() {
        return Err(Failure::new(format!("`{}`: {}", shown(command), done.status)));
    }
    String::from_utf8(done.stdout).doing(format_args!("read what {} printed", shown(command)))
}

/// Runs to the end with our own output.
pub fn run(command: &mut Command) -> Result {
    let status = command.stdin(Stdio::null()).status().doing(format_args!("start {}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{}`: {status}", shown(command)))) }
}

/// Looks a program up as a shell would; system folders count too, since sshd and nginx live there.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// `cargo`, the one that started us.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn copy_lines(from: Option<impl Read>, log: &Mutex<&mut Log>) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        if let Ok(mut log) = log.lock() {
            log.line(text.trim_end_matches(['\n', '\r']));
        }
        line.clear();
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
