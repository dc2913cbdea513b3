//! Changes to other programs' files: planned, shown, agreed to, then written whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::doors::output::{confirm, note, visible, write_out};
use crate::error::{Error, Result, io};

use super::diff;

/// A file as it is and as it is to be.
pub(super) struct Edit {
    path: PathBuf,
    before: String,
    after: String,
}

impl Edit {
    /// Reads the file, which may be missing.
    pub(super) fn of(path: PathBuf, change: impl FnOnce(&str) -> Result<String>) -> Result<Self> {
        let before = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io("read", &path, &error)),
        };
        let after = change(&before).map_err(|error| {
            let named = Error::new(error.kind(), format!("{}: {}", path.display(), error.message()));
            match error.hint_text() {
                Some(hint) => named.hint(hint),
                None => named,
            }
        })?;
        Ok(Self { path, before, after })
    }

    fn write(&self) -> Result<()> {
        // Where a link leads, since dotfiles are often kept elsewhere.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let failed = |error: &std::io::Error| io("write", &path, error);
        if !folder.is_dir() {
            std::fs::create_dir_all(folder).map_err(|e| io("make", folder, &e))?;
            // What lies in such folders says who logs in where.
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
                .map_err(|e| failed(&e))?;
        }
        // A temporary file is the owner's alone; one that was there keeps its mode.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(&e))?;
        if let Ok(meta) = path.metadata() {
            file.as_file().set_permissions(meta.permissions()).map_err(|e| failed(&e))?;
        }
        file.write_all(self.after.as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(|e| failed(&e))?;
        file.persist(&path).map(drop).map_err(|e| failed(&e.error))
    }
}

/// Shows the changes, asks, and makes them. Whether there were any.
pub(super) fn make(edits: &[Edit], yes: bool, print: bool) -> Result<bool> {
    let changes: Vec<_> = edits.iter().filter(|edit| edit.before != edit.after).collect();
    for edit in &changes {
        let shown: String = diff::lines(&edit.before, &edit.after).lines().map(shown).collect();
        write_out(&format!("{}\n{}", edit.path.display(), shown));
    }
    if changes.is_empty() {
        note("seamless: nothing to change");
        return Ok(false);
    }
    if print {
        return Ok(false);
    }
    confirm("make these changes", yes)?;
    for edit in changes {
        edit.write()?;
    }
    Ok(true)
}

/// Keys in these files whose values are secrets: a change beside one shows the line, and not that.
const SECRET: [&str; 7] =
    ["auth", "client-key-data", "identitytoken", "password", "registrytoken", "secret", "token"];

/// A line as a terminal may have it.
fn shown(line: &str) -> String {
    let line = line.split('\t').map(visible).collect::<Vec<_>>().join("\t");
    let Some((key, _)) = line.split_once([':', '=']) else { return line + "\n" };
    let name = key.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
    if SECRET.contains(&name.as_str()) { format!("{key}: …\n") } else { line + "\n" }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn secrets_beside_a_change_are_not_shown() {
        assert_eq!(shown(" \t\t\"auth\": \"YWRhOng=\""), " \t\t\"auth\": …\n");
        assert_eq!(shown("     token: abc"), "     token: …\n");
        assert_eq!(shown("+\thelper = seamless"), "+\thelper = seamless\n");
        assert_eq!(shown("-\u{1b}[2J"), "-\\u{1b}[2J\n");
    }
}
