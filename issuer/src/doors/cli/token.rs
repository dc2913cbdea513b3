//! `seamless token`: mint, verify, inspect and revoke; alone, the original's `token REALM --user NAME`.

use serde_json::json;

use crate::backends::audit::Door;
use crate::backends::store::Fingerprint;
use crate::config::Format;
use crate::duration::Seconds;
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::realm::Access;
use crate::services::mint::{self, Ask, Caller};
use crate::services::revoke::{self, Which};
use crate::services::session;

use super::output::{time, write_out};
use super::target::Entered;
use super::{Context, inspect, verify};

#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    mint: Mint,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Mint a token as the administrator
    Mint(Mint),
    /// Verify tokens and print the verdicts
    Verify(Box<verify::Args>),
    /// Show what a token says, without verifying it
    Inspect(inspect::Args),
    /// Revoke tokens that live
    Revoke(Revoke),
}

#[derive(Clone, Debug, clap::Args)]
struct Mint {
    /// The realm
    realm: Option<String>,
    /// Whose token
    #[arg(long, short)]
    user: Option<String>,
    /// jwt or seamless [default: the realm's]
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// Whom the token is for; may be repeated
    #[arg(long, short)]
    audience: Vec<String>,
    /// What it may do; may be repeated
    #[arg(long, short)]
    scope: Vec<String>,
    /// How long it lasts, such as 5m
    #[arg(long, short)]
    ttl: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Verdicts of /verify and of `seamless verify` follow at once. A token of the seamless format has no id; it can be
revoked by its user only.")]
struct Revoke {
    /// The realm
    realm: Option<String>,
    #[command(flatten)]
    which: Selector,
}

#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Selector {
    /// One token, by its jti (`seamless token inspect` shows it)
    #[arg(long, allow_hyphen_values = true)]
    jti: Option<String>,
    /// All of a user, issued up to now
    #[arg(long, short)]
    user: Option<String>,
    /// All of the user of this SSH key, issued up to now
    #[arg(long, value_name = "SHA256:…")]
    key: Option<String>,
    /// All that this signing key signed
    #[arg(long, allow_hyphen_values = true)]
    kid: Option<String>,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    match args.command {
        None => mint(context, &args.mint),
        Some(Command::Mint(mint_args)) => mint(context, &mint_args),
        Some(Command::Verify(args)) => verify::run(context, *args),
        Some(Command::Inspect(args)) => inspect::run(context, args),
        Some(Command::Revoke(args)) => revoke(context, args),
    }
}

fn mint(context: &Context, args: &Mint) -> Result<u8> {
    let user: UserName =
        args.user.as_deref().ok_or_else(|| Error::usage("whose token?").hint("say --user NAME"))?.parse()?;
    let place = context.place(args.realm.as_deref())?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let ask = Ask {
        format: args.format,
        audiences: args.audience.clone(),
        scopes: args.scope.clone(),
        ttl: args.ttl.as_deref().map(str::parse::<Seconds>).transpose()?.map(|s| s.0),
    };
    let minted = mint::mint(&realm, &Caller { user, key: None, door: Door::Cli, address: None }, &ask)?;
    realm.abandon();
    if context.out.json {
        write_out(&session::token_json(&minted));
    } else {
        write_out(&zeroize::Zeroizing::new(format!("{}\n", *minted.token)));
    }
    Ok(0)
}

fn revoke(context: &Context, args: Revoke) -> Result<u8> {
    let place = context.place(args.realm.as_deref())?;
    let Selector { jti, user, key, kid } = args.which;
    let which = match (jti, user, key, kid) {
        (Some(jti), ..) => Which::Jti(jti),
        (_, Some(user), ..) => Which::User(user.parse()?),
        (_, _, Some(key), _) => Which::Key(Fingerprint::parse(&key).ok_or_else(|| {
            Error::usage(format!("{:?} is not a fingerprint", crate::names::shorten(&key))).hint("SHA256:…")
        })?),
        (.., kid) => Which::Kid(kid.unwrap_or_default()),
    };
    let realm = match context.enter(&place, Access::Write, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let done = revoke::revoke(&realm, which)?;
    let mut value = revoke::describe(&done.what);
    if let Some(object) = value.as_object_mut() {
        object.insert("keep_until".to_owned(), json!(done.keep_until));
    }
    context.out.print(&value, || {
        format!("revoked {}, remembered until {}", revoke::describe(&done.what), time(done.keep_until))
    });
    Ok(0)
}

fn format(text: &str) -> Result<Format, String> {
    crate::services::words::format(text).map_err(|_| "jwt or seamless".to_owned())
}
