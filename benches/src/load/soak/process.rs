//! What a process holds, by /proc.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use seamless_bench::edge::Error;

/// A sample.
pub(super) struct Held {
    /// Bytes of its own, that no file backs.
    pub(super) anonymous: f64,
    /// Open files and sockets.
    pub(super) handles: usize,
    /// Threads; those that block come and go.
    pub(super) threads: usize,
}

impl Held {
    /// After this rest, as soon as it holds no more handles than then, or after 10 s more.
    pub(super) fn at_rest(process: u32, rest: Duration, before: Option<&Self>) -> Result<Self, Error> {
        std::thread::sleep(rest);
        let start = Instant::now();
        loop {
            let held = Self::now(process)?;
            let rests = before.is_none_or(|before| held.handles <= before.handles);
            if rests || start.elapsed() > Duration::from_secs(10) {
                return Ok(held);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn now(process: u32) -> Result<Self, Error> {
        Ok(Self {
            anonymous: bytes(&fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?, "Anonymous:")?,
            handles: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            threads: fs::read_dir(format!("/proc/{process}/task"))?.count(),
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.anonymous / super::MIB;
        write!(f, "{mib:.2} MiB, {} file handles, {} threads", self.handles, self.threads)
    }
}

/// Looks at a process ten times a second.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl Watch {
    pub(super) fn start(process: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = 0.0_f64;
            while !stopped.load(Ordering::Relaxed) {
                let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
                peak = peak.max(bytes(&status, "VmRSS:").unwrap_or(0.0));
                std::thread::sleep(Duration::from_millis(100));
            }
            peak
        });
        Self { stop, thread }
    }

    /// The most bytes that were resident, its program's pages among them.
    pub(super) fn end(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(f64::NAN)
    }
}

/// `Name:   123 kB` in bytes.
fn bytes(text: &str, name: &str) -> Result<f64, Error> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name}"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}
