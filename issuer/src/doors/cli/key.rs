//! `seamless key`: enrol, list and remove users' SSH keys.

use serde_json::{Value, json};

use crate::backends::store::{Fingerprint, UserKey};
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::realm::{Access, Realm};
use crate::services::hosting;
use crate::services::keys;

use super::Context;
use super::output::{Listing, confirm, dash, time};
use super::target::Entered;

#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Enrol a public key for a user
    Add(super::add::Args),
    /// Enrol many keys from a CSV or an authorized_keys file
    Import(super::import::Args),
    /// List the keys
    List(List),
    /// Remove a key and revoke the tokens that it fetched
    Remove(Remove),
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct List {
    realm: Option<String>,
    /// Only this user's
    #[arg(long, short)]
    user: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Remove {
    /// The realm, and the key's SHA256:… fingerprint
    #[arg(value_name = "[REALM] FINGERPRINT", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn run(context: &Context, command: Command) -> Result<u8> {
    match command {
        Command::Add(args) => super::add::run(context, args),
        Command::Import(args) => super::import::run(context, args),
        Command::List(args) => list(context, args),
        Command::Remove(args) => remove(context, args),
    }
}

fn list(context: &Context, args: List) -> Result<u8> {
    let place = context.place(args.realm.as_deref())?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let user = args.user.as_deref().map(str::parse::<UserName>).transpose()?;
    if let Some(user) = &user {
        crate::services::users::find(&realm, user)?;
    }
    let now = realm.now();
    let each = |listing: &mut Listing| {
        keys::each(&realm, user.as_ref(), &mut |key| listing.item(|| value(&key), || row(&key, now)))
    };
    Listing::new(context.out).print(each, || no_keys(&realm))?;
    Ok(0)
}

fn value(k: &UserKey) -> Value {
    json!({"user": k.user.as_str(), "fingerprint": k.fingerprint.to_string(), "type": k.algorithm,
           "comment": k.comment, "added_at": k.added_at, "expires_at": k.expires_at, "from": k.from,
           "require_touch": k.require_touch, "require_verify": k.require_verify, "source": k.source})
}

fn row(k: &UserKey, now: u64) -> Vec<String> {
    let state = match k.expires_at {
        Some(at) if at <= now => "expired".to_owned(),
        Some(at) => format!("until {}", time(at)),
        None => "-".to_owned(),
    };
    let from = dash(&k.from.join(","));
    vec![k.user.to_string(), k.fingerprint.to_string(), k.algorithm.clone(), state, from, k.comment.clone()]
}

fn remove(context: &Context, args: Remove) -> Result<u8> {
    let (place, rest) = context.words(&args.words, 1)?;
    let text = rest.first().map(String::as_str).unwrap_or_default();
    let fingerprint = Fingerprint::parse(text).ok_or_else(|| {
        Error::usage(format!("{:?} is not a fingerprint", crate::names::shorten(text)))
            .hint("SHA256:… as `seamless key list` shows it; a user with all keys: seamless remove")
    })?;
    let realm = match context.enter(&place, Access::Write, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    confirm(&format!("remove {fingerprint} and revoke its tokens"), args.yes)?;
    let user = keys::remove(&realm, fingerprint)?;
    hosting::after_change(&realm, &context.sync_progress())?;
    let value = json!({"user": user.as_str(), "fingerprint": fingerprint.to_string(), "removed": true});
    context.out.print(&value, || format!("{fingerprint} of {user} is removed, its tokens are revoked"));
    Ok(0)
}

fn no_keys(realm: &Realm) -> String {
    format!("no keys yet; enrol one: seamless add {} KEY.pub --user NAME", realm.name)
}
