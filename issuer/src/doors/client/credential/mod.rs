//! Tokens as the passwords of other programs: the helpers that git, docker and kubectl ask, and what tells them to.
//!
//! A helper is this program by another name. It answers for the services of servers.toml only, and never over plain
//! http beyond loopback.

mod diff;
mod docker;
mod edit;
mod git;
mod install;
mod kube;
mod kubeconfig;
mod servers;

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::doors::output::{Out, complain};
use crate::error::{Error, Result};

/// What a helper may be told at most.
const MOST_BYTES: u64 = 64 * 1024;

#[derive(Clone, Debug, clap::Subcommand)]
pub(in crate::doors) enum Command {
    /// Tell git, docker or kubectl to ask for tokens
    Install(install::Install),
    /// Take that back
    Remove(install::Remove),
}

pub(super) fn run(out: Out, command: Command) -> Result<u8> {
    match command {
        Command::Install(args) => install::install(out, &args),
        Command::Remove(args) => install::remove(out, &args),
    }
}

/// A name that this program goes by where another asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Helper {
    Git,
    Docker,
    Kube,
}

impl Helper {
    const ALL: [Self; 3] = [Self::Git, Self::Docker, Self::Kube];

    const fn name(self) -> &'static str {
        match self {
            Self::Git => "git-credential-seamless",
            Self::Docker => "docker-credential-seamless",
            Self::Kube => "kubectl-seamless",
        }
    }
}

/// Runs a helper, if this call goes by the name of one.
pub(super) fn helper(argv: &[OsString]) -> Option<u8> {
    let name = Path::new(argv.first()?).file_name()?;
    let helper = Helper::ALL.into_iter().find(|helper| name == helper.name())?;
    let action = argv.get(1).map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let done = match helper {
        Helper::Git => git::run(&action),
        // Docker reads the reason from standard output.
        Helper::Docker => return Some(docker::run(&action)),
        Helper::Kube => kube::run(&action),
    };
    Some(done.unwrap_or_else(|error| {
        complain(&error);
        error.kind().exit_code()
    }))
}

/// What the asking program writes.
fn input() -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().take(MOST_BYTES).read_to_string(&mut text);
    read.map_err(|_| Error::usage("standard input is not readable text"))?;
    Ok(text)
}
