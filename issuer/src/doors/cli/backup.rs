//! `seamless realm backup`, `restore` and `upgrade`.

use std::fs::File;
use std::io::{IsTerminal as _, Read, Seek as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use crate::backends::age::Recipient;
use crate::backends::store::SCHEMA;
use crate::error::{Error, Result, io};
use crate::names::RealmName;
use crate::realm::{Access, Realm};
use crate::services::backup::{self, Manifest, Restored};
use crate::services::hosting;

use super::Context;
use super::output::{note, notes, time, warn, write_out};
use super::progress::Unit;
use super::target::{Entered, Place, is_root};

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The file is a tar: manifest.json, realm.toml, realm.db, audit/. It is made at one moment, while the realm is used.
Private keys are left out, unless --with-keys says whom to encrypt them to, by the program age:

  age-keygen -o backup.key                    # keep it elsewhere; it prints the recipient, age1…
  seamless realm backup corp corp.tar --with-keys age1…
  seamless realm restore corp corp.tar --identity backup.key")]
pub(super) struct Backup {
    /// The realm, and the file to write (- for standard output)
    #[arg(value_name = "[REALM] FILE", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Put the private keys in, encrypted to this age recipient (age1… or an SSH public key); may be repeated
    #[arg(long, value_name = "RECIPIENT")]
    with_keys: Vec<Recipient>,
    /// Replace FILE if it is there
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
As root, with REALM, it makes the realm's Unix account as `seamless init` does; else it makes a directory of yours.
What was removed or revoked after the backup was made counts again afterwards: look it over.")]
pub(super) struct Restore {
    /// The realm to make, and the backup (- for standard input)
    #[arg(value_name = "[REALM] FILE", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Decrypt the private keys with this age identity file
    #[arg(long, value_name = "FILE", conflicts_with = "new_keys")]
    identity: Option<PathBuf>,
    /// Leave the private keys of the backup out, and sign with new ones
    #[arg(long)]
    new_keys: bool,
    /// The configuration file of the sshd that serves the realm
    #[arg(long, value_name = "FILE", default_value = hosting::SSHD_CONFIG, hide_short_help = true)]
    sshd_config: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Upgrade {
    realm: Option<String>,
    /// Every realm of this host and of yours
    #[arg(long, conflicts_with = "realm")]
    all: bool,
}

pub(super) fn backup(context: &Context, args: Backup) -> Result<u8> {
    let (place, rest) = context.words(&args.words, 1)?;
    let Some(name) = rest.first() else { return Err(Error::usage("which file?")) };
    if context.target.file_on_stdin {
        // The caller's file, opened by the caller.
        let file = File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(|e| broken_pipe(&e))?);
        return write(context, &place, &args, file, name == "-").map(|()| 0);
    }
    if name == "-" {
        if std::io::stdout().is_terminal() {
            return Err(
                Error::usage("a terminal is no place for a backup").hint("name a file, or use a pipe")
            );
        }
        let file = File::from(std::io::stdout().as_fd().try_clone_to_owned().map_err(|e| broken_pipe(&e))?);
        let other = file.try_clone().map_err(|e| broken_pipe(&e))?;
        return match context.elsewhere_with(&place, Some(other), None)? {
            Some(code) => Ok(code),
            None => write(context, &place, &args, file, true).map(|()| 0),
        };
    }

    let path = std::path::absolute(name).map_err(|e| io("find", Path::new(name), &e))?;
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(Error::failed(format!("{} is there already", path.display()))
            .hint("name another file, or say --force"));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    // Mode 0600, and gone again should anything fail.
    let new = tempfile::Builder::new()
        .prefix(".seamless-backup-")
        .tempfile_in(folder)
        .map_err(|e| io("write into", folder, &e))?;
    let handle = || new.as_file().try_clone().map_err(|e| io("write", &path, &e));
    let code = match context.elsewhere_with(&place, Some(handle()?), None)? {
        Some(code) => code,
        None => write(context, &place, &args, handle()?, false).map(|()| 0)?,
    };
    if code != 0 {
        return Ok(code);
    }
    new.as_file().sync_all().map_err(|e| io("write", &path, &e))?;
    let persisted = if args.force { new.persist(&path) } else { new.persist_noclobber(&path) };
    persisted.map_err(|e| io("write", &path, &e.error))?;
    // A backup that was said to be there is there after a loss of power too.
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io("sync", folder, &e))?;
    Ok(0)
}

fn write(context: &Context, place: &Place, args: &Backup, out: File, to_stdout: bool) -> Result<()> {
    let realm = Realm::open(place.dir(), Access::Write, context.clock.clone())?;
    let bar = context.progress("backing up", Unit::Bytes);
    let out = std::io::BufWriter::with_capacity(256 * 1024, out);
    let manifest = backup::write(&realm, out, &args.with_keys, &bar)?;
    drop(bar);
    let value = json!({"realm": manifest.realm, "backup": manifest.id, "created_at": manifest.created_at,
                       "schema": manifest.schema, "users": manifest.users, "keys": manifest.keys,
                       "private_keys": !manifest.recipients.is_empty(), "recipients": manifest.recipients});
    let text = || {
        let keys = match manifest.recipients.len() {
            0 => "without private keys: a restored realm signs with new ones".to_owned(),
            1 => "with private keys, for one recipient".to_owned(),
            n => format!("with private keys, for {n} recipients"),
        };
        format!(
            "backup {} of the realm {}: {} users, {} keys, {keys}",
            manifest.id, manifest.realm, manifest.users, manifest.keys
        )
    };
    match (to_stdout, context.out.json) {
        (false, _) => context.out.print(&value, text),
        (true, true) => note(&value.to_string()),
        (true, false) => note(&format!("seamless: {}", text())),
    }
    Ok(())
}

pub(super) fn restore(context: &Context, args: Restore) -> Result<u8> {
    if let Some(home) = &context.target.realm_home {
        let (keys, file) = handed_over()?;
        return finish(context, home, file, keys.as_deref().map(Vec::as_slice));
    }
    let (name, realm) = match args.words.as_slice() {
        [file] => (file, None),
        [realm, file] => (file, Some(realm.parse::<RealmName>()?)),
        _ => return Err(Error::usage("which file?")),
    };
    let mut file = seekable(name)?;
    let manifest = backup::manifest(&file)?;
    let keys = keys(&args, &manifest, &mut file)?;
    rewind(&mut file)?;
    if let Some(realm) = &realm
        && realm.as_str() != manifest.realm
    {
        return Err(Error::usage(format!("this is a backup of the realm {}", manifest.realm))
            .hint("a restored realm keeps its name; for a trial say --dir DIR"));
    }
    match (&context.target.dir, realm) {
        (Some(_), Some(_)) => Err(Error::usage("both --dir and a realm are given").hint("say one of them")),
        (Some(dir), None) => {
            let dir = std::path::absolute(dir).map_err(|e| io("find", dir, &e))?;
            finish(context, &dir, file, keys.as_deref().map(Vec::as_slice))
        }
        (None, Some(realm)) if is_root() => account(context, &realm, &args, &manifest, file, keys),
        (None, Some(realm)) => {
            let dir = super::target::data_dir()?.join(realm.as_str());
            finish(context, &dir, file, keys.as_deref().map(Vec::as_slice))
        }
        (None, None) => Err(Error::usage("which realm?").hint(format!(
            "it is a backup of {0}: seamless realm restore {0} FILE as root, or with --dir DIR",
            manifest.realm
        ))),
    }
}

/// As root: the account, and in its home this very call as the account. Keys and backup go through a pipe.
fn account(
    context: &Context,
    realm: &RealmName,
    args: &Restore,
    manifest: &Manifest,
    mut file: File,
    keys: Option<Zeroizing<Vec<u8>>>,
) -> Result<u8> {
    let fill = |account: &hosting::Account| {
        let argv = context.argv_there(account, true);
        let (theirs, mut ours) = std::io::pipe().map_err(|e| broken_pipe(&e))?;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let bytes = keys.as_deref().map_or(&[][..], Vec::as_slice);
                let length = u64::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
                // It may have refused before it read all.
                let _ = ours.write_all(&[u8::from(keys.is_some())]);
                let _ = ours.write_all(&length).and_then(|()| ours.write_all(bytes));
                let _ = std::io::copy(&mut file, &mut ours);
            });
            hosting::as_account_with(account, &argv, Some(File::from(OwnedFd::from(theirs))), None)
        })
    };
    let (code, said) = hosting::make(realm, manifest.keys_by()?, &args.sshd_config, None, fill)?;
    notes(said);
    Ok(code)
}

/// What `account` writes: whether there are keys, their length, the keys, the backup.
fn handed_over() -> Result<(Option<Zeroizing<Vec<u8>>>, File)> {
    const MOST: u64 = 16 * 1024 * 1024;
    let mut file = File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(|e| broken_pipe(&e))?);
    let mut head = [0; 9];
    file.read_exact(&mut head).map_err(|e| broken_pipe(&e))?;
    let [there, length @ ..] = head;
    let length = u64::from_be_bytes(length).min(MOST);
    let mut keys = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    file.read_exact(&mut keys).map_err(|e| broken_pipe(&e))?;
    Ok(((there == 1).then_some(keys), file))
}

fn finish(context: &Context, dir: &Path, file: File, keys: Option<&[u8]>) -> Result<u8> {
    let bar = context.progress("restoring", Unit::Bytes);
    let Restored { realm, manifest, new_keys } =
        backup::restore(dir, file, keys, context.clock.clone(), &bar)?;
    drop(bar);
    hosting::after_change(&realm, &context.sync_progress())?;
    let new: Vec<_> = new_keys.iter().map(|a| a.as_str()).collect();
    let value = json!({"realm": realm.name.as_str(), "dir": dir, "backup": manifest.id,
                       "made_at": manifest.created_at, "users": manifest.users, "keys": manifest.keys,
                       "new_signing_keys": new});
    context.out.print(&value, || {
        let mut text = format!(
            "the realm {} is restored in {} from backup {} of {}\n{} users, {} keys\n",
            realm.name,
            dir.display(),
            manifest.id,
            time(manifest.created_at),
            manifest.users,
            manifest.keys
        );
        if !new.is_empty() {
            text.push_str(&format!(
                "new signing keys for {}: verifiers that hold a secret want the new one\n",
                new.join(", ")
            ));
        }
        text
    });
    warn(&format!(
        "what was removed, locked or revoked after {} counts again; look over: seamless key list, user list",
        time(manifest.created_at)
    ));
    Ok(0)
}

/// The private keys, as the call says and the backup has them.
fn keys(args: &Restore, manifest: &Manifest, file: &mut File) -> Result<Option<Zeroizing<Vec<u8>>>> {
    match &args.identity {
        Some(identity) => {
            rewind(file)?;
            backup::decrypt_keys(&*file, identity).map(Some)
        }
        None if args.new_keys || manifest.recipients.is_empty() => Ok(None),
        None => Err(Error::usage("this backup has the realm's private keys in it, encrypted")
            .hint("say --identity FILE to take them, or --new-keys to go without")),
    }
}

/// Opens what is read more than once; a pipe is kept in a file that has no name.
fn seekable(name: &str) -> Result<File> {
    let path = Path::new(if name == "-" { "/dev/stdin" } else { name });
    let failed = |e: std::io::Error| Error::failed(io("read", path, &e).message());
    let mut file = if name == "-" {
        File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?)
    } else {
        File::open(path).map_err(failed)?
    };
    if file.metadata().map_err(failed)?.is_file() {
        return Ok(file);
    }
    let mut kept = tempfile::tempfile().map_err(failed)?;
    std::io::copy(&mut file, &mut kept).map_err(failed)?;
    rewind(&mut kept)?;
    Ok(kept)
}

fn rewind(file: &mut File) -> Result<()> {
    file.rewind().map_err(|e| Error::failed(format!("the backup can't be read again: {e}")))
}

fn broken_pipe(e: &std::io::Error) -> Error {
    Error::internal(format!("standard input or output: {e}"))
}

pub(super) fn upgrade(context: &Context, args: Upgrade) -> Result<u8> {
    if !args.all {
        return one(context, &context.place(args.realm.as_deref())?);
    }
    let mut worst = 0;
    let mut places: Vec<Place> = hosting::realms().into_iter().map(Place::Account).collect();
    if !is_root() {
        places.clear();
    }
    let own = super::target::data_dir().ok().and_then(|dir| std::fs::read_dir(dir).ok());
    for dir in own.into_iter().flatten().flatten().map(|e| e.path()) {
        if dir.join(crate::config::FILE).exists() {
            places.push(Place::Dir(dir));
        }
    }
    for place in places {
        // One that can't be taken forward does not hold the others up.
        match one(context, &place) {
            Ok(code) => worst = worst.max(code),
            Err(error) => {
                super::output::complain(&error);
                worst = worst.max(error.kind().exit_code());
            }
        }
    }
    Ok(worst)
}

fn one(context: &Context, place: &Place) -> Result<u8> {
    if let Some(account) = context.account_to_become(place) {
        // Named by its home: the words of this call may mean many.
        let argv = ["realm", "upgrade", "--realm-home"].map(Into::into);
        let argv = [&argv[..], &[account.home.clone().into_os_string()]].concat();
        return hosting::as_account(&account, &argv, None);
    }
    let realm = match context.enter(place, Access::Write, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let value = json!({"realm": realm.name.as_str(), "from_schema": realm.upgraded_from, "schema": SCHEMA});
    let text = match realm.upgraded_from {
        Some(from) => format!("{}: from schema {from} to {SCHEMA}\n", realm.name),
        None => format!("{}: up to date, schema {SCHEMA}\n", realm.name),
    };
    if context.out.json {
        write_out(&format!("{value}\n"));
    } else {
        write_out(&text);
    }
    Ok(0)
}
