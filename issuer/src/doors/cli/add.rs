//! `seamless key add`, or `seamless add`: enrols the key of a file, or those that GitHub or a URL shows right now.

use serde_json::{Value, json};

use crate::backends::store::{Fingerprint, KeyFate};
use crate::duration::Seconds;
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::public_key::{self, PublicKey};
use crate::realm::{Access, Realm};
use crate::services::fetch::{self, Place};
use crate::services::hosting;
use crate::services::keys::{self, Conditions};

use super::Context;
use super::output::{confirm, note, time, visible, warn};
use super::target::Entered;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
From GitHub or a URL the keys are fetched once, over https, and shown before they count. What is enrolled stays what
was seen: a key that is added or taken away there later changes nothing here.

  seamless add corp ada.pub --user ada
  seamless add corp --github ada
  seamless add corp --github ada-l --user ada --fingerprint SHA256:…
  seamless add corp --url https://gitlab.example/ada.keys --user ada --yes")]
pub(super) struct Args {
    /// The realm, and the public key file (- for standard input)
    #[arg(value_name = "[REALM] KEYFILE", num_args = 0..=2, required_unless_present_any = ["github", "url"])]
    words: Vec<String>,
    /// Whose key it is; the user is made if there is none of that name [default: the file's or GitHub's name]
    #[arg(long, short)]
    user: Option<String>,
    /// Enrol the keys that this GitHub user shows right now, in place of KEYFILE
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    github: Option<String>,
    /// Enrol the keys that this https URL shows right now, in place of KEYFILE
    #[arg(long, requires = "user")]
    url: Option<String>,
    /// Of the fetched keys only this one, without asking; may be repeated, and fails if one is not there
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Vec<String>,
    /// Don't ask before fetched keys are enrolled
    #[arg(long, short)]
    yes: bool,
    /// How long the key may mint, such as 90d
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Only from these addresses; may be repeated
    #[arg(long, value_name = "CIDR")]
    from: Vec<String>,
    /// Refuse a key that no authenticator holds
    #[arg(long)]
    require_touch: bool,
    /// Ask the authenticator for a PIN or biometric
    #[arg(long)]
    require_verify: bool,
    /// What stands for https://github.com in tests; an address of this machine
    #[arg(long, hide = true, value_name = "URL")]
    github_at: Option<String>,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let place = match (&args.github, &args.url) {
        (Some(name), _) => Place::github(name, args.github_at.as_deref())?,
        (None, Some(url)) => Place::url(url)?,
        (None, None) => return from_file(context, &args),
    };
    fetched(context, &args, &place)
}

fn from_file(context: &Context, args: &Args) -> Result<u8> {
    if !args.fingerprint.is_empty() {
        return Err(
            Error::usage("--fingerprint chooses among fetched keys").hint("say --github NAME or --url URL")
        );
    }
    let (place, rest) = context.words(&args.words, 1)?;
    let Some(file) = rest.first() else { return Err(Error::usage("which key file?")) };
    let bytes = context.read_file(file, u64::try_from(public_key::MOST_BYTES).unwrap_or(u64::MAX))?;
    let user = user_name(args, file)?;
    let key = PublicKey::parse(&bytes, if file == "-" { "standard input" } else { file })?;
    let realm = match context.enter(&place, Access::Write, Some(&bytes))? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let conditions = conditions(args, &realm)?;
    let fate = keys::add(&realm, &user, &key, &conditions, "file")?;
    hosting::after_change(&realm, &context.sync_progress())?;
    context.out.print(&json(&user, &key, &conditions, &fate), || text(&user, &key, &conditions, &fate));
    Ok(0)
}

fn fetched(context: &Context, args: &Args, place: &Place) -> Result<u8> {
    let at = context.words(&args.words, 0)?.0;
    if args.words.len() > 1 {
        return Err(
            Error::usage("a key file and a place to fetch from are both given").hint("say one of them")
        );
    }
    let user: UserName = match (&args.user, &args.github) {
        (Some(user), _) => user.parse()?,
        (None, name) => {
            name.as_deref().unwrap_or_default().parse().map_err(|e: Error| e.hint("say --user NAME"))?
        }
    };
    let pins = args.fingerprint.iter().map(|text| fingerprint(text)).collect::<Result<Vec<_>>>()?;
    // Fetched by the account that owns the realm, not by root.
    let realm = match context.enter(&at, Access::Write, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let conditions = conditions(args, &realm)?;
    let found = fetch::fetch(&realm, place, &conditions)?;
    for why in &found.unusable {
        warn(&format!("left out: {why}"));
    }
    let chosen = fetch::choose(found.keys, &pins, place)?;
    for key in &chosen {
        note(visible(&format!("{} {} {}", key.algorithm, key.fingerprint, key.comment)).trim_end());
    }
    if pins.is_empty() {
        let what =
            if chosen.len() == 1 { "this key".to_owned() } else { format!("these {} keys", chosen.len()) };
        confirm(&format!("enrol {what} for {user}"), args.yes)?;
    }
    let fates = keys::add_all(&realm, &user, &chosen, &conditions, &place.source)?;
    hosting::after_change(&realm, &context.sync_progress())?;
    let done: Vec<_> = chosen.iter().zip(&fates).collect();
    let value = done.iter().map(|(key, fate)| json(&user, key, &conditions, fate)).collect::<Value>();
    context.out.print(&value, || {
        let lines: Vec<_> = done.iter().map(|(key, fate)| text(&user, key, &conditions, fate)).collect();
        lines.join("\n")
    });
    Ok(0)
}

fn conditions(args: &Args, realm: &Realm) -> Result<Conditions> {
    let lasts = args.expires.as_deref().map(str::parse::<Seconds>).transpose()?;
    Ok(Conditions {
        expires_at: lasts.map(|s| realm.now() + s.0),
        from: args.from.clone(),
        require_touch: args.require_touch,
        require_verify: args.require_verify,
    })
}

fn json(user: &UserName, key: &PublicKey, conditions: &Conditions, fate: &KeyFate) -> Value {
    json!({"user": user.as_str(), "fingerprint": key.fingerprint.to_string(), "type": key.algorithm,
           "expires_at": conditions.expires_at, "new": *fate == KeyFate::Added})
}

fn text(user: &UserName, key: &PublicKey, conditions: &Conditions, fate: &KeyFate) -> String {
    let until = conditions.expires_at.map(|at| format!(", until {}", time(at))).unwrap_or_default();
    let done = match fate {
        KeyFate::Added => "enrolled for",
        KeyFate::Changed => "changed for",
        KeyFate::Unchanged | KeyFate::Taken(_) => "there already, and unchanged, for",
    };
    format!("{} {} is {done} {user}{until}", key.algorithm, key.fingerprint)
}

/// `--user`, or, as the original had it, the file's name.
fn user_name(args: &Args, file: &str) -> Result<UserName> {
    if let Some(user) = &args.user {
        return user.parse();
    }
    if file == "-" {
        return Err(Error::usage("whose key is it?").hint("say --user NAME"));
    }
    let base = std::path::Path::new(file).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    base.strip_suffix(".pub").unwrap_or(base).parse().map_err(|e: Error| e.hint("say --user NAME"))
}

fn fingerprint(text: &str) -> Result<Fingerprint> {
    Fingerprint::parse(text).ok_or_else(|| {
        Error::usage(format!("{:?} is not a fingerprint", crate::names::shorten(text)))
            .hint("SHA256:… as `ssh-keygen -lf KEY.pub` shows it")
    })
}
