//! Running this very program as another account.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use super::accounts::Account;
use crate::error::{Error, Result};

/// What of the environment goes along: how to write, nothing of what to do.
const KEPT: [&str; 9] = ["PATH", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "COLUMNS", "NO_COLOR", "COLORTERM"];

/// Runs this program as the account and gives its exit code. `stdin` is handed on; without it ours is.
pub fn as_account(account: &Account, arguments: &[OsString], stdin: Option<&[u8]>) -> Result<u8> {
    let mut command = command(account, arguments)?;
    if stdin.is_some() {
        command.stdin(Stdio::piped());
    }
    let failed = |e: std::io::Error| Error::internal(format!("can't run as {}: {e}", account.name));
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), stdin) {
        // It may have refused before it read all.
        let _ = pipe.write_all(bytes);
    }
    let status = child.wait().map_err(failed)?;
    let by_signal = || status.signal().and_then(|s| u8::try_from(128 + s).ok());
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).or_else(by_signal).unwrap_or(1))
}

/// Becomes this program as the account; returns only on failure.
pub fn become_account(account: &Account, arguments: &[OsString]) -> Error {
    match command(account, arguments) {
        Ok(mut command) => Error::internal(format!("can't run as {}: {}", account.name, command.exec())),
        Err(error) => error,
    }
}

fn command(account: &Account, arguments: &[OsString]) -> Result<Command> {
    if account.uid == 0 {
        return Err(Error::internal("a realm's account can't be root"));
    }
    let program = std::env::current_exe().map_err(|e| Error::internal(format!("this program's path is not known: {e}")))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    // As root, setting the uid drops the supplementary groups as well (std, sys/process/unix).
    command.env("HOME", &account.home).uid(account.uid).gid(account.gid);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_account_keeps_nothing_of_ours() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let nobody = super::super::accounts::by_name("nobody").unwrap();
        let mut command = command(&nobody, &[]).unwrap();
        assert!(command.get_envs().all(|(name, _)| name == "HOME" || KEPT.iter().any(|kept| name == *kept)));
        // The same settings around `id`, which prints who it is.
        command = Command::new("/usr/bin/id");
        let output = command.env_clear().uid(nobody.uid).gid(nobody.gid).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.trim(), format!("uid={0}(nobody) gid={1}(nogroup) groups={1}(nogroup)", nobody.uid, nobody.gid));
        let root = super::super::accounts::by_name("root").unwrap();
        assert!(as_account(&root, &[], None).is_err());
    }
}
