//! A test whose peer is missing says so and ends; where nothing may be missing, it fails.

use std::io::Write;

/// Records that the running test is skipped. `cargo xtask test` names it in its closing lines.
///
/// # Panics
/// In CI, where nothing may be skipped.
pub fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("SEAMLESS_NO_SKIP").is_none(), "{name} may not be skipped here: {why}");
    skip_anywhere(why);
}

/// The same for a peer that no machine can be made to have. It is named just as well, and may be missing in CI too.
pub fn skip_anywhere(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped {name}: {why}");
    if let Some(path) = std::env::var_os("SEAMLESS_SKIPS")
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{name} ({why})");
    }
}

/// Where a program is; otherwise the test is skipped.
pub fn needs(program: &str) -> Option<std::path::PathBuf> {
    let found = find(program);
    if found.is_none() {
        skip(&format!("{program} is not installed; --system installs it"));
    }
    found
}

/// Looks a program up, in the system's own folders too.
#[must_use]
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/lib/openssh"].map(std::path::PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The clock that can be set (`tests/peers/clock.c`), compiled: to be preloaded.
///
/// # Panics
/// If it does not compile.
#[must_use]
pub fn clock(home: &crate::home::Home) -> Option<std::path::PathBuf> {
    let compiler = needs("cc")?;
    let library = home.join("clock.so");
    let source = crate::root().join("tests/peers/clock.c");
    let mut command = home.command(compiler);
    let _ = crate::process::run(
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(source),
    )
    .ok();
    Some(library)
}
