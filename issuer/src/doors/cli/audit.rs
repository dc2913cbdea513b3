//! `seamless audit`: show and verify the audit log.

use serde_json::{Value, json};

use crate::backends::audit::Filter;
use crate::duration::Seconds;
use crate::error::Result;
use crate::realm::Access;
use crate::services::audit_log;

use super::Context;
use super::output::{confirm, dash, table, time, warn};
use super::target::Entered;

#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the newest records
    Show {
        /// The realm
        realm: Option<String>,
        /// Only of this user
        #[arg(long, short)]
        user: Option<String>,
        /// Only this action, such as mint, key or key.add
        #[arg(long, short)]
        action: Option<String>,
        /// Only the last so long, such as 1d
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// How many at most
        #[arg(long, short = 'n', default_value_t = 50)]
        limit: usize,
    },
    /// Walk the chain and name whatever was changed, removed or torn
    Verify {
        /// The realm
        realm: Option<String>,
    },
    /// Go on from the clock's time although a record is newer
    AcceptClock {
        /// The realm
        realm: Option<String>,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<u8> {
    match command {
        Command::Show { realm, user, action, since, limit } => {
            let since = since.as_deref().map(str::parse::<Seconds>).transpose()?;
            let since = since.map(|s| context.clock.now().saturating_sub(s.0));
            show(context, realm.as_deref(), Filter { action, subject: user, since, limit: Some(limit) })
        }
        Command::Verify { realm } => verify(context, realm.as_deref()),
        Command::AcceptClock { realm, yes } => accept_clock(context, realm.as_deref(), yes),
    }
}

fn show(context: &Context, realm: Option<&str>, filter: Filter) -> Result<u8> {
    let place = context.place(realm)?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let records = audit_log::read(&realm, &filter)?;
    context.out.print(&Value::Array(records.clone()), || {
        let row = |r: &Value| {
            let text = |name| {
                dash(r.get(name).and_then(Value::as_str).unwrap_or_default()).escape_debug().to_string()
            };
            let at = r.get("at").and_then(Value::as_u64).unwrap_or(0);
            vec![
                time(at),
                text("action"),
                text("outcome"),
                text("subject"),
                text("fingerprint"),
                text("door"),
                text("address"),
            ]
        };
        if records.is_empty() {
            "no such records".to_owned()
        } else {
            table(&records.iter().map(row).collect::<Vec<_>>())
        }
    });
    Ok(0)
}

fn verify(context: &Context, realm: Option<&str>) -> Result<u8> {
    let place = context.place(realm)?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let report = audit_log::verify(&realm)?;
    let places = |list: &[crate::backends::audit::Problem]| {
        list.iter().map(|p| json!({"file": p.file, "line": p.line, "what": p.what})).collect::<Value>()
    };
    let whole = report.problems.is_empty();
    let value = json!({"whole": whole, "records": report.records, "files": report.files, "newest": report.newest.map(|n| n.at),
                       "problems": places(&report.problems), "torn": places(&report.torn)});
    for torn in &report.torn {
        warn(&format!("{}:{}: {}", torn.file, torn.line, torn.what));
    }
    context.out.print(&value, || {
        let mut text = String::new();
        for problem in &report.problems {
            text.push_str(&format!("{}:{}: this record {}\n", problem.file, problem.line, problem.what));
        }
        let verdict = if whole { "the chain is whole" } else { "the log was changed" };
        text.push_str(&format!("{} records in {} files: {verdict}\n", report.records, report.files));
        text
    });
    Ok(if whole { 0 } else { 1 })
}

fn accept_clock(context: &Context, realm: Option<&str>, yes: bool) -> Result<u8> {
    let place = context.place(realm)?;
    let realm = match context.enter(&place, Access::Write, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let now = realm.now();
    confirm(&format!("go on from {} although a record is newer", time(now)), yes)?;
    audit_log::accept_clock(&realm)?;
    context.out.print(&json!({"accepted": now}), || format!("records go on from {}", time(now)));
    Ok(0)
}
