//! The user's side: what somebody runs on a laptop or in CI to get tokens and to use them. No realm is opened here.
//!
//! One file a command. With the issuer these stand among its own commands; without it they are all there is.

mod asked;
mod completions;
mod credential;
mod curl;
mod header;
mod login;
mod logout;
mod man;
mod source;
mod url;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::doors::output::{self, Out};
use crate::error::Result;

/// Your SSH key is your login, for everything that speaks HTTP.
#[derive(Debug, Parser)]
#[command(
    name = "seamless",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "\
  seamless login corp@login.example.com            prints a token
  seamless curl https://api.example.com            calls a service with one
  seamless credential install git --for https://git.example.com --login corp@login.example.com

Where each service logs in stands in ~/.config/seamless/servers.toml."
)]
struct Cli {
    /// Print JSON
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// A command of the user's side.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Log in, and print a token
    Login(login::Args),
    /// Forget the tokens that are kept
    Logout(logout::Args),
    /// Print the Authorization header for a service
    Header(header::Args),
    /// Run curl with the token of the service that it calls
    Curl(curl::Args),
    /// Let git, docker and kubectl ask for tokens
    #[command(subcommand)]
    Credential(credential::Command),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the man page, or write all of them to a folder
    Man(man::Args),
}

/// A call that no definition of options should see first: by the name of a helper, or with curl's own options.
pub fn early(argv: &[OsString]) -> Option<u8> {
    credential::helper(argv).or_else(|| curl::early(argv))
}

/// Runs one call of a program that is the user's side alone, and gives its exit code.
pub fn main(argv: Vec<OsString>) -> u8 {
    let cli = match Cli::try_parse_from(&argv) {
        Ok(cli) => cli,
        Err(error) => return output::not_understood(&error),
    };
    run(Out { json: cli.json }, Cli::command, cli.command).unwrap_or_else(|error| {
        output::complain(&error);
        error.kind().exit_code()
    })
}

/// Runs a command; `definition` is of the whole program that it stands in, for its man pages.
pub(super) fn run(out: Out, definition: fn() -> clap::Command, command: Command) -> Result<u8> {
    match command {
        Command::Login(args) => login::run(out, &args),
        Command::Logout(args) => logout::run(out, &args),
        Command::Header(args) => header::run(&args),
        Command::Curl(args) => curl::run(&args),
        Command::Credential(command) => credential::run(out, command),
        Command::Completions(args) => completions::run(args, definition()),
        Command::Man(args) => man::run(args, definition()),
    }
}
