//! `seamless init`: a Unix account that is a realm, or a directory that is one.

use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use crate::config::{Digest, Format, KeysBy};
use crate::error::{Error, Result};
use crate::names::RealmName;
use crate::realm::Access;
use crate::services::hosting;
use crate::services::init::{self, Plan};

use super::Context;
use super::output::notes;
use super::target::{data_dir, is_root};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The realm's name, which is also its Unix account's
    realm: Option<String>,
    /// Take over the shared secret in this file (- for standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) secret_file: Option<String>,
    /// The default token format [default: seamless]
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// The hash of the seamless format: sha1, sha256 or sha512
    #[arg(long, default_value = "sha1", value_parser = digest)]
    digest: Digest,
    /// The issuer URL [default: https://FQDN/REALM]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// How sshd learns the keys: file (authorized_keys) or command (AuthorizedKeysCommand)
    #[arg(long, default_value = "file", value_parser = keys)]
    keys: KeysBy,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = hosting::SSHD_CONFIG, hide_short_help = true)]
    sshd_config: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct HoldsSecret {
    realm: Option<String>,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    if let Some(home) = &context.target.realm_home {
        return make(context, home, &name(&args, home)?, &args);
    }
    if let Some(dir) = &context.target.dir {
        let dir = std::path::absolute(dir).map_err(|e| crate::error::io("find", dir, &e))?;
        return make(context, &dir, &name(&args, &dir)?, &args);
    }
    let Some(text) = &args.realm else {
        return Err(
            Error::usage("which realm?").hint("seamless init REALM as root, or seamless init --dir DIR")
        );
    };
    let realm: RealmName = text.parse()?;
    if !is_root() {
        return Err(Error::usage("making a Unix account takes root")
            .hint(format!("sudo seamless init {realm}; or without an account: seamless init --dir DIR")));
    }
    account(context, &realm, &args)
}

/// As root: the account, and in its home this very call as the account.
fn account(context: &Context, realm: &RealmName, args: &Args) -> Result<u8> {
    let secret = args.secret_file.as_deref().map(|name| context.read_file(name, 64 * 1024)).transpose()?;
    let secret = secret.map(Zeroizing::new);
    let fill = |account: &hosting::Account| {
        let argv = context.argv_there(account, secret.is_some());
        hosting::as_account(account, &argv, Some(secret.as_deref().map_or(&[], Vec::as_slice)))
    };
    let shared = secret.as_deref().map(Vec::as_slice);
    let (code, said) = hosting::make(realm, args.keys, &args.sshd_config, shared, fill)?;
    notes(said);
    Ok(code)
}

/// Makes the realm in a directory of ours.
fn make(context: &Context, dir: &Path, name: &RealmName, args: &Args) -> Result<u8> {
    let secret = args.secret_file.as_deref().map(|file| context.read_file(file, 64 * 1024)).transpose()?;
    let by_account = context.target.realm_home.is_some();
    let issuer = match &args.issuer {
        Some(issuer) => issuer.clone(),
        None if by_account => format!("https://{}/{name}", hosting::host_name()),
        None => format!("http://127.0.0.1:8080/{name}"),
    };
    let plan = Plan {
        name: name.clone(),
        issuer,
        format: args.format.unwrap_or(Format::Seamless),
        digest: args.digest,
        keys: args.keys,
        secret: secret.map(Zeroizing::new),
    };
    if let (Some(secret), false) = (&plan.secret, by_account) {
        refuse_shared_among_own(context, secret)?;
    }
    let realm = init::create(dir, &plan, context.clock.clone())?;
    let value = json!({"realm": name.as_str(), "dir": dir, "issuer": realm.config.issuer});
    context.out.print(&value, || {
        let with = if by_account { name.to_string() } else { format!("--dir {}", dir.display()) };
        let sudo = if by_account { "sudo " } else { "" };
        format!(
            "the realm {name} is ready in {}\nissuer  {}\nnext    {sudo}seamless add {with} KEY.pub --user NAME\n",
            dir.display(),
            realm.config.issuer
        )
    });
    Ok(0)
}

fn refuse_shared_among_own(context: &Context, secret: &[u8]) -> Result<()> {
    let Ok(entries) =
        data_dir().and_then(|d| std::fs::read_dir(d).map_err(|_| Error::failed("no realms yet")))
    else {
        return Ok(());
    };
    for dir in entries.flatten().map(|e| e.path()) {
        if let Ok(realm) = crate::realm::Realm::open(&dir, Access::Read, context.clock.clone())
            && init::holds_secret(&realm, secret)?
        {
            return Err(hosting::shared(realm.name.as_str()));
        }
    }
    Ok(())
}

/// Exit code 0 if the realm holds the secret on standard input, 1 if not.
pub(super) fn holds_secret(context: &Context, args: HoldsSecret) -> Result<u8> {
    use std::io::Read as _;
    let place = context.place(args.realm.as_deref())?;
    let mut secret = Zeroizing::new(Vec::with_capacity(64 * 1024));
    std::io::stdin()
        .lock()
        .take(64 * 1024)
        .read_to_end(&mut secret)
        .map_err(|e| Error::internal(format!("can't read standard input: {e}")))?;
    let realm = crate::realm::Realm::open(place.dir(), Access::Read, context.clock.clone())?;
    Ok(if init::holds_secret(&realm, &secret)? { 0 } else { 1 })
}

/// The realm's name: the one that was given, or the directory's.
fn name(args: &Args, dir: &Path) -> Result<RealmName> {
    if let Some(name) = &args.realm {
        return name.parse();
    }
    let last = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    last.parse().map_err(|e: Error| e.hint("name it: seamless init NAME --dir DIR"))
}

fn format(text: &str) -> Result<Format, String> {
    crate::services::words::format(text).map_err(|_| "jwt or seamless".to_owned())
}

pub(super) fn digest(text: &str) -> Result<Digest, String> {
    match text {
        "sha1" => Ok(Digest::Sha1),
        "sha256" => Ok(Digest::Sha256),
        "sha512" => Ok(Digest::Sha512),
        _ => Err("sha1, sha256 or sha512".to_owned()),
    }
}

fn keys(text: &str) -> Result<KeysBy, String> {
    match text {
        "file" => Ok(KeysBy::File),
        "command" => Ok(KeysBy::Command),
        _ => Err("file or command".to_owned()),
    }
}
