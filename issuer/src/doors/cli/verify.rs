//! `seamless verify`: verdicts on tokens, by the realm's own store or by keys from files.

use std::io::{BufRead, Read as _, Write as _};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use token::{
    Audiences, ChapSecret, Demand, Digest, Format, Identity, Leeway, MaxAge, Outcome, PublicKeys, Rejection,
    RequestView, Revocations, Rules, Scratch, Secret, Verifier,
};

use crate::config;
use crate::duration::Seconds;
use crate::error::{Error, Result};
use crate::realm::{Access, Realm};
use crate::services::accepted::Accepted;
use crate::services::trust;

use super::target::Entered;
use super::{Context, init, rules};

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
With --secret-file, --chap-secret-file or --jwks these keys judge;
otherwise a realm's own store does (--realm, --dir or SEAMLESS_REALM),
revocations included. Tokens are read from standard input, one a line,
where none is given:
  seamless token demo --user ada | seamless verify --realm demo
Exit code 0 only if every token is ok.")]
pub(super) struct Args {
    /// The token; for trying only, since other users can see it in the process list
    pub(super) token: Option<String>,
    /// The realm that judges
    #[arg(long)]
    realm: Option<String>,
    /// A file with a shared secret of the seamless format; may be repeated
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<String>,
    /// A file with a secret of crtauth's tokens; may be repeated
    #[arg(long, value_name = "FILE")]
    chap_secret_file: Vec<String>,
    /// The hash of the seamless format: sha1, sha256 or sha512
    #[arg(long, value_parser = init::digest, default_value = "sha1")]
    digest: config::Digest,
    /// How long a seamless token is accepted
    #[arg(long, default_value = "60s")]
    max_age: String,
    /// Clock difference that is forgiven
    #[arg(long)]
    leeway: Option<String>,
    /// A JWK set, as a file or an https URL
    #[arg(long, value_name = "FILE|URL", requires_all = ["issuer", "audience"])]
    jwks: Option<String>,
    /// The issuer that the JWK set belongs to
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The audience that a token must name; may be repeated, one is enough
    #[arg(long)]
    audience: Vec<String>,
    /// A scope that a token must have; may be repeated
    #[arg(long)]
    scope: Vec<String>,
    /// A JSON list of revocations
    #[arg(long, value_name = "FILE")]
    revoked: Option<String>,
    /// Judge a request by a rules.json
    #[arg(long, value_name = "FILE", requires = "request")]
    pub(super) rules: Option<String>,
    /// The request to judge: by --rules, or by the realm's own rules; such as 'GET /x' or 'GET https://host/x'
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// Judge as at this time, in Unix seconds
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub(super) at: Option<u64>,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let judge = match judge(context, &args, |_| Ok(()))? {
        Judged::Here(judge, ()) => judge,
        Judged::Elsewhere(code) => return Ok(code),
    };
    let now = args.at.unwrap_or_else(|| context.clock.now());
    let mut scratch = Scratch::new();
    let mut all_ok = true;
    let mut out = std::io::stdout().lock();
    let mut say = |token: &[u8]| {
        let (ok, line) = judge.verdict(token, now, &mut scratch, context.out.json);
        all_ok &= ok;
        // A reader that went away wants no more verdicts.
        writeln!(out, "{line}").is_ok()
    };
    match &args.token {
        Some(token) if !context.target.file_on_stdin => {
            say(token.as_bytes());
        }
        _ => each_line(std::io::stdin().lock(), say)?,
    }
    Ok(if all_ok { 0 } else { 1 })
}

/// Where the judgement is made.
pub(super) enum Judged<T> {
    /// In this process, with what `then` gave.
    Here(Judge, T),
    /// It was done by another, with this exit code.
    Elsewhere(u8),
}

/// Finds the judge: the realm, or keys from files. `then` runs in the process that judges.
pub(super) fn judge<T>(
    context: &Context,
    args: &Args,
    then: impl FnOnce(&Context) -> Result<T>,
) -> Result<Judged<T>> {
    let none = args.secret_file.is_empty() && args.chap_secret_file.is_empty() && args.jwks.is_none();
    let judge = if none {
        let place = context.place(args.realm.as_deref())?;
        let realm = match context.enter_with_tokens(&place, args.token.as_deref())? {
            Entered::Here(realm) => realm,
            Entered::Elsewhere(code) => return Ok(Judged::Elsewhere(code)),
        };
        Judge::by_realm(context, *realm, args)?
    } else {
        Judge::by_files(context, args)?
    };
    Ok(Judged::Here(judge, then(context)?))
}

/// Who judges, and what is demanded.
pub(super) struct Judge {
    pub(super) verifier: Arc<Verifier>,
    audiences: Vec<String>,
    scopes: Vec<String>,
    pub(super) request: Option<Request>,
    /// The text of the rules that judge it.
    pub(super) rules: Option<String>,
}

impl Judge {
    fn by_realm(context: &Context, realm: Realm, args: &Args) -> Result<Self> {
        if args.revoked.is_some() || args.issuer.is_some() {
            return Err(Error::usage("--revoked and --issuer go with --secret-file or --jwks")
                .hint("a realm's own revocations count already"));
        }
        let mut verifier = trust::verifier(&realm)?;
        let (mut audiences, mut scopes) = (args.audience.clone(), args.scope.clone());
        let request = args.request.as_deref().map(Request::parse).transpose()?;
        let mut text = None;
        if request.is_some() {
            let mut own = (*verifier).clone().with_scopes(std::mem::take(&mut scopes));
            if let Some(file) = &args.rules {
                let (file, rules) = rules::read(context, file)?;
                text = Some(file);
                own = own.with_rules(rules);
            } else {
                text = trust::rules_text(&realm)?.map(|(_, text)| text);
            }
            if let Some(named) = Audiences::new(std::mem::take(&mut audiences)) {
                own = own.with_audience(named);
            }
            verifier = Arc::new(own);
        }
        Ok(Self { verifier, audiences, scopes, request, rules: text })
    }

    fn by_files(context: &Context, args: &Args) -> Result<Self> {
        let max_age = small::<u32, MaxAge>(&args.max_age, "--max-age", "1s to 1d")?;
        let mut verifier = Verifier::new(args.realm.as_deref().unwrap_or("seamless"));
        if let Some(leeway) = &args.leeway {
            verifier = verifier.with_leeway(small::<u8, Leeway>(leeway, "--leeway", "0s to 60s")?);
        }
        let secrets = args
            .secret_file
            .iter()
            .map(|f| secret(context, f, args.digest.token()))
            .collect::<Result<Vec<_>>>()?;
        if !secrets.is_empty() {
            verifier = verifier.with_secrets(secrets, max_age);
        }
        let chap =
            args.chap_secret_file.iter().map(|f| chap_secret(context, f)).collect::<Result<Vec<_>>>()?;
        verifier = verifier.with_chap_secrets(chap);
        if let (Some(source), Some(issuer)) = (&args.jwks, &args.issuer) {
            let text = jwks(context, source)?;
            let keys =
                PublicKeys::from_jwks(issuer, &text).map_err(|e| Error::failed(format!("{source}: {e}")))?;
            let audiences =
                Audiences::new(&args.audience).ok_or_else(|| Error::usage("--jwks wants --audience"))?;
            verifier = verifier.with_public_keys(keys, audiences);
        }
        if let Some(audiences) = Audiences::new(&args.audience) {
            verifier = verifier.with_audience(audiences);
        }
        verifier = verifier.with_scopes(&args.scope);
        if let Some(file) = &args.revoked {
            let text = text_file(context, file)?;
            let list = Revocations::from_json(&text).map_err(|e| Error::failed(format!("{file}: {e}")))?;
            verifier = verifier.with_revocations(list);
        }
        let mut text = None;
        if let Some(file) = &args.rules {
            let (file, rules) = rules::read(context, file)?;
            verifier = verifier.with_rules(rules);
            text = Some(file);
        }
        let request = args.request.as_deref().map(Request::parse).transpose()?;
        Ok(Self { verifier: Arc::new(verifier), audiences: vec![], scopes: vec![], request, rules: text })
    }

    /// What becomes of a token; without a request, of the token by itself.
    pub(super) fn outcome<'a>(
        &'a self,
        token: &'a [u8],
        request: Option<&'a RequestWithToken<'a>>,
        now: u64,
        scratch: &'a mut Scratch,
    ) -> Outcome<'a> {
        let verdict = match request {
            Some(request) => return self.verifier.check(request, now, scratch),
            None if token.is_empty() => Err(token::Code::MissingAuthorization.into()),
            None if self.audiences.is_empty() && self.scopes.is_empty() => {
                self.verifier.verify(token, now, scratch)
            }
            None => {
                let audiences: Vec<_> = self.audiences.iter().map(String::as_str).collect();
                let scopes: Vec<_> = self.scopes.iter().map(String::as_str).collect();
                let demand = Demand { audiences: &audiences, scopes: &scopes };
                self.verifier.verify_with(token, &demand, now, scratch)
            }
        };
        verdict.map_or_else(Outcome::Rejection, Outcome::Identity)
    }

    /// Whether it is ok, and the line to print.
    fn verdict(&self, token: &[u8], now: u64, scratch: &mut Scratch, as_json: bool) -> (bool, String) {
        let nobody =
            |what: &str| (true, if as_json { json!({"verdict": what}).to_string() } else { what.to_owned() });
        let request = self.request.as_ref().map(|request| request.with(token));
        match self.outcome(token, request.as_ref(), now, scratch) {
            Outcome::Identity(identity) => (true, accepted(&identity, as_json)),
            Outcome::Rejection(rejection) => (false, rejected(rejection, as_json)),
            Outcome::Open => nobody("open"),
            Outcome::Anonymous => nobody("anonymous"),
        }
    }
}

fn accepted(identity: &Identity<'_>, as_json: bool) -> String {
    if as_json {
        return json!(Accepted(identity)).to_string();
    }
    format!("ok  {}", identity.subject().escape_debug())
}

fn rejected(rejection: Rejection, as_json: bool) -> String {
    if !as_json {
        return format!("{}  {rejection}", rejection.code);
    }
    let mut object = Map::new();
    object.insert("verdict".into(), rejection.code.as_str().into());
    object.insert("error".into(), rejection.to_string().into());
    if let Some(skew) = rejection.skew {
        object.insert("skew".into(), skew.into());
    }
    Value::Object(object).to_string()
}

/// A request as it would come to an edge.
pub(super) struct Request {
    method: String,
    scheme: String,
    authority: String,
    path: String,
}

pub(super) struct RequestWithToken<'a> {
    request: &'a Request,
    authorization: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad = || {
            Error::usage(format!("{:?} is not a request", crate::names::shorten(text)))
                .hint("such as 'GET /x' or 'GET https://host/x'")
        };
        let (method, target) = text.split_once(' ').ok_or_else(bad)?;
        let (scheme, authority, path) = match target.split_once("://") {
            Some((scheme, rest)) => match rest.find('/') {
                Some(at) => rest
                    .split_at_checked(at)
                    .map(|(authority, path)| (scheme, authority, path))
                    .ok_or_else(bad)?,
                None => (scheme, rest, "/"),
            },
            None => ("https", "localhost", target),
        };
        if method.is_empty() || path.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            method: method.into(),
            scheme: scheme.into(),
            authority: authority.into(),
            path: path.into(),
        })
    }

    /// The number of the rule that counts; none where none matches, or where path or host are refused.
    pub(super) fn rule(&self, rules: &Rules) -> Option<usize> {
        rules.decide(&self.method, &self.authority, Some(self.path.as_bytes())).ok()?.index
    }

    pub(super) fn with(&self, token: &[u8]) -> RequestWithToken<'_> {
        let scheme: &[u8] = match Format::of(token) {
            Format::Jwt => b"Bearer ",
            Format::Seamless => b"seamless ",
            Format::Chap => b"chap:",
        };
        // No token is a request without credentials.
        let authorization = (!token.is_empty()).then(|| [scheme, token].concat());
        RequestWithToken { request: self, authorization }
    }
}

impl RequestView for RequestWithToken<'_> {
    fn method(&self) -> &str {
        &self.request.method
    }

    fn scheme(&self) -> &str {
        &self.request.scheme
    }

    fn authority(&self) -> &str {
        &self.request.authority
    }

    fn path(&self) -> Option<&[u8]> {
        Some(self.request.path.as_bytes())
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.authorization.as_deref().filter(|_| name.eq_ignore_ascii_case("authorization")).into_iter()
    }
}

impl Context {
    /// As `enter`; a token among our arguments goes to the other side by its standard input.
    fn enter_with_tokens(&self, place: &super::target::Place, token: Option<&str>) -> Result<Entered> {
        let Some(token) = token else { return self.enter(place, Access::Read, None) };
        let argv = self.argv.iter().filter(|a| a.as_os_str() != token).cloned().collect();
        let other = Self { target: self.target.clone(), out: self.out, clock: self.clock.clone(), argv };
        other.enter(place, Access::Read, Some(token.as_bytes()))
    }
}

/// Calls `say` with each line until it returns false. An over-long line is cut: its verdict is too_large anyway.
fn each_line(mut input: impl BufRead, mut say: impl FnMut(&[u8]) -> bool) -> Result<()> {
    const MOST: u64 = 64 * 1024;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(MOST).read_until(b'\n', &mut line);
        let read = read.map_err(|e| Error::failed(format!("can't read standard input: {e}")))?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && u64::try_from(read).unwrap_or(MOST) == MOST {
            input.skip_until(b'\n').map_err(|e| Error::failed(format!("can't read standard input: {e}")))?;
        }
        let token = line.strip_suffix(b"\n").unwrap_or(&line);
        let token = token.strip_suffix(b"\r").unwrap_or(token);
        if !token.is_empty() && !say(token) {
            return Ok(());
        }
    }
}

fn secret(context: &Context, file: &str, digest: Digest) -> Result<Secret> {
    let bytes = zeroize::Zeroizing::new(context.read_file(file, 64 * 1024)?);
    Secret::new(bytes.strip_suffix(b"\n").unwrap_or(&bytes), digest)
        .map_err(|e| Error::usage(format!("{file}: {e}")))
}

fn chap_secret(context: &Context, file: &str) -> Result<ChapSecret> {
    let bytes = zeroize::Zeroizing::new(context.read_file(file, 64 * 1024)?);
    ChapSecret::new(bytes.strip_suffix(b"\n").unwrap_or(&bytes))
        .map_err(|e| Error::usage(format!("{file}: {e}")))
}

fn jwks(context: &Context, source: &str) -> Result<String> {
    if source.contains("://") {
        return trust::fetch(source);
    }
    text_file(context, source)
}

pub(super) fn text_file(context: &Context, file: &str) -> Result<String> {
    let bytes = context.read_file(file, 1024 * 1024)?;
    String::from_utf8(bytes).map_err(|_| Error::failed(format!("{file} is not UTF-8 text")))
}

fn small<N: TryFrom<u64>, T: TryFrom<N>>(text: &str, option: &str, range: &str) -> Result<T> {
    let seconds: Seconds = text.parse()?;
    N::try_from(seconds.0).ok().and_then(|n| T::try_from(n).ok()).ok_or_else(|| {
        Error::usage(format!("{option} {text} is out of range")).hint(format!("{range} are allowed"))
    })
}
