//! `seamless doctor`: what is wrong with a realm and its surroundings, and how to mend it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::error::Result;
use crate::realm::{Access, Realm};
use crate::services::doctor::{self, Finding, Severity};
use crate::services::hosting;

use super::Context;
use super::output::visible;
use super::progress::Unit;
use super::target::{Place, is_root};

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Exit code 1 if anything is wrong; warnings alone are 0.")]
pub(super) struct Args {
    /// The realm
    realm: Option<String>,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = hosting::SSHD_CONFIG, hide_short_help = true)]
    sshd_config: PathBuf,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let place = context.place(args.realm.as_deref())?;
    // Only root can ask sshd, and only the account looks into its realm: it gets root's findings on its stdin.
    let facts = match &place {
        Place::Account(account) if is_root() => hosting::facts(account, &args.sshd_config)?,
        _ => None,
    };
    if let Some(code) = context.elsewhere(&place, facts.as_deref().or(Some(b"null")))? {
        return Ok(code);
    }
    let facts = context.target.file_on_stdin.then(|| context.read_file("-", 1024 * 1024)).transpose()?;
    // The bar is gone before anything is printed.
    let findings = {
        let bar = context.progress("comparing authorized_keys", Unit::Things("keys"));
        let around = hosting::surroundings(place.dir(), facts.as_deref(), &bar)?;
        match Realm::open(place.dir(), Access::Read, context.clock.clone()) {
            Ok(realm) => doctor::examine(&realm, &around),
            Err(error) => doctor::examine_closed(&error, &around),
        }
    };
    context
        .out
        .print(&findings.iter().map(value).collect::<Value>(), || findings.iter().map(lines).collect());
    Ok(u8::from(findings.iter().any(|f| f.severity == Severity::Error)))
}

fn value(finding: &Finding) -> Value {
    json!({"severity": finding.severity.as_str(), "what": finding.what, "mend": finding.mend})
}

fn lines(finding: &Finding) -> String {
    let mend =
        finding.mend.as_ref().map(|mend| format!("         mend: {}\n", visible(mend))).unwrap_or_default();
    format!("{:<7}  {}\n{mend}", finding.severity.as_str(), visible(&finding.what))
}
