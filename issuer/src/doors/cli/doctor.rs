//! `seamless doctor`: what is wrong with a realm and its surroundings, and how to mend it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::backends::http_get;
use crate::backends::system::{accounts, layout, sshd};
use crate::error::{Error, Result};
use crate::realm::{Access, Realm};
use crate::services::doctor::{self, Finding, Severity, Surroundings};

use super::Context;
use super::output::visible;
use super::target::Place;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Exit code 1 if anything is wrong; warnings alone are 0.")]
pub(super) struct Args {
    /// The realm
    realm: Option<String>,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = sshd::DEFAULT_CONFIG, hide_short_help = true)]
    sshd_config: PathBuf,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let place = context.place(args.realm.as_deref())?;
    // Only root can ask sshd, and only the account looks into its realm: it gets root's findings on its stdin.
    let facts = facts(&place, &args)?;
    if let Some(code) = context.elsewhere(&place, facts.as_deref().or(Some(b"null")))? {
        return Ok(code);
    }
    let facts = match context.target.file_on_stdin {
        true => serde_json::from_slice(&context.read_file("-", 1024 * 1024)?)
            .map_err(|e| Error::internal(format!("what root found: {e}")))?,
        false => None,
    };
    let around = surroundings(place.dir(), facts);
    let findings = match Realm::open(place.dir(), Access::Read, context.clock.clone()) {
        Ok(realm) => doctor::examine(&realm, &around),
        Err(error) => doctor::examine_closed(&error, &around),
    };
    context
        .out
        .print(&findings.iter().map(value).collect::<Value>(), || findings.iter().map(lines).collect());
    Ok(u8::from(findings.iter().any(|f| f.severity == Severity::Error)))
}

fn facts(place: &Place, args: &Args) -> Result<Option<Vec<u8>>> {
    match place {
        Place::Account(account) if super::target::is_root() && accounts::is_realm_home(account) => {
            let facts =
                sshd::Facts::find(&sshd::SshdPaths::with_config(&args.sshd_config), &account.name.parse()?);
            serde_json::to_vec(&facts).map(Some).map_err(|e| Error::internal(format!("what sshd says: {e}")))
        }
        _ => Ok(None),
    }
}

fn surroundings(dir: &Path, sshd: Option<sshd::Facts>) -> Surroundings<'static> {
    let uid = rustix::process::geteuid().as_raw();
    Surroundings {
        dir: dir.to_owned(),
        uid,
        entries: layout::entries(dir),
        parents: layout::parents(dir),
        account: accounts::by_uid(uid)
            .filter(|account| account.home == dir && accounts::is_realm_home(account)),
        sshd,
        binary: accounts::installed_binary(),
        authorized_keys: sshd::read_authorized_keys(dir),
        fetch: &http_get::text,
    }
}

fn value(finding: &Finding) -> Value {
    json!({"severity": finding.severity.as_str(), "what": finding.what, "mend": finding.mend})
}

fn lines(finding: &Finding) -> String {
    let mend =
        finding.mend.as_ref().map(|mend| format!("         mend: {}\n", visible(mend))).unwrap_or_default();
    format!("{:<7}  {}\n{mend}", finding.severity.as_str(), visible(&finding.what))
}
