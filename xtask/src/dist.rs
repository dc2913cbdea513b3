//! `cargo xtask dist`: the Debian package of the static program, into `dist/`.

pub mod third_party;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, output};
use crate::stages::{Workspace, workspace};
use crate::static_build::{self, Profile};
use crate::{tools, wasm};

const CARGO_DEB: &str = "3.8.0";

/// What was made.
pub struct Package {
    /// `seamless_VERSION_ARCH.deb`.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The size of the program in it.
    pub program_bytes: u64,
    /// How long the program took to build, if nothing had been built before.
    pub clean_build: Option<Duration>,
}

/// The command: builds, and prints what it made.
pub fn command(args: &[&str]) -> Result {
    let (mut profile, mut version) = (Profile::Dist, None);
    let mut words = args.iter();
    while let Some(&word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| Failure::new(format!("dist: {word} what?")));
        match word {
            "--profile" => profile = Profile::named(value()?)?,
            "--deb-version" => version = Some(value()?.to_owned()),
            _ => return Err(Failure::new(format!("dist: don't know `{word}`"))),
        }
    }
    let space = workspace()?;
    let mut log = Log::create(space.logs.join("dist.log"), false)?;
    let dist = space.root.join("dist");
    let package = build(&space, profile, version.as_deref(), &dist, &mut log)
        .map_err(|failure| Failure::new(format!("{failure}\n{}", log.tail(40))))?;
    image(&static_build::place(&space, profile), &dist.join("image"))?;
    wasm::sums(&dist)?;
    println!("{}\n{}", package.path.display(), package.describe());
    Ok(())
}

impl Package {
    /// Its sizes, and what it took.
    pub fn describe(&self) -> String {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let took = self
            .clean_build
            .map(|took| format!(", clean build {:.1} min", took.as_secs_f64() / 60.0))
            .unwrap_or_default();
        format!(
            "package {:.2} MB, program {:.2} MB{took}",
            megabytes(self.bytes),
            megabytes(self.program_bytes)
        )
    }
}

/// The program's other names (`issuer/Cargo.toml` has the links).
const HELPERS: [&str; 3] = ["git-credential-seamless", "docker-credential-seamless", "kubectl-seamless"];

/// Builds the package into a folder, of the workspace's version unless another is given.
pub fn build(
    space: &Workspace,
    profile: Profile,
    version: Option<&str>,
    out: &Path,
    log: &mut Log,
) -> Result<Package> {
    let program = static_build::build(profile)?;
    let source_date = source_date(&space.root)?;
    let version = match version {
        Some(version) => version.to_owned(),
        None => format!("{}-1", workspace_version(&space.root)?),
    };
    // Where cargo-deb looks for `target/release/…` of its list.
    let target = space.target.join("deb");
    let staging = target.join("release/package");
    stage(space, &program.binary, &staging, (&version, source_date), log)?;

    std::fs::create_dir_all(out).doing(format_args!("make {}", out.display()))?;
    let cargo_deb = tools::cargo_install(&tools::folder()?, "cargo-deb", CARGO_DEB, log)?;
    let path = out.join(format!("seamless_{version}_{}.deb", architecture()));
    println!("package {version}");
    log.run(
        Command::new(cargo_deb)
            .args(["--package", "seamless-issuer", "--no-build", "--strip", "--no-dbgsym", "--locked"])
            .args(["--deb-version", &version, "--output"])
            .arg(&path)
            .env("CARGO", cargo().get_program())
            .env("CARGO_TARGET_DIR", &target)
            .env("SOURCE_DATE_EPOCH", source_date.to_string())
            .current_dir(&space.root),
    )?;
    Ok(Package {
        bytes: size(&path)?,
        program_bytes: size(&program.binary)?,
        path,
        clean_build: program.clean,
    })
}

/// What packaging/Containerfile copies: the program, the names of its account, and the empty folder of the realms.
pub fn image(program: &Path, to: &Path) -> Result {
    let _ = std::fs::remove_dir_all(to);
    for folder in ["root/usr/bin", "root/etc", "data"] {
        std::fs::create_dir_all(to.join(folder)).doing(format_args!("make {folder} of the image"))?;
    }
    std::fs::copy(program, to.join("root/usr/bin/seamless")).doing("copy the program")?;
    let account = "seamless:x:65532:65532::/var/lib/seamless:/nonexistent\n";
    std::fs::write(to.join("root/etc/passwd"), account).doing("write the image's passwd")?;
    std::fs::write(to.join("root/etc/group"), "seamless:x:65532:\n").doing("write the image's group")
}

/// What is not in the clone: the program, its man pages and completions, the notices of what it is made of.
fn stage(space: &Workspace, program: &Path, to: &Path, made: (&str, u64), log: &mut Log) -> Result {
    let _ = std::fs::remove_dir_all(to);
    let completions = to.join("completions");
    std::fs::create_dir_all(&completions).doing(format_args!("make {}", completions.display()))?;
    let write = |path: PathBuf, text: String| {
        std::fs::write(&path, text).doing(format_args!("write {}", path.display())).map(|()| path)
    };
    std::fs::copy(program, to.join("seamless")).doing("copy the program")?;
    log.run(Command::new(program).args(["man", "--to"]).arg(to.join("man")))?;
    // The helpers are links to the program, and so are their pages.
    for helper in HELPERS {
        let page = to.join("man").join(format!("{helper}.1"));
        write(page, ".so man1/seamless-credential.1\n".to_owned())?;
    }
    for (shell, file) in [("bash", "seamless"), ("zsh", "_seamless"), ("fish", "seamless.fish")] {
        let script = output(Command::new(program).args(["completions", shell]))?;
        write(completions.join(file), script)?;
    }
    let (version, source_date) = made;
    let changes = write(to.join("changelog.Debian"), changelog(version, source_date)?)?;
    let linked = third_party::Linked {
        package: "seamless-issuer",
        target: &format!("{}-unknown-linux-musl", std::env::consts::ARCH),
        heading: "/usr/bin/seamless is linked with these crates, and with musl (MIT).",
    };
    let notices = write(to.join("third-party.txt"), third_party::notices(&space.root, &linked)?)?;
    // cargo-deb compresses nothing that was built.
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "--no-name", "--recursive"]).args([changes, notices, to.join("man")]);
    log.run(&mut gzip)
}

/// Debian's own changes file. What changed in the program is in CHANGELOG.md.
fn changelog(version: &str, source_date: u64) -> Result<String> {
    let date = output(
        Command::new("date")
            .args(["--utc", "--rfc-email", "--date", &format!("@{source_date}")])
            .env("LC_ALL", "C"),
    )?;
    Ok(format!(
        "seamless ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n \
         -- The seamless contributors <seamless-auth@users.noreply.github.com>  {date}"
    ))
}

/// The time that stands in what is made: the last commit's, so that the same sources give the same bytes.
fn source_date(root: &Path) -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(set) => set,
        Err(_) => output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root))?,
    };
    text.trim().parse().doing("read the time of the sources")
}

fn workspace_version(root: &Path) -> Result<String> {
    let text = std::fs::read_to_string(root.join("Cargo.toml")).doing("read Cargo.toml")?;
    let manifest: toml::Table = text.parse().doing("read Cargo.toml")?;
    manifest["workspace"]["package"]["version"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("Cargo.toml names no version"))
}

/// Debian's word for this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn size(path: &Path) -> Result<u64> {
    std::fs::metadata(path).map(|meta| meta.len()).doing(format_args!("look at {}", path.display()))
}
