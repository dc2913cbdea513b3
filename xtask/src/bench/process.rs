//! `seamless token` as a process, beside the cheapest process there is and beside Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Figure, Goal, Number, median};
use crate::outcome::{Doing, Failure, Result};
use crate::process::output;

/// What there is to measure.
pub struct Plan {
    /// The release build that people have who built it themselves.
    pub ordinary: PathBuf,
    /// The static one.
    pub fixed: Option<PathBuf>,
    /// An interpreter with itsdangerous.
    pub python: Option<PathBuf>,
    /// Fewer rounds.
    pub quick: bool,
}

/// Adds the figures of processes.
pub fn measure(plan: &Plan, figures: &mut Vec<Figure>, numbers: &mut Vec<Number>) -> Result {
    let home = Home::new()?;
    let realm = home.0.join("realm");
    let seamless = |binary: &Path, args: &[&str]| {
        let mut command = Command::new(binary);
        command.args(args).env_clear().env("HOME", &home.0).env("PATH", "/usr/bin:/bin").current_dir(&home.0);
        command
    };
    let folder = realm.display().to_string();
    let key = home.0.join("id_ed25519");
    output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
    let key = key.with_extension("pub").display().to_string();
    output(&mut seamless(&plan.ordinary, &["init", "--dir", &folder]))?;
    output(&mut seamless(&plan.ordinary, &["add", "--dir", &folder, &key, "--user", "ada"]))?;

    let mint = ["token", "--dir", &folder, "--user", "ada"];
    let echo = || {
        let mut command = Command::new("/bin/echo");
        command.arg("ada.Zz9n1Q.0123456789abcdefghijklmnopq").env_clear();
        command
    };
    let rounds = if plan.quick { 9 } else { 21 };
    let mut pair =
        |name: &str, ours: &dyn Fn() -> Command, beside: &str, other: &dyn Fn() -> Command, each, goal| {
            let figure = interleaved(name, ours, beside, other, rounds, each, goal)?;
            println!("{name} beside {beside}: {:.2}x", figure.ratio.1);
            figures.push(figure);
            Ok::<_, Failure>(())
        };
    let ordinary = || seamless(&plan.ordinary, &mint);
    pair(
        "`seamless token`, ordinary release build",
        &ordinary,
        "`/bin/echo`",
        &echo,
        20,
        Some((Goal::Ratio, 3.0)),
    )?;
    if let Some(binary) = &plan.fixed {
        let fixed = || seamless(binary, &mint);
        pair(
            "`seamless token`, static release build",
            &fixed,
            "`/bin/echo`",
            &echo,
            20,
            Some((Goal::Ratio, 1.5)),
        )?;
    }
    if let Some(python) = &plan.python {
        let script = "from itsdangerous import TimestampSigner as S; \
                      print(S(b'0123456789abcdef0123', key_derivation='none').sign('ada').decode())";
        let peer = || {
            let mut command = Command::new(python);
            command.args(["-c", script]).env_clear();
            command
        };
        pair(
            "`seamless token`, ordinary release build",
            &ordinary,
            "Python with itsdangerous",
            &peer,
            3,
            None,
        )?;
    }

    let mut memory = |name: &str, goal, command: &Command| {
        let value = peak_memory(command)? / 1024.0;
        numbers.push(Number { name: format!("peak memory of {name}"), value, unit: "MiB".to_owned(), goal });
        Ok::<_, Failure>(())
    };
    memory("`seamless token`, ordinary release build", Some(10.0), &ordinary())?;
    if let Some(binary) = &plan.fixed {
        memory("`seamless token`, static release build", Some(10.0), &seamless(binary, &mint))?;
    }
    memory("`/bin/echo` (what the measuring process itself adds is in here)", None, &echo())
}

/// A B B A …: each sample is the mean of `each` runs in a row.
fn interleaved(
    ours: &str,
    a: &dyn Fn() -> Command,
    beside: &str,
    b: &dyn Fn() -> Command,
    pairs: usize,
    each: u32,
    goal: Option<(Goal, f64)>,
) -> Result<Figure> {
    sample(a, 2)?;
    sample(b, 2)?;
    let (mut ratios, mut a_seconds, mut b_seconds) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..pairs {
        let (x, y) = if round % 2 == 0 {
            let x = sample(a, each)?;
            (x, sample(b, each)?)
        } else {
            let y = sample(b, each)?;
            (sample(a, each)?, y)
        };
        ratios.push(x / y);
        a_seconds.push(x);
        b_seconds.push(y);
    }
    let mid = median(&mut ratios);
    Ok(Figure {
        ours: ours.to_owned(),
        beside: beside.to_owned(),
        seconds: (median(&mut a_seconds), median(&mut b_seconds)),
        ratio: (ratios[0], mid, ratios[ratios.len() - 1]),
        pairs,
        goal,
    })
}

fn sample(command: &dyn Fn() -> Command, runs: u32) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..runs {
        let mut command = command();
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .doing(format_args!("start {}", command.get_program().display()))?;
        if !status.success() {
            return Err(Failure::new(format!("{} ended with {status}", command.get_program().display())));
        }
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(runs))
}

/// Peak memory of one run, in KiB. A process of its own asks, since the kernel keeps one figure for all children.
fn peak_memory(command: &Command) -> Result<f64> {
    let own = std::env::current_exe().doing("find this program")?;
    let mut asking = Command::new(own);
    asking.arg("peak-memory").arg(command.get_program()).args(command.get_args());
    output(&mut asking)?.trim().parse().doing("read the peak memory")
}

/// `xtask peak-memory COMMAND…`: runs it and prints the peak of its resident memory in KiB.
pub fn print_peak_memory(command: &[&str]) -> Result {
    use nix::sys::resource::{UsageWho, getrusage};
    let [program, args @ ..] = command else { return Err(Failure::new("peak-memory COMMAND…")) };
    let status = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).status();
    if !status.doing(format_args!("start {program}"))?.success() {
        return Err(Failure::new(format!("{program} failed")));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).doing("ask for the memory of a child")?;
    // Linux counts in KiB, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1024 } else { 1 };
    println!("{}", usage.max_rss() / unit);
    Ok(())
}

/// A folder that goes away with the value.
struct Home(PathBuf);

impl Home {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("seamless-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).doing(format_args!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
