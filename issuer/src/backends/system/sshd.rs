//! sshd: the drop-in that fences a realm's account, and the lines that bind a key to its forced command.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{find_tool, last_line};
use crate::backends::files;
use crate::backends::store::UserKey;
use crate::config::KeysBy;
use crate::doors::ssh::forced;
use crate::error::{Error, Result, io};
use crate::names::RealmName;

/// The system's sshd_config.
pub const DEFAULT_CONFIG: &str = "/etc/ssh/sshd_config";

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
    /// the account got a shell. No ForceCommand: it comes before the line's own command and knows no user.
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
             \x20   PermitTTY no\n\
             \x20   PermitUserRC no\n\
             \x20   PermitTunnel no\n"
        );
        match keys {
            KeysBy::File => text.push_str("    AuthorizedKeysFile .ssh/authorized_keys\n    AuthorizedKeysCommand none\n"),
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

/// Refuses an sshd_config that would not read the drop-in.
pub fn check_include(paths: &SshdPaths) -> Result<()> {
    let bytes = files::read_small(&paths.config, 1024 * 1024)
        .map_err(|e| Error::failed(e.message()).hint("install OpenSSH's server: apt-get install openssh-server"))?;
    let text = String::from_utf8_lossy(&bytes);
    let wanted = paths.drop_ins.join("*.conf");
    let includes = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|w| w.eq_ignore_ascii_case("include"))
            && words.any(|w| Path::new(w) == wanted || paths.config.parent().is_some_and(|dir| dir.join(w) == wanted))
    };
    // Inside a Match block an Include counts for that block alone.
    let global = text.lines().map(str::trim).take_while(|l| !l.to_ascii_lowercase().starts_with("match "));
    if global.into_iter().any(includes) {
        return Ok(());
    }
    Err(Error::failed(format!("{} does not include {}", paths.config.display(), wanted.display()))
        .hint(format!("add this line at its top: Include {}", wanted.display())))
}

/// Writes the drop-in, lets sshd check it, and has it read. On failure everything is as before.
/// Gives what the administrator should know.
pub fn install(paths: &SshdPaths, drop_in: &DropIn) -> Result<Vec<String>> {
    check_include(paths)?;
    replace(paths, &drop_in.realm, Some(&drop_in.text()))
}

/// Removes the drop-in and has sshd read its configuration anew.
pub fn remove(paths: &SshdPaths, realm: &RealmName) -> Result<Vec<String>> {
    if paths.drop_in(realm).symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    replace(paths, realm, None)
}

fn replace(paths: &SshdPaths, realm: &RealmName, text: Option<&str>) -> Result<Vec<String>> {
    let path = paths.drop_in(realm);
    let before = match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(io("read", &path, &e)),
    };
    if before.as_deref() == text.map(str::as_bytes) {
        return Ok(Vec::new());
    }
    let put = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => files::write_atomic(&path, bytes, 0o644),
        None => std::fs::remove_file(&path).map_err(|e| io("remove", &path, &e)),
    };
    put(text.map(str::as_bytes))?;
    if let Err(error) = check(paths) {
        put(before.as_deref())?;
        return Err(error);
    }
    Ok(match reload(paths) {
        Ok(()) => Vec::new(),
        Err(why) => vec![format!("sshd was not reloaded: {why}")],
    })
}

/// `sshd -t`
fn check(paths: &SshdPaths) -> Result<()> {
    let sshd = find_tool("sshd")?;
    let output = Command::new(&sshd).arg("-t").arg("-f").arg(&paths.config).output().map_err(|e| io("run", &sshd, &e))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("sshd refuses its configuration: {}", last_line(&output.stderr)))
        .hint("nothing was changed; mend it and repeat"))
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
    let settings = settings(paths, None).map_err(|e| e.message().to_owned())?;
    let pid_file = settings.iter().find_map(|(k, v)| (k == "pidfile").then_some(v.as_str())).unwrap_or("/run/sshd.pid");
    let pid = std::fs::read_to_string(pid_file).map_err(|_| "it is not running; it reads the drop-in at its start".to_owned())?;
    let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw).ok_or("its pid file holds no pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::HUP)
        .map_err(|e| format!("its pid file is stale ({e}); it reads the drop-in at its start"))
}

/// sshd's settings as they would hold for the realm's account. Without a connection given, Match blocks don't count.
pub fn effective(paths: &SshdPaths, realm: &RealmName) -> Result<Vec<(String, String)>> {
    settings(paths, Some(realm))
}

fn settings(paths: &SshdPaths, realm: Option<&RealmName>) -> Result<Vec<(String, String)>> {
    let sshd = find_tool("sshd")?;
    let mut command = Command::new(&sshd);
    command.arg("-T").arg("-f").arg(&paths.config);
    if let Some(realm) = realm {
        command.arg("-C").arg(format!("user={realm},host=localhost,addr=127.0.0.1"));
    }
    let output = command.output().map_err(|e| io("run", &sshd, &e))?;
    if !output.status.success() {
        return Err(Error::failed(format!("sshd refuses its configuration: {}", last_line(&output.stderr))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|l| l.split_once(' ')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
}

/// The line that binds a key to its user. Nothing in it is text that somebody handed in: the key's type and bytes
/// were parsed, its comment is left out, addresses are of their own types.
pub fn authorized_keys_line(binary: &Path, dir: &Path, key: &UserKey) -> Result<String> {
    use base64::Engine as _;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+-".contains(&b);
    for path in [binary, dir] {
        if !path.to_str().is_some_and(|t| t.starts_with('/') && t.bytes().all(plain)) {
            return Err(Error::failed(format!("{} has characters that can't stand in authorized_keys", path.display()))
                .hint("move it to a path of letters, digits and /._+-"));
        }
    }
    let mut options = format!(
        "restrict,command=\"{} {}\"",
        binary.display(),
        forced::arguments(dir, key.user.as_str(), &key.fingerprint)
    );
    if let Some(at) = key.expires_at {
        options.push_str(&format!(",expiry-time=\"{}\"", expiry(at)));
    }
    if !key.from.is_empty() {
        let list: Vec<_> = key.from.iter().filter(|f| is_address(f)).map(String::as_str).collect();
        if list.len() != key.from.len() {
            return Err(Error::internal(format!("key {} has an address that is none", key.fingerprint)));
        }
        options.push_str(&format!(",from=\"{}\"", list.join(",")));
    }
    if key.require_verify {
        options.push_str(",verify-required");
    }
    let algorithm = crate::public_key::TYPES.into_iter().find(|t| *t == key.algorithm);
    let algorithm = algorithm.ok_or_else(|| Error::internal(format!("key {} is of an unknown type", key.fingerprint)))?;
    Ok(format!("{options} {algorithm} {}", base64::engine::general_purpose::STANDARD.encode(&key.blob)))
}

/// sshd before 9.? reads `expiry-time` in the host's own time zone only, so its line gets a day's slack: the mint
/// refuses at the second, and sshd cleans up after it.
fn expiry(at: u64) -> String {
    let at = i64::try_from(at).unwrap_or(i64::MAX / 4).saturating_add(86_400);
    jiff::Timestamp::from_second(at).map_or_else(
        |_| "99991231".to_owned(),
        |t| {
            let date = t.to_zoned(jiff::tz::TimeZone::UTC).date();
            format!("{:04}{:02}{:02}", date.year(), date.month(), date.day())
        },
    )
}

fn is_address(text: &str) -> bool {
    text.parse::<ipnet::IpNet>().is_ok() || text.parse::<std::net::IpAddr>().is_ok()
}

/// Writes `.ssh/authorized_keys` whole or not at all.
pub fn write_authorized_keys(dir: &Path, text: &str) -> Result<()> {
    let folder = dir.join(".ssh");
    files::create_dir(&folder, 0o700)?;
    files::write_atomic(&folder.join("authorized_keys"), text.as_bytes(), 0o600)
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
    use crate::backends::store::Fingerprint;

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
        }
    }

    #[test]
    fn a_line_binds_a_key_to_its_user() {
        let (binary, dir) = (Path::new("/usr/bin/seamless"), Path::new("/var/lib/seamless/corp"));
        let line = authorized_keys_line(binary, dir, &key()).unwrap();
        let start = "restrict,command=\"/usr/bin/seamless forced --dir /var/lib/seamless/corp --user ada --key SHA256:";
        assert!(line.starts_with(start), "{line}");
        assert!(line.ends_with("\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"), "{line}");
        let strict = UserKey { expires_at: Some(1_800_000_000), from: vec!["10.0.0.0/8".into(), "::1".into()], require_verify: true, ..key() };
        let line = authorized_keys_line(binary, dir, &strict).unwrap();
        assert!(line.contains("\",expiry-time=\"20270116\",from=\"10.0.0.0/8,::1\",verify-required ssh-ed25519 "), "{line}");
    }

    #[test]
    fn nothing_untrusted_gets_into_a_line() {
        let dir = Path::new("/var/lib/seamless/corp");
        assert!(!authorized_keys_line(Path::new("/usr/bin/seamless"), dir, &key()).unwrap().contains("evil"));
        for bad in ["/a\"b", "/a b", "/a\nb", "/a%b", "relative", "/a\\b", "/a$b"] {
            assert!(authorized_keys_line(Path::new(bad), dir, &key()).is_err(), "{bad}");
            assert!(authorized_keys_line(Path::new("/usr/bin/seamless"), Path::new(bad), &key()).is_err(), "{bad}");
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
        let drop_in = |keys| DropIn::new(&"corp".parse().unwrap(), keys, Path::new("/usr/bin/seamless"), Path::new("/var/lib/seamless/corp")).text();
        let by_file = drop_in(KeysBy::File);
        for line in [
            "Match User corp\n", "    TrustedUserCAKeys none\n", "    PubkeyAcceptedAlgorithms -*-cert-v01@openssh.com\n",
            "    AuthenticationMethods publickey\n", "    DisableForwarding yes\n", "    PermitTTY no\n", "    PermitUserRC no\n",
        ] {
            assert!(by_file.contains(line), "{line}");
        }
        assert!(by_file.ends_with("Match all\n") && !by_file.contains("ForceCommand"));
        let by_command = drop_in(KeysBy::Command);
        assert!(by_command.contains("    AuthorizedKeysFile none\n"));
        assert!(by_command.contains("    AuthorizedKeysCommand /usr/bin/seamless authorized-keys --dir /var/lib/seamless/corp %t %k\n"));
        assert!(by_command.contains("    AuthorizedKeysCommandUser corp\n"));
    }

    #[test]
    fn an_sshd_config_that_reads_no_drop_ins_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let paths = SshdPaths::with_config(&dir.path().join("sshd_config"));
        let include = format!("Include {}/*.conf\n", paths.drop_ins.display());
        for (text, good) in [
            (String::new(), false),
            (format!("#{include}"), false),
            (format!("Port 22\n{include}"), true),
            ("include sshd_config.d/*.conf\n".to_owned(), true),
            (format!("Match User x\n{include}"), false),
        ] {
            std::fs::write(&paths.config, &text).unwrap();
            assert_eq!(check_include(&paths).is_ok(), good, "{text}");
        }
    }
}
