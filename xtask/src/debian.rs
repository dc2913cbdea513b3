//! Debian packages that the tests against real peers need. Only with `--system` or `CI=true`.

use std::path::Path;
use std::process::Command;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, find};

/// The programs that system tests start, and the package each comes from.
const NEEDED: [(&str, &str); 15] = [
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("sftp-server", "openssh-sftp-server"),
    ("nginx", "nginx-light"),
    ("caddy", "caddy"),
    ("curl", "curl"),
    ("git", "git"),
    ("openssl", "openssl"),
    ("age", "age"),
    ("slapd", "slapd"),
    ("strace", "strace"),
    ("systemd-socket-activate", "systemd"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    // With apache2 itself.
    ("apache2", "libapache2-mod-wsgi-py3"),
];

/// What makes and judges the package and the image.
const FOR_PACKAGE: [(&str, &str); 3] =
    [("debootstrap", "debootstrap"), ("lintian", "lintian"), ("buildah", "buildah")];

/// Installs what is missing, without starting any service.
pub fn install(log: &mut Log) -> Result {
    install_missing(&NEEDED, log)
}

/// Installs what the stage `package` needs besides.
pub fn install_for_package(log: &mut Log) -> Result {
    install_missing(&FOR_PACKAGE, log)
}

fn install_missing(programs: &[(&str, &str)], log: &mut Log) -> Result {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    install_packages(&missing, log)
}

/// Installs these packages.
pub fn install_packages(packages: &[&str], log: &mut Log) -> Result {
    if packages.is_empty() {
        return Ok(());
    }
    let apt = find("apt-get").ok_or_else(|| {
        Failure::new(format!("this is no Debian; install these by hand: {}", packages.join(" ")))
    })?;
    let _quiet = NoServices::new()?;
    log.run(Command::new(&apt).args(["update", "-qq"]))?;
    log.run(
        Command::new(&apt)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-qq", "-y", "--no-install-recommends"])
            .args(packages),
    )
}

fn there(program: &str) -> bool {
    find(program).is_some() || Path::new("/usr/lib/openssh").join(program).is_file()
}

/// Debian starts a service as it installs it; while this file is there it does not.
struct NoServices {
    ours: bool,
}

impl NoServices {
    const FILE: &str = "/usr/sbin/policy-rc.d";

    fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if Path::new(Self::FILE).exists() {
            return Ok(Self { ours: false });
        }
        std::fs::write(Self::FILE, "#!/bin/sh\nexit 101\n")
            .doing("keep new services from starting (not root?)")?;
        std::fs::set_permissions(Self::FILE, std::fs::Permissions::from_mode(0o755)).doing("set a mode")?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(Self::FILE);
        }
    }
}
