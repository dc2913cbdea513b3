//! The static release build: musl, no PIE. What a forced command costs is mostly dynamic loading.

use std::path::PathBuf;
use std::process::Command;

use crate::debian;
use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, find};
use crate::stages::{in_ci, workspace};
use crate::tools;

/// Builds `target/static/seamless` with the `dist` profile.
pub fn build() -> Result<PathBuf> {
    if std::env::consts::OS != "linux" {
        return Err(Failure::new("the static build is for Linux"));
    }
    let space = workspace()?;
    let triple = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut log = Log::create(space.logs.join("build-static.log"), false)?;
    tools::rust_target(&triple, &space.root, &mut log)?;
    if find("musl-gcc").is_none() {
        if !in_ci() {
            return Err(Failure::new("musl-gcc is not installed: apt-get install musl-tools"));
        }
        debian::install_packages(&["musl-tools"], &mut log)?;
    }
    let folder = space.target.join("static");
    let build = folder.join("build");
    let upper = triple.to_uppercase().replace('-', "_");
    println!("building {triple}, profile dist: takes minutes, its output is in {}", log.path().display());
    log.run(
        cargo()
            .args([
                "build",
                "--package",
                "seamless-issuer",
                "--bin",
                "seamless",
                "--profile",
                "dist",
                "--locked",
            ])
            .args(["--target", &triple])
            .env("CARGO_TARGET_DIR", &build)
            .env(format!("CC_{}", triple.replace('-', "_")), "musl-gcc")
            .env(format!("CARGO_TARGET_{upper}_LINKER"), "musl-gcc")
            .env(
                format!("CARGO_TARGET_{upper}_RUSTFLAGS"),
                "-C relocation-model=static -C target-feature=+crt-static",
            )
            .current_dir(&space.root),
    )
    .map_err(|failure| Failure::new(format!("{failure}\n{}", log.tail(40))))?;
    let binary = folder.join("seamless");
    std::fs::copy(build.join(&triple).join("dist/seamless"), &binary).doing("copy the static binary")?;
    // Says so itself rather than be trusted: an interpreter would mean dynamic loading.
    let headers =
        crate::process::output(Command::new("file").arg("--brief").arg(&binary)).unwrap_or_default();
    if headers.contains("dynamically linked") {
        return Err(Failure::new(format!("not static after all: {headers}")));
    }
    Ok(binary)
}
