//! `seamless delete`: a realm with its account, or a realm's directory.

use std::path::PathBuf;

use serde_json::json;

use crate::error::{Error, Result};
use crate::realm::{Access, Realm};
use crate::services::hosting;

use super::Context;
use super::output::{confirm, notes};
use super::target::{Place, is_root};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The realm
    realm: Option<String>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = hosting::SSHD_CONFIG, hide_short_help = true)]
    sshd_config: PathBuf,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let place = context.place(args.realm.as_deref())?;
    match &place {
        Place::Account(account) if !is_root() => {
            return Err(Error::usage(format!("removing the account {} takes root", account.name))
                .hint(format!("sudo seamless delete {}", account.name)));
        }
        Place::Account(account) => {
            hosting::check_realm(account)?;
            confirm(
                &format!("delete the realm {} with its account, keys, secrets and audit log", account.name),
                args.yes,
            )?;
            notes(hosting::delete(account, &args.sshd_config)?);
        }
        Place::Dir(dir) => {
            let realm = Realm::open(dir, Access::Read, context.clock.clone())?;
            confirm(
                &format!(
                    "delete the realm {} in {} with its keys, secrets and audit log",
                    realm.name,
                    dir.display()
                ),
                args.yes,
            )?;
            hosting::delete_dir(realm)?;
        }
    }
    let dir = place.dir();
    context
        .out
        .print(&json!({"deleted": true, "dir": dir}), || format!("the realm in {} is gone", dir.display()));
    Ok(0)
}
