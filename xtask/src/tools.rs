//! The tool cache: what tests need from PyPI, npm and rustup, outside the clone and kept between runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, find, output};

/// The folder named by `SEAMLESS_TOOLS`, or one in the user's cache.
pub fn folder() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("SEAMLESS_TOOLS")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("seamless-tools")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/seamless-tools")))
        .ok_or_else(|| Failure::new("no HOME; set SEAMLESS_TOOLS to a folder for downloaded tools"))?;
    std::fs::create_dir_all(&folder).doing(format_args!("make {}", folder.display()))?;
    folder.canonicalize().doing(format_args!("find {}", folder.display()))
}

/// A Python environment with itsdangerous, PyJWT and paramiko; the path of its interpreter.
pub fn python(tools: &Path, peers: &Path, log: &mut Log) -> Result<PathBuf> {
    let venv = tools.join("python");
    let interpreter = venv.join("bin/python");
    let wanted = read(&peers.join("requirements.txt"))?;
    if up_to_date(&venv, &wanted) {
        return Ok(interpreter);
    }
    let python = find("python3").ok_or_else(|| Failure::new("python3 is not installed"))?;
    let _ = std::fs::remove_dir_all(&venv);
    log.run(Command::new(python).args(["-m", "venv"]).arg(&venv))?;
    log.run(
        Command::new(&interpreter)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary",
                ":all:",
                "-r",
            ])
            .arg(peers.join("requirements.txt")),
    )?;
    stamp(&venv, &wanted)?;
    Ok(interpreter)
}

/// The originals of crtauth, which run on CPython 2.7 alone; a program that starts one with them in its path. None where
/// there is no CPython 2.7: nobody packages it any more, and what is left of it is in folders of pyenv.
pub fn python2(tools: &Path, peers: &Path, log: &mut Log) -> Result<Option<PathBuf>> {
    let Some(python) = cpython27() else { return Ok(None) };
    let folder = tools.join("python2");
    let program = folder.join("python");
    let requirements = peers.join("requirements-python2.txt");
    let wanted = format!("{}{}\n", read(&requirements)?, python.display());
    if up_to_date(&folder, &wanted) {
        return Ok(Some(program));
    }
    let _ = std::fs::remove_dir_all(&folder);
    let packages = folder.join("packages");
    std::fs::create_dir_all(&packages).doing(format_args!("make {}", packages.display()))?;
    log.run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
            .arg(&packages)
            .arg("-r")
            .arg(&requirements),
    )?;
    let script = format!(
        "#!/bin/sh\nPYTHONPATH='{}' PYTHONDONTWRITEBYTECODE=1 exec '{}' \"$@\"\n",
        packages.display(),
        python.display()
    );
    std::fs::write(&program, script).doing(format_args!("write {}", program.display()))?;
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, runs).doing(format_args!("let {} run", program.display()))?;
    stamp(&folder, &wanted)?;
    Ok(Some(program))
}

/// A `python2.7` that runs: one on the path may be pyenv's stand-in for one that is not chosen.
fn cpython27() -> Option<PathBuf> {
    let of_pyenv: Vec<_> = of_pyenv("2.7").into_iter().map(|folder| folder.join("bin/python2.7")).collect();
    let is_it = |python: &PathBuf| {
        let check =
            "import platform, pip; print(platform.python_implementation() + platform.python_version())";
        // What a stand-in has to say is no news.
        let mut asked = Command::new(python);
        let said = asked.args(["-c", check]).stdin(Stdio::null()).stderr(Stdio::null()).output();
        said.is_ok_and(|said| said.status.success() && said.stdout.starts_with(b"CPython2.7."))
    };
    find("python2.7").into_iter().chain(of_pyenv).find(is_it)
}

/// The folders of pyenv's versions that begin so.
pub fn of_pyenv(beginning: &str) -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = set("PYENV_ROOT").or_else(|| Some(set("HOME")?.join(".pyenv")));
    let versions = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok());
    let mut folders: Vec<_> = versions
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}

/// What the tests run our verifiers in and beside, of tests/peers; the folder that holds `node_modules`.
pub fn peers(tools: &Path, root: &Path, log: &mut Log) -> Result<PathBuf> {
    npm(&tools.join("npm"), &root.join("tests/peers"), log)
}

/// What the npm package and the WebAssembly modules are built with; the folder that holds `node_modules`.
pub fn builders(tools: &Path, root: &Path, log: &mut Log) -> Result<PathBuf> {
    npm(&tools.join("npm-build"), root, log)
}

fn npm(folder: &Path, source: &Path, log: &mut Log) -> Result<PathBuf> {
    let folder = folder.to_path_buf();
    let wanted = read(&source.join("package-lock.json"))?;
    if up_to_date(&folder, &wanted) {
        return Ok(folder);
    }
    let npm = find("npm").ok_or_else(|| Failure::new("node and npm are not installed"))?;
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).doing(format_args!("make {}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(name), folder.join(name)).doing(format_args!("copy {name}"))?;
    }
    log.run(
        Command::new(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder),
    )?;
    stamp(&folder, &wanted)?;
    Ok(folder)
}

/// Adds a target to the pinned toolchain, unless it is there.
pub fn rust_target(target: &str, root: &Path, log: &mut Log) -> Result {
    let rustup = find("rustup")
        .ok_or_else(|| Failure::new(format!("rustup is not installed, and {target} is missing")))?;
    let installed = output(Command::new(&rustup).args(["target", "list", "--installed"]).current_dir(root))?;
    if installed.lines().any(|line| line.trim() == target) {
        return Ok(());
    }
    log.run(Command::new(rustup).args(["target", "add", target]).current_dir(root))
}

/// A program from crates.io, built into the cache once.
pub fn cargo_install(tools: &Path, package: &str, version: &str, log: &mut Log) -> Result<PathBuf> {
    let folder = tools.join(format!("{package}-{version}"));
    let program = folder.join("bin").join(package);
    if !program.is_file() {
        let mut install = crate::process::cargo();
        log.run(install.args(["install", "--quiet", package, "--version", version, "--root"]).arg(&folder))?;
    }
    Ok(program)
}

/// An archive of a small Debian with systemd and sshd, made by debootstrap from where this machine's own packages are.
pub fn debian(tools: &Path, log: &mut Log) -> Result<PathBuf> {
    // The number changes with what is in it.
    let archive = tools.join(format!("debian-{DEBIAN}-{}-1.tar.gz", std::env::consts::ARCH));
    if archive.is_file() {
        return Ok(archive);
    }
    let work = tools.join("debian");
    let root = work.join("root");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).doing(format_args!("make {}", work.display()))?;
    let debootstrap =
        find("debootstrap").ok_or_else(|| Failure::new("debootstrap is not installed, as root: apt-get"))?;
    let mut command = Command::new(debootstrap);
    command
        .args(["--variant=minbase", "--include=openssh-server,systemd,systemd-sysv,sudo"])
        .arg(DEBIAN)
        .arg(&root)
        .args(mirror());
    log.run(&mut command)?;
    for waste in ["var/cache/apt", "var/lib/apt/lists", "usr/share/locale"] {
        let _ = std::fs::remove_dir_all(root.join(waste));
    }
    let whole = work.join("whole.tar.gz");
    let mut tar = Command::new("tar");
    log.run(tar.arg("-czpf").arg(&whole).args(["--numeric-owner", "-C"]).arg(&root).arg("."))?;
    std::fs::rename(&whole, &archive).doing(format_args!("write {}", archive.display()))?;
    let _ = std::fs::remove_dir_all(&work);
    Ok(archive)
}

/// The release that the package is tried in: the oldest that it is for.
const DEBIAN: &str = "bookworm";

/// Where this machine has its Debian packages from; debootstrap's own choice where apt does not say.
fn mirror() -> Option<String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(CODENAME) $(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let lines = output(&mut apt).unwrap_or_default();
    let ours = |line: &str| Some(line.strip_prefix(DEBIAN)?.strip_prefix(" Debian ")?.to_owned());
    lines.lines().find_map(ours)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).doing(format_args!("read {}", path.display()))
}

/// The stamp is written last, so that a set-up cut short is done again.
/// Whether a folder was set up from this very text.
pub fn up_to_date(folder: &Path, wanted: &str) -> bool {
    std::fs::read_to_string(folder.join(".installed-from")).is_ok_and(|installed| installed == wanted)
}

/// Notes what a folder was set up from, once all of it is there.
pub fn stamp(folder: &Path, wanted: &str) -> Result {
    std::fs::write(folder.join(".installed-from"), wanted)
        .doing(format_args!("write in {}", folder.display()))
}
