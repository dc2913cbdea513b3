//! Files in a realm: opened without following links, refused when others could have read or written them,
//! and replaced whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::error::{Error, Result, io};

/// The most that a private key or secret may hold.
const MOST_PRIVATE: u64 = 64 * 1024;

/// Reads a private key or secret: a regular file of ours that nobody else can touch.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let file = open_read(path)?;
    let meta = file.metadata().map_err(|e| io("look at", path, &e))?;
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us {
        return Err(Error::internal(format!("{} belongs to uid {}, not to us (uid {us})", path.display(), meta.uid()))
            .hint(format!("if it is ours: chown {us} {}", path.display())));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Error::internal(format!("{} can be read by others (mode {:04o})", path.display(), meta.mode() & 0o7777))
            .hint(format!("if nobody has read it: chmod 0400 {}", path.display())));
    }
    // One allocation of the right size: a buffer that grows leaves copies behind.
    let size = usize::try_from(meta.len().min(MOST_PRIVATE)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(MOST_PRIVATE + 1).read_to_end(&mut bytes).map_err(|e| io("read", path, &e))?;
    if bytes.len() > size {
        return Err(Error::internal(format!("{} is over 64 KiB", path.display())));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `limit` bytes.
pub fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_read(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| io("read", path, &e))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Error::failed(format!("{} is over {limit} bytes", path.display())));
    }
    Ok(bytes)
}

/// Writes a new private file, 0400. One that is there already is an error.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .custom_flags(nofollow())
        .open(path)
        .map_err(|e| io("make", path, &e))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(e) = written {
        let _ = std::fs::remove_file(path);
        return Err(io("write", path, &e));
    }
    sync_parent(path)
}

/// Replaces a file whole: readers see the old one or the new one, also after a crash.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(|e| io("write into", dir, &e))?;
    let written = file.write_all(bytes).and_then(|()| {
        // The mode at creation was cut by the umask.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()
    });
    written.map_err(|e| io("write", path, &e))?;
    file.persist(path).map_err(|e| io("replace", path, &e.error))?;
    sync_parent(path)
}

/// Makes a directory with this mode; one that is there already must be a directory.
pub fn create_dir(path: &Path, mode: u32) -> Result<()> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(|e| io("make", path, &e)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = path.symlink_metadata().map_err(|e| io("look at", path, &e))?;
            if meta.is_dir() { Ok(()) } else { Err(Error::internal(format!("{} is in the way: it is no directory", path.display()))) }
        }
        Err(e) => Err(io("make", path, &e)),
    }
}

/// Sets a mode; a link is refused.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let file = OpenOptions::new().read(true).custom_flags(nofollow()).open(path).map_err(|e| io("open", path, &e))?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(|e| io("change", path, &e))
}

/// A realm's directory is ours, and nobody else looks into it.
pub fn check_private_dir(path: &Path) -> Result<()> {
    let meta = path.symlink_metadata().map_err(|e| io("look at", path, &e))?;
    if !meta.is_dir() {
        return Err(Error::internal(format!("{} is a link or no directory", path.display())));
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us {
        return Err(Error::internal(format!("{} belongs to uid {}, not to us (uid {us})", path.display(), meta.uid()))
            .hint("run it as the realm's own account, or as root"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Error::internal(format!("{} is open to others (mode {:04o})", path.display(), meta.mode() & 0o7777))
            .hint(format!("chmod 0700 {}", path.display())));
    }
    Ok(())
}

/// The open flags that refuse a link as the last part of a path.
pub(crate) fn nofollow() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default()
}

/// Makes a rename or a new file in a directory survive a crash.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let dir = parent(path);
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| io("sync", dir, &e))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open_read(path: &Path) -> Result<File> {
    // Non-blocking, so that a named pipe in place of the file can't hold us up.
    let flags = nofollow() | i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| {
        if path.is_symlink() {
            return Error::internal(format!("{} is a symbolic link, which is not followed", path.display()));
        }
        io("read", path, &e)
    })?;
    let meta = file.metadata().map_err(|e| io("look at", path, &e))?;
    if !meta.is_file() {
        return Err(Error::failed(format!("{} is not a regular file", path.display())));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_refused_when_others_could_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create_private(&path, b"0123456789abcdef").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o400);
        assert_eq!(&**read_private(&path).unwrap(), b"0123456789abcdef");
        assert!(create_private(&path, b"other").unwrap_err().message().contains("can't make"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        let error = read_private(&path).unwrap_err();
        assert!(error.hint_text().unwrap().contains("chmod 0400"), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read_private(&link).unwrap_err().message().contains("symbolic link"));
        assert!(read_private(dir.path()).unwrap_err().message().contains("not a regular file"));
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o644).unwrap();
        assert_eq!(read_small(&path, 10).unwrap(), b"two");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
        assert!(read_small(&path, 2).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_realm_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let realm = dir.path().join("realm");
        create_dir(&realm, 0o700).unwrap();
        create_dir(&realm, 0o700).unwrap();
        check_private_dir(&realm).unwrap();
        std::fs::set_permissions(&realm, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(check_private_dir(&realm).unwrap_err().hint_text().unwrap().contains("chmod 0700"));
    }
}
