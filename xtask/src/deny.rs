//! Licences, bans and sources of every dependency, and which of our crates may use which.
//!
//! `deny.toml` is cargo-deny's own file, and `cargo deny check bans licenses sources` reads it too. Building
//! cargo-deny takes minutes, so what we rely on in it is checked here over `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{cargo, output};

/// Who may use whom (design: "the house"); path dependencies outside this table fail the check.
const ROOMS: &[(&str, &[&str])] = &[
    ("seamless-token", &[]),
    ("seamless-crtauth", &["seamless-token"]),
    ("seamless-client", &["seamless-token", "seamless-crtauth"]),
    ("seamless-tower", &["seamless-token"]),
    ("seamless-issuer", &["seamless-token", "seamless-crtauth", "seamless-client", "seamless-tower"]),
    // What a Rust service verifies with is what a Python one does.
    ("seamless-python", &["seamless-token", "seamless-client", "seamless-tower"]),
    ("seamless-verifier-js", &["seamless-token"]),
    ("seamless-filter", &["seamless-token"]),
    ("seamless-worker", &["seamless-token"]),
    ("seamless-bench", &["seamless-token", "seamless-crtauth"]),
    ("seamless-tests", &[]),
    ("xtask", &[]),
    ("xtask-wasm", &[]),
];

/// Runs the check; a failure lists every finding.
pub fn check(root: &Path) -> Result<String> {
    let rules = Rules::read(&root.join("deny.toml"))?;
    let text = output(cargo().args(["metadata", "--format-version", "1", "--locked"]).current_dir(root))?;
    let metadata: Value = serde_json::from_str(&text).doing("read cargo metadata")?;
    let packages =
        metadata["packages"].as_array().ok_or_else(|| Failure::new("cargo metadata lists no packages"))?;

    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let version = package["version"].as_str().unwrap_or_default();
        versions.entry(name).or_default().insert(version);
        if package["source"].is_null() {
            rooms(package, name, &mut findings);
        } else if !package["source"].as_str().unwrap_or_default().starts_with("registry+") {
            findings.push(format!("{name} {version} does not come from crates.io: {}", package["source"]));
        }
        match package["license"].as_str() {
            Some(licence) if rules.allows(name, licence) => {}
            Some(licence) => findings.push(format!("{name} {version}: licence not allowed: {licence}")),
            None if package["license_file"].is_string() && rules.exceptions.contains_key(name) => {}
            None => findings.push(format!("{name} {version}: no licence named")),
        }
        if rules.banned.contains(name) {
            findings.push(format!("{name} {version} is banned (deny.toml says why)"));
        }
    }
    for (name, versions) in &versions {
        if versions.len() > 1 && rules.single.contains(*name) {
            let versions: Vec<_> = versions.iter().copied().collect();
            findings.push(format!("{name} is there more than once: {}", versions.join(", ")));
        }
    }
    if findings.is_empty() {
        return Ok(format!("{} packages", packages.len()));
    }
    Err(Failure::new(findings.join("\n")))
}

fn rooms(package: &Value, name: &str, findings: &mut Vec<String>) {
    let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == name) else {
        findings.push(format!("{name} is a new room: say in xtask/src/deny.rs which rooms it may use"));
        return;
    };
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let other = dependency["name"].as_str().unwrap_or_default();
        if dependency["path"].is_string() && !allowed.contains(&other) {
            findings.push(format!("{name} may not use {other} (ARCHITECTURE.md says who may use whom)"));
        }
    }
}

/// What we read of deny.toml.
struct Rules {
    licences: BTreeSet<String>,
    exceptions: BTreeMap<String, BTreeSet<String>>,
    banned: BTreeSet<String>,
    single: BTreeSet<String>,
}

impl Rules {
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).doing(format_args!("read {}", path.display()))?;
        let table: toml::Table = text.parse().doing(format_args!("read {}", path.display()))?;
        let list = |section: &str, key: &str| -> Vec<toml::Value> {
            table
                .get(section)
                .and_then(|t| t.get(key))
                .and_then(toml::Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let words =
            |values: &[toml::Value]| values.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
        let word =
            |value: &toml::Value, key: &str| value.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let mut rules = Self {
            licences: words(&list("licenses", "allow")),
            exceptions: BTreeMap::new(),
            banned: BTreeSet::new(),
            single: BTreeSet::new(),
        };
        for exception in list("licenses", "exceptions") {
            let allow = exception.get("allow").and_then(toml::Value::as_array).cloned().unwrap_or_default();
            rules.exceptions.insert(word(&exception, "crate").unwrap_or_default(), words(&allow));
        }
        for ban in list("bans", "deny") {
            let name = word(&ban, "crate").unwrap_or_default();
            let only_twice =
                ban.get("deny-multiple-versions").and_then(toml::Value::as_bool).unwrap_or(false);
            if only_twice {
                rules.single.insert(name)
            } else {
                rules.banned.insert(name)
            };
        }
        Ok(rules)
    }

    fn allows(&self, name: &str, expression: &str) -> bool {
        let exception = self.exceptions.get(name);
        let known = |id: &str| self.licences.contains(id) || exception.is_some_and(|ids| ids.contains(id));
        // `MIT/Apache-2.0` is how it was written before SPDX.
        let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut at = 0;
        any(&words, &mut at, &known) && at == words.len()
    }
}

/// `a OR b`, of which one must be allowed.
fn any(words: &[&str], at: &mut usize, known: &dyn Fn(&str) -> bool) -> bool {
    let mut ok = all(words, at, known);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        ok |= all(words, at, known);
    }
    ok
}

/// `a AND b`, all of which must be allowed.
fn all(words: &[&str], at: &mut usize, known: &dyn Fn(&str) -> bool) -> bool {
    let mut ok = one(words, at, known);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        ok &= one(words, at, known);
    }
    ok
}

fn one(words: &[&str], at: &mut usize, known: &dyn Fn(&str) -> bool) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word == "(" {
        let ok = any(words, at, known);
        *at += 1;
        return ok;
    }
    if words.get(*at) == Some(&"WITH") {
        let whole = format!("{word} WITH {}", words.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
        return known(&whole);
    }
    known(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        let rules = Rules {
            licences: words(&["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]),
            exceptions: [("webpki".to_owned(), words(&["ISC"]))].into(),
            banned: words(&[]),
            single: words(&[]),
        };
        for yes in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(rules.allows("any", yes), "{yes}");
        }
        for no in ["GPL-3.0", "MIT AND GPL-3.0", "ISC", "(MIT AND ISC) OR GPL-3.0", "", "MIT MIT"] {
            assert!(!rules.allows("any", no), "{no}");
        }
        assert!(rules.allows("webpki", "ISC AND MIT"));
    }
}
