//! A Debian of its own: a folder that debootstrap made, booted with its own systemd, accounts, network and sshd.
//!
//! It lives in namespaces whose first process dies with the test, and mounts, processes and network with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{Done, LIMIT, Running, run};
use crate::skip::{needs, skip};

/// Joins a cgroup of its own, then makes the namespaces and starts systemd in them.
const BOOT: &str = r#"
set -eu
root=$1 name=$2
cgroups=$root/mnt
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$cgroups"
mkdir "$cgroups/$name"
echo $$ > "$cgroups/$name/cgroup.procs"
umount "$cgroups"
exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child bash -euc '
    root=$1
    mount --bind "$root" "$root"
    mount -o remount,bind,dev,suid,exec "$root"
    mount -t proc proc "$root/proc"
    # What is set there is set for the whole machine.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs tmpfs "$root/run"
    cd "$root"
    pivot_root . mnt
    umount --lazy /mnt
    exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --unit=basic.target --show-status=0 --log-target=journal
' boot "$root"
"#;

/// A running Debian. It ends with this value.
#[derive(Debug)]
pub struct Debian {
    booted: Running,
    cgroup: String,
    root: PathBuf,
    _folder: TempDir,
}

impl Debian {
    /// Unpacks and boots one, with sshd running. None, said so, where that is not allowed.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn boot() -> Option<Self> {
        if !crate::system_allowed() || !rustix::process::geteuid().is_root() {
            skip("it boots a Debian; as root, CI=true or --system allows it");
            return None;
        }
        let Some(archive) = std::env::var_os("SEAMLESS_DEBIAN") else {
            skip("no Debian to boot; `cargo xtask test --only package` makes one");
            return None;
        };
        let _ = (needs("unshare")?, needs("nsenter")?);
        let folder = TempDir::with_prefix("seamless-debian-").expect("a temporary folder");
        let root = folder.path().join("root");
        std::fs::create_dir(&root).expect("make a folder");
        let tar = &mut Command::new("tar");
        let _ = run(tar.arg("-xpzf").arg(archive).arg("-C").arg(&root).arg("--numeric-owner")).ok();
        std::fs::write(root.join("etc/hostname"), "login\n").expect("name it");
        std::fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n127.0.1.1 login.example.com login\n")
            .expect("name it");
        // What else Debian would start is of no use here.
        for unit in ["apt-daily.timer", "apt-daily-upgrade.timer", "systemd-modules-load.service"] {
            let path = root.join("etc/systemd/system").join(unit);
            std::os::unix::fs::symlink("/dev/null", path).expect("mask a unit");
        }
        let name = folder.path().file_name().map(|name| name.to_string_lossy().into_owned());
        let cgroup = name.expect("a name");
        // The first `unshare` is for the mount of the cgroups.
        let boot = &mut Command::new("unshare");
        boot.args(["--mount", "bash", "-c", BOOT, "boot"]).arg(&root).arg(&cgroup);
        let booted = Running::start(boot);
        let mut debian = Self { booted, cgroup, root, _folder: folder };
        debian.wait_until_up();
        // pam_nologin keeps people out while a system comes up.
        let _ = debian.sh("systemctl start systemd-user-sessions ssh").ok();
        Some(debian)
    }

    /// A path in it, as it is seen from outside.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A program in it, as root.
    #[must_use]
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let namespaces = Path::new("/proc").join(self.booted.id().to_string()).join("ns");
        let mut command = Command::new("nsenter");
        for (kind, file) in
            [("mount", "mnt"), ("pid", "pid_for_children"), ("net", "net"), ("uts", "uts"), ("ipc", "ipc")]
        {
            command.arg(format!("--{kind}={}", namespaces.join(file).display()));
        }
        command
            .arg("--")
            .args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"])
            .args(words);
        command
    }

    /// A script in it, as root.
    pub fn sh(&self, script: &str) -> Done {
        run(&mut self.command(["sh", "-euc", script]))
    }

    /// A script in it, as somebody who has logged in there.
    pub fn sh_as(&self, account: &str, script: &str) -> Done {
        run(&mut self.command(["su", "-", account, "-s", "/bin/sh", "-c", script]))
    }

    /// Puts a file into it.
    ///
    /// # Panics
    /// If it can't.
    pub fn copy_in(&self, from: &Path, to: &str) {
        std::fs::copy(from, self.path(to)).expect("copy a file into the Debian");
    }

    fn wait_until_up(&mut self) {
        let start = Instant::now();
        loop {
            // Its namespaces are there a moment after its process, its files with the first of its own.
            if self.sh("systemctl is-active basic.target").code == Some(0) {
                return;
            }
            assert!(self.booted.alive(), "systemd ended:\n{}", self.booted.transcript());
            assert!(start.elapsed() < LIMIT, "systemd did not come up:\n{}", self.booted.transcript());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.booted.id().try_into().unwrap_or(0)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.booted.wait(Duration::from_secs(5));
        // Empty by now; a cgroup with processes can't be removed.
        const CLEAR: &str = r#"
            mount --make-rprivate /
            mount -t cgroup2 cgroup2 "$1/mnt"
            for try in 1 2 3 4 5 6 7 8 9 10; do
                find "$1/mnt/$2" -depth -type d -exec rmdir {} + 2>/dev/null && break
                sleep 0.1
            done"#;
        let clear = &mut Command::new("unshare");
        let _ = run(clear.args(["--mount", "bash", "-c", CLEAR, "clear"]).arg(&self.root).arg(&self.cgroup));
    }
}
