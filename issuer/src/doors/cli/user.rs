//! `seamless user`: list and lock users, edit their groups and scopes.

use serde_json::{Value, json};

use crate::backends::store::User;
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::realm::{Access, Realm};
use crate::services::{hosting, users};

use super::Context;
use super::output::{Listing, confirm, dash, time};
use super::target::Entered;

#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the users
    List {
        /// The realm
        realm: Option<String>,
    },
    /// Lock a user: no new tokens, and those that live are revoked
    Lock(One),
    /// Unlock a user
    Unlock(One),
    /// Show or edit the scopes that a user may ask for
    Scopes(Edit),
    /// Show or edit the groups that a user is in
    Groups(Edit),
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct One {
    /// The realm and the user
    #[arg(value_name = "[REALM] USER", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Edit {
    /// The realm and the user
    #[arg(value_name = "[REALM] USER", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Add these; may be repeated or separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    add: Vec<String>,
    /// Take these away; may be repeated or separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    remove: Vec<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Remove {
    /// The realm and the user
    #[arg(value_name = "[REALM] USER", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn run(context: &Context, command: Command) -> Result<u8> {
    match command {
        Command::List { realm } => list(context, realm.as_deref()),
        Command::Lock(args) => lock(context, &args),
        Command::Unlock(args) => unlock(context, &args),
        Command::Scopes(args) => edit(context, &args, "scopes", users::edit_scopes, |u| &u.scopes),
        Command::Groups(args) => edit(context, &args, "groups", users::edit_groups, |u| &u.groups),
    }
}

pub(super) fn remove(context: &Context, args: Remove) -> Result<u8> {
    let (realm, user) = match one(context, &args.words, Access::Write)? {
        Found::Here(realm, user) => (realm, user),
        Found::Elsewhere(code) => return Ok(code),
    };
    users::find(&realm, &user)?;
    confirm(&format!("remove {user} with all keys and revoke its tokens"), args.yes)?;
    let keys = users::remove(&realm, &user)?;
    hosting::after_change(&realm, &context.sync_progress())?;
    let value = json!({"user": user.as_str(), "removed": true, "keys": keys});
    context
        .out
        .print(&value, || format!("{user} is removed with {keys} key{}", if keys == 1 { "" } else { "s" }));
    Ok(0)
}

fn list(context: &Context, realm: Option<&str>) -> Result<u8> {
    let place = context.place(realm)?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let row = |u: &User| {
        let state = if u.locked { "locked" } else { "active" };
        vec![
            u.name.to_string(),
            state.to_owned(),
            time(u.created_at),
            dash(&u.groups.join(",")),
            dash(&u.scopes.join(",")),
        ]
    };
    let each = |listing: &mut Listing| {
        listing.head(&["user", "state", "since", "groups", "scopes"]);
        users::each(&realm, &mut |user| listing.item(|| json(&user), || row(&user)))
    };
    Listing::new(context.out).print(each, || {
        format!(
            "no users yet; a user is made with its first key: seamless add {} KEY.pub --user NAME",
            realm.name
        )
    })?;
    Ok(0)
}

fn lock(context: &Context, args: &One) -> Result<u8> {
    let (realm, user) = match one(context, &args.words, Access::Write)? {
        Found::Here(realm, user) => (realm, user),
        Found::Elsewhere(code) => return Ok(code),
    };
    users::find(&realm, &user)?;
    confirm(&format!("lock {user} and revoke its tokens"), args.yes)?;
    users::lock(&realm, &user)?;
    context.out.print(&json!({"user": user.as_str(), "locked": true}), || {
        format!("{user} is locked, its tokens are revoked")
    });
    Ok(0)
}

fn unlock(context: &Context, args: &One) -> Result<u8> {
    let (realm, user) = match one(context, &args.words, Access::Write)? {
        Found::Here(realm, user) => (realm, user),
        Found::Elsewhere(code) => return Ok(code),
    };
    users::unlock(&realm, &user)?;
    context.out.print(&json!({"user": user.as_str(), "locked": false}), || format!("{user} is unlocked"));
    Ok(0)
}

fn edit(
    context: &Context,
    args: &Edit,
    what: &str,
    change: fn(&Realm, &UserName, &[String], &[String]) -> Result<User>,
    of: fn(&User) -> &Vec<String>,
) -> Result<u8> {
    let shows = args.add.is_empty() && args.remove.is_empty();
    let access = if shows { Access::Read } else { Access::Write };
    let (realm, user) = match one(context, &args.words, access)? {
        Found::Here(realm, user) => (realm, user),
        Found::Elsewhere(code) => return Ok(code),
    };
    let user =
        if shows { users::find(&realm, &user)? } else { change(&realm, &user, &args.add, &args.remove)? };
    context.out.print(&json(&user), || {
        let list = of(&user);
        if list.is_empty() { format!("{} has no {what}", user.name) } else { list.join("\n") }
    });
    Ok(0)
}

enum Found {
    Here(Box<Realm>, UserName),
    Elsewhere(u8),
}

fn one(context: &Context, words: &[String], access: Access) -> Result<Found> {
    let (place, rest) = context.words(words, 1)?;
    let user = rest.first().ok_or_else(|| Error::usage("which user?"))?.parse()?;
    Ok(match context.enter(&place, access, None)? {
        Entered::Here(realm) => Found::Here(realm, user),
        Entered::Elsewhere(code) => Found::Elsewhere(code),
    })
}

fn json(user: &User) -> Value {
    json!({"user": user.name.as_str(), "locked": user.locked, "created_at": user.created_at, "groups": user.groups, "scopes": user.scopes})
}
