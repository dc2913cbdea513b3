//! `seamless sync`: writes what sshd reads, from what the store has.

use std::path::PathBuf;

use serde_json::json;

use crate::backends::system::{accounts, reexec, sshd};
use crate::config::KeysBy;
use crate::error::{Error, Result};
use crate::realm::{Access, Realm};
use crate::services::keys;

use super::Context;
use super::output::note;
use super::target::{Entered, Place, is_root};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The realm
    realm: Option<String>,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = sshd::DEFAULT_CONFIG, hide_short_help = true)]
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
        super::output::write_out(&authorized_keys(&realm)?);
        return Ok(0);
    }
    let by_command = realm.config.sshd.keys == KeysBy::Command;
    let lines = write(&realm)?;
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

/// After a change to keys: a realm that is an account's home brings its file up to date by itself.
pub(super) fn after_change(realm: &Realm) -> Result<()> {
    if accounts::home_of_this_process().as_deref() == Some(realm.dir.as_path()) {
        write(realm)?;
    }
    Ok(())
}

/// Writes or removes the file, whichever the settings want, and gives the number of lines.
fn write(realm: &Realm) -> Result<usize> {
    match realm.config.sshd.keys {
        KeysBy::Command => {
            // A line left in the file would still get in if the command printed nothing.
            sshd::remove_authorized_keys(&realm.dir)?;
            Ok(0)
        }
        KeysBy::File => {
            let text = authorized_keys(realm)?;
            sshd::write_authorized_keys(&realm.dir, &text)?;
            Ok(text.lines().filter(|l| !l.starts_with('#')).count())
        }
    }
}

fn authorized_keys(realm: &Realm) -> Result<String> {
    let binary = accounts::installed_binary()?;
    let now = realm.now();
    let mut text = "# written by `seamless sync`; do not edit, changes are lost\n".to_owned();
    for key in keys::list(realm, None)? {
        if key.expires_at.is_some_and(|at| at <= now) {
            continue;
        }
        text.push_str(&sshd::authorized_keys_line(&binary, &realm.dir, &key)?);
        text.push('\n');
    }
    Ok(text)
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

fn keys_setting(account: &accounts::Account) -> Result<KeysBy> {
    let argv = ["keys-by".into(), "--realm-home".into(), account.home.clone().into_os_string()];
    match reexec::output_of(account, &argv)? {
        (0, text) if text == b"file\n" => Ok(KeysBy::File),
        (0, text) if text == b"command\n" => Ok(KeysBy::Command),
        _ => Err(Error::failed(format!("the realm {} does not say how sshd learns its keys", account.name))),
    }
}

/// As root: what sshd is told of this realm follows its settings.
fn drop_in(place: &Place, args: &Args) -> Result<()> {
    let Place::Account(account) = place else { return Ok(()) };
    if !is_root() || args.dry_run || !accounts::is_realm_home(account) {
        return Ok(());
    }
    let binary = accounts::installed_binary()?;
    let paths = sshd::SshdPaths::with_config(&args.sshd_config);
    let keys = keys_setting(account)?;
    let drop_in = sshd::DropIn::new(&account.name.parse()?, keys, &binary, &account.home);
    for line in sshd::install(&paths, &drop_in)? {
        note(&format!("seamless: {line}"));
    }
    Ok(())
}
