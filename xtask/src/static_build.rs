//! The static build that we ship: musl, no PIE. What a forced command costs is mostly dynamic loading.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, find, output};
use crate::stages::{Workspace, in_ci, workspace};
use crate::{debian, remap, tools};

/// What was built.
pub struct Built {
    /// The program, `target/static/PROFILE/seamless`.
    pub binary: PathBuf,
    /// How long it took, if nothing had been built before.
    pub clean: Option<Duration>,
}

/// How it is built: `dist` with LTO over all of it, as it is released, or `release`, which takes half as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What we ship.
    Dist,
    /// What CI tests.
    Release,
}

impl Profile {
    /// By its name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "dist" => Ok(Self::Dist),
            "release" => Ok(Self::Release),
            _ => Err(Failure::new(format!("no profile `{name}` here; there are: dist release"))),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dist => "dist",
            Self::Release => "release",
        }
    }
}

/// The command: builds and says where the program is.
pub fn command(args: &[&str]) -> Result {
    let profile = match args {
        [] => Profile::Dist,
        [name] => Profile::named(name)?,
        _ => return Err(Failure::new("build-static: takes a profile or nothing")),
    };
    println!("{}", build(profile)?.binary.display());
    Ok(())
}

/// Where the program is once it is built.
pub fn place(space: &Workspace, profile: Profile) -> PathBuf {
    space.target.join("static").join(profile.name()).join("seamless")
}

/// Builds the program. The log is a file; a word on what is going on goes to the terminal.
pub fn build(profile: Profile) -> Result<Built> {
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
    let binary = place(&space, profile);
    let build = space.target.join("static/build");
    let compiled = build.join(&triple).join(profile.name());
    let clean = !compiled.exists();
    let name = profile.name();
    println!("building {triple}, profile {name}: takes minutes, its output is in {}", log.path().display());
    let began = Instant::now();
    let mut command = compile(&triple, profile, &space.root, &build)?;
    log.run(&mut command).map_err(|failure| Failure::new(format!("{failure}\n{}", log.tail(40))))?;
    let took = began.elapsed();
    let folder = binary.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).doing(format_args!("make {}", folder.display()))?;
    std::fs::copy(compiled.join("seamless"), &binary).doing("copy the static binary")?;
    // Says so itself rather than be trusted: an interpreter would mean dynamic loading.
    let headers = output(Command::new("readelf").args(["--program-headers", "--wide"]).arg(&binary))?;
    if headers.contains("INTERP") || headers.contains("DYNAMIC") {
        return Err(Failure::new(format!("not static after all:\n{headers}")));
    }
    Ok(Built { binary, clean: clean.then_some(took) })
}

fn compile(triple: &str, profile: Profile, root: &Path, build: &Path) -> Result<Command> {
    let mut rustc = vec!["-Crelocation-model=static".to_owned(), "-Ctarget-feature=+crt-static".to_owned()];
    rustc.extend(remap::rustc(root, build)?);
    let (upper, lower) = (triple.to_uppercase().replace('-', "_"), triple.replace('-', "_"));
    let mut cargo = cargo();
    cargo
        .args(["build", "--package", "seamless-issuer", "--bin", "seamless", "--locked"])
        .args(["--profile", profile.name(), "--target", triple])
        .env("CARGO_TARGET_DIR", build)
        .env(format!("CC_{lower}"), "musl-gcc")
        .env(format!("CFLAGS_{lower}"), remap::cc(root, build)?.join(" "))
        .env(format!("CARGO_TARGET_{upper}_LINKER"), "musl-gcc")
        .env("CARGO_ENCODED_RUSTFLAGS", rustc.join("\u{1f}"))
        .current_dir(root);
    Ok(cargo)
}
