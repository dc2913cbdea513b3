//! The command line: one file a command. Man pages and completions come from the same definitions.

mod add;
mod adopt;
mod audit;
mod authorized_keys;
mod backup;
mod delete;
mod doctor;
mod explain;
mod import;
mod init;
mod inspect;
mod key;
mod progress;
mod realm;
mod rules;
mod serve;
mod signing_key;
mod sync;
mod target;
mod token;
mod user;
mod verify;

use std::ffi::OsString;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::clock::{Clock, SystemClock};
use crate::doors::output::Out;
use crate::doors::{client, output};
use crate::error::Result;
pub use crate::services::hosting::{ENTER, enter};
use target::Target;

/// Your SSH key is your login, for everything that speaks HTTP.
#[derive(Debug, Parser)]
#[command(
    name = "seamless",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "\
Start here, without root:
  seamless serve                                   a realm of your own with an ssh and an HTTP server
On a host, with the system's sshd:
  sudo seamless init corp
  sudo seamless add corp ada.pub --user ada
  ssh -T corp@host                                 prints a token

Short forms: init, adopt, sync, delete = realm …; add = key add; remove = a user with all its keys;
token REALM --user NAME = token mint; verify = token verify.
REALM can be left out where --dir DIR or SEAMLESS_REALM says which."
)]
pub struct Cli {
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a realm's own ssh server and its HTTP endpoints
    Serve(serve::Args),
    /// Make, look at and remove realms
    #[command(subcommand)]
    Realm(realm::Command),
    /// Enrol, list and remove users' SSH keys
    #[command(subcommand)]
    Key(key::Command),
    /// List and lock users, edit their groups and scopes
    #[command(subcommand)]
    User(user::Command),
    /// List, rotate and retire what the realm signs with
    #[command(subcommand)]
    SigningKey(signing_key::Command),
    /// Mint, verify, inspect and revoke tokens
    Token(token::Args),
    /// Short for `realm init`
    Init(init::Args),
    /// Short for `key add`
    Add(add::Args),
    /// Remove a user with all its keys
    Remove(user::Remove),
    /// Short for `realm sync`
    Sync(sync::Args),
    /// Short for `realm delete`
    Delete(delete::Args),
    /// Short for `realm adopt`
    Adopt(adopt::Args),
    /// Short for `token verify`
    Verify(verify::Args),
    /// Say what becomes of a token or a request, by which rule, and how to mend it
    Explain(explain::Args),
    /// Read a rules.json, and try requests against it
    #[command(subcommand)]
    Rules(rules::Command),
    /// Check a realm and its surroundings, and say how to mend them
    Doctor(doctor::Args),
    /// Show and verify the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Print the authorized_keys lines of one key, for sshd's AuthorizedKeysCommand
    AuthorizedKeys(authorized_keys::Args),
    /// What a user does: log in, call, hand tokens to other programs
    #[command(flatten)]
    Client(client::Command),
    /// Whether the realm holds the secret on standard input
    #[command(hide = true)]
    HoldsSecret(init::HoldsSecret),
    /// How sshd learns the realm's keys
    #[command(hide = true)]
    KeysBy(sync::KeysOf),
}

/// `seamless token …` by itself. Making the definitions of twenty other commands takes as long as a mint, so they
/// are made only where they are wanted; whatever is not understood here is left to the whole of them.
#[derive(Debug, Parser)]
#[command(name = "seamless")]
struct JustToken {
    #[command(flatten)]
    target: Target,
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Token(token::Args),
}

impl JustToken {
    fn parse(argv: &[OsString]) -> Option<Cli> {
        // As the realm's account, its home stands in front.
        let at = if argv.get(1).is_some_and(|word| word == "--realm-home") { 3 } else { 1 };
        if argv.get(at).is_none_or(|word| word != "token") {
            return None;
        }
        let Self { target, json, command: TokenCommand::Token(args) } = Self::try_parse_from(argv).ok()?;
        Some(Cli { target, json, command: Command::Token(args) })
    }
}

/// What a command works with.
struct Context {
    target: Target,
    out: Out,
    clock: Arc<dyn Clock>,
    /// The words of this call, for a re-execution as the realm's account.
    argv: Vec<OsString>,
}

/// Runs one call of the program and gives its exit code.
pub fn main(argv: Vec<OsString>) -> u8 {
    let cli = match JustToken::parse(&argv).map_or_else(|| Cli::try_parse_from(&argv), Ok) {
        Ok(cli) => cli,
        Err(error) => return output::not_understood(&error),
    };
    let context = Context {
        target: cli.target,
        out: Out { json: cli.json },
        clock: Arc::new(SystemClock),
        argv: argv.into_iter().skip(1).collect(),
    };
    let entered =
        if context.target.realm_home.is_some() { crate::services::hosting::entered() } else { Ok(()) };
    match entered.and_then(|()| run(&context, cli.command)) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            error.kind().exit_code()
        }
    }
}

fn run(context: &Context, command: Command) -> Result<u8> {
    match command {
        Command::Serve(args) => serve::run(context, args),
        Command::Realm(command) => realm::run(context, command),
        Command::Key(command) => key::run(context, command),
        Command::User(command) => user::run(context, command),
        Command::SigningKey(command) => signing_key::run(context, command),
        Command::Token(args) => token::run(context, args),
        Command::Init(args) => init::run(context, args),
        Command::Add(args) => add::run(context, args),
        Command::Remove(args) => user::remove(context, args),
        Command::Sync(args) => sync::run(context, args),
        Command::Delete(args) => delete::run(context, args),
        Command::Adopt(args) => adopt::run(context, args),
        Command::Verify(args) => verify::run(context, args),
        Command::Explain(args) => explain::run(context, args),
        Command::Rules(command) => rules::run(context, command),
        Command::Doctor(args) => doctor::run(context, args),
        Command::Audit(command) => audit::run(context, command),
        Command::AuthorizedKeys(args) => authorized_keys::run(context, args),
        Command::Client(command) => client::run(context.out, Cli::command, command),
        Command::HoldsSecret(args) => init::holds_secret(context, args),
        Command::KeysBy(args) => sync::keys_by(context, args),
    }
}
