//! What the system tests are made of: own homes, stock clients, real peers, and a limit on everything.
//!
//! Nothing here links the product: a test sees what a user sees. No test may hang, so every process has a limit
//! of [`process::LIMIT`] and dies with the test that started it.

pub mod agent;
pub mod attacker;
pub mod crtauth;
pub mod debian;
pub mod envoy;
pub mod git_http;
pub mod home;
pub mod http;
pub mod keys;
pub mod laptop;
pub mod login;
pub mod peers;
pub mod process;
pub mod realm;
pub mod serve;
pub mod service;
pub mod skip;
pub mod slapd;
pub mod ssh;
pub mod sshd;
pub mod workerd;

use std::path::PathBuf;

/// The release binary under test.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("SEAMLESS_BIN")
        .map_or_else(|| root().join("target/release/seamless"), PathBuf::from);
    assert!(
        path.is_file(),
        "no binary at {}: run `cargo xtask test --only system`, or set SEAMLESS_BIN",
        path.display()
    );
    path
}

/// The clone.
#[must_use]
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("SEAMLESS_ROOT")
        .map(PathBuf::from)
        .or_else(|| here.parent().map(PathBuf::from))
        .unwrap_or(here)
}

/// A file that `cargo xtask wasm` made; otherwise the test is skipped.
#[must_use]
pub fn dist(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SEAMLESS_DIST").map_or_else(|| root().join("dist"), PathBuf::from);
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    skip::skip(&format!("no {}; `cargo xtask wasm` makes it", path.display()));
    None
}

/// Whether throw-away accounts may be made: root, and asked for.
#[must_use]
pub fn system_allowed() -> bool {
    std::env::var_os("SEAMLESS_SYSTEM").is_some()
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
