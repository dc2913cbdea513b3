//! `seamless curl`: curl, with the token of the service that is called.
//!
//! The header reaches curl through a pipe: not its argv, which every user of the machine can read, nor a file, nor its
//! standard input, which may be the body.

mod first;
mod options;
mod words;

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, PipeReader, Write as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use client::Token;
use rustix::io::FdFlags;

use crate::doors::output::complain;
use crate::error::{Error, Result};

use super::asked::Asked;
use super::source::{self, Source};
use super::url::Url;
use words::Words;

#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "seamless curl [CURL-ARGS]... URL",
    after_help = "\
All goes to curl as it is, except what could carry the token elsewhere, which is refused. The exit
code is curl's. A kept token that the service refuses (401) is replaced once, unless the body can
be read only once.

  seamless curl https://api.example.com/v1/me
  seamless curl -sS --json '{\"name\": \"x\"}' https://api.example.com/v1/things
  seamless curl -fLo page.html https://wiki.example.com/page

Where to log in, and for which audience, stands in servers.toml; `seamless credential install
service` writes it. A service that has no entry there is its own log-in server."
)]
pub(in crate::doors) struct Args {
    /// What curl is to be told, with one URL or several of one service
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CURL-ARGS")]
    args: Vec<OsString>,
}

/// The first curl that keeps a header of ours from another port, scheme or host (CVE-2018-1000007, CVE-2022-27776).
const KEEPS_HEADERS: [u32; 2] = [7, 83];

/// The call that curl is to make.
struct Call<'a> {
    args: &'a [OsString],
    words: Words,
    url: Url,
}

/// `seamless curl …`, unless it asks for help: `--json` and `-h` are curl's here.
pub(super) fn early(argv: &[OsString]) -> Option<u8> {
    let args = argv.get(2..)?;
    let is_help =
        matches!(args, [] | [_]) && args.first().is_none_or(|word| word == "--help" || word == "-h");
    if argv.get(1).is_none_or(|word| word != "curl") || is_help {
        return None;
    }
    Some(run(&Args { args: args.to_vec() }).unwrap_or_else(|error| {
        complain(&error);
        error.kind().exit_code()
    }))
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let call = Call::read(&args.args)?;
    call.guard()?;
    let source = Source::of(&call.url, &Asked::default())?;
    let token = source.token()?;
    if call.words.once {
        return call.finish(call.start(&token, Vec::new(), Stdio::inherit())?);
    }
    if let Some(status) = call.unless_refused(&token)? {
        return Ok(code(status));
    }
    // Revoked, or the realm's keys have changed.
    source.forget()?;
    call.finish(call.start(&source.token()?, Vec::new(), Stdio::inherit())?)
}

impl<'a> Call<'a> {
    fn read(args: &'a [OsString]) -> Result<Self> {
        let words = words::read(args)?;
        let mut urls = words.urls.iter().map(|url| url.parse::<Url>());
        let url = urls.next().ok_or_else(|| {
            Error::usage("there is no URL among curl's words")
                .hint("seamless curl -sS https://api.example.com")
        })??;
        for other in urls {
            let other = other?;
            let alike = other.origin() == url.origin()
                && source::service(&other)?.map(|entry| entry.url)
                    == source::service(&url)?.map(|entry| entry.url);
            if !alike {
                return Err(Error::usage(format!("{url} and {other} are two services"))
                    .hint("a token is for one: call seamless curl for each"));
            }
        }
        Ok(Self { args, words, url })
    }

    /// What would carry the token elsewhere is refused before one is fetched.
    fn guard(&self) -> Result<()> {
        let refused = |what: String, hint: &str| Err(Error::usage(what).hint(hint));
        if self.words.insecure && !self.url.is_loopback() {
            return refused(
                format!("curl's -k would hand the token to whoever answers for {}", self.url.authority()),
                "--cacert FILE names the authority to trust",
            );
        }
        if let (true, Some(option)) = (self.url.is_plain(), self.words.reroutes) {
            return refused(
                format!("curl's --{option} would carry the token off this machine by plain http"),
                "use https",
            );
        }
        let is_pattern = |url: &String| url.parse::<Url>().is_ok_and(|url| url.path().contains(['{', '[']));
        if (self.words.retargets || self.words.urls.iter().any(is_pattern)) && source::is_shared(&self.url)? {
            return refused(
                "curl's {}, [] and --request-target make paths that nobody has looked at".to_owned(),
                "servers.toml tells services of this host apart by paths; write the URLs out",
            );
        }
        if self.words.follows {
            if source::is_shared(&self.url)? {
                return refused(
                    "curl's -L could carry the token to another service of the same host".to_owned(),
                    "servers.toml tells services of this host apart by paths; call the place that it is redirected to",
                );
            }
            if version()? < KEEPS_HEADERS {
                return refused(
                    "this curl's -L would hand the token to other hosts".to_owned(),
                    "curl 7.83 or newer keeps it from them; or leave -L out",
                );
            }
        }
        Ok(())
    }

    /// Runs curl, and withholds what it prints as long as the answer could still be 401. None if it is.
    fn unless_refused(&self, token: &Token) -> Result<Option<ExitStatus>> {
        let (head, told) = pipe()?;
        inherit(&told)?;
        let mut more = vec![OsString::from("--dump-header"), fd(&told)];
        if std::io::stdout().is_terminal() {
            // To curl its output is a pipe now, where it would show how far it is.
            more.push("--no-progress-meter".into());
        }
        let mut child = self.start(token, more, Stdio::piped())?;
        drop(told);
        let refused = first::pass_unless(child.stdout.take(), head, 401);
        let status = wait(&mut child)?;
        Ok((!refused).then_some(status))
    }

    fn start(&self, token: &Token, more: Vec<OsString>, stdout: Stdio) -> Result<Child> {
        let header = header(token)?;
        let mut curl = Command::new("curl");
        if self.words.no_curlrc {
            // It counts as the first word alone.
            curl.arg("-q");
        }
        // Before the user's words, which may undo none of it (`words` has looked), and after ~/.curlrc.
        curl.arg("--no-location-trusted");
        if !self.url.is_loopback() {
            curl.arg("--no-insecure");
        }
        if self.url.is_plain() {
            curl.args(["--noproxy", "*"]);
        }
        curl.arg("--header").arg(OsString::from_iter([OsStr::new("@"), &fd(&header)])).args(more);
        let child = curl.args(self.args).stdout(stdout).spawn();
        child.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::failed("there is no curl on the PATH").hint("install it: apt-get install curl")
            }
            _ => Error::failed(format!("curl does not start: {error}")),
        })
    }

    fn finish(&self, mut child: Child) -> Result<u8> {
        wait(&mut child).map(code)
    }
}

/// The header, in a pipe that holds all of it and that the next program inherits.
fn header(token: &Token) -> Result<PipeReader> {
    let (reader, mut writer) = pipe()?;
    let header = zeroize::Zeroizing::new(format!("Authorization: {}\n", *token.authorization()));
    // A token has 8 KiB at most, and every system's pipe takes more than that without a reader.
    writer
        .write_all(header.as_bytes())
        .map_err(|error| Error::internal(format!("can't fill a pipe: {error}")))?;
    inherit(&reader)?;
    Ok(reader)
}

fn pipe() -> Result<(PipeReader, std::io::PipeWriter)> {
    std::io::pipe().map_err(|error| Error::internal(format!("can't make a pipe: {error}")))
}

/// Lets the next program have it too. Nothing else is started meanwhile.
fn inherit(end: &impl AsFd) -> Result<()> {
    rustix::io::fcntl_setfd(end, FdFlags::empty())
        .map_err(|error| Error::internal(format!("can't hand on a pipe: {error}")))
}

fn fd(end: &impl AsFd) -> OsString {
    format!("/dev/fd/{}", end.as_fd().as_raw_fd()).into()
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    child.wait().map_err(|error| Error::failed(format!("curl is lost: {error}")))
}

/// As a shell has it: 128 and the signal where one ended it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// `curl 7.88.1 (x86_64-…`
fn version() -> Result<[u32; 2]> {
    let unknown = || Error::failed("curl does not say its version");
    let output = Command::new("curl").arg("--version").output().map_err(|_| unknown())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split(' ').nth(1).unwrap_or_default().split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok([major, minor]),
        _ => Err(unknown()),
    }
}
