//! What lies in a realm's directory, with owners and modes. No link is followed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link, a socket or whatever else does not belong there.
    Other,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its whole path.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its permission bits.
    pub mode: u32,
}

/// The directory itself and what is in it and in its folders, sorted by path.
#[must_use]
pub fn entries(dir: &Path) -> Vec<Entry> {
    let mut found: Vec<_> = entry(dir).into_iter().collect();
    let mut at = 0;
    while let Some(Entry { path, kind, .. }) = found.get(at).cloned() {
        // A link to a folder is no folder here.
        if kind == Kind::Folder {
            let inside = std::fs::read_dir(&path).into_iter().flatten().flatten();
            found.extend(inside.filter_map(|e| entry(&e.path())));
        }
        at += 1;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The directories above: whoever can write to one can swap the realm for another.
#[must_use]
pub fn parents(dir: &Path) -> Vec<Entry> {
    // A link on the way there is not what counts but where it leads.
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    dir.ancestors().skip(1).filter_map(entry).collect()
}

/// Directories of ours beside the realm that a killed `init` or `restore` was filling.
#[must_use]
pub fn unfinished_beside(dir: &Path) -> Vec<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let entries = dir.parent().and_then(|parent| std::fs::read_dir(parent).ok());
    let begun = |path: &Path| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.starts_with(".new-")
            && path.join("signing").is_dir()
            && entry(path).is_some_and(|e| e.kind == Kind::Folder && e.uid == uid)
    };
    entries.into_iter().flatten().flatten().map(|e| e.path()).filter(|path| begun(path)).collect()
}

fn entry(path: &Path) -> Option<Entry> {
    let meta = path.symlink_metadata().ok()?;
    let kind = match meta.file_type() {
        kind if kind.is_dir() => Kind::Folder,
        kind if kind.is_file() => Kind::File,
        _ => Kind::Other,
    };
    Some(Entry { path: path.to_owned(), kind, uid: meta.uid(), mode: meta.mode() & 0o7777 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_named_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("signing")).unwrap();
        std::fs::write(dir.path().join("signing/key.pem"), "").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join(".ssh")).unwrap();
        let found = entries(dir.path());
        let names: Vec<_> = found
            .iter()
            .map(|e| (e.path.strip_prefix(dir.path()).unwrap().to_str().unwrap(), e.kind))
            .collect();
        assert_eq!(
            names,
            [
                ("", Kind::Folder),
                (".ssh", Kind::Other),
                ("signing", Kind::Folder),
                ("signing/key.pem", Kind::File)
            ]
        );
        assert!(entries(Path::new("/nonexistent")).is_empty());
        assert_eq!(parents(Path::new("/a")).len(), 1);
    }
}
