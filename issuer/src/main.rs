//! The binary `seamless`: a forced command for sshd on its short way, everything else through the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use issuer::doors::client;
#[cfg(feature = "issuer")]
use issuer::doors::{cli, ssh};

/// The static build's allocator; elsewhere the system's is as good.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    if let Some(code) = client::early(&argv) {
        return ExitCode::from(code);
    }
    answer(argv)
}

#[cfg(not(feature = "issuer"))]
fn answer(argv: Vec<std::ffi::OsString>) -> ExitCode {
    ExitCode::from(client::main(argv))
}

#[cfg(feature = "issuer")]
fn answer(argv: Vec<std::ffi::OsString>) -> ExitCode {
    // What sshd runs at every log-in: no clap, no runtime, no configuration beyond the realm's.
    if argv.get(1).is_some_and(|word| word == ssh::forced::WORD) {
        return ExitCode::from(ssh::forced::main(argv.get(2..).unwrap_or_default()));
    }
    // What root runs on the way to becoming a realm's account.
    if argv.get(1).is_some_and(|word| word == cli::ENTER) {
        return ExitCode::from(cli::enter(argv.get(2..).unwrap_or_default()));
    }
    ExitCode::from(cli::main(argv))
}
