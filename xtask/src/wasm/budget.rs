//! How large the artefacts may be: `verifier-wasm/budget.json`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::outcome::{Doing, Failure, Result};
use crate::process::output;
use crate::wasm::tarball;

/// A table of sizes; an artefact past its budget is a failure.
pub fn check(root: &Path, dist: &Path) -> Result<String> {
    let path = root.join("verifier-wasm/budget.json");
    let text = std::fs::read_to_string(&path).doing(format_args!("read {}", path.display()))?;
    let budget: Value = serde_json::from_str(&text).doing(format_args!("read {}", path.display()))?;
    let tarball = tarball(dist)?;
    let mut table = format!("{:<28} {:>8} {:>8}\n", "gzip", "bytes", "at most");
    let mut over = Vec::new();
    for (name, entry) in budget["artefacts"].as_object().into_iter().flatten() {
        let limit = entry["gzip"]
            .as_u64()
            .ok_or_else(|| Failure::new(format!("{name}: no `gzip` in budget.json")))?;
        let mut size = 0;
        for file in entry["files"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            size += match file.strip_prefix("package/") {
                Some(_) => gzipped(&format!("tar -xzOf '{}' '{file}'", tarball.display()))?,
                None => gzipped(&format!("cat '{}'", dist.join(file).display()))?,
            };
        }
        let _ = writeln!(table, "{name:<28} {size:>8} {limit:>8}");
        if size == 0 || size > limit {
            over.push(format!("{name} takes {size} bytes, its budget is {limit}"));
        }
    }
    if over.is_empty() { Ok(table) } else { Err(Failure::new(format!("{table}{}", over.join("\n")))) }
}

fn gzipped(from: &str) -> Result<u64> {
    let script = format!("set -o pipefail; {from} | gzip -9 | wc -c");
    output(Command::new("bash").args(["-c", &script]))?.trim().parse().doing("read a size")
}
