//! `seamless signing-key`: list, rotate and retire what the realm signs with.

use serde_json::{Value, json};

use crate::backends::store::{SigningAlgorithm, SigningKey};
use crate::duration::Seconds;
use crate::error::{Error, Result};
use crate::realm::Access;
use crate::services::signing::{self, Rotation};

use super::Context;
use super::output::{confirm, table, time};
use super::target::Entered;

#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the signing keys and where they stand
    List {
        /// The realm
        realm: Option<String>,
    },
    /// Publish a next key, or make the published one sign
    #[command(after_help = "\
Said once, it makes a key and publishes it. Said again, ten minutes later or more, it makes that key sign and
retires the one before, which stays published until its last token has lapsed. Verifiers never meet an unknown key.")]
    Rotate {
        /// The realm
        realm: Option<String>,
        /// EdDSA, ES256, RS256, or hmac for the seamless format
        #[arg(long, default_value = "EdDSA", value_parser = algorithm)]
        algorithm: SigningAlgorithm,
        /// Don't wait for verifiers to have fetched the new key
        #[arg(long)]
        now: bool,
        /// How long the new key may sign, such as 365d
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Take a key out of use
    Retire {
        /// The realm, and the key's id
        // Ids that were made before begin with `-` now and then. A list of words would take options for words, too.
        #[arg(value_name = "[REALM] KID", allow_hyphen_values = true)]
        first: String,
        #[arg(hide = true, allow_hyphen_values = true)]
        second: Option<String>,
        /// Withdraw it at once and revoke all that it signed
        #[arg(long)]
        compromised: bool,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<u8> {
    match command {
        Command::List { realm } => list(context, realm.as_deref()),
        Command::Rotate { realm, algorithm, now, expires } => {
            rotate(context, realm.as_deref(), algorithm, now, expires.as_deref())
        }
        Command::Retire { first, second, compromised, yes } => {
            let words: Vec<_> = std::iter::once(first).chain(second).collect();
            retire(context, &words, compromised, yes)
        }
    }
}

fn list(context: &Context, realm: Option<&str>) -> Result<u8> {
    let place = context.place(realm)?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let keys = signing::list(&realm)?;
    let value = keys
        .iter()
        .map(|k| {
            json!({"kid": k.kid, "algorithm": k.algorithm.as_str(), "state": k.state.as_str(), "created_at": k.created_at,
                   "activated_at": k.activated_at, "retired_at": k.retired_at, "expires_at": k.expires_at})
        })
        .collect::<Value>();
    context.out.print(&value, || {
        let row = |k: &SigningKey| {
            let until = k.expires_at.map_or_else(|| "-".to_owned(), |at| format!("until {}", time(at)));
            vec![
                k.algorithm.as_str().to_owned(),
                k.kid.clone(),
                k.state.as_str().to_owned(),
                time(k.created_at),
                until,
            ]
        };
        table(&keys.iter().map(row).collect::<Vec<_>>())
    });
    Ok(0)
}

fn rotate(
    context: &Context,
    realm: Option<&str>,
    algorithm: SigningAlgorithm,
    at_once: bool,
    expires: Option<&str>,
) -> Result<u8> {
    let place = context.place(realm)?;
    let realm = match context.enter(&place, Access::Write, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let expires_at = expires.map(str::parse::<Seconds>).transpose()?.map(|s| realm.now() + s.0);
    match signing::rotate(&realm, algorithm, at_once, expires_at)? {
        Rotation::Published { kid, usable_from } => {
            context.out.print(&json!({"kid": kid, "state": "next", "usable_from": usable_from}), || {
                let share = if algorithm == SigningAlgorithm::Hmac {
                    format!(
                        "\nhand it to every verifier before then: {}",
                        realm.dir.join("signing").join(format!("{kid}.secret")).display()
                    )
                } else {
                    String::new()
                };
                format!(
                    "{kid} is published; make it sign after {} by saying this again{share}",
                    time(usable_from)
                )
            });
        }
        Rotation::Activated { kid, retired } => {
            context.out.print(
                &json!({"kid": kid, "state": "active", "retired": retired}),
                || match &retired {
                    Some(old) => format!("{kid} signs now; {old} is retired"),
                    None => format!("{kid} signs now"),
                },
            );
        }
    }
    Ok(0)
}

fn retire(context: &Context, words: &[String], compromised: bool, yes: bool) -> Result<u8> {
    let (place, rest) = context.words(words, 1)?;
    let kid = rest.first().ok_or_else(|| Error::usage("which key?"))?;
    let realm = match context.enter(&place, Access::Write, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let question = if compromised {
        format!("withdraw {kid} and revoke all that it signed")
    } else {
        format!("retire {kid}")
    };
    confirm(&question, yes)?;
    let heir = signing::retire(&realm, kid, compromised)?;
    let state = if compromised { "compromised" } else { "retired" };
    context.out.print(&json!({"kid": kid, "state": state, "replaced_by": heir}), || match &heir {
        Some(new) => format!("{kid} is {state}; {new} signs now"),
        None => format!("{kid} is {state}"),
    });
    Ok(0)
}

fn algorithm(text: &str) -> Result<SigningAlgorithm, String> {
    SigningAlgorithm::parse(text).ok_or_else(|| "EdDSA, ES256, RS256 or hmac".to_owned())
}
