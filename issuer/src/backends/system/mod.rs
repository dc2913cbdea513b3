//! The host: Unix accounts, sshd, and running as another account. Only root gets far here.

pub mod accounts;
pub mod reexec;
pub mod sshd;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};

/// Where the system's own tools lie. PATH is the caller's, so it is not asked.
const TOOL_FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Runs one of the system's tools and gives its output; its own words on failure.
fn tool<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let path = find_tool(name)?;
    let output = Command::new(&path)
        .args(arguments)
        .env_clear()
        .env("PATH", TOOL_FOLDERS.join(":"))
        .env("LC_ALL", "C")
        .output()
        .map_err(|e| crate::error::io("run", &path, &e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::internal(format!("{name} failed: {}", last_line(&output.stderr))))
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
