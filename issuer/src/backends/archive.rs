//! The container of a backup: a tar of plain files, nothing else in it.
//!
//! Anybody can look into one with `tar -tvf`. What is read back is bounded and believed only by its name's place in
//! a closed list: no links, no folders, no long names, nothing twice.

use std::io::{Read, Write};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// Writes an archive.
pub struct Writer<W: Write> {
    tar: tar::Builder<W>,
    at: u64,
}

impl<W: Write> Writer<W> {
    /// Onto `out`; every member has this time, in Unix seconds.
    pub fn new(out: W, at: u64) -> Self {
        Self { tar: tar::Builder::new(out), at }
    }

    /// Adds a member of exactly `size` bytes.
    pub fn add(&mut self, name: &str, size: u64, mut from: impl Read) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(self.at);
        let mut counted = from.by_ref().take(size);
        self.tar.append_data(&mut header, name, &mut counted).map_err(|e| written(&e))?;
        if counted.limit() != 0 {
            return Err(Error::failed(format!("{name} became shorter while it was backed up")));
        }
        Ok(())
    }

    /// Ends it and gives back what it was written onto.
    pub fn end(self) -> Result<W> {
        self.tar.into_inner().map_err(|e| written(&e))
    }
}

fn written(e: &std::io::Error) -> Error {
    let error = Error::failed(format!("the backup can't be written: {e}"));
    if e.kind() == std::io::ErrorKind::StorageFull {
        return error.hint("free some space and repeat; nothing was changed");
    }
    error
}

/// Hands each member to `each`, in order, with its size. What `each` leaves unread is passed over.
pub fn read(from: impl Read, mut each: impl FnMut(&str, u64, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    let mut archive = tar::Archive::new(from);
    // Raw: what makes names longer, or files sparse, is refused as the member it is.
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let (name, size, mut entry) = plain(entry)?;
        if !seen.insert(name.clone()) {
            return Err(damaged(&format!("{:?} is there twice", crate::names::shorten(&name))));
        }
        each(&name, size, &mut entry)?;
    }
    Ok(())
}

/// The same for the first member alone.
pub fn first<T>(from: impl Read, look: impl FnOnce(&str, u64, &mut dyn Read) -> Result<T>) -> Result<T> {
    let mut archive = tar::Archive::new(from);
    let entry = archive.entries().map_err(broken)?.raw(true).next().ok_or_else(|| damaged("it is empty"))?;
    let (name, size, mut entry) = plain(entry)?;
    look(&name, size, &mut entry)
}

type Entry<'a, R> = std::io::Result<tar::Entry<'a, R>>;

fn plain<R: Read>(entry: Entry<'_, R>) -> Result<(String, u64, tar::Entry<'_, R>)> {
    let entry = entry.map_err(broken)?;
    let name = std::str::from_utf8(&entry.path_bytes())
        .map(str::to_owned)
        .map_err(|_| damaged("a name is not text"))?;
    if entry.header().entry_type() != tar::EntryType::Regular {
        return Err(damaged(&format!("{:?} is no plain file", crate::names::shorten(&name))));
    }
    let size = entry.header().entry_size().map_err(broken)?;
    Ok((name, size, entry))
}

fn broken(e: std::io::Error) -> Error {
    damaged(&e.to_string())
}

/// What is said of an archive that is not as we write them.
pub fn damaged(why: &str) -> Error {
    Error::failed(format!("this is no whole backup: {why}"))
        .hint("nothing was restored; take another copy of the file")
}

/// Copies at most `size` bytes and gives their SHA-256 in hexadecimal; fewer than that are an error.
pub fn copy_hashed(from: &mut dyn Read, size: u64, to: &mut dyn Write) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut left = from.take(size);
    let mut buffer = vec![0; 128 * 1024];
    let mut copied: u64 = 0;
    loop {
        let count = left.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|b| !b.is_empty()) else { break };
        hash.update(bytes);
        to.write_all(bytes)?;
        copied += u64::try_from(count).unwrap_or(0);
    }
    if copied != size {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        read(bytes, |name, _, _| {
            names.push(name.to_owned());
            Ok(())
        })?;
        Ok(names)
    }

    fn tar_of(add: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder);
        builder.into_inner().unwrap()
    }

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size);
        header
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new(Vec::new(), 1_800_000_000);
        writer.add("a", 3, &b"one"[..]).unwrap();
        writer.add("audit/2026-11.jsonl", 3, &b"two and more"[..]).unwrap();
        assert!(writer.add("short", 9, &b"one"[..]).is_err());
        let mut writer = Writer::new(Vec::new(), 0);
        writer.add("a", 3, &b"one"[..]).unwrap();
        let bytes = writer.end().unwrap();
        assert_eq!(names(&bytes).unwrap(), ["a"]);
        for cut in [100, 512, 513, 600] {
            assert!(names(&bytes[..cut]).is_err() || names(&bytes[..cut]).unwrap().is_empty(), "{cut}");
        }
    }

    #[test]
    fn nothing_but_plain_files_once() {
        let link = tar_of(|b| {
            let mut header = header(tar::EntryType::Symlink, 0);
            b.append_link(&mut header, "realm.db", "/etc/passwd").unwrap();
        });
        let folder =
            tar_of(|b| b.append_data(&mut header(tar::EntryType::Directory, 0), "audit", &[][..]).unwrap());
        let twice = tar_of(|b| {
            for _ in 0..2 {
                b.append_data(&mut header(tar::EntryType::Regular, 1), "realm.db", &b"x"[..]).unwrap();
            }
        });
        let long = tar_of(|b| {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            b.append_data(&mut header, "a".repeat(300), &b"x"[..]).unwrap();
        });
        for (what, bytes) in [("link", link), ("folder", folder), ("twice", twice), ("long name", long)] {
            assert!(names(&bytes).is_err(), "{what}");
        }
    }
}
