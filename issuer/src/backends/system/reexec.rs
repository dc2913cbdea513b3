//! Running this very program as another account.
//!
//! In two steps. A process of the account that kept root's terminal could be traced by whatever else runs as the
//! account, and made to type into it (TIOCSTI, CVE-2005-4890). So root first leaves its session, in a process of its
//! own, and becomes the account only then.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::accounts::Account;
use crate::error::{Error, Kind, Result};

/// The first word of the step between: `enter UID GID HOME PID WORDS…`, where PID is root's side. Takes root.
pub const WORD: &str = "enter";

/// What of the environment goes along: how to write, and how this host reaches others; nothing of what to do.
const KEPT: [&str; 15] = [
    "PATH",
    "TERM",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "COLUMNS",
    "NO_COLOR",
    "COLORTERM",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// In the account's side's environment: the process id of root's side, for [`entered`].
const ROOTS_SIDE: &str = "SEAMLESS_ROOTS_SIDE";

/// The most that [`output_of`] takes.
const MOST_OUTPUT: u64 = 64 * 1024;

/// Takes each line, with its newline, that another process prints.
pub type EachLine<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Runs this program as the account and gives its exit code. `stdin` is handed on; without it ours is.
pub fn as_account(account: &Account, arguments: &[OsString], stdin: Option<&[u8]>) -> Result<u8> {
    let mut command = detached(account, arguments)?;
    let mut child = start(account, &mut command, stdin)?;
    finish(account, &mut child)
}

/// As [`as_account`], and gives what it printed as well.
pub fn output_of(account: &Account, arguments: &[OsString]) -> Result<(u8, Vec<u8>)> {
    let mut command = detached(account, arguments)?;
    let mut child = start(account, command.stdout(Stdio::piped()), Some(b""))?;
    let mut output = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        // More than that breaks its pipe, and it ends by that.
        pipe.take(MOST_OUTPUT).read_to_end(&mut output).map_err(|e| failed(account, &e))?;
    }
    finish(account, &mut child).map(|code| (code, output))
}

/// As [`as_account`], with a file of the caller's as its standard input, however long that is, and with each line
/// that it prints handed to `line` in place of our own standard output.
pub fn as_account_with(
    account: &Account,
    arguments: &[OsString],
    stdin: Option<File>,
    line: Option<EachLine<'_>>,
) -> Result<u8> {
    let mut command = detached(account, arguments)?;
    if let Some(file) = stdin {
        command.stdin(Stdio::from(file));
    }
    if line.is_some() {
        command.stdout(Stdio::piped());
    }
    let mut child = start(account, &mut command, None)?;
    if let (Some(pipe), Some(each)) = (child.stdout.take(), line) {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while reader
            .by_ref()
            .take(MOST_OUTPUT)
            .read_until(b'\n', &mut bytes)
            .map_err(|e| failed(account, &e))?
            > 0
        {
            each(&bytes)?;
            bytes.clear();
        }
    }
    finish(account, &mut child)
}

/// Becomes this program as the account; returns only on failure. It keeps the terminal, for Ctrl-C.
pub fn become_account(account: &Account, arguments: &[OsString]) -> Error {
    let begun = refuse_root(account).and_then(|()| bare(arguments));
    begun.map_or_else(
        |error| error,
        |mut command| failed(account, &as_user(&mut command, account.uid, account.gid, &account.home).exec()),
    )
}

/// The step between, still as root: `argv` is what stands after [`WORD`]. Returns only on failure.
pub fn enter(argv: &[OsString]) -> u8 {
    let error = match read(argv) {
        Ok((uid, gid, home, roots_side, words)) => bare(words).map_or_else(
            |error| error,
            |mut command| {
                command.env(ROOTS_SIDE, roots_side);
                // Never the leader of its group, since it was started by `detached`.
                let left = rustix::process::setsid().map_err(std::io::Error::from);
                let e = left.map_or_else(|e| e, |_| as_user(&mut command, uid, gid, Path::new(home)).exec());
                Error::internal(format!("can't run as uid {uid}: {e}"))
            },
        ),
        Err(error) => error,
    };
    let _ = writeln!(std::io::stderr(), "seamless: error: {error}");
    error.kind().exit_code()
}

/// What the account's side does first: it ends when root's side does, since no Ctrl-C reaches its session, and
/// nothing else that runs as the account may look into it.
///
/// A process that [`become_account`] made has no root's side: it lives as long as it would have.
pub fn entered() -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{
            DumpableBehavior, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
        };
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        let Some(roots_side) = std::env::var_os(ROOTS_SIDE) else { return Ok(()) };
        let _ = set_parent_process_death_signal(Some(Signal::TERM));
        // No signal tells of what has ended before it was asked for.
        let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        if roots_side.to_str() != Some(&parent.to_string()) {
            return Err(Error::internal("the process that this one works for has ended"));
        }
    }
    Ok(())
}

fn detached(account: &Account, arguments: &[OsString]) -> Result<Command> {
    refuse_root(account)?;
    let mut words: Vec<OsString> =
        vec![WORD.into(), account.uid.to_string().into(), account.gid.to_string().into()];
    words.push(account.home.clone().into_os_string());
    words.push(std::process::id().to_string().into());
    words.extend_from_slice(arguments);
    bare(&words)
}

/// This program with little of our environment.
fn bare(arguments: &[OsString]) -> Result<Command> {
    let program = std::env::current_exe()
        .map_err(|e| Error::internal(format!("this program's path is not known: {e}")))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Ok(command)
}

/// As root, setting the uid drops the supplementary groups as well (std, sys/process/unix).
fn as_user<'a>(command: &'a mut Command, uid: u32, gid: u32, home: &Path) -> &'a mut Command {
    command.env("HOME", home).uid(uid).gid(gid)
}

fn refuse_root(account: &Account) -> Result<()> {
    if account.uid == 0 || account.gid == 0 {
        return Err(Error::internal(format!(
            "{} has root's user or group id; a realm's account can't",
            account.name
        )));
    }
    Ok(())
}

fn read(argv: &[OsString]) -> Result<(u32, u32, &OsString, &OsString, &[OsString])> {
    let wrong = || Error::new(Kind::Usage, "this word is for seamless itself");
    let [uid, gid, home, roots_side, words @ ..] = argv else { return Err(wrong()) };
    let number = |text: &OsString| text.to_str().and_then(|t| t.parse::<u32>().ok()).filter(|id| *id != 0);
    if !rustix::process::geteuid().is_root() {
        return Err(wrong());
    }
    Ok((number(uid).ok_or_else(wrong)?, number(gid).ok_or_else(wrong)?, home, roots_side, words))
}

fn start(account: &Account, command: &mut Command, stdin: Option<&[u8]>) -> Result<Child> {
    if stdin.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|e| failed(account, &e))?;
    if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), stdin) {
        // It may have refused before it read all.
        let _ = pipe.write_all(bytes);
    }
    Ok(child)
}

fn finish(account: &Account, child: &mut Child) -> Result<u8> {
    let status = child.wait().map_err(|e| failed(account, &e))?;
    let by_signal = || status.signal().and_then(|s| u8::try_from(128 + s).ok());
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).or_else(by_signal).unwrap_or(1))
}

fn failed(account: &Account, e: &std::io::Error) -> Error {
    let error = Error::internal(format!("can't run as {}: {e}", account.name));
    if e.kind() == std::io::ErrorKind::PermissionDenied {
        return error.hint("it must be able to run this program: sudo install -m 0755 target/release/seamless /usr/local/bin/seamless");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::system::accounts::by_name;

    #[test]
    fn the_other_account_keeps_nothing_of_ours() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let nobody = by_name("nobody").unwrap();
        let command = detached(&nobody, &["x".into()]).unwrap();
        assert!(command.get_envs().all(|(name, _)| KEPT.iter().any(|kept| name == *kept)));
        let words: Vec<_> = command.get_args().map(|w| w.to_str().unwrap().to_owned()).collect();
        assert_eq!(words[..3], ["enter".to_owned(), nobody.uid.to_string(), nobody.gid.to_string()]);
        let argv: Vec<OsString> = words[1..].iter().map(Into::into).collect();
        assert_eq!(
            read(&argv).unwrap(),
            (
                nobody.uid,
                nobody.gid,
                &nobody.home.clone().into_os_string(),
                &std::process::id().to_string().into(),
                &["x".into()][..]
            )
        );
        // The same settings around `id`, which prints who it is, from a process that has groups to lose.
        let mut id = Command::new("/usr/bin/id");
        let output = as_user(id.env_clear(), nobody.uid, nobody.gid, &nobody.home).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            text.trim(),
            format!("uid={0}(nobody) gid={1}(nogroup) groups={1}(nogroup)", nobody.uid, nobody.gid)
        );
    }

    #[test]
    fn nothing_becomes_root() {
        let root = by_name("root").unwrap();
        assert!(as_account(&root, &[], None).is_err());
        for bad in [
            &["0", "1", "/", "1"][..],
            &["1", "0", "/", "1"],
            &["1", "1", "/"],
            &["x", "1", "/", "1"],
            &["-1", "1", "/", "1"],
            &[],
        ] {
            let argv: Vec<OsString> = bad.iter().map(Into::into).collect();
            assert!(read(&argv).is_err(), "{bad:?}");
        }
    }
}
