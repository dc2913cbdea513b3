//! The host: Unix accounts, sshd, and running as another account. Only root gets far here.

pub mod accounts;
pub mod fence;
pub mod layout;
pub mod reexec;
pub mod sshd;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Where the system's own tools lie. PATH is the caller's, so it is not asked.
const TOOL_FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Runs one of the system's tools and gives its output; its own words on failure.
fn tool<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let path = find_tool(name)?;
    let output = bare(&path).args(arguments).output().map_err(|e| crate::error::io("run", &path, &e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::internal(format!("{name} failed: {}", last_line(&output.stderr))))
}

/// A program with nothing of the caller's environment.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", TOOL_FOLDERS.join(":"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .current_dir("/");
    command
}

fn find_tool(name: &str) -> Result<PathBuf> {
    TOOL_FOLDERS.iter().map(|dir| PathBuf::from(dir).join(name)).find(|p| p.is_file()).ok_or_else(|| {
        Error::failed(format!("this system has no {name}"))
            .hint(format!("it is looked for in {}", TOOL_FOLDERS.join(", ")))
    })
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it said nothing").to_owned()
}

/// Patterns as sshd has them in lists of names: `*` and `?`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => {
            (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| matches(rest, text)))
        }
        Some((one, rest)) => {
            text.split_first().is_some_and(|(b, text)| (b == one || *one == b'?') && matches(rest, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, good) in [
            ("*", "", true),
            ("*.conf", "60-seamless-corp.conf", true),
            ("*.conf", "60.conf.bak", false),
            ("[0-9]*", "60", false),
            ("LC_?", "LC_A", true),
            ("LC_?", "LC_", false),
            ("a*b*c", "aXbYbZc", true),
            ("corp", "corpx", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), good, "{pattern} {text}");
        }
    }
}
