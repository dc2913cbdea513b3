//! `seamless rules`: reads a rules.json, and tries requests against it before it stands in front of a site.

use serde_json::{Value, json};
use token::{
    AccessClaims, Audiences, Code, Ed25519Signer, Outcome, PublicKeys, Rules, Scratch, Verifier, mint_access,
};

use crate::clock::random;
use crate::error::{Error, Result};

use super::Context;
use super::output::{dash, table, warn};
use super::verify::{Request, text_file};

#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Read a rules.json and print what it says
    Check {
        /// The file, or - for standard input
        file: String,
    },
    /// Judge requests by a rules.json and compare with what is expected
    #[command(after_help = "\
CASES is JSON, a list or {\"audience\": …, \"cases\": […]}. A case:
  {\"request\": \"GET /admin\", \"as\": {\"subject\": \"ada\", \"scopes\": [\"admin\"]}, \"expect\": \"identity\", \"rule\": 2}
`as` has subject, audience, scopes, groups and amr; null, or left out, sends no token. `token` sends that text.
`expect` is open, anonymous, identity or a code such as missing_scope; `rule`, which may be left out, is the number of
the rule that counts, null for none. `audience` at the top is the verifier's own.
Tokens are made with a key for this call alone, and judged by what every edge runs. Exit code 0 only if all hold.")]
    Test {
        /// The rules.json
        file: String,
        /// The cases
        cases: String,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<u8> {
    match command {
        Command::Check { file } => check(context, &file),
        Command::Test { file, cases } => test(context, &file, &cases),
    }
}

fn check(context: &Context, file: &str) -> Result<u8> {
    let (text, rules) = read(context, file)?;
    // It has just been read more strictly than this.
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let list = value["rules"].as_array().cloned().unwrap_or_default();
    let idle = idle(&list);
    let warnings: Vec<_> =
        idle.iter().map(|(rule, first)| json!({"rule": rule, "never_counts_beside": first})).collect();
    for (rule, first) in &idle {
        warn(&format!("rule {rule} never counts: rule {first} matches all that it matches, and comes first"));
    }
    context.out.print(&json!({"ok": true, "rules": list, "warnings": warnings}), || {
        let mut rows = vec![["RULE", "PATH", "HOST", "METHODS", "NEED", "DEMANDS"].map(str::to_owned).to_vec()];
        for (number, rule) in list.iter().enumerate() {
            rows.push(vec![
                number.to_string(),
                rule["path_prefix"].as_str().unwrap_or("/").to_owned(),
                dash(rule["host"].as_str().unwrap_or_default()).to_owned(),
                dash(&names(&rule["methods"])).to_owned(),
                rule["need"].as_str().unwrap_or_default().to_owned(),
                dash(&demands(rule)).to_owned(),
            ]);
        }
        let end = "The longest path counts, then host, then method, then order. What no rule matches needs a token.";
        format!("{}\n{end}\n", if rules.is_empty() { String::new() } else { table(&rows) })
    });
    Ok(0)
}

/// Rules that never count, each with the earlier one that always does in its place.
fn idle(list: &[Value]) -> Vec<(usize, usize)> {
    let path = |rule: &Value| rule["path_prefix"].as_str().unwrap_or("/").to_owned();
    let covers = |first: &Value, rule: &Value| {
        path(first) == path(rule)
            && first["host"] == rule["host"]
            && match (first["methods"].as_array(), rule["methods"].as_array()) {
                (None, None) => true,
                (Some(first), Some(methods)) => methods.iter().all(|method| first.contains(method)),
                _ => false,
            }
    };
    list.iter()
        .enumerate()
        .filter_map(|(number, rule)| {
            let first = list.iter().take(number).position(|first| covers(first, rule))?;
            Some((number, first))
        })
        .collect()
}

/// Reads a rules.json; its text and the rules.
pub(super) fn read(context: &Context, file: &str) -> Result<(String, Rules)> {
    let text = text_file(context, file)?;
    let rules = Rules::from_json(&text).map_err(|wrong| {
        let hint = "what may stand there: docs/rules.md, or token/rules.schema.json for an editor";
        Error::failed(format!("{file}:{}:{}: {}", wrong.line, wrong.column, wrong.message)).hint(hint)
    })?;
    Ok((text, rules))
}

/// What a rule asks of a token.
pub(super) fn demands(rule: &Value) -> String {
    let audience = match &rule["audience"] {
        Value::String(name) => name.clone(),
        list => names(list),
    };
    [("audience", audience), ("scopes", names(&rule["scopes"])), ("amr", names(&rule["amr"]))]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {names}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn names(list: &Value) -> String {
    let names: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.join(" ")
}

/// What the verifier of the cases believes: a key that nobody else has.
struct Bench {
    signer: Ed25519Signer,
    verifier: Verifier,
    audiences: Vec<String>,
    now: u64,
}

const ISSUER: &str = "https://login.example/test";

fn test(context: &Context, file: &str, cases: &str) -> Result<u8> {
    let (text, rules) = read(context, file)?;
    let rule_list = serde_json::from_str::<Value>(&text).unwrap_or_default();
    let value: Value = serde_json::from_str(&text_file(context, cases)?)
        .map_err(|e| Error::failed(format!("{cases}:{}:{}: not JSON", e.line(), e.column())))?;
    let (list, audience) = match &value {
        Value::Array(list) => (list, &Value::Null),
        Value::Object(object) => {
            known(object.keys(), &["$schema", "audience", "cases"], &format!("{cases}: "))?;
            let list = value["cases"].as_array();
            (list.ok_or_else(|| Error::failed(format!("{cases}: no list \"cases\"")))?, &value["audience"])
        }
        _ => return Err(Error::failed(format!("{cases}: neither a list of cases nor an object with one"))),
    };
    if list.is_empty() {
        return Err(Error::failed(format!("{cases} has no cases")));
    }
    let bench = Bench::new(rules, audience, context.clock.now())?;
    let results = list
        .iter()
        .enumerate()
        .map(|(number, case)| bench.judge(case).map_err(|e| place(&e, cases, number)))
        .collect::<Result<Vec<_>>>()?;
    let failed = results.iter().filter(|result| !result.holds).count();
    let value = json!({
        "cases": results.iter().map(Judged::json).collect::<Vec<_>>(),
        "passed": results.len() - failed,
        "failed": failed,
    });
    context.out.print(&value, || {
        let lines: String = results
            .iter()
            .enumerate()
            .map(|(number, result)| format!("{}\n", result.lines(number, &rule_list["rules"])))
            .collect();
        format!("{lines}{} passed, {failed} failed\n", results.len() - failed)
    });
    Ok(u8::from(failed > 0))
}

fn place(error: &Error, file: &str, number: usize) -> Error {
    let placed = Error::failed(format!("{file}: case {number}: {}", error.message()));
    match error.hint_text() {
        Some(hint) => placed.hint(hint),
        None => placed,
    }
}

/// A misspelt member would make a case that holds by mistake.
fn known<'a>(members: impl Iterator<Item = &'a String>, known: &[&str], place: &str) -> Result<()> {
    for member in members {
        if !known.contains(&member.as_str()) {
            let error = Error::failed(format!("{place}unknown member {member:?}"));
            return Err(error.hint(format!("there are {}", known.join(", "))));
        }
    }
    Ok(())
}

/// What became of a case.
struct Judged {
    request: String,
    expect: String,
    got: String,
    rule: Option<usize>,
    wanted_rule: Option<Option<u64>>,
    holds: bool,
}

impl Judged {
    fn json(&self) -> Value {
        let mut value = json!({
            "request": self.request, "expect": self.expect, "got": self.got, "rule": self.rule, "ok": self.holds,
        });
        if let Some(rule) = self.wanted_rule {
            value["expect_rule"] = json!(rule);
        }
        value
    }

    /// What came of it; where it fails, the rule that counts and the mend below it.
    fn lines(&self, number: usize, rules: &Value) -> String {
        let named = |rule: Option<String>| rule.map_or("no rule".to_owned(), |rule| format!("rule {rule}"));
        let rule = named(self.rule.map(|rule| rule.to_string()));
        let start = format!("case {number}  {}", self.request.escape_debug());
        if self.holds {
            return format!("ok      {start}  {} by {rule}", self.got);
        }
        let wanted = match self.wanted_rule {
            Some(wanted) if self.got == self.expect => named(wanted.map(|rule| rule.to_string())),
            _ => self.expect.clone(),
        };
        let counts =
            self.rule.map(|rule| format!("\n        rule {rule}: {}", rules[rule])).unwrap_or_default();
        let mend = self.mend();
        format!("FAILED  {start}  {} by {rule}, expected {wanted}{counts}\n        mend: {mend}", self.got)
    }

    fn mend(&self) -> &'static str {
        let passes = |outcome: &str| matches!(outcome, "open" | "anonymous" | "identity");
        match self.got.as_str() {
            got if got == self.expect => {
                "another rule counts: the longest path does, then host, then method, then the first"
            }
            "missing_authorization" => {
                "the rule wants a token: say `as` in the case, or `need` optional in the rule"
            }
            "missing_scope" => {
                "give `as` the scopes and amr that the rule demands, or take them out of the rule"
            }
            "wrong_audience" => "give `as` an audience that the rule demands, or take it out of the rule",
            "bad_path" => "such a path or host is refused whatever the rules say: expect bad_path",
            got if passes(got) && !passes(&self.expect) => {
                "it would pass: write a rule with a longer path, a host or methods that says what it needs"
            }
            _ => "change the rule, or what the case expects",
        }
    }
}

impl Bench {
    fn new(rules: Rules, audience: &Value, now: u64) -> Result<Self> {
        let audiences = match audience {
            Value::Null => vec!["https://service.example".to_owned()],
            other => strings(other, "audience")?,
        };
        let signer = Ed25519Signer::from_seed(&random()?);
        let keys = PublicKeys::from_keys(ISSUER, vec![signer.public_key()])
            .map_err(|e| Error::internal(format!("a new key: {e}")))?;
        let trusted = Audiences::new(&audiences).ok_or_else(|| Error::failed("\"audience\" is empty"))?;
        let verifier = Verifier::new("test").with_public_keys(keys, trusted).with_rules(rules);
        Ok(Self { signer, verifier, audiences, now })
    }

    fn judge(&self, case: &Value) -> Result<Judged> {
        let object = case.as_object().ok_or_else(|| Error::failed("not an object"))?;
        known(object.keys(), &["name", "request", "as", "token", "expect", "rule"], "")?;
        let text = |name: &str| {
            case[name].as_str().ok_or_else(|| Error::failed(format!("{name:?} is missing or no text")))
        };
        let (line, expect) = (text("request")?, text("expect")?);
        if !matches!(expect, "open" | "anonymous" | "identity") && expect.parse::<Code>().is_err() {
            return Err(Error::failed(format!("{expect:?} is no outcome"))
                .hint("open, anonymous, identity, or a code such as missing_authorization"));
        }
        let request = Request::parse(line)?;
        let token = match (&case["as"], &case["token"]) {
            (Value::Null, Value::Null) => String::new(),
            (Value::Null, Value::String(token)) => token.clone(),
            (Value::Object(_), Value::Null) => self.mint(&case["as"])?,
            _ => return Err(Error::failed("one of \"as\" (an object) and \"token\" (a text)")),
        };
        let mut scratch = Scratch::new();
        let view = request.with(token.as_bytes());
        let got = match self.verifier.check(&view, self.now, &mut scratch) {
            Outcome::Open => "open",
            Outcome::Anonymous => "anonymous",
            Outcome::Identity(_) => "identity",
            Outcome::Rejection(rejection) => rejection.code.as_str(),
        };
        let rule = self.verifier.rules().and_then(|rules| request.rule(rules));
        let wanted_rule = case.get("rule").map(Value::as_u64);
        let same_rule =
            wanted_rule.is_none_or(|wanted| wanted == rule.and_then(|rule| u64::try_from(rule).ok()));
        Ok(Judged {
            request: line.to_owned(),
            holds: got == expect && same_rule,
            expect: expect.to_owned(),
            got: got.to_owned(),
            rule,
            wanted_rule,
        })
    }

    fn mint(&self, who: &Value) -> Result<String> {
        let members = who.as_object().into_iter().flat_map(|object| object.keys());
        known(members, &["subject", "audience", "scopes", "groups", "amr"], "\"as\": ")?;
        let list = |name: &str| match &who[name] {
            Value::Null => Ok(vec![]),
            other => strings(other, name),
        };
        let mut audiences = list("audience")?;
        if audiences.is_empty() {
            audiences.clone_from(&self.audiences);
        }
        let (scopes, groups, amr) = (list("scopes")?, list("groups")?, list("amr")?);
        let claims = AccessClaims {
            issuer: ISSUER,
            subject: who["subject"].as_str().unwrap_or("somebody"),
            audiences: &audiences.iter().map(String::as_str).collect::<Vec<_>>(),
            client_id: "ssh",
            issued_at: self.now,
            expires_at: self.now.saturating_add(60),
            jti: "test",
            scopes: &scopes.iter().map(String::as_str).collect::<Vec<_>>(),
            groups: &groups.iter().map(String::as_str).collect::<Vec<_>>(),
            amr: &amr.iter().map(String::as_str).collect::<Vec<_>>(),
            ssh_fp: None,
        };
        mint_access(&claims, &self.signer).map_err(|e| Error::failed(format!("\"as\": {e}")))
    }
}

/// A text, or a list of texts.
fn strings(value: &Value, name: &str) -> Result<Vec<String>> {
    let wrong = || Error::failed(format!("{name:?} is a text or a list of texts"));
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}
