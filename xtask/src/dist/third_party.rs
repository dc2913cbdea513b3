//! The licences and copyright notices of what the program is linked with: nearly all of them ask to be passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::outcome::{Doing, Result};
use crate::process::{cargo, output};

/// What is passed on.
pub struct Linked<'a> {
    /// The package that everything is linked into.
    pub package: &'a str,
    /// What it runs on.
    pub target: &'a str,
    /// The first line.
    pub heading: &'a str,
}

/// A list of the crates, then each text once with the crates that have it.
pub fn notices(root: &Path, of: &Linked<'_>) -> Result<String> {
    let mut list = String::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked(root, of)? {
        let word = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let name = format!("{} {}", word("name"), word("version"));
        list.push_str(&format!("{name}: {}; {}\n", word("license"), word("repository")));
        let folder = PathBuf::from(word("manifest_path"));
        for path in notice_files(folder.parent().unwrap_or(Path::new("/")))? {
            let bytes = std::fs::read(&path).doing(format_args!("read {}", path.display()))?;
            let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n").trim().to_owned();
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    let mut out = format!("{}\n\n{list}", of.heading);
    for (text, names) in texts {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        out.push_str(&format!("\n{}\n{names}\n\n{text}\n", "-".repeat(80)));
    }
    Ok(out)
}

/// The packages that it is linked with there, without build scripts and tests.
fn linked(root: &Path, of: &Linked<'_>) -> Result<Vec<Value>> {
    let tree = output(
        cargo()
            .args(["tree", "--package", of.package, "--edges", "normal", "--prefix", "none"])
            .args(["--format", "{p}", "--locked", "--target", of.target])
            .current_dir(root),
    )?;
    // `name v1.2.3 (path)`
    let names: BTreeSet<(String, String)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
        })
        .collect();
    let text = output(cargo().args(["metadata", "--format-version", "1", "--locked"]).current_dir(root))?;
    let metadata: Value = serde_json::from_str(&text).doing("read cargo metadata")?;
    let mut packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    packages.retain(|package| {
        let word = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        // Ours have no source.
        !package["source"].is_null() && names.contains(&(word("name"), word("version")))
    });
    packages.sort_by_key(|package| package["id"].to_string());
    Ok(packages)
}

/// Files such as LICENSE-MIT and COPYING beside the manifest.
fn notice_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).doing(format_args!("read {}", folder.display()))?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.retain(|path| {
        let name =
            path.file_name().map(|name| name.to_string_lossy().to_ascii_uppercase()).unwrap_or_default();
        ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start))
    });
    files.sort();
    Ok(files)
}
