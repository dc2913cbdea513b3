//! `seamless sync`: writes what sshd reads, from what the store has.

use std::path::PathBuf;

use serde_json::json;

use crate::config::KeysBy;
use crate::error::{Error, Result};
use crate::progress::Unseen;
use crate::realm::{Access, Realm};
use crate::services::hosting;

use super::Context;
use super::output::{Stream, notes};
use super::target::{Entered, Place, is_root};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The realm
    realm: Option<String>,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = hosting::SSHD_CONFIG, hide_short_help = true)]
    sshd_config: PathBuf,
    /// Print the authorized_keys lines and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let place = context.place(args.realm.as_deref())?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(0) => return drop_in(&place, &args).map(|()| 0),
        Entered::Elsewhere(code) => return Ok(code),
    };
    if args.dry_run {
        hosting::authorized_keys(&realm, &mut Stream::new(), &Unseen)?;
        return Ok(0);
    }
    let by_command = realm.config.sshd.keys == KeysBy::Command;
    let lines = hosting::write_keys(&realm, &context.sync_progress())?;
    let value = json!({"realm": realm.name.as_str(), "keys": lines, "by": if by_command { "command" } else { "file" }});
    context.out.print(&value, || {
        if by_command {
            format!("sshd asks `seamless authorized-keys` for the keys of {}; a file is not used", realm.name)
        } else {
            format!("{lines} line{} for sshd", if lines == 1 { "" } else { "s" })
        }
    });
    Ok(0)
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Open {
    /// The realm
    realm: Option<String>,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = hosting::SSHD_CONFIG, hide_short_help = true)]
    sshd_config: PathBuf,
}

/// As the account: the keys, as `sync`. Then as root: the fence, and last the account.
pub(super) fn open(context: &Context, args: Open) -> Result<u8> {
    let place = context.place(args.realm.as_deref())?;
    let Place::Account(account) = &place else {
        if context.target.realm_home.is_none() {
            return Err(Error::usage(format!("{} is no account's home", place.dir().display()))
                .hint("only a realm that is a Unix account is ever shut"));
        }
        let realm = Realm::open(place.dir(), Access::Read, context.clock.clone())?;
        return hosting::write_keys(&realm, &context.sync_progress()).map(|_| 0);
    };
    if !is_root() {
        return Err(Error::usage(format!("opening the account {} takes root", account.name))
            .hint(format!("sudo seamless realm open {}", account.name)));
    }
    if let Some(code) = context.elsewhere(&place, None)?.filter(|code| *code != 0) {
        return Ok(code);
    }
    notes(hosting::reopen(account, &args.sshd_config)?);
    let value = json!({"realm": account.name, "open": true});
    context.out.print(&value, || format!("the realm {} is open", account.name));
    Ok(0)
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct KeysOf {
    realm: Option<String>,
}

/// Prints `file` or `command`. Root asks for it this way: it does not open what is in a realm itself.
pub(super) fn keys_by(context: &Context, args: KeysOf) -> Result<u8> {
    let place = context.place(args.realm.as_deref())?;
    let realm = Realm::open(place.dir(), Access::Read, context.clock.clone())?;
    super::output::write_out(if realm.config.sshd.keys == KeysBy::Command { "command\n" } else { "file\n" });
    Ok(0)
}

/// As root: what sshd is told of this realm follows its settings.
fn drop_in(place: &Place, args: &Args) -> Result<()> {
    if let Place::Account(account) = place
        && is_root()
        && !args.dry_run
    {
        notes(hosting::refresh_fence(account, &args.sshd_config)?);
    }
    Ok(())
}
