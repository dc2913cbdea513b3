//! Unix accounts that are realms. The account is the privilege boundary, its home the realm's directory.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::tool;
use crate::backends::files;
use crate::config;
use crate::error::{Error, Result, io};
use crate::names::RealmName;

/// Where the homes of realm accounts lie: root's, so that nobody can swap one.
const HOMES: &str = "/var/lib/seamless";

/// nologin breaks the forced command, and bash prints what ~/.bashrc says before the token.
pub const SHELL: &str = "/bin/sh";

/// An account of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
    /// Its home.
    pub home: PathBuf,
    /// What its commands run in.
    pub shell: PathBuf,
}

/// The account of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<Account> {
    users::get_user_by_name(name).map(|user| account(&user))
}

/// The account of that id.
#[must_use]
pub fn by_uid(uid: u32) -> Option<Account> {
    users::get_user_by_uid(uid).map(|user| account(&user))
}

/// The name of the account that this process runs as.
#[must_use]
pub fn own_name() -> Option<String> {
    by_uid(rustix::process::geteuid().as_raw()).map(|a| a.name)
}

/// The home of the account that this process runs as.
#[must_use]
pub fn home_of_this_process() -> Option<PathBuf> {
    by_uid(rustix::process::geteuid().as_raw()).map(|a| a.home)
}

/// Where the realm's home is, or would be.
#[must_use]
pub fn realm_home(realm: &RealmName) -> PathBuf {
    Path::new(HOMES).join(realm.as_str())
}

/// Whether an account is a realm of ours. Only what its owner can't change without being its owner is looked at.
#[must_use]
pub fn is_realm_home(account: &Account) -> bool {
    check_realm(account).is_ok()
}

/// Says why an account is no realm of ours.
pub fn check_realm(account: &Account) -> Result<()> {
    let no = |why: String| Err(Error::failed(format!("the account {} is no realm: {why}", account.name)));
    let Ok(name) = account.name.parse::<RealmName>() else {
        return no("its name is none of a realm".to_owned());
    };
    if account.home != realm_home(&name) {
        return no(format!("its home is {}", account.home.display()));
    }
    let meta = account.home.symlink_metadata().map_err(|e| io("look at", &account.home, &e))?;
    if !meta.is_dir() || meta.uid() != account.uid {
        return no(format!("{} is not its directory", account.home.display()));
    }
    let marker = account.home.join(config::FILE);
    match marker.symlink_metadata() {
        Ok(meta) if meta.is_file() && meta.uid() == account.uid => Ok(()),
        Ok(_) => no(format!("{} is not its file", marker.display())),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Ok(()), // somebody else's realm
        Err(_) => no(format!("there is no {}", marker.display())),
    }
}

/// The realm accounts of this host, by name.
#[must_use]
pub fn realms() -> Vec<Account> {
    let entries = std::fs::read_dir(HOMES).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names.iter().filter_map(|name| by_name(name)).filter(is_realm_home).collect()
}

/// Refuses a name that an account or a home has already.
pub fn refuse_taken(realm: &RealmName) -> Result<()> {
    if by_name(realm.as_str()).is_some() {
        return Err(Error::failed(format!("there is an account {realm} already")).hint(
            "take another name; a realm of the Python seamless is taken over by: sudo seamless adopt",
        ));
    }
    let home = realm_home(realm);
    if home.symlink_metadata().is_ok() {
        return Err(Error::failed(format!("{} is there already", home.display()))
            .hint("it may be left from an account that is gone; move it away first"));
    }
    Ok(())
}

/// Makes a realm's account with its empty home.
///
/// The password is `*`, none; sshd takes an account with `!` for a locked one.
pub fn create(realm: &RealmName) -> Result<Account> {
    refuse_taken(realm)?;
    prepare_homes()?;
    let home = realm_home(realm);
    let arguments = [
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        &home.display().to_string(),
        "--shell",
        SHELL,
        "--password",
        "*",
        "--comment",
        "seamless realm",
        realm.as_str(),
    ]
    .map(str::to_owned);
    tool("useradd", arguments)?;
    let account =
        by_name(realm.as_str()).ok_or_else(|| Error::internal(format!("useradd made no account {realm}")))?;
    give_home(&account).inspect_err(|_| {
        let _ = discard(&account);
    })?;
    Ok(account)
}

/// Takes back an account that `create` has just made.
pub fn discard(account: &Account) -> Result<()> {
    remove_home(&account.home)?;
    tool("userdel", [account.name.as_str()]).map(drop)
}

/// How long sessions may take to end once nobody gets in any more.
const LAST_SESSIONS: Duration = Duration::from_secs(3);

/// Shuts a realm's account before it is taken apart: from here on sshd lets nobody in, by whatever key or
/// certificate, also while the drop-in is gone and the account is not yet. What goes on running as it is named.
pub fn close(account: &Account) -> Result<()> {
    check_realm(account)?;
    // It may be shut already, and then its fence may be gone.
    let before = expires(account)?.map(|days| days.to_string()).unwrap_or_default();
    expire(account, "1")?;
    let begun = Instant::now();
    let mut running = processes(account.uid);
    while !running.is_empty() && begun.elapsed() < LAST_SESSIONS {
        std::thread::sleep(Duration::from_millis(20));
        running = processes(account.uid);
    }
    if running.is_empty() {
        return Ok(());
    }
    expire(account, &before)?;
    let list = running.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    Err(Error::failed(format!("processes still run as {}: {list}", account.name)).hint(format!(
        "nothing was changed; end them and repeat: systemctl disable --now seamless@{}; kill {list}",
        account.name
    )))
}

/// Lets sshd in to an account again that was shut by [`close`] or by the package's purge. Its fence must hold by then.
pub fn open(account: &Account) -> Result<()> {
    check_realm(account)?;
    expire(account, "")
}

/// The day that the account ends, in days since 1970: from then on sshd lets nobody in. Takes root.
pub fn expires(account: &Account) -> Result<Option<u64>> {
    let entry = tool("getent", ["shadow", account.name.as_str()])?;
    Ok(entry.trim_end().split(':').nth(7).and_then(|days| days.parse().ok()))
}

fn expire(account: &Account, date: &str) -> Result<()> {
    tool("usermod", ["--expiredate", date, account.name.as_str()]).map(drop)
}

/// Removes a closed realm's account and its home, the account last.
pub fn delete(account: &Account) -> Result<()> {
    check_realm(account)?;
    remove_home(&account.home)?;
    tool("userdel", [account.name.as_str()]).map(drop).map_err(|e| {
        e.hint(format!("a process may still run as {0}; end it and repeat: userdel {0}", account.name))
    })
}

/// Moves the home of an account of the Python seamless to where ours are.
pub fn relocate(realm: &RealmName) -> Result<Account> {
    let account =
        by_name(realm.as_str()).ok_or_else(|| Error::failed(format!("there is no account {realm}")))?;
    if is_realm_home(&account) {
        return Err(Error::failed(format!("{realm} is a realm of ours already")));
    }
    let secret = account.home.join("secret");
    let meta = secret.symlink_metadata().map_err(|_| {
        Error::failed(format!("the account {realm} is no realm of the Python seamless"))
            .hint(format!("there is no {}", secret.display()))
    })?;
    if account.uid == 0 || !meta.is_file() || meta.uid() != account.uid {
        return Err(Error::failed(format!("{} is not the account's own file", secret.display())));
    }
    // The original's account may have another shell, and `!` for a password, by which sshd without PAM refuses it.
    tool("usermod", ["--shell", SHELL, "--password", "*", realm.as_str()])?;
    let home = realm_home(realm);
    if account.home != home {
        prepare_homes()?;
        if home.symlink_metadata().is_ok() {
            return Err(
                Error::failed(format!("{} is there already", home.display())).hint("move it away first")
            );
        }
        tool("usermod", ["--home", &home.display().to_string(), "--move-home", realm.as_str()])?;
    }
    Ok(Account { home, shell: PathBuf::from(SHELL), ..account })
}

/// The path of this program for lines that sshd will run: root's, in folders that only root can change.
pub fn installed_binary() -> Result<PathBuf> {
    let path = std::env::current_exe()
        .and_then(|p| p.canonicalize())
        .map_err(|e| Error::internal(format!("this program's path is not known: {e}")))?;
    check_binary(&path)?;
    Ok(path)
}

/// Whether sshd would run this program; it refuses one that others could change.
pub fn check_binary(path: &Path) -> Result<()> {
    let text = path.to_str().unwrap_or_default();
    // These would end the quotes or be expanded in a configuration line.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._+-".contains(&b)) {
        return Err(Error::failed(format!(
            "{} has characters that can't stand in sshd's files",
            path.display()
        ))
        .hint(INSTALL));
    }
    for part in path.ancestors() {
        let meta = part.symlink_metadata().map_err(|e| io("look at", part, &e))?;
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            let what = if meta.uid() == 0 { "can be changed by others" } else { "does not belong to root" };
            return Err(Error::failed(format!(
                "sshd would not run {}: {} {what}",
                path.display(),
                part.display()
            ))
            .hint(INSTALL));
        }
    }
    Ok(())
}

const INSTALL: &str = "install it: sudo install -m 0755 target/release/seamless /usr/local/bin/seamless";

/// This host's full name, as others would reach it.
#[must_use]
pub fn host_name() -> String {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let full = tool("hostname", ["--fqdn"]).map(|text| text.trim().to_owned()).unwrap_or_default();
    let plain = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
    };
    [full, node].into_iter().find(plain).unwrap_or_else(|| "localhost".to_owned()).to_ascii_lowercase()
}

fn account(user: &users::User) -> Account {
    use users::os::unix::UserExt as _;
    Account {
        name: user.name().to_string_lossy().into_owned(),
        uid: user.uid(),
        gid: user.primary_group_id(),
        home: user.home_dir().to_owned(),
        shell: user.shell().to_owned(),
    }
}

/// What runs as this user, where /proc says so.
fn processes(uid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_theirs = |pid: &u32| std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == uid);
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(is_theirs).collect()
}

fn prepare_homes() -> Result<()> {
    let homes = Path::new(HOMES);
    files::create_dir(homes, 0o755)?;
    let meta = homes.symlink_metadata().map_err(|e| io("look at", homes, &e))?;
    if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
        return Err(Error::failed(format!("{HOMES} can be changed by others"))
            .hint(format!("chown root {HOMES}; chmod 0755 {HOMES}")));
    }
    Ok(())
}

fn give_home(account: &Account) -> Result<()> {
    files::create_dir(&account.home, 0o700)?;
    std::os::unix::fs::chown(&account.home, Some(account.uid), Some(account.gid))
        .map_err(|e| io("hand over", &account.home, &e))
}

/// The standard library removes a tree without following links, also ones that change meanwhile (CVE-2022-21658).
fn remove_home(home: &Path) -> Result<()> {
    if home.parent() != Some(Path::new(HOMES)) {
        return Err(Error::internal(format!("{} is no realm's home", home.display())));
    }
    match std::fs::remove_dir_all(home) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io("remove", home, &e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accounts_with_our_home_are_realms() {
        let root = by_name("root").unwrap();
        assert_eq!((root.uid, by_uid(0)), (0, Some(root.clone())));
        assert!(!is_realm_home(&root));
        assert!(delete(&root).is_err() && close(&root).is_err(), "refused before anything is changed");
        assert!(processes(rustix::process::geteuid().as_raw()).contains(&std::process::id()));
        assert!(by_name("no-such-account-here").is_none());
        assert!(remove_home(Path::new("/var/lib/seamless")).is_err());
        assert!(remove_home(Path::new("/var/lib/seamless/a/b")).is_err());
    }

    #[test]
    fn a_binary_that_others_can_change_is_refused() {
        check_binary(Path::new("/usr/bin/env")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seamless");
        std::fs::write(&path, "").unwrap();
        // Below a folder that anyone may write to.
        assert!(check_binary(&path).unwrap_err().message().contains("can be changed by others"));
        for bad in ["/usr/bin/a b", "/usr/bin/a\"b", "/usr/bin/%h", "/usr/bin/a\nb"] {
            assert!(check_binary(Path::new(bad)).unwrap_err().message().contains("characters"), "{bad}");
        }
    }
}
