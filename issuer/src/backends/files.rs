//! Files inside a realm: opened without following links, refused where others reach them, written whole or not
//! at all.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::error::{self, Error, Result};

/// A private key or secret: written once, never changed in place.
pub const SECRET_FILE: u32 = 0o400;
/// What the realm alone reads and writes: the database, the audit log, `realm.toml`.
pub const PRIVATE_FILE: u32 = 0o600;
/// A directory of the realm.
pub const PRIVATE_DIR: u32 = 0o700;
/// What others may read, such as a printed `known_hosts`.
pub const PUBLIC_FILE: u32 = 0o644;

/// The longest key file or secret, in bytes.
pub const MOST_SECRET_BYTES: usize = 64 * 1024;

/// Reads a private key or secret.
///
/// Refuses a link, anything but a regular file, a file of another account, one that group or others can reach,
/// and one over [`MOST_SECRET_BYTES`].
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let file = open(path)?;
    let metadata = regular(path, &file)?;
    check_ours(path, &metadata, SECRET_FILE)?;
    read_at_most(path, file, MOST_SECRET_BYTES)
}

/// Reads a file of at most `limit` bytes, such as `realm.toml`. Refuses a link and anything but a regular file.
pub fn read_small(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let file = open(path)?;
    regular(path, &file)?;
    Ok(std::mem::take(&mut *read_at_most(path, file, limit)?))
}

/// Opens a file of whatever length to read. Refuses a link and anything but a regular file.
pub fn open_regular(path: &Path) -> Result<File> {
    let file = open(path)?;
    regular(path, &file)?;
    Ok(file)
}

/// Puts a file in place of the one at `path`, if any: a reader sees the old bytes or the new, and so does the
/// next start after a crash. A link at `path` is replaced, not followed.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_atomic_with(path, mode, &mut |file| file.write_all(bytes).map_err(|e| error::io("write", path, &e)))
}

/// As [`write_atomic`], for what is too long to be held: `fill` writes it. Where that fails, nothing has happened.
pub fn write_atomic_with(
    path: &Path,
    mode: u32,
    fill: &mut dyn FnMut(&mut dyn io::Write) -> Result<()>,
) -> Result<()> {
    let temporary = write_beside(path, mode, fill)?;
    temporary.persist(path).map_err(|e| error::io("write", path, &e.error))?;
    sync_parent(path)
}

/// Makes a private key or secret, mode 0400. Fails where `path` exists; never leaves half a file there.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = write_beside(path, SECRET_FILE, &mut |file| {
        file.write_all(bytes).map_err(|e| error::io("write", path, &e))
    })?;
    temporary.persist_noclobber(path).map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::failed(format!("{} is there already", path.display())).hint("it was left as it is")
        }
        _ => error::io("write", path, &e.error),
    })?;
    sync_parent(path)
}

/// Makes a directory of exactly this mode. One that is there already is left alone if it is this account's and
/// no more open than `mode`, and refused otherwise.
pub fn create_dir(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // The umask has taken its share of `mode`; a link can't have come between, the parent is ours.
            std::fs::set_permissions(path, Permissions::from_mode(mode))
                .map_err(|e| error::io("set the mode of", path, &e))?;
            sync_parent(path)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => check_dir(path, mode),
        Err(e) => Err(error::io("make", path, &e)),
    }
}

/// Sets a mode; a link is refused.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().read(true).custom_flags(nofollow()).open(path);
    file.and_then(|f| f.set_permissions(Permissions::from_mode(mode)))
        .map_err(|e| error::io("change", path, &e))
}

/// The open flags that refuse a link as the last part of a path.
pub(crate) fn nofollow() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default()
}

/// Checks a realm's directory: a directory and no link, this account's, closed to group and others.
pub fn check_private_dir(path: &Path) -> Result<()> {
    check_dir(path, PRIVATE_DIR)
}

/// Checks a file that something else opens (SQLite does): a regular file and no link, this account's, closed to
/// group and others.
///
/// By name, since opening and closing it here would drop the POSIX locks that SQLite holds in this process.
pub fn check_private_file(path: &Path) -> Result<()> {
    let metadata = std::fs::symlink_metadata(path).map_err(|e| error::io("open", path, &e))?;
    if metadata.is_symlink() {
        return Err(is_a_link(path));
    }
    if !metadata.is_file() {
        return Err(Error::internal(format!("{} is not a regular file", path.display())));
    }
    check_ours(path, &metadata, PRIVATE_FILE)
}

/// Checks that a file or directory is this account's and has no bit for group and others that `mend` lacks;
/// `mend` is what the hint's chmod says.
pub(crate) fn check_ours(path: &Path, metadata: &Metadata, mend: u32) -> Result<()> {
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != us {
        return Err(Error::internal(format!(
            "{} belongs to the account with uid {owner}, this runs as uid {us}",
            path.display()
        ))
        .hint(format!("run it as the realm's own account, or chown {us} {}", path.display())));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 & !mend != 0 {
        let what = if mode & 0o022 & !mend != 0 { "written" } else { "read" };
        return Err(Error::internal(format!(
            "{} can be {what} by other accounts (its mode is {mode:04o})",
            path.display()
        ))
        .hint(format!("chmod {mend:04o} {}", path.display())));
    }
    Ok(())
}

/// The refusal of a symbolic link, by name.
pub(crate) fn is_a_link(path: &Path) -> Error {
    Error::internal(format!("{} is a symbolic link", path.display()))
        .hint("a realm follows no links: put the file itself there")
}

/// Whether there is a place to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// In bytes, for this account.
    pub free: u64,
    /// How many new files it takes; nothing where its file system does not count them.
    pub files: Option<u64>,
    /// The file system takes no changes.
    pub read_only: bool,
}

impl Room {
    /// The least that a record and the block it lies in want, in bytes.
    const LEAST: u64 = 8 * 1024;

    /// Whether there is none: a record wants bytes, and a database that is opened wants two files beside it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.free < Self::LEAST || self.has_no_files()
    }

    /// Whether bytes may be left, but no new file can be made.
    #[must_use]
    pub fn has_no_files(&self) -> bool {
        self.files.is_some_and(|files| files < 2)
    }
}

/// What the file system of `dir` has left.
pub fn room(dir: &Path) -> Result<Room> {
    let stat = rustix::fs::statvfs(dir).map_err(|e| error::io("look at", dir, &e.into()))?;
    let read_only = stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    let files = (stat.f_files > 0).then_some(stat.f_favail);
    Ok(Room { free: stat.f_bavail.saturating_mul(stat.f_frsize), files, read_only })
}

/// Makes the name of a new, renamed or removed file in `dir` last.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| error::io("sync", dir, &e))
}

fn check_dir(path: &Path, mode: u32) -> Result<()> {
    let metadata = std::fs::symlink_metadata(path).map_err(|e| error::io("open", path, &e))?;
    if metadata.is_symlink() {
        return Err(is_a_link(path));
    }
    if !metadata.is_dir() {
        return Err(Error::internal(format!("{} is not a directory", path.display())));
    }
    check_ours(path, &metadata, mode)
}

fn open(path: &Path) -> Result<File> {
    // NONBLOCK: a FIFO in the file's place must not hang a log-in. It changes nothing for a regular file.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(File::from(fd)),
        Err(Errno::LOOP) => Err(is_a_link(path)),
        Err(e) => Err(error::io("read", path, &e.into())),
    }
}

fn regular(path: &Path, file: &File) -> Result<Metadata> {
    let metadata = file.metadata().map_err(|e| error::io("read", path, &e))?;
    if metadata.is_file() {
        return Ok(metadata);
    }
    Err(Error::internal(format!("{} is not a regular file", path.display())))
}

fn read_at_most(path: &Path, file: File, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    // All the room at once: a vector that grows leaves copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1)));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(|e| error::io("read", path, &e))?;
    if bytes.len() > limit {
        return Err(Error::internal(format!("{} is longer than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

/// A temporary file in `path`'s directory, on the disk already. Removed unless persisted.
fn write_beside(
    path: &Path,
    mode: u32,
    fill: &mut dyn FnMut(&mut dyn io::Write) -> Result<()>,
) -> Result<NamedTempFile> {
    let failed = |e: io::Error| error::io("write", path, &e);
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent(path)).map_err(failed)?;
    fill(&mut file)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    Ok(file)
}

fn sync_parent(path: &Path) -> Result<()> {
    sync_dir(parent(path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::Kind;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_comes_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_private(&path, b"secret\n").unwrap();
        assert_eq!(mode(&path), 0o400);
        assert_eq!(read_private(&path).unwrap().as_slice(), b"secret\n");

        let error = create_private(&path, b"other").unwrap_err();
        assert_eq!(error.message(), format!("{} is there already", path.display()));
        assert_eq!(read_private(&path).unwrap().as_slice(), b"secret\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_secret_that_others_reach_is_refused_with_the_chmod() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_private(&path, b"secret").unwrap();
        for (open, what) in [(0o440, "read"), (0o404, "read"), (0o620, "written"), (0o602, "written")] {
            set_mode(&path, open);
            let error = read_private(&path).unwrap_err();
            assert_eq!(error.kind(), Kind::Internal);
            assert!(error.message().contains(&format!("can be {what} by other accounts")), "{error}");
            assert!(error.message().contains(&format!("{open:04o}")), "{error}");
            assert_eq!(error.hint_text(), Some(&*format!("chmod 0400 {}", path.display())));
        }
        set_mode(&path, 0o600);
        read_private(&path).unwrap();
    }

    #[test]
    fn links_fifos_and_directories_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        create_private(&key, b"secret").unwrap();
        let link = dir.path().join("link");
        symlink(&key, &link).unwrap();
        for error in [
            read_private(&link).unwrap_err(),
            read_small(&link, 100).unwrap_err(),
            check_private_file(&link).unwrap_err(),
        ] {
            assert_eq!(error.message(), format!("{} is a symbolic link", link.display()));
        }

        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        for path in [fifo.as_path(), dir.path()] {
            let error = read_private(path).unwrap_err();
            assert_eq!(error.message(), format!("{} is not a regular file", path.display()));
        }

        let missing = dir.path().join("missing");
        let error = read_private(&missing).unwrap_err();
        assert_eq!(error.message(), format!("can't read {}: no such file or directory", missing.display()));
    }

    #[test]
    fn reads_stop_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("realm.toml");
        fs::write(&path, [b'a'; 100]).unwrap();
        assert_eq!(read_small(&path, 100).unwrap().len(), 100);
        assert!(read_small(&path, 99).unwrap_err().message().ends_with("is longer than 99 bytes"));
        fs::write(&path, vec![0; MOST_SECRET_BYTES + 1]).unwrap();
        set_mode(&path, 0o400);
        read_private(&path).unwrap_err();
    }

    #[test]
    fn an_atomic_write_replaces_a_file_and_never_follows_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("file"), dir.path().join("elsewhere"));
        write_atomic(&path, b"one", 0o644).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o644));
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o600));

        fs::write(&elsewhere, "untouched").unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&elsewhere, &path).unwrap();
        write_atomic(&path, b"three", 0o600).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"untouched");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());

        let nowhere = dir.path().join("no/such/file");
        assert!(write_atomic(&nowhere, b"x", 0o600).unwrap_err().message().contains("no such file"));
    }

    #[test]
    fn directories_are_made_private_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("realm");
        create_dir(&path, PRIVATE_DIR).unwrap();
        assert_eq!(mode(&path), 0o700);
        create_dir(&path, PRIVATE_DIR).unwrap();
        check_private_dir(&path).unwrap();

        set_mode(&path, 0o750);
        let error = check_private_dir(&path).unwrap_err();
        assert_eq!(error.hint_text(), Some(&*format!("chmod 0700 {}", path.display())));
        assert_eq!(create_dir(&path, PRIVATE_DIR).unwrap_err(), error);
        create_dir(&path, 0o755).unwrap();

        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(check_private_dir(&link).unwrap_err().message().ends_with("is a symbolic link"));
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(
            check_private_dir(&dir.path().join("file")).unwrap_err().message().ends_with("not a directory")
        );
    }

    #[test]
    fn another_account_s_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_private(&path, b"secret").unwrap();
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
            return;
        }
        let error = read_private(&path).unwrap_err();
        assert!(error.message().contains("belongs to the account with uid 12345"), "{error}");
        assert!(error.hint_text().unwrap().contains("chown 0 "), "{error}");
    }
}
