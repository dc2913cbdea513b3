//! sshd: the drop-in that fences a realm's account, and the lines that bind a key to its forced command.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::accounts::{self, Account};
use super::fence::{self, Gap};
use super::{bare, find_tool, matches};
use crate::backends::files;
use crate::backends::store::{Fingerprint, UserKey};
use crate::config::KeysBy;
use crate::error::{Error, Result, io};
use crate::names::RealmName;

/// The system's sshd_config.
pub const DEFAULT_CONFIG: &str = "/etc/ssh/sshd_config";

/// What a relative Include is relative to, wherever sshd_config lies.
const ETC_SSH: &str = "/etc/ssh";

/// The first word of a forced command.
pub const FORCED: &str = "forced";

/// A forced command after the program's name. `doors/ssh/forced.rs` reads the words in this order.
#[must_use]
pub fn forced_arguments(dir: &Path, user: &str, fingerprint: &Fingerprint) -> String {
    format!("{FORCED} --dir {} --user {user} --key {fingerprint}", dir.display())
}

/// Where one sshd keeps its things.
#[derive(Clone, Debug)]
pub struct SshdPaths {
    /// `sshd_config`.
    pub config: PathBuf,
    /// `sshd_config.d` beside it.
    pub drop_ins: PathBuf,
}

/// What sshd is told of one realm.
#[derive(Clone, Debug)]
pub struct DropIn {
    realm: RealmName,
    keys: KeysBy,
    binary: PathBuf,
    dir: PathBuf,
}

/// What the host's sshd makes of a realm. Root finds it; the account that judges it gets it as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// [`effective`], or why it could not be had.
    pub settings: Result<Vec<(String, String)>, String>,
    /// The drop-in as it is.
    pub drop_in: Option<String>,
    /// [`earlier_blocks`].
    pub earlier: Vec<PathBuf>,
    /// The day that the account ends, in days since 1970.
    pub expires: Option<u64>,
}

impl Facts {
    /// Asks sshd. Takes root.
    #[must_use]
    pub fn find(paths: &SshdPaths, realm: &RealmName, account: &Account) -> Self {
        Self {
            settings: effective(paths, realm).map_err(|e| e.message().to_owned()),
            drop_in: drop_in_text(paths, realm).unwrap_or_default(),
            earlier: earlier_blocks(paths, realm),
            expires: accounts::expires(account).unwrap_or_default(),
        }
    }
}

impl SshdPaths {
    /// By the place of sshd_config.
    #[must_use]
    pub fn with_config(config: &Path) -> Self {
        let drop_ins = config.parent().unwrap_or(Path::new("/")).join("sshd_config.d");
        Self { config: config.to_owned(), drop_ins }
    }

    /// The realm's drop-in.
    #[must_use]
    pub fn drop_in(&self, realm: &RealmName) -> PathBuf {
        self.drop_ins.join(format!("60-seamless-{realm}.conf"))
    }
}

impl DropIn {
    /// For the realm in `dir`, served by `binary`.
    #[must_use]
    pub fn new(realm: &RealmName, keys: KeysBy, binary: &Path, dir: &Path) -> Self {
        Self { realm: realm.clone(), keys, binary: binary.to_owned(), dir: dir.to_owned() }
    }

    /// The file's text.
    ///
    /// `restrict,command=` binds lines of authorized_keys alone: under a global TrustedUserCAKeys a certificate for
    /// the account got a shell. A ForceCommand of the host's would come before the line's own command and knows no
    /// user, so it is cleared. What DisableForwarding covers is said once more, since before OpenSSH 10.0 it left
    /// the agent and X11 alone (CVE-2025-32728). AcceptEnv replaces the host's list: `*` would let LD_PRELOAD in.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { realm, keys, binary, dir } = self;
        let mut text = format!(
            "# Written by `seamless init` and `seamless sync` for the realm {realm}; changes are lost.\n\
             Match User {realm}\n\
             \x20   AuthenticationMethods publickey\n\
             \x20   PubkeyAuthentication yes\n\
             \x20   PasswordAuthentication no\n\
             \x20   KbdInteractiveAuthentication no\n\
             \x20   TrustedUserCAKeys none\n\
             \x20   AuthorizedPrincipalsFile none\n\
             \x20   AuthorizedPrincipalsCommand none\n\
             \x20   PubkeyAcceptedAlgorithms -*-cert-v01@openssh.com\n\
             \x20   DisableForwarding yes\n\
             \x20   AllowAgentForwarding no\n\
             \x20   AllowStreamLocalForwarding no\n\
             \x20   AllowTcpForwarding no\n\
             \x20   X11Forwarding no\n\
             \x20   PermitTunnel no\n\
             \x20   PermitTTY no\n\
             \x20   PermitUserRC no\n\
             \x20   ForceCommand none\n\
             \x20   ChrootDirectory none\n\
             \x20   AcceptEnv LANG\n"
        );
        match keys {
            KeysBy::File => {
                text.push_str("    AuthorizedKeysFile .ssh/authorized_keys\n    AuthorizedKeysCommand none\n")
            }
            KeysBy::Command => text.push_str(&format!(
                "    AuthorizedKeysFile none\n\
                 \x20   AuthorizedKeysCommand {} authorized-keys --dir {} %t %k\n\
                 \x20   AuthorizedKeysCommandUser {realm}\n",
                binary.display(),
                dir.display()
            )),
        }
        text.push_str("Match all\n");
        text
    }
}

/// Refuses an sshd that is not there or not well, or whose configuration would not read the drop-in.
pub fn check_host(paths: &SshdPaths) -> Result<()> {
    let bytes = files::read_small(&paths.config, 1024 * 1024).map_err(|e| {
        Error::failed(e.message()).hint("install OpenSSH's server: apt-get install openssh-server")
    })?;
    if reads_drop_ins(paths, &String::from_utf8_lossy(&bytes)) {
        return check(paths);
    }
    let wanted = paths.drop_ins.join("*.conf");
    Err(Error::failed(format!("{} does not include {}", paths.config.display(), wanted.display()))
        .hint(format!("add this line at its top: Include {}", wanted.display())))
}

fn reads_drop_ins(paths: &SshdPaths, config: &str) -> bool {
    // Inside a Match block an Include counts for that block alone.
    let mut global = config.lines().take_while(|line| keyword(line) != "match");
    global.any(|line| includes(line, &paths.drop_ins.join("60-seamless-x.conf")))
}

/// Writes the drop-in, lets sshd check it, looks whether it holds, and has sshd read it. On failure everything is
/// as before. Gives what the administrator should know.
pub fn install(paths: &SshdPaths, drop_in: &DropIn) -> Result<Vec<String>> {
    check_host(paths)?;
    let mut notes = replace(paths, &drop_in.realm, Some(&drop_in.text()), || {
        let settings = effective(paths, &drop_in.realm)?;
        let (open, shut): (Vec<_>, Vec<_>) =
            fence::gaps(&settings, &drop_in.realm, drop_in.keys).into_iter().partition(|gap| gap.opens);
        match open.first() {
            Some(gap) => Err(not_fenced(paths, &drop_in.realm, gap)),
            None => Ok(shut
                .into_iter()
                .map(|gap| format!("nobody gets in by sshd's {}: {}", gap.setting, gap.allows))
                .collect()),
        }
    })?;
    notes.dedup();
    Ok(notes)
}

/// Removes the drop-in and has sshd read its configuration anew. The account must be closed or gone by then: until
/// it is, the drop-in is what keeps certificates and terminals out.
pub fn remove(paths: &SshdPaths, realm: &RealmName) -> Result<Vec<String>> {
    if paths.drop_in(realm).symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    replace(paths, realm, None, || Ok(Vec::new()))
}

/// The drop-in as it is; none where there is none.
pub fn drop_in_text(paths: &SshdPaths, realm: &RealmName) -> Result<Option<String>> {
    let path = paths.drop_in(realm);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io("read", &path, &e)),
    }
}

/// Files with Match blocks that sshd reads before the realm's drop-in. Of several blocks that match, the first one's
/// value counts, and a block by address does not show in what sshd says of a connection from here.
#[must_use]
pub fn earlier_blocks(paths: &SshdPaths, realm: &RealmName) -> Vec<PathBuf> {
    let ours = paths.drop_in(realm);
    let entries = std::fs::read_dir(&paths.drop_ins).into_iter().flatten().flatten();
    let mut before: Vec<_> =
        entries.map(|e| e.path()).filter(|p| *p < ours && p.extension() == ours.extension()).collect();
    before.sort();
    let text = |path: &Path| {
        std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    };
    // A drop-in of another realm counts for that realm alone.
    before.retain(|path| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        !name.starts_with("60-seamless-") && text(path).lines().any(|line| keyword(line) == "match")
    });
    before
}

fn replace(
    paths: &SshdPaths,
    realm: &RealmName,
    text: Option<&str>,
    holds: impl FnOnce() -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    let path = paths.drop_in(realm);
    let before = drop_in_text(paths, realm)?;
    let put = |text: Option<&str>| match text {
        Some(text) => files::write_atomic(&path, text.as_bytes(), 0o644),
        None if path.symlink_metadata().is_err() => Ok(()),
        None => std::fs::remove_file(&path).map_err(|e| io("remove", &path, &e)),
    };
    let changed = before.as_deref() != text;
    if changed {
        put(text)?;
    }
    let mut notes = match check(paths).and_then(|()| holds()) {
        Ok(notes) => notes,
        Err(error) => {
            if changed {
                put(before.as_deref())?;
            }
            return Err(error);
        }
    };
    if changed && let Err(why) = reload(paths) {
        notes.push(format!("sshd was not reloaded: {why}"));
    }
    Ok(notes)
}

fn not_fenced(paths: &SshdPaths, realm: &RealmName, gap: &Gap) -> Error {
    let earlier: Vec<_> = earlier_blocks(paths, realm).iter().map(|p| p.display().to_string()).collect();
    let places = if earlier.is_empty() { paths.config.display().to_string() } else { earlier.join(", ") };
    Error::failed(format!("sshd would not fence {realm} in: its setting is `{}` ({})", gap.setting, gap.allows))
        .hint(format!("nothing was changed; exempt the realm from the Match block that says so (Match User *,!{realm}), in {places}"))
}

/// `sshd -t`
fn check(paths: &SshdPaths) -> Result<()> {
    ask(paths, &["-t"]).map(drop)
}

/// sshd's settings as they would hold for the realm's account. Without a connection given, Match blocks don't count.
pub fn effective(paths: &SshdPaths, realm: &RealmName) -> Result<Vec<(String, String)>> {
    let connection = format!("user={realm},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22");
    ask(paths, &["-T", "-C", &connection]).map(|text| parse(&text))
}

/// Runs sshd on its configuration and gives what it prints; its own words where it refuses.
fn ask(paths: &SshdPaths, words: &[&str]) -> Result<String> {
    let sshd = find_tool("sshd")?;
    let output =
        bare(&sshd).args(words).arg("-f").arg(&paths.config).output().map_err(|e| io("run", &sshd, &e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = complaints(&output.stderr);
    let hint = if said.contains("privilege separation directory") {
        "nothing was changed; it is made when sshd starts, or by: mkdir -m 0755 /run/sshd"
    } else if said.contains("no hostkeys available") {
        "nothing was changed; run it as root, and make host keys with: ssh-keygen -A"
    } else {
        "nothing was changed; mend it and repeat"
    };
    Err(Error::failed(format!("sshd refuses its configuration: {said}")).hint(hint))
}

/// sshd's own words, without the line that only counts the others.
fn complaints(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.contains(": terminating, "));
    let said = lines.take(3).collect::<Vec<_>>().join("; ");
    if said.is_empty() { "it said nothing".to_owned() } else { said }
}

fn parse(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()))
        .collect()
}

/// By systemd, or else by SIGHUP to the pid in the configured PidFile.
fn reload(paths: &SshdPaths) -> Result<(), String> {
    if paths.config == Path::new(DEFAULT_CONFIG) && Path::new("/run/systemd/system").is_dir() {
        for unit in ["ssh.service", "sshd.service"] {
            if super::tool("systemctl", ["reload", unit]).is_ok() {
                return Ok(());
            }
        }
    }
    let settings = ask(paths, &["-T"]).map(|text| parse(&text)).map_err(|e| e.message().to_owned())?;
    let pid_file =
        settings.iter().find_map(|(k, v)| (k == "pidfile").then_some(v.as_str())).unwrap_or("/run/sshd.pid");
    let idle = || "it is not running; it reads the drop-in at its start".to_owned();
    let pid: u32 =
        std::fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok()).ok_or_else(idle)?;
    // The number may be another process's by now, and a hang-up ends most.
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    if Path::new("/proc/self/comm").exists() && !name.is_ok_and(|n| n.trim_end() == "sshd") {
        return Err(idle());
    }
    let pid = i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 1)
        .and_then(rustix::process::Pid::from_raw)
        .ok_or_else(idle)?;
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).map_err(|_| idle())
}

/// The first word of a configuration line in lower case; sshd takes `Keyword value`, `Keyword=value` and quotes.
fn keyword(line: &str) -> String {
    words(line).next().unwrap_or_default().to_ascii_lowercase()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', '\t', '=', '"']).filter(|w| !w.is_empty())
}

/// Whether an Include line covers the file.
fn includes(line: &str, file: &Path) -> bool {
    keyword(line) == "include"
        && words(line).skip(1).any(|pattern| {
            let pattern = Path::new(ETC_SSH).join(pattern);
            let name =
                |path: &Path| path.file_name().map(|n| n.as_encoded_bytes().to_vec()).unwrap_or_default();
            pattern.parent() == file.parent() && matches(&name(&pattern), &name(file))
        })
}

/// The line that binds a key to its user. Nothing in it is text that somebody handed in: the key's type and bytes
/// were parsed, its comment is left out, addresses are of their own types.
pub fn authorized_keys_line(binary: &Path, dir: &Path, key: &UserKey) -> Result<String> {
    use base64::Engine as _;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+-".contains(&b);
    for path in [binary, dir] {
        if !path.to_str().is_some_and(|t| t.starts_with('/') && t.bytes().all(plain)) {
            return Err(Error::failed(format!(
                "{} has characters that can't stand in authorized_keys",
                path.display()
            ))
            .hint("move it to a path of letters, digits and /._+-"));
        }
    }
    let mut options = format!(
        "restrict,command=\"{} {}\"",
        binary.display(),
        forced_arguments(dir, key.user.as_str(), &key.fingerprint)
    );
    if let Some(at) = key.expires_at {
        options.push_str(&format!(",expiry-time=\"{}\"", expiry(at)));
    }
    if !key.from.is_empty() {
        let list = key.from.iter().map(|text| address(text)).collect::<Option<Vec<_>>>();
        let list = list
            .ok_or_else(|| Error::internal(format!("key {} has an address that is none", key.fingerprint)))?;
        options.push_str(&format!(",from=\"{}\"", list.join(",")));
    }
    if key.require_verify {
        options.push_str(",verify-required");
    }
    let algorithm = crate::public_key::TYPES.into_iter().find(|t| *t == key.algorithm);
    let algorithm =
        algorithm.ok_or_else(|| Error::internal(format!("key {} is of an unknown type", key.fingerprint)))?;
    Ok(format!("{options} {algorithm} {}", base64::engine::general_purpose::STANDARD.encode(&key.blob)))
}

/// The local time that is never before `at`, in whatever zone sshd runs, and at most 26 hours after.
///
/// sshd reads `expiry-time` in its host's zone; `Z` for UTC came with 9.1, and an older one drops the whole line over
/// it. Zones end at UTC+14. The mint refuses at the second and says why; sshd's own check cleans up after it.
fn expiry(at: u64) -> String {
    const EASTERNMOST: i64 = 14 * 3600;
    let at = i64::try_from(at).ok().and_then(|at| at.checked_add(EASTERNMOST));
    let Some(time) = at.and_then(|at| jiff::Timestamp::from_second(at).ok()) else {
        return "99991231".to_owned();
    };
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let (date, time) = (time.date(), time.time());
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// An address or network in its own type's spelling. sshd refuses a network with host bits, as `10.0.0.1/8`.
fn address(text: &str) -> Option<String> {
    let network = text.parse::<ipnet::IpNet>().map(|net| net.trunc().to_string());
    network.ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(|one| one.to_string()))
}

/// Writes `.ssh/authorized_keys` whole or not at all. `fill` writes the lines, of which there may be a million.
pub fn write_authorized_keys(
    dir: &Path,
    fill: &mut dyn FnMut(&mut dyn std::io::Write) -> Result<()>,
) -> Result<()> {
    let folder = dir.join(".ssh");
    // One that was there already may be open to others, and sshd then ignores the file.
    if folder.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        files::set_mode(&folder, 0o700)?;
    }
    files::create_dir(&folder, 0o700)?;
    files::write_atomic_with(&folder.join("authorized_keys"), 0o600, fill)
}

/// `.ssh/authorized_keys`, opened; none where there is none.
pub fn open_authorized_keys(dir: &Path) -> Result<Option<File>> {
    let path = dir.join(".ssh/authorized_keys");
    if path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    files::open_regular(&path).map(Some)
}

/// Removes `.ssh/authorized_keys`.
pub fn remove_authorized_keys(dir: &Path) -> Result<()> {
    let path = dir.join(".ssh/authorized_keys");
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io("remove", &path, &e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> UserKey {
        let blob = b"\0\0\0\x0bssh-ed25519".to_vec();
        UserKey {
            fingerprint: Fingerprint::of(&blob),
            user: "ada".parse().unwrap(),
            algorithm: "ssh-ed25519".into(),
            blob,
            comment: "evil\" no-pty".into(),
            expires_at: None,
            from: vec![],
            require_touch: false,
            require_verify: false,
            added_at: 0,
            source: None,
        }
    }

    #[test]
    fn a_line_binds_a_key_to_its_user() {
        let (binary, dir) = (Path::new("/usr/bin/seamless"), Path::new("/var/lib/seamless/corp"));
        let line = authorized_keys_line(binary, dir, &key()).unwrap();
        let start = "restrict,command=\"/usr/bin/seamless forced --dir /var/lib/seamless/corp --user ada --key SHA256:";
        assert!(line.starts_with(start), "{line}");
        assert!(line.ends_with("\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"), "{line}");
        let strict = UserKey {
            expires_at: Some(1_800_000_000),
            from: vec!["10.1.2.3/8".into(), "::0001".into()],
            require_verify: true,
            ..key()
        };
        let line = authorized_keys_line(binary, dir, &strict).unwrap();
        assert!(
            line.contains(
                "\",expiry-time=\"20270115220000\",from=\"10.0.0.0/8,::1\",verify-required ssh-ed25519 "
            ),
            "{line}"
        );
    }

    #[test]
    fn nothing_untrusted_gets_into_a_line() {
        let dir = Path::new("/var/lib/seamless/corp");
        assert!(!authorized_keys_line(Path::new("/usr/bin/seamless"), dir, &key()).unwrap().contains("evil"));
        for bad in ["/a\"b", "/a b", "/a\nb", "/a%b", "relative", "/a\\b", "/a$b"] {
            assert!(authorized_keys_line(Path::new(bad), dir, &key()).is_err(), "{bad}");
            assert!(
                authorized_keys_line(Path::new("/usr/bin/seamless"), Path::new(bad), &key()).is_err(),
                "{bad}"
            );
        }
        for from in ["*\",no-pty", "10.0.0.0/8\n", "host"] {
            let key = UserKey { from: vec![from.into()], ..key() };
            assert!(authorized_keys_line(Path::new("/usr/bin/seamless"), dir, &key).is_err(), "{from}");
        }
        let odd = UserKey { algorithm: "ssh-x".into(), ..key() };
        assert!(authorized_keys_line(Path::new("/usr/bin/seamless"), dir, &odd).is_err());
    }

    #[test]
    fn the_drop_in_fences_the_account() {
        let drop_in = |keys| {
            DropIn::new(
                &"corp".parse().unwrap(),
                keys,
                Path::new("/usr/bin/seamless"),
                Path::new("/var/lib/seamless/corp"),
            )
            .text()
        };
        let by_file = drop_in(KeysBy::File);
        for line in [
            "Match User corp\n",
            "    TrustedUserCAKeys none\n",
            "    PubkeyAcceptedAlgorithms -*-cert-v01@openssh.com\n",
            "    AuthenticationMethods publickey\n",
            "    DisableForwarding yes\n",
            "    PermitTTY no\n",
            "    PermitUserRC no\n",
            "    AllowAgentForwarding no\n",
            "    X11Forwarding no\n",
            "    ForceCommand none\n",
            "    AcceptEnv LANG\n",
        ] {
            assert!(by_file.contains(line), "{line}");
        }
        assert!(by_file.ends_with("Match all\n") && by_file.matches("ForceCommand").count() == 1);
        let by_command = drop_in(KeysBy::Command);
        assert!(by_command.contains("    AuthorizedKeysFile none\n"));
        assert!(by_command.contains(
            "    AuthorizedKeysCommand /usr/bin/seamless authorized-keys --dir /var/lib/seamless/corp %t %k\n"
        ));
        assert!(by_command.contains("    AuthorizedKeysCommandUser corp\n"));
    }

    #[test]
    fn what_sshd_complains_about_is_passed_on() {
        let said = "/x: line 3: Bad configuration option: Colour\r\n/x: terminating, 1 bad configuration options\r\n";
        assert_eq!(complaints(said.as_bytes()), "/x: line 3: Bad configuration option: Colour");
        assert_eq!(complaints(b""), "it said nothing");
    }

    #[test]
    fn a_key_never_ends_early() {
        let at = 1_800_054_000; // 2027-01-15 23:00 UTC
        assert_eq!(
            expiry(at),
            "20270116130000",
            "UTC+14 reads it as 23:00 UTC, UTC-12 as 01:00 UTC on the 17th"
        );
        assert_eq!(expiry(0), "19700101140000");
        assert_eq!(
            (expiry(u64::MAX), expiry(253_402_300_799)),
            ("99991231".to_owned(), "99991231".to_owned())
        );
    }

    #[test]
    fn blocks_that_sshd_reads_before_ours_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let paths = SshdPaths::with_config(&dir.path().join("sshd_config"));
        std::fs::create_dir(&paths.drop_ins).unwrap();
        for (name, text) in [
            ("10-cloud.conf", "PasswordAuthentication yes\n"),
            ("20-sftp.conf", "Port 22\n  match\tGroup sftp\n"),
            ("50-off.conf.bak", "Match all\n"),
            ("60-seamless-acme.conf", "Match User acme\n"),
            ("70-late.conf", "Match all\n"),
        ] {
            std::fs::write(paths.drop_ins.join(name), text).unwrap();
        }
        assert_eq!(earlier_blocks(&paths, &"corp".parse().unwrap()), [paths.drop_ins.join("20-sftp.conf")]);
    }

    #[test]
    fn an_sshd_config_that_reads_no_drop_ins_is_named() {
        let paths = SshdPaths::with_config(Path::new("/opt/ssh/sshd_config"));
        let include = format!("Include {}/*.conf\n", paths.drop_ins.display());
        for (text, good) in [
            (String::new(), false),
            (format!("#{include}"), false),
            (format!("Port 22\n{include}"), true),
            (format!("include=\"{}/*\"\n", paths.drop_ins.display()), true),
            (format!("Include {0}/a.conf {0}/6?-*.conf\n", paths.drop_ins.display()), true),
            (format!("Include {}/*.local\n", paths.drop_ins.display()), false),
            // Relative to /etc/ssh, which is not here.
            ("Include sshd_config.d/*.conf\n".to_owned(), false),
            (format!("Match\tUser x\n{include}"), false),
        ] {
            assert_eq!(reads_drop_ins(&paths, &text), good, "{text}");
        }
    }
}
