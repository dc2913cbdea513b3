//! `seamless adopt`: a realm of the Python seamless becomes one of ours.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::{Error, Result};
use crate::names::RealmName;
use crate::services::{adopt, hosting};

use super::Context;
use super::output::{confirm, notes, warn};
use super::progress::Unit;
use super::target::is_root;

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
    #[arg(long, value_name = "FILE", default_value = hosting::SSHD_CONFIG, hide_short_help = true)]
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
        &format!("move the home of {realm} to {} and adopt it", hosting::home_of(&realm).display()),
        args.yes,
    )?;
    let convert =
        |account: &hosting::Account| hosting::as_account(account, &context.argv_there(account, false), None);
    let (code, said) = hosting::take_over(&realm, &args.sshd_config, convert)?;
    notes(said);
    Ok(code)
}

fn adopt_here(context: &Context, dir: &Path, args: &Args, by_account: bool) -> Result<u8> {
    let name: RealmName = match &args.realm {
        Some(name) => name.parse()?,
        None => dir.file_name().and_then(|n| n.to_str()).unwrap_or_default().parse()?,
    };
    let issuer = args.issuer.clone().unwrap_or_else(|| {
        if by_account {
            format!("https://{}/{name}", hosting::host_name())
        } else {
            format!("http://127.0.0.1:8080/{name}")
        }
    });
    let adopted = {
        let bar = context.progress("adopting", Unit::Things("keys"));
        adopt::adopt(dir, &name, &issuer, context.clock.clone(), &bar)?
    };
    hosting::after_change(&adopted.realm, &context.sync_progress())?;
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
