//! Realms on a host: their Unix accounts, what sshd is told of them, and running as one of them.
//!
//! As root these touch the account database, the sshd drop-in and nothing inside a realm; what is to be done in
//! there is handed in as `fill` or `convert`, which run this program again as the realm's account.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::backends::system::{accounts, layout, reexec, sshd};
use crate::backends::{files, http_get};
use crate::config::KeysBy;
use crate::error::{Error, Result, io};
use crate::names::RealmName;
use crate::progress::Progress;
use crate::realm::Realm;
use crate::services::doctor::Surroundings;
use crate::services::keys;

pub use crate::backends::system::accounts::Account;
pub use crate::backends::system::reexec::{EachLine, WORD as ENTER, become_account, enter, entered};
pub use crate::backends::system::sshd::{DEFAULT_CONFIG as SSHD_CONFIG, FORCED};

/// What an exit code came with: what the administrator should know.
pub type Notes = Vec<String>;

/// The account of that name.
#[must_use]
pub fn account(name: &str) -> Option<Account> {
    accounts::by_name(name)
}

/// The account of that id.
#[must_use]
pub fn account_of(uid: u32) -> Option<Account> {
    accounts::by_uid(uid)
}

/// The realm accounts of this host.
#[must_use]
pub fn realms() -> Vec<Account> {
    accounts::realms()
}

/// Where the realm's home is, or would be.
#[must_use]
pub fn home_of(realm: &RealmName) -> PathBuf {
    accounts::realm_home(realm)
}

/// Whether an account is a realm of ours.
#[must_use]
pub fn is_realm(account: &Account) -> bool {
    accounts::is_realm_home(account)
}

/// Says why an account is no realm of ours.
pub fn check_realm(account: &Account) -> Result<()> {
    accounts::check_realm(account)
}

/// This host's full name.
#[must_use]
pub fn host_name() -> String {
    accounts::host_name()
}

/// The home of the account that this process runs as.
#[must_use]
pub fn own_home() -> Option<PathBuf> {
    accounts::home_of_this_process()
}

/// The account that this process runs as.
#[must_use]
pub fn own_account_name() -> Option<String> {
    accounts::own_name()
}

/// Runs this program as the account and gives its exit code.
pub fn as_account(account: &Account, arguments: &[OsString], stdin: Option<&[u8]>) -> Result<u8> {
    reexec::as_account(account, arguments, stdin)
}

/// As [`as_account`], with a file as its standard input and its lines handed to `line`.
pub fn as_account_with(
    account: &Account,
    arguments: &[OsString],
    stdin: Option<std::fs::File>,
    line: Option<EachLine<'_>>,
) -> Result<u8> {
    reexec::as_account_with(account, arguments, stdin, line)
}

/// Makes a realm's account: sshd's fence, the account, then `fill` as the account. What was begun is undone on
/// failure.
///
/// The fence comes first, since under a TrustedUserCAKeys of the host's an account without it gives a shell.
pub fn make(
    realm: &RealmName,
    keys: KeysBy,
    sshd_config: &Path,
    secret: Option<&[u8]>,
    fill: impl FnOnce(&Account) -> Result<u8>,
) -> Result<(u8, Notes)> {
    let paths = sshd::SshdPaths::with_config(sshd_config);
    let binary = accounts::installed_binary()?;
    accounts::refuse_taken(realm)?;
    sshd::check_host(&paths)?;
    if let Some(secret) = secret {
        refuse_shared(secret)?;
    }
    let drop_in = sshd::DropIn::new(realm, keys, &binary, &accounts::realm_home(realm));
    let mut notes = sshd::install(&paths, &drop_in)?;
    let made = accounts::create(realm).and_then(|account| {
        let code = fill(&account);
        // Now that the account and its group are there, other Match blocks may mean it.
        let fenced = code.and_then(|code| sshd::install(&paths, &drop_in).map(|more| (code, more)));
        if !matches!(fenced, Ok((0, _))) {
            let _ = accounts::discard(&account);
        }
        fenced
    });
    if !matches!(made, Ok((0, _))) {
        let _ = sshd::remove(&paths, realm);
    }
    let (code, more) = made?;
    notes.extend(more.into_iter().filter(|_| code == 0));
    notes.dedup();
    Ok((code, notes))
}

/// Takes an account of the Python seamless over: the fence, then its home, then `convert` as the account.
///
/// The fence comes before the account is opened: it may have been locked, and its keys are not ours yet.
pub fn take_over(
    realm: &RealmName,
    sshd_config: &Path,
    convert: impl FnOnce(&Account) -> Result<u8>,
) -> Result<(u8, Notes)> {
    let binary = accounts::installed_binary()?;
    let paths = sshd::SshdPaths::with_config(sshd_config);
    sshd::check_host(&paths)?;
    let drop_in = sshd::DropIn::new(realm, KeysBy::File, &binary, &accounts::realm_home(realm));
    let notes = sshd::install(&paths, &drop_in)?;
    let account = accounts::relocate(realm)?;
    Ok((convert(&account)?, notes))
}

/// Removes a realm with its account. Whatever fails later, nobody logs in any more: without the drop-in alone, a
/// certificate still would.
pub fn delete(account: &Account, sshd_config: &Path) -> Result<Notes> {
    accounts::check_realm(account)?;
    accounts::close(account)?;
    let notes = sshd::remove(&sshd::SshdPaths::with_config(sshd_config), &account.name.parse()?)?;
    accounts::delete(account)?;
    Ok(notes)
}

/// Removes a realm that is a directory of ours.
pub fn delete_dir(realm: Realm) -> Result<()> {
    let dir = realm.dir.clone();
    drop(realm);
    std::fs::remove_dir_all(&dir).map_err(|e| io("remove", &dir, &e))
}

/// As root: what sshd is told of a realm follows the realm's settings.
pub fn refresh_fence(account: &Account, sshd_config: &Path) -> Result<Notes> {
    if !accounts::is_realm_home(account) {
        return Ok(Notes::new());
    }
    let binary = accounts::installed_binary()?;
    let drop_in = sshd::DropIn::new(&account.name.parse()?, keys_setting(account)?, &binary, &account.home);
    sshd::install(&sshd::SshdPaths::with_config(sshd_config), &drop_in)
}

/// As root: opens a realm's account again that the package's purge has shut, behind its fence.
pub fn reopen(account: &Account, sshd_config: &Path) -> Result<Notes> {
    accounts::check_realm(account)?;
    let notes = refresh_fence(account, sshd_config)?;
    accounts::open(account)?;
    Ok(notes)
}

/// After a change to keys: a realm that is an account's home brings its file up to date by itself.
pub fn after_change(realm: &Realm, progress: &dyn Progress) -> Result<()> {
    if own_home().as_deref() == Some(realm.dir.as_path()) {
        write_keys(realm, progress)?;
    }
    Ok(())
}

/// Writes or removes authorized_keys, whichever the settings want, and gives the number of lines.
pub fn write_keys(realm: &Realm, progress: &dyn Progress) -> Result<u64> {
    match realm.config.sshd.keys {
        KeysBy::Command => {
            // A line left in the file would still get in if the command printed nothing.
            sshd::remove_authorized_keys(&realm.dir)?;
            Ok(0)
        }
        KeysBy::File => {
            let mut lines = 0;
            sshd::write_authorized_keys(&realm.dir, &mut |file| {
                lines = authorized_keys(realm, file, progress)?;
                Ok(())
            })?;
            Ok(lines)
        }
    }
}

/// Writes what authorized_keys is to hold, and gives the number of lines.
pub fn authorized_keys(realm: &Realm, out: &mut dyn Write, progress: &dyn Progress) -> Result<u64> {
    let failed = |e: std::io::Error| io("write", &realm.dir.join(".ssh/authorized_keys"), &e);
    let binary = accounts::installed_binary()?;
    let (now, all) = (realm.now(), realm.store.totals()?.keys);
    let (mut seen, mut lines) = (0, 0);
    let mut out = BufWriter::with_capacity(256 * 1024, out);
    writeln!(out, "# written by `seamless sync`; do not edit, changes are lost").map_err(failed)?;
    keys::each(realm, None, &mut |key| {
        seen += 1;
        progress.at(seen, Some(all));
        if key.expires_at.is_some_and(|at| at <= now) {
            return Ok(());
        }
        lines += 1;
        writeln!(out, "{}", sshd::authorized_keys_line(&binary, &realm.dir, &key)?).map_err(failed)
    })?;
    out.flush().map_err(failed)?;
    Ok(lines)
}

/// The line for one offered key, if it is enrolled: what sshd's AuthorizedKeysCommand is to print.
///
/// An expired key's line is left to its own expiry and to the mint.
pub fn line_of(realm: &Realm, algorithm: &str, blob: &[u8]) -> Result<Option<String>> {
    let Some(key) = keys::offered(realm, blob)?.filter(|k| k.algorithm == algorithm) else { return Ok(None) };
    sshd::authorized_keys_line(&accounts::installed_binary()?, &realm.dir, &key).map(Some)
}

/// What only root can ask sshd about a realm, for [`surroundings`] on the account's side.
pub fn facts(account: &Account, sshd_config: &Path) -> Result<Option<Vec<u8>>> {
    if !accounts::is_realm_home(account) {
        return Ok(None);
    }
    let facts =
        sshd::Facts::find(&sshd::SshdPaths::with_config(sshd_config), &account.name.parse()?, account);
    serde_json::to_vec(&facts).map(Some).map_err(|e| Error::internal(format!("what sshd says: {e}")))
}

/// What lies around a realm, for `doctor` to judge. `facts` are root's.
pub fn surroundings<'a>(
    dir: &Path,
    facts: Option<&[u8]>,
    progress: &'a dyn Progress,
) -> Result<Surroundings<'a>> {
    let uid = rustix::process::geteuid().as_raw();
    let facts = match facts {
        Some(bytes) => {
            serde_json::from_slice(bytes).map_err(|e| Error::internal(format!("what root found: {e}")))?
        }
        None => None,
    };
    Ok(Surroundings {
        dir: dir.to_owned(),
        uid,
        entries: layout::entries(dir),
        parents: layout::parents(dir),
        beside: layout::unfinished_beside(dir),
        room: files::room(dir),
        account: accounts::by_uid(uid).filter(|a| a.home == dir && accounts::is_realm_home(a)),
        sshd: facts,
        binary: accounts::installed_binary(),
        authorized_keys: sshd::open_authorized_keys(dir),
        fetch: &http_get::text,
        progress,
    })
}

/// Writes the known_hosts file that the lines printed by `serve` use.
pub fn write_known_hosts(realm: &Realm, text: &str) -> Result<PathBuf> {
    let path = realm.dir.join("known_hosts");
    files::write_atomic(&path, text.as_bytes(), files::PUBLIC_FILE)?;
    Ok(path)
}

/// One secret, one realm: whoever can verify for one could mint for the other.
fn refuse_shared(secret: &[u8]) -> Result<()> {
    for account in accounts::realms() {
        let argv = ["holds-secret".into(), "--realm-home".into(), account.home.clone().into_os_string()];
        if reexec::as_account(&account, &argv, Some(secret))? == 0 {
            return Err(shared(&account.name));
        }
    }
    Ok(())
}

/// What is said of a secret that another realm has.
pub fn shared(realm: &str) -> Error {
    Error::policy(format!("the realm {realm} has this secret already"))
        .hint("a secret belongs to one realm; leave --secret-file out, and a new one is made")
}

fn keys_setting(account: &Account) -> Result<KeysBy> {
    let argv = ["keys-by".into(), "--realm-home".into(), account.home.clone().into_os_string()];
    match reexec::output_of(account, &argv)? {
        (0, text) if text == b"file\n" => Ok(KeysBy::File),
        (0, text) if text == b"command\n" => Ok(KeysBy::Command),
        _ => Err(Error::failed(format!("the realm {} does not say how sshd learns its keys", account.name))),
    }
}
