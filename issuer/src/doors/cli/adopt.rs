//! `seamless adopt`: a realm of the Python seamless becomes one of ours.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::backends::system::{accounts, reexec, sshd};
use crate::config::KeysBy;
use crate::error::{Error, Result};
use crate::names::RealmName;
use crate::services::adopt;

use super::output::{confirm, note, warn};
use super::target::is_root;
use super::{Context, sync};

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The realm's account keeps its name, secret, users and keys; its home moves to /var/lib/seamless/REALM. What can't
come over is named and kept. Tokens verify as before.")]
pub(super) struct Args {
    /// The realm
    realm: Option<String>,
    /// The issuer URL [default: https://FQDN/REALM]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = sshd::DEFAULT_CONFIG, hide_short_help = true)]
    sshd_config: PathBuf,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let by_account = context.target.realm_home.is_some();
    if let Some(dir) = context.target.realm_home.as_ref().or(context.target.dir.as_ref()) {
        let dir = std::path::absolute(dir).map_err(|e| crate::error::io("find", dir, &e))?;
        return adopt_here(context, &dir, &args, by_account);
    }
    let Some(text) = &args.realm else {
        return Err(
            Error::usage("which realm?").hint("seamless adopt REALM as root, or seamless adopt --dir DIR")
        );
    };
    let realm: RealmName = text.parse()?;
    if !is_root() {
        return Err(
            Error::usage("adopting an account takes root").hint(format!("sudo seamless adopt {realm}"))
        );
    }
    confirm(
        &format!("move the home of {realm} to {} and adopt it", accounts::realm_home(&realm).display()),
        args.yes,
    )?;
    let binary = accounts::installed_binary()?;
    let paths = sshd::SshdPaths::with_config(&args.sshd_config);
    sshd::check_host(&paths)?;
    // The fence before the account is opened: it may have been locked, and its keys are not ours yet.
    let drop_in = sshd::DropIn::new(&realm, KeysBy::File, &binary, &accounts::realm_home(&realm));
    for line in sshd::install(&paths, &drop_in)? {
        note(&format!("seamless: {line}"));
    }
    let account = accounts::relocate(&realm)?;
    let mut argv = context.argv.clone();
    argv.extend(["--yes".into(), "--realm-home".into(), account.home.clone().into_os_string()]);
    reexec::as_account(&account, &argv, None)
}

fn adopt_here(context: &Context, dir: &Path, args: &Args, by_account: bool) -> Result<u8> {
    let name: RealmName = match &args.realm {
        Some(name) => name.parse()?,
        None => dir.file_name().and_then(|n| n.to_str()).unwrap_or_default().parse()?,
    };
    let issuer = args.issuer.clone().unwrap_or_else(|| {
        if by_account {
            format!("https://{}/{name}", accounts::host_name())
        } else {
            format!("http://127.0.0.1:8080/{name}")
        }
    });
    let adopted = adopt::adopt(dir, &name, &issuer, context.clock.clone())?;
    sync::after_change(&adopted.realm)?;
    for line in &adopted.left {
        warn(&format!("left behind: {line}"));
    }
    if let Some((path, lines)) = &adopted.foreign_lines {
        warn(&format!(
            "{lines} lines of authorized_keys were not written by seamless; they are kept in {}",
            path.display()
        ));
    }
    let value = json!({"realm": name.as_str(), "dir": dir, "issuer": issuer, "keys": adopted.keys, "left": adopted.left});
    context.out.print(&value, || {
        format!(
            "the realm {name} is adopted with {} keys\nnext    a new secret, since the old one has been around: seamless signing-key rotate {name} --algorithm hmac\n",
            adopted.keys
        )
    });
    Ok(0)
}
