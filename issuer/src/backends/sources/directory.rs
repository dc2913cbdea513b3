//! A folder of public key files: `NAME.pub`, and `NAME_id_rsa.pub` as crtauth has them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Answer, KeySource, usable};
use crate::backends::files;
use crate::config;
use crate::error::{Result, io};
use crate::names::UserName;
use crate::public_key::{MOST_BYTES, PublicKey};

/// The folder. A user's name is one by type: nothing in it leads out.
pub struct Directory {
    name: String,
    path: PathBuf,
    groups: Vec<String>,
}

/// The ending that crtauth wants.
const ORIGINAL: &str = "_id_rsa";

impl Directory {
    /// As the settings say.
    #[must_use]
    pub fn new(settings: &config::Directory, realm: &Path) -> Self {
        let path = realm.join(&settings.path);
        Self { name: format!("directory {}", path.display()), path, groups: settings.groups.clone() }
    }

    /// The files that a user's keys may lie in. `x_id_rsa.pub` is x's: a user of the name `x_id_rsa` has none such.
    fn files(&self, user: &UserName) -> impl Iterator<Item = PathBuf> {
        let own = (!user.as_str().ends_with(ORIGINAL)).then(|| self.path.join(format!("{user}.pub")));
        own.into_iter().chain([self.path.join(format!("{user}{ORIGINAL}.pub"))])
    }
}

impl KeySource for Directory {
    fn name(&self) -> &str {
        &self.name
    }

    fn keys_of(&self, user: &UserName, _known: bool, _now: u64) -> Result<Answer> {
        let mut found = false;
        let mut keys = Vec::new();
        for file in self.files(user) {
            match file.symlink_metadata() {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(io("look at", &file, &e)),
                Ok(_) => {}
            }
            found = true;
            // Refuses a link and whatever is no regular file.
            let bytes = files::read_small(&file, MOST_BYTES)?;
            keys.extend(usable(&String::from_utf8_lossy(&bytes), &self.name));
        }
        if !found {
            // Without the folder there is no telling who is in it.
            self.check()?;
            return Ok(Answer::Unknown);
        }
        Ok(Answer::User { keys, groups: self.groups.clone() })
    }

    fn each(&self, _known: &[UserName], now: u64, each: &mut dyn FnMut(UserName, PublicKey)) -> Result<()> {
        let entries = std::fs::read_dir(&self.path).map_err(|e| io("read", &self.path, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| io("read", &self.path, &e))?;
            let name = entry.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".pub")) else { continue };
            let Ok(user) = stem.strip_suffix(ORIGINAL).unwrap_or(stem).parse::<UserName>() else { continue };
            // One broken file must not lock all others out.
            if let Ok(Answer::User { keys, .. }) = self.keys_of(&user, false, now) {
                keys.into_iter().for_each(|key| each(user.clone(), key));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        std::fs::read_dir(&self.path).map(|_| ()).map_err(|e| io("read", &self.path, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn folder() -> (tempfile::TempDir, Directory) {
        let parent = tempfile::tempdir().unwrap();
        let settings = config::Directory { path: "keys".into(), groups: vec!["staff".into()] };
        std::fs::create_dir(parent.path().join("keys")).unwrap();
        let directory = Directory::new(&settings, parent.path());
        (parent, directory)
    }

    fn keys(directory: &Directory, user: &str) -> Option<usize> {
        match directory.keys_of(&user.parse().unwrap(), false, 0).unwrap() {
            Answer::User { keys, .. } => Some(keys.len()),
            Answer::Unknown | Answer::Refused(_) => None,
        }
    }

    #[test]
    fn files_are_found_as_crtauth_has_them_and_as_people_name_them() {
        let (_parent, directory) = folder();
        let put = |name: &str, text: &str| std::fs::write(directory.path.join(name), text).unwrap();
        put("ada.pub", &format!("# of ada\n{KEY} ada@home\nnonsense\n\n"));
        put("bob_id_rsa.pub", &format!("{KEY}\n"));
        put("cora.pub", "ssh-dss AAAA\n");
        assert_eq!((keys(&directory, "ada"), keys(&directory, "bob")), (Some(1), Some(1)));
        assert_eq!(keys(&directory, "cora"), Some(0), "she is there, without a usable key");
        assert_eq!(keys(&directory, "dora"), None);
        let mut seen = Vec::new();
        directory.each(&[], 0, &mut |user, _| seen.push(user.to_string())).unwrap();
        seen.sort();
        assert_eq!(seen, ["ada", "bob"]);
    }

    /// Attack: take another's file for one's own, by a name.
    #[test]
    fn a_name_opens_no_other_file() {
        let (parent, directory) = folder();
        std::fs::write(directory.path.join("bob_id_rsa.pub"), KEY).unwrap();
        assert_eq!(keys(&directory, "bob_id_rsa"), None);
        std::fs::write(parent.path().join("out.pub"), KEY).unwrap();
        assert!("../out".parse::<UserName>().is_err());
        std::os::unix::fs::symlink(parent.path().join("out.pub"), directory.path.join("eve.pub")).unwrap();
        assert!(directory.keys_of(&"eve".parse().unwrap(), false, 0).is_err(), "a link");
    }

    #[test]
    fn a_folder_that_is_gone_is_no_empty_one() {
        let (_parent, directory) = folder();
        std::fs::remove_dir(&directory.path).unwrap();
        assert!(directory.keys_of(&"ada".parse().unwrap(), false, 0).is_err());
        assert!(directory.each(&[], 0, &mut |_, _| ()).is_err());
    }
}
