//! `seamless realm`: make, look at and remove realms.

use std::path::Path;

use serde_json::{Value, json};

use crate::backends::store::KeyState;
use crate::error::Result;
use crate::realm::{Access, Realm};
use crate::services::mint::format_name;
use crate::services::{hosting, keys, signing};

use super::output::{dash, table};
use super::target::{Entered, data_dir};
use super::{Context, adopt, backup, delete, init, sync};

#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a realm: a Unix account (as root), or a directory (--dir)
    Init(init::Args),
    /// List the realms of this host and of yours
    List,
    /// Show a realm
    Show {
        /// The realm
        realm: Option<String>,
    },
    /// Write what sshd reads: authorized_keys and the drop-in
    Sync(sync::Args),
    /// Open a realm's account again that was shut when the package was purged
    Open(sync::Open),
    /// Delete a realm with everything in it
    Delete(delete::Args),
    /// Turn a realm of the Python seamless into one of ours
    Adopt(adopt::Args),
    /// Write everything that a realm is into one file, while it is used
    Backup(backup::Backup),
    /// Make a realm again from a backup, on this host or another
    Restore(backup::Restore),
    /// Take a realm's database to the schema of this program
    Upgrade(backup::Upgrade),
}

pub(super) fn run(context: &Context, command: Command) -> Result<u8> {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::List => list(context),
        Command::Show { realm } => show(context, realm.as_deref()),
        Command::Sync(args) => sync::run(context, args),
        Command::Open(args) => sync::open(context, args),
        Command::Delete(args) => delete::run(context, args),
        Command::Adopt(args) => adopt::run(context, args),
        Command::Backup(args) => backup::backup(context, args),
        Command::Restore(args) => backup::restore(context, args),
        Command::Upgrade(args) => backup::upgrade(context, args),
    }
}

fn list(context: &Context) -> Result<u8> {
    let mut found: Vec<(String, &str, std::path::PathBuf)> =
        hosting::realms().into_iter().map(|a| (a.name, "account", a.home)).collect();
    let own = data_dir().ok().and_then(|dir| std::fs::read_dir(dir).ok());
    let is_realm = |dir: &Path| dir.join(crate::config::FILE).exists();
    for dir in own.into_iter().flatten().flatten().map(|e| e.path()).filter(|d| is_realm(d)) {
        let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        found.push((name, "own", dir));
    }
    found.sort();
    let value = found
        .iter()
        .map(|(name, kind, dir)| json!({"realm": name, "kind": kind, "dir": dir}))
        .collect::<Value>();
    context.out.print(&value, || {
        if found.is_empty() {
            return "no realms here; make one: sudo seamless init NAME, or without root: seamless serve"
                .to_owned();
        }
        let row = |(name, kind, dir): &(String, &str, std::path::PathBuf)| {
            vec![name.clone(), (*kind).to_owned(), dir.display().to_string()]
        };
        table(&found.iter().map(row).collect::<Vec<_>>())
    });
    Ok(0)
}

fn show(context: &Context, realm: Option<&str>) -> Result<u8> {
    let place = context.place(realm)?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let value = describe(&realm)?;
    context.out.print(&value, || {
        let text = |name: &str| match value.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(list)) => {
                dash(&list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
            }
            Some(other) => other.to_string(),
            None => "-".to_owned(),
        };
        let names = [
            "realm",
            "dir",
            "issuer",
            "default_format",
            "default_audience",
            "audiences",
            "users",
            "keys",
            "signing_keys",
        ];
        table(&names.map(|name| vec![name.replace('_', " "), text(name)]))
    });
    Ok(0)
}

fn describe(realm: &Realm) -> Result<Value> {
    let signing = signing::list(realm)?;
    let active: Vec<_> =
        signing.iter().filter(|k| k.state == KeyState::Active).map(|k| k.algorithm.as_str()).collect();
    let totals = keys::totals(realm)?;
    Ok(json!({
        "realm": realm.name.as_str(),
        "dir": realm.dir,
        "issuer": realm.config.issuer,
        "default_format": format_name(realm.config.tokens.default_format),
        "default_audience": realm.config.default_audience(),
        "audiences": realm.config.audiences.keys().collect::<Vec<_>>(),
        "users": totals.users,
        "keys": totals.keys,
        "signing_keys": active,
    }))
}
