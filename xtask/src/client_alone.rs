//! The program without the issuer: what `cargo install --no-default-features` gives.

use crate::outcome::{Failure, Result};
use crate::process::{Log, cargo, output};
use crate::stages::Workspace;

/// What `cargo` is told to leave the issuer out.
const ALONE: [&str; 4] = ["--package", "seamless-issuer", "--no-default-features", "--locked"];

/// Servers, the store, directory services, and what a server runs on. A person's laptop has no use for them.
const NOT_LINKED: [&str; 11] = [
    "h2",
    "hyper",
    "hyper-util",
    "ldap3",
    "libsqlite3-sys",
    "prometheus-client",
    "russh",
    "rusqlite",
    "tar",
    "tokio",
    "uzers",
];

/// Commands that need a realm: none of them may be named.
const NOT_NAMED: [&str; 8] =
    ["serve", "realm", "signing-key", "init", "adopt", "audit", "authorized-keys", "doctor"];

/// Builds it without a warning, runs its tests, and looks at what it is made of and what it says it can do.
pub fn check(space: &Workspace, log: &mut Log) -> Result<String> {
    let cargo = |word: &str| {
        let mut cargo = cargo();
        cargo.arg(word).args(ALONE).current_dir(&space.root);
        cargo
    };
    log.run(cargo("clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
    log.run(cargo("test").arg("--lib"))?;

    let tree = output(cargo("tree").args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]))?;
    let linked = names(&tree);
    none_of(&NOT_LINKED, &linked, "links")?;
    let help = output(cargo("run").args(["--quiet", "--", "--help"]))?;
    none_of(&NOT_NAMED, &commands(&help), "has the command")?;
    Ok(format!("{} crates without the issuer", linked.len()))
}

fn none_of(unwanted: &[&str], found: &[&str], what: &str) -> Result {
    match unwanted.iter().find(|name| found.contains(name)) {
        Some(name) => Err(Failure::new(format!("the program without the issuer {what} {name}"))),
        None => Ok(()),
    }
}

/// The first words of `cargo tree`'s lines, each once.
fn names(tree: &str) -> Vec<&str> {
    let mut names: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unwanted_is_found() {
        let tree = "seamless-issuer v0.1.0 (/x)\nclap v4.6.9\nrussh v0.65.1\nclap v4.6.9 (*)\n";
        assert_eq!(names(tree), ["clap", "russh", "seamless-issuer"]);
        assert!(none_of(&NOT_LINKED, &names(tree), "links").is_err());
        let help = "Words\n\nCommands:\n  login  Log in\n  serve  Serve\n\nOptions:\n  init\n";
        assert_eq!(commands(help), ["login", "serve"]);
        assert!(none_of(&NOT_NAMED, &commands(help), "has the command").is_err());
    }
}
