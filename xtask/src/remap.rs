//! Nothing that we ship names a folder of the machine that built it, and the same sources give the same bytes.

use std::path::Path;
use std::process::Command;

use crate::outcome::{Doing, Result};
use crate::process::output;

/// What is called what: each folder of this machine, and its name in what is built.
fn folders(root: &Path, target: &Path) -> Result<[(String, &'static str); 4]> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root))?;
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .doing("find cargo's home")?;
    Ok([
        (home, "/cargo"),
        (sysroot.trim().to_owned(), "/rust"),
        (target.display().to_string(), "/target"),
        (root.display().to_string(), "/seamless"),
    ])
}

/// As options of rustc.
pub fn rustc(root: &Path, target: &Path) -> Result<Vec<String>> {
    options("--remap-path-prefix", root, target)
}

/// As options of a C compiler. They are handed on in a variable that is split at white space.
pub fn cc(root: &Path, target: &Path) -> Result<Vec<String>> {
    let mut options = options("-ffile-prefix-map", root, target)?;
    options.retain(|option| !option.contains(char::is_whitespace));
    Ok(options)
}

fn options(option: &str, root: &Path, target: &Path) -> Result<Vec<String>> {
    Ok(folders(root, target)?.into_iter().map(|(from, to)| format!("{option}={from}={to}")).collect())
}
