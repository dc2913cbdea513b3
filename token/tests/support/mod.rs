//! What the vector tests share.

#![allow(dead_code, unreachable_pub)]

use serde_json::Value;

/// Reads a file of tests/vectors.
pub fn vectors(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The cases of a file.
pub fn cases(file: &Value) -> impl Iterator<Item = &Value> {
    file["cases"].as_array().expect("a list of cases").iter()
}

/// A member that is a string.
pub fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("no string {member} in {value}"))
}

/// A member that is a list of strings; nothing where it is absent.
pub fn list<'v>(value: &'v Value, member: &str) -> Vec<&'v str> {
    value[member].as_array().into_iter().flatten().map(|item| item.as_str().expect("a string")).collect()
}

/// A member that is a number.
pub fn number(value: &Value, member: &str) -> u64 {
    value[member].as_u64().unwrap_or_else(|| panic!("no number {member} in {value}"))
}

/// A member that is hex.
pub fn hex(value: &Value, member: &str) -> Vec<u8> {
    let text = text(value, member);
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}

/// Whether this build has a feature that a case needs.
pub fn has(feature: &str) -> bool {
    match feature {
        "hmac" => cfg!(feature = "hmac"),
        "eddsa" => cfg!(feature = "eddsa"),
        "es256" => cfg!(feature = "es256"),
        "rs256" => cfg!(feature = "rs256"),
        other => panic!("unknown feature {other}"),
    }
}

/// Checks a verdict (`ok` or a code) against a case: `verdict`, `or`, and `rejected` for any rejection.
pub fn judge(case: &Value, verdict: &str) -> Result<(), String> {
    let wanted = text(case, "verdict");
    let good = match wanted {
        "rejected" => verdict != "ok",
        _ => verdict == wanted || list(case, "or").contains(&verdict),
    };
    if good { Ok(()) } else { Err(format!("{}: {verdict}, not {wanted}", case["name"])) }
}
