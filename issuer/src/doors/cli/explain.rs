//! `seamless explain`: what a token is, what becomes of it, by which rule, and how to mend it.

use serde_json::{Value, json};
use token::{Code, Format, Identity, Inspection, Outcome, Scratch};

use crate::error::{Error, Result};
use crate::services::accepted::Accepted;

use super::output::time;
use super::verify;
use super::{Context, rules};

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Takes what `seamless verify` takes, for one token:
  echo \"$TOKEN\" | seamless explain --realm corp --rules rules.json --request 'GET /admin'
An empty line in the place of the token is a request without one. Exit code 0 if the request may pass.")]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    verify: verify::Args,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let args = args.verify;
    let (judge, token) = match verify::judge(context, &args, |context| one_line(context, &args))? {
        verify::Judged::Here(judge, token) => (judge, token),
        verify::Judged::Elsewhere(code) => return Ok(code),
    };
    let now = args.at.unwrap_or_else(|| context.clock.now());
    let mut scratch = Scratch::new();
    let seen = token::inspect(&token).ok();
    let rule = judge.request.as_ref().zip(judge.verifier.rules()).map(|(request, rules)| request.rule(rules));
    let rule_text = |number: usize| -> Value {
        let file = judge.rules.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        file.map_or(Value::Null, |file| file["rules"][number].clone())
    };
    let request = judge.request.as_ref().map(|request| request.with(&token));
    let outcome = judge.outcome(&token, request.as_ref(), now, &mut scratch);
    let explained = Explained {
        token: if token.is_empty() { None } else { Some((Format::of(&token), seen)) },
        rule: rule.map(|number| number.map(|number| (number, rule_text(number)))),
        outcome,
        now,
    };
    context.out.print(&explained.json(), || explained.text());
    Ok(u8::from(matches!(explained.outcome, Outcome::Rejection(_))))
}

fn one_line(context: &Context, args: &verify::Args) -> Result<Vec<u8>> {
    let bytes = match &args.token {
        Some(token) if !context.target.file_on_stdin => token.clone().into_bytes(),
        _ => context.read_file("-", 64 * 1024)?,
    };
    let token = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let token = token.strip_suffix(b"\r").unwrap_or(token);
    if token.contains(&b'\n') {
        return Err(Error::usage("more than one line").hint("`seamless verify` judges many tokens"));
    }
    Ok(token.to_vec())
}

struct Explained<'a> {
    token: Option<(Format, Option<Inspection>)>,
    /// None without rules; then the number of the rule that counts and what it says.
    rule: Option<Option<(usize, Value)>>,
    outcome: Outcome<'a>,
    now: u64,
}

impl Explained<'_> {
    fn verdict(&self) -> &'static str {
        match &self.outcome {
            Outcome::Open => "open",
            Outcome::Anonymous => "anonymous",
            Outcome::Identity(_) => "ok",
            Outcome::Rejection(rejection) => rejection.code.as_str(),
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "verdict": self.verdict(),
            "passes": !matches!(self.outcome, Outcome::Rejection(_)),
            "why": self.why(),
            "mend": self.mend(),
        });
        if let Some((format, seen)) = &self.token {
            value["format"] = json!(format.as_str());
            value["claims"] = seen.as_ref().map_or(Value::Null, claims);
        }
        if let Some(rule) = &self.rule {
            value["rule"] =
                rule.as_ref().map_or(Value::Null, |(number, rule)| json!({"number": number, "rule": rule}));
        }
        if let Outcome::Identity(identity) = &self.outcome {
            value["identity"] = json!(Accepted(identity));
        }
        value
    }

    fn text(&self) -> String {
        let mut lines = vec![];
        match &self.token {
            None => lines.push("token    none".to_owned()),
            Some((format, seen)) => {
                lines.push(format!("token    {format}"));
                if let Some(claims) = seen.as_ref().map(claims) {
                    let refused = matches!(self.outcome, Outcome::Rejection(_));
                    let caution = if refused { ", which need not be true" } else { "" };
                    lines.push(format!("says     {claims}{caution}"));
                }
            }
        }
        match &self.rule {
            None => {}
            Some(None) if self.verdict() == Code::BadPath.as_str() => {}
            Some(None) => lines.push("rule     none matches: a token is needed".to_owned()),
            Some(Some((number, rule))) => lines.push(format!("rule     {number}: {rule}")),
        }
        lines.push(format!("verdict  {}", self.verdict()));
        lines.push(format!("why      {}", self.why()));
        if let Some(mend) = self.mend() {
            lines.push(format!("mend     {mend}"));
        }
        lines.join("\n")
    }

    fn demands(&self) -> String {
        match &self.rule {
            Some(Some((_, rule))) => rules::demands(rule),
            _ => String::new(),
        }
    }

    fn why(&self) -> String {
        let claim = |name: &str| {
            let (_, seen) = self.token.as_ref()?;
            Some(claims(seen.as_ref()?)[name].clone()).filter(|value| !value.is_null())
        };
        let code = match &self.outcome {
            Outcome::Open => return "the rule looks at no token".to_owned(),
            Outcome::Anonymous => return "the rule lets a request without a token pass as nobody".to_owned(),
            Outcome::Identity(identity) => return passed(identity, self.now),
            Outcome::Rejection(rejection) => rejection.code,
        };
        match code {
            Code::MissingAuthorization => "there is no token, and one is needed".to_owned(),
            Code::BadAuthorization => "the Authorization header can't be read".to_owned(),
            Code::Malformed => "it has the shape of no token that is accepted here".to_owned(),
            Code::TooLarge => "it is over 8 KiB".to_owned(),
            Code::UnsupportedAlgorithm => "its algorithm is not verified here".to_owned(),
            Code::UnknownKey => "no key of this verifier has its kid".to_owned(),
            Code::BadSignature => "its signature is not by a key of this verifier".to_owned(),
            Code::WrongIssuer => format!("it is from another issuer: {}", shown(claim("iss"))),
            Code::WrongAudience => match self.demands() {
                demands if demands.contains("audience") => {
                    format!("it is for {}, and the rule demands {demands}", shown(claim("aud")))
                }
                _ => format!("it is for somebody else: {}", shown(claim("aud"))),
            },
            Code::Revoked => "it was taken back".to_owned(),
            Code::BindingRequired => "it is bound to a key (cnf), whose proof is not verified yet".to_owned(),
            Code::Expired => "its time is over".to_owned(),
            Code::NotYetValid => "it is from the future, by the clock here".to_owned(),
            Code::MissingScope => match self.demands() {
                demands if demands.is_empty() => {
                    format!("its scopes do not suffice: {}", shown(claim("scope")))
                }
                demands => format!("the rule demands {demands}; it has {}", shown(claim("scope"))),
            },
            Code::BadPath => "servers read this path or host in different ways".to_owned(),
            Code::KeysUnavailable => "there are no keys to verify it with".to_owned(),
            _ => "it is refused".to_owned(),
        }
    }

    fn mend(&self) -> Option<String> {
        let Outcome::Rejection(rejection) = &self.outcome else { return None };
        let text = match rejection.code {
            Code::MissingAuthorization => "send `Authorization: Bearer $(ssh -T REALM@HOST)`",
            Code::BadAuthorization => {
                "send one header, `Authorization: Bearer TOKEN`, with one space and no comma"
            }
            Code::Malformed | Code::TooLarge => "fetch a new one: ssh -T REALM@HOST",
            Code::UnsupportedAlgorithm => {
                "have the audience signed with EdDSA in realm.toml, then fetch a new token"
            }
            Code::UnknownKey => "fetch a new token, or give the verifier the realm's present keys",
            Code::BadSignature => "compare realm, secret and digest on both sides; then fetch a new token",
            Code::WrongIssuer => "fetch the token from the realm that this service trusts",
            Code::WrongAudience => "ask for the right one: ssh -T REALM@HOST token -a AUDIENCE",
            Code::Revoked => "fetch a new one, if your key still counts: ssh -T REALM@HOST whoami",
            Code::BindingRequired => "ask for a token that is not bound",
            Code::Expired => "fetch a new one: ssh -T REALM@HOST",
            Code::NotYetValid => "set the clocks of both machines, or allow more leeway (at most 60s)",
            Code::MissingScope => {
                "ask for it: ssh -T REALM@HOST token -s SCOPE; an administrator grants it with `seamless user`"
            }
            Code::BadPath => {
                "ask for the path without dot segments, doubled slashes, `;` and encoded separators"
            }
            Code::KeysUnavailable => {
                "see why the verifier can't fetch the JWKS; `seamless doctor` looks at the issuer's side"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn passed(identity: &Identity<'_>, now: u64) -> String {
    let left = identity.expires_at().saturating_sub(now);
    let until = time(identity.expires_at());
    format!("it speaks for {}, until {until}, for {left} s more", identity.subject().escape_debug())
}

/// What the token says of itself, verified or not.
fn claims(seen: &Inspection) -> Value {
    match seen.payload.as_deref().and_then(|payload| serde_json::from_str(payload).ok()) {
        Some(claims) => claims,
        None => json!({"sub": seen.subject, "iat": seen.issued_at}),
    }
}

fn shown(value: Option<Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}
