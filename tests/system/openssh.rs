//! OpenSSH's sshd with our forced command: a token for a key that is enrolled, and nothing else for anybody.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seamless_tests::agent::Agent;
use seamless_tests::home::{ECDSA, ED25519, KeyType, RSA, public};
use seamless_tests::process::{Done, Running, run, run_with};
use seamless_tests::sshd::HostRealm;

/// A realm with a key of ada's.
struct Ada {
    realm: HostRealm,
    key: PathBuf,
}

fn ada(options: &[&str], lines: &str) -> Option<Ada> {
    let realm = HostRealm::init(options, lines)?;
    let key = realm.home.key("ada", ED25519);
    let _ = realm.enrol("ada", &key, &[]);
    Some(Ada { realm, key })
}

/// No token and no shell, on either stream.
#[track_caller]
fn gives_nothing(done: Done) -> Done {
    let done = done.fails();
    assert!(
        !done.stdout.contains("ada.") && !done.stdout.contains("eyJ"),
        "no token was expected of\n{done}"
    );
    assert!(!done.stdout.contains("uid="), "no shell was expected of\n{done}");
    done
}

#[track_caller]
fn denied(done: Done) {
    // 255 is ssh's own: the log-in failed.
    let _ = gives_nothing(done.code(255)).says("Permission denied (publickey)");
}

fn mode(path: &Path) -> (u32, u32) {
    let meta = path.symlink_metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (meta.mode() & 0o7777, meta.uid())
}

#[test]
fn init_makes_an_account_that_gives_one_token() {
    let Some(Ada { realm, key }) = ada(&[], "") else { return };
    let entry = realm.entry("passwd").unwrap_or_default();
    assert!(entry.ends_with(&format!(":{}:/bin/sh", realm.dir().display())), "{entry}");
    assert_eq!(
        realm.entry("shadow").unwrap_or_default().split(':').nth(1),
        Some("*"),
        "no password, not locked"
    );
    assert_eq!(mode(&realm.dir()), (0o700, realm.uid()));
    assert_eq!(mode(Path::new("/var/lib/seamless")), (0o755, 0));
    assert_eq!(mode(&realm.file(".ssh")), (0o700, realm.uid()));
    assert_eq!(mode(&realm.file(".ssh/authorized_keys")), (0o600, realm.uid()));
    assert_eq!(mode(&realm.sshd.realm_drop_in(&realm.name)), (0o644, 0));

    let done = realm.login(&key, &[]).ok();
    assert_eq!(done.stderr, "", "nothing on stderr:\n{done}");
    let token = done.line();
    assert!(token.starts_with("ada.") && token.split('.').count() == 3, "the original's format: {token}");
    let mut verify = realm.bare();
    let verdict =
        run(verify.args(["verify", "--json", &token]).env("SEAMLESS_REALM", &realm.name)).ok().json();
    assert_eq!((&verdict["verdict"], &verdict["subject"]), (&"ok".into(), &"ada".into()), "{verdict}");

    // Root worked as the account: nothing in the realm is root's, and nothing is open to others.
    let mut folders = vec![realm.dir()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("read a folder").flatten() {
            let (mode, uid) = mode(&entry.path());
            assert!(
                uid == realm.uid() && mode & 0o077 == 0,
                "{}: {mode:04o}, uid {uid}",
                entry.path().display()
            );
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    let audit = run(realm.verb(&["audit", "show"]).arg("--json")).ok().json();
    let mint =
        audit.as_array().into_iter().flatten().find(|r| r["action"] == "mint").cloned().unwrap_or_default();
    let seen =
        ["subject", "door", "address", "fingerprint"].map(|name| mint[name].as_str().unwrap_or_default());
    assert_eq!(seen, ["ada", "sshd", "127.0.0.1", &realm.home.fingerprint(&key)], "{audit}");
}

#[test]
fn the_words_of_a_session() {
    let Some(Ada { realm, key }) = ada(&[], "") else { return };
    let answer = realm.login(&key, &["token", "--format", "jwt", "-t", "1m", "--json"]).ok().json();
    assert_eq!((&answer["subject"], &answer["expires_in"]), (&"ada".into(), &60.into()), "{answer}");
    let _ = realm.login(&key, &["whoami"]).ok().says("ada");
    let _ = realm.login(&key, &["keys"]).ok().says(&realm.home.fingerprint(&key));
    let _ = realm.login(&key, &["help"]).ok().says("token");
    let _ = realm.login(&key, &["token", "--format", "jwt", "-t", "9h"]).code(3);
    let _ = realm.login(&key, &["token", "--format", "jwt", "-s", "root"]).code(3);
    // Two users, each with a key: who asks is who is proven.
    let key = realm.home.key("bob", ECDSA);
    let _ = realm.enrol("bob", &key, &[]);
    assert!(realm.login(&key, &[]).ok().line().starts_with("bob."));
}

#[test]
fn what_is_no_word_of_a_session_is_refused() {
    let Some(Ada { realm, key }) = ada(&[], "") else { return };
    let dir = realm.dir().display().to_string();
    for words in [
        &["id"][..],
        &["sh", "-c", "id"],
        &["token", "--user", "root"],
        &["token", "--dir", &dir],
        &["token", "--realm-home", &dir],
        &["token", "--secret-file", "/etc/passwd"],
        &["token;id"],
        &["token", "$(id)"],
        &["token\nid"],
        &["forced", "--dir", &dir, "--user", "root", "--key", "SHA256:x"],
        &["enter", "1", "1", "/", "id"],
        &["user", "list"],
        &["internal-sftp"],
        &["scp", "-t", "."],
    ] {
        let _ = gives_nothing(realm.login(&key, words).code(2));
    }
    let long = "a".repeat(9 * 1024);
    let _ = gives_nothing(realm.login(&key, &["token", &long]).code(2));
}

#[test]
fn no_terminal_no_forwarding_no_files() {
    let Some(Ada { realm, key }) = ada(&[], "AcceptEnv *\nAllowAgentForwarding yes\nAllowTcpForwarding yes")
    else {
        return;
    };
    // The line's own `restrict` and the drop-in, each by itself: a line without options stands for whatever else
    // might get into the file.
    let open = realm.home.key("open", ED25519);
    let line = fs::read_to_string(public(&open)).expect("read a public key");
    let lines = fs::read_to_string(realm.file(".ssh/authorized_keys")).expect("read authorized_keys");
    realm.plant(".ssh/authorized_keys", &format!("{lines}{line}"), 0o600);
    let uid = realm.login(&open, &["id", "-u"]).ok().line();
    assert_eq!(uid, realm.uid().to_string(), "the control: such a line does get a shell");

    let secret = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("127.0.0.1:{}", secret.local_addr().expect("its address").port());
    for key in [&key, &open] {
        let pty = realm.login_with(key, &["-tt"], &["help"]);
        assert!(pty.stderr.contains("PTY allocation request failed"), "{pty}");
        let through = gives_nothing(realm.login_with(key, &["-W", &target], &[]));
        let _ = through.says("administratively prohibited");
        let reverse = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", &format!("0:{target}")];
        let _ = gives_nothing(realm.login_with(key, &reverse, &[])).says("remote port forwarding failed");
        let reverse =
            ["-N", "-o", "ExitOnForwardFailure=yes", "-R", &format!("/tmp/{}:{target}", realm.name)];
        let _ = gives_nothing(realm.login_with(key, &reverse, &[])).says("remote port forwarding failed");

        let agent = Agent::start(&realm.home);
        agent.add(&realm.home, key);
        let before = realm.sshd.log().matches("agent forwarding disabled").count();
        let _ = run(&mut realm.server().ssh_agent(&realm.home, &agent.socket, &["-A"]));
        let after = realm.sshd.log().matches("agent forwarding disabled").count();
        assert_eq!(after, before + 1, "the agent is not passed on:\n{}", realm.sshd.log());
        drop(agent);
        let _ = fs::remove_file(realm.home.join("agent"));
    }
    secret.set_nonblocking(true).expect("set a flag");
    assert!(secret.accept().is_err(), "nobody came through");

    let place = format!("{}@127.0.0.1", realm.name);
    let from = format!("{place}:realm.toml");
    for (program, words) in [
        ("sftp", &["-b", "/dev/null", &place][..]),
        ("scp", &[&from, "stolen"]),
        ("scp", &["-O", &from, "stolen"]),
    ] {
        let _ = gives_nothing(run(&mut realm.server().transfer(&realm.home, program, &key, words)));
        assert!(!realm.home.join("stolen").exists());
    }

    // Under `AcceptEnv *`, what the loader would obey: it says so where it can't find the library.
    for name in [
        "LD_PRELOAD=/nonexistent.so",
        "SEAMLESS_REALM=/",
        "SSH_ORIGINAL_COMMAND=help",
        "BASH_ENV=/etc/passwd",
    ] {
        let done = realm.login_with(&key, &["-T", "-o", &format!("SetEnv={name}")], &[]).ok();
        assert_eq!(done.stderr, "", "{name}");
        assert!(done.line().starts_with("ada."), "{name}");
    }
    let environment =
        realm.login_with(&open, &["-T", "-o", "SetEnv=LD_PRELOAD=/nonexistent.so FOO=bar"], &["env"]).ok();
    assert!(
        !environment.stdout.contains("LD_PRELOAD") && !environment.stdout.contains("FOO"),
        "{environment}"
    );
}

#[test]
fn a_certificate_for_the_account_is_refused() {
    let folder = tempfile::TempDir::with_prefix("seamless-ca-").expect("a temporary folder");
    let ca = folder.path().join("ca");
    for mode in ["file", "command"] {
        let lines = format!("TrustedUserCAKeys {}", public(&ca).display());
        let Some(mut realm) = HostRealm::without_init(&lines) else { return };
        if !ca.exists() {
            let _ =
                run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&ca)).ok();
        }
        let _ = realm.reloading(&["init", "--keys", mode]).ok();
        let key = realm.home.key("certified", ED25519);
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-I", "test", "-n", &format!("{},root", realm.name), "-s"])
            .arg(&ca)
            .arg(public(&key));
        let _ = run(&mut sign).ok();
        let root = || run(&mut realm.sshd.server("root").ssh(&realm.home, &key, &["id", "-u"]));
        assert_eq!(root().ok().line(), "0", "the control: elsewhere the certificate is good");
        denied(realm.login(&key, &["id"]));
        denied(realm.login(&key, &[]));

        // Without the drop-in it is good here, too; so `delete` shuts the account before it removes that.
        fs::remove_file(realm.sshd.realm_drop_in(&realm.name)).expect("remove the drop-in");
        realm.sshd.reload();
        assert_eq!(realm.login(&key, &["id", "-u"]).ok().line(), realm.uid().to_string(), "the control");
        let _ = run(Command::new("usermod").args(["--expiredate", "1", &realm.name])).ok();
        let _ = gives_nothing(realm.login(&key, &["id"]).code(255)).says("Permission denied (publickey,");
    }
}

#[test]
fn other_ways_to_log_in_are_refused() {
    let Some(Ada { realm, key }) = ada(&[], "") else { return };
    for method in ["password", "keyboard-interactive", "gssapi-with-mic", "hostbased", "none"] {
        let option = format!("PreferredAuthentications={method}");
        denied(realm.login_with(&key, &["-T", "-o", "BatchMode=no", "-o", &option], &[]));
    }
    denied(realm.login(&realm.home.key("stranger", ED25519), &[]));
}

#[test]
fn every_key_type_logs_in() {
    let Some(realm) = HostRealm::init(&[], "") else { return };
    let of = |name, bits| KeyType { name, bits: Some(bits) };
    for (name, kind) in [
        ("ed25519", ED25519),
        ("p256", ECDSA),
        ("p384", of("ecdsa", "384")),
        ("p521", of("ecdsa", "521")),
        ("rsa2048", of("rsa", "2048")),
        ("rsa3072", RSA),
        ("rsa4096", of("rsa", "4096")),
    ] {
        let key = realm.home.key(name, kind);
        denied(realm.login(&key, &[]));
        let _ = realm.enrol(name, &key, &[]);
        assert!(realm.login(&key, &[]).ok().line().starts_with(&format!("{name}.")), "{name}");
    }
    let short = realm.home.key("short", of("rsa", "1024"));
    let line = fs::read(public(&short)).expect("read a public key");
    let mut add = realm.bare();
    let _ = run_with(add.args(["add", &realm.name, "-", "--user", "x"]), &line).code(2).says("1024 bits");

    // No device is here to log in with these; their lines are what sshd gets to judge.
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes(), bytes].concat();
    let mut point = vec![4];
    point.extend(
        STANDARD
            .decode(
                "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==",
            )
            .expect("a point"),
    );
    for (name, parts) in [
        ("sk-ssh-ed25519@openssh.com", vec![string(&[7; 32])]),
        ("sk-ecdsa-sha2-nistp256@openssh.com", vec![string(b"nistp256"), string(&point)]),
    ] {
        let blob = [string(name.as_bytes()), parts.concat(), string(b"ssh:")].concat();
        let line = format!("{name} {} no-touch-required\n", STANDARD.encode(blob));
        let mut add = realm.bare();
        add.args(["add", &realm.name, "-", "--user", "sam", "--require-touch", "--require-verify"]);
        let _ = run_with(&mut add, line.as_bytes()).ok();
        let lines = fs::read_to_string(realm.file(".ssh/authorized_keys")).expect("read authorized_keys");
        let ours = lines.lines().find(|l| l.contains(&format!(" {name} "))).unwrap_or_default();
        assert!(ours.contains("\",verify-required ") && !ours.contains("no-touch-required"), "{ours}");
    }
}

#[test]
fn a_key_ends_when_it_is_told_to() {
    for mode in ["file", "command"] {
        let Some(realm) = HostRealm::init(&["--keys", mode], "") else { return };
        // Elsewhere.
        let far = realm.home.key("far", ED25519);
        let _ = realm.enrol("far", &far, &["--from", "10.0.0.0/8"]);
        denied(realm.login(&far, &[]));
        let near = realm.home.key("near", ED25519);
        let _ = realm.enrol("near", &near, &["--from", "10.0.0.0/8", "--from", "127.0.0.1/8"]);
        assert!(realm.login(&near, &[]).ok().line().starts_with("near."));

        // Expired: the mint says so, at the second, whatever zone sshd lives in.
        let brief = realm.home.key("brief", ED25519);
        let _ = realm.enrol("brief", &brief, &["--expires", "3s"]);
        assert!(realm.login(&brief, &[]).ok().line().starts_with("brief."));
        std::thread::sleep(Duration::from_secs(3));
        let _ = gives_nothing(realm.login(&brief, &[]).code(4)).says("has expired");

        // Locked, and let in again.
        let ada = realm.home.key("ada", ED25519);
        let _ = realm.enrol("ada", &ada, &[]);
        let _ = run(realm.verb(&["user", "lock"]).args(["ada", "--yes"])).ok();
        let _ = gives_nothing(realm.login(&ada, &[]).code(4)).says("is locked");
        let _ = run(realm.verb(&["user", "unlock"]).arg("ada")).ok();
        let _ = realm.login(&ada, &[]).ok();

        // Removed: sshd does not know it any more; and where its line was kept, the mint does not.
        let kept = fs::read_to_string(realm.file(".ssh/authorized_keys")).unwrap_or_default();
        let _ = run(realm.verb(&["key", "remove"]).args([&realm.home.fingerprint(&ada), "--yes"])).ok();
        denied(realm.login(&ada, &[]));
        if mode == "file" {
            realm.plant(".ssh/authorized_keys", &kept, 0o600);
            let _ = gives_nothing(realm.login(&ada, &[]).code(4)).says("not enrolled here any more");
        }
    }
}

#[test]
fn with_a_command_a_stale_file_lets_nobody_in() {
    let Some(Ada { mut realm, key }) = ada(&["--keys", "command"], "") else { return };
    assert!(realm.login(&key, &[]).ok().line().starts_with("ada."));
    assert!(!realm.file(".ssh/authorized_keys").exists(), "no file where the command serves");

    // The command prints nothing for this key, and the file has it.
    let stale = realm.home.key("stale", ED25519);
    let line = fs::read_to_string(public(&stale)).expect("read a public key");
    for name in ["authorized_keys", "authorized_keys2"] {
        realm.plant(&format!(".ssh/{name}"), &line, 0o600);
    }
    denied(realm.login(&stale, &["id"]));
    let _ = run(&mut realm.verb(&["doctor"])).code(1).says("although AuthorizedKeysCommand serves");
    let _ = run(&mut realm.verb(&["sync"])).ok();
    assert!(!realm.file(".ssh/authorized_keys").exists(), "sync removes it");
    assert!(realm.login(&key, &[]).ok().line().starts_with("ada."));

    // Looking a key up writes nothing, and unproven offers are no records.
    let audit = |realm: &HostRealm| run(realm.verb(&["audit", "show"]).arg("--json")).ok().json();
    let before = audit(&realm);
    denied(realm.login(&realm.home.key("nobody", ED25519), &[]));
    assert_eq!(audit(&realm), before);

    // Changing the setting and `sync` is all that it takes to change the way.
    let settings = fs::read_to_string(realm.file("realm.toml")).expect("read realm.toml");
    realm.plant("realm.toml", &settings.replace("keys = \"command\"", "keys = \"file\""), 0o600);
    let _ = realm.reloading(&["sync"]).ok();
    assert!(realm.file(".ssh/authorized_keys").exists());
    assert!(realm.login(&key, &[]).ok().line().starts_with("ada."));
}

#[test]
fn a_force_command_of_the_host_does_not_take_the_place_of_ours() {
    let Some(Ada { realm, key }) = ada(&[], "ForceCommand /bin/echo forced\nChrootDirectory /nonexistent")
    else {
        return;
    };
    assert!(realm.login(&key, &[]).ok().line().starts_with("ada."));
}

#[test]
fn delete_leaves_nothing() {
    let Some(Ada { mut realm, key }) = ada(&[], "") else { return };
    let _ = run(&mut realm.verb(&["delete"])).code(2).says("--yes");
    let _ = realm.login(&key, &[]).ok();

    // Not while something runs as the account: then nothing is changed at all.
    let mut running = Running::start(Command::new("setpriv").args([
        &format!("--reuid={}", realm.uid()),
        "--clear-groups",
        "sleep",
        "100",
    ]));
    running.wait_for("the process", |_| processes(realm.uid()).first().copied());
    let _ = run(&mut realm.verb(&["delete", "--yes"])).code(1).says("processes still run as");
    let _ = realm.login(&key, &[]).ok();
    drop(running);

    let _ = realm.reloading(&["delete", "--yes"]).ok();
    assert_eq!((realm.entry("passwd"), realm.entry("group")), (None, None));
    assert!(!realm.dir().exists() && !realm.sshd.realm_drop_in(&realm.name).exists());
    let _ = gives_nothing(realm.login(&key, &[]).code(255)).says("Permission denied (publickey,");
    let _ = run(&mut realm.verb(&["delete", "--yes"])).code(1).says("there is no realm");
}

#[test]
fn only_realms_are_deleted_and_no_account_is_taken() {
    let Some(realm) = HostRealm::without_init("") else { return };
    for account in ["root", "nobody", "daemon"] {
        let config = realm.sshd.config();
        let _ = run(realm.bare().args(["delete", account, "--yes", "--sshd-config"]).arg(&config)).code(1);
        let _ =
            run(realm.bare().args(["init", account, "--sshd-config"]).arg(&config)).code(1).says("already");
        assert!(run(Command::new("getent").args(["passwd", account])).code == Some(0));
    }
}

#[test]
fn an_init_that_fails_leaves_nothing() {
    let Some(mut realm) = HostRealm::without_init("") else { return };
    let config = fs::read_to_string(realm.sshd.config()).expect("read sshd_config");
    let nothing_is_left = |realm: &HostRealm| {
        assert_eq!((realm.entry("passwd"), realm.entry("group")), (None, None));
        assert!(!realm.dir().exists() && !realm.sshd.realm_drop_in(&realm.name).exists());
    };
    // sshd's own words.
    fs::write(realm.sshd.config(), format!("{config}Colour red\n")).expect("write sshd_config");
    let _ = run(&mut realm.verb(&["init"])).code(1).says("Bad configuration option: Colour");
    nothing_is_left(&realm);
    // No drop-ins are read.
    fs::write(realm.sshd.config(), config.replace("Include", "#Include")).expect("write sshd_config");
    let _ = run(&mut realm.verb(&["init"])).code(1).says("add this line at its top: Include ");
    nothing_is_left(&realm);
    fs::write(realm.sshd.config(), &config).expect("write sshd_config");
    // A block that sshd reads first would open what ours closes.
    let early = realm.sshd.drop_in("10-early.conf");
    fs::write(&early, "Match User smt*\n  PermitTTY yes\n").expect("write a drop-in");
    let _ = run(&mut realm.verb(&["init"])).code(1).says("permittty yes").says("10-early.conf");
    nothing_is_left(&realm);
    fs::remove_file(&early).expect("remove a drop-in");
    // A secret that is too short, found by the account's side.
    let short = realm.home.write("short", "tooshort");
    let _ = run(realm.verb(&["init"]).arg("--secret-file").arg(&short)).code(2).says("16 are the least");
    nothing_is_left(&realm);
    let _ = realm.reloading(&["init"]).ok();

    // And later: doctor sees what init would have refused.
    fs::write(&early, "Match User smt*\n  TrustedUserCAKeys /etc/hostname\n  PermitTTY yes\n")
        .expect("write a drop-in");
    let _ = run(&mut realm.verb(&["doctor"]))
        .code(1)
        .says("trustedusercakeys /etc/hostname")
        .says("permittty yes");
    let _ = run(&mut realm.verb(&["sync"])).code(1).says("would not fence");
}

#[test]
fn root_follows_no_link_of_the_account() {
    let Some(Ada { realm, key }) = ada(&[], "") else { return };
    let victim = tempfile::TempDir::with_prefix("seamless-victim-").expect("a temporary folder");
    let secret = victim.path().join("secret");
    fs::write(&secret, "root's").expect("write a file");
    let untouched = || {
        assert_eq!(fs::read_to_string(&secret).expect("read a file"), "root's");
        assert_eq!(
            fs::read_dir(victim.path()).expect("read a folder").count(),
            1,
            "nothing was written there"
        );
    };
    // `.ssh`, the settings and the database lead to root's files.
    fs::remove_dir_all(realm.file(".ssh")).expect("remove a folder");
    symlink(victim.path(), realm.file(".ssh")).expect("make a link");
    let _ = run(&mut realm.verb(&["sync"])).fails();
    untouched();
    fs::remove_file(realm.file(".ssh")).expect("remove a link");
    for name in ["realm.toml", "realm.db"] {
        let kept = realm.file("kept");
        fs::rename(realm.file(name), &kept).expect("move a file");
        symlink(&secret, realm.file(name)).expect("make a link");
        for verb in [&["sync"][..], &["key", "list"], &["realm", "show"], &["doctor"]] {
            let done = run(&mut realm.verb(verb)).fails();
            assert!(!done.stdout.contains("root's") && !done.stderr.contains("root's"), "{done}");
        }
        untouched();
        fs::rename(&kept, realm.file(name)).expect("move a file back");
    }
    let _ = run(&mut realm.verb(&["sync"])).ok();
    let _ = realm.login(&key, &[]).ok();
    // `delete` removes the link, not what it leads to.
    symlink(victim.path(), realm.file("way-out")).expect("make a link");
    let _ = run(&mut realm.verb(&["delete", "--yes"])).ok();
    untouched();
}

#[test]
fn root_becomes_the_account_whole_and_without_its_terminal() {
    let Some(realm) = HostRealm::without_init("") else { return };
    // An issuer that never answers holds doctor up while we look at it.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let issuer = format!("http://{}/{}", silent.local_addr().expect("its address"), realm.name);
    let _ = run(realm.verb(&["init"]).args(["--issuer", &issuer])).ok();
    let mut doctor = Running::start(&mut realm.verb(&["doctor"]));
    let is_doctor = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|words| words.split(|b| *b == 0).any(|word| word == b"doctor"))
    };
    let pid = doctor.wait_for("the account's side", |_| processes(realm.uid()).into_iter().find(is_doctor));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read its status");
    let of = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let passwd = realm.entry("passwd").unwrap_or_default();
    let ids: Vec<_> = passwd.split(':').skip(2).take(2).collect();
    assert_eq!(of("Uid:"), vec![ids[0]; 4], "{status}");
    assert_eq!(of("Gid:"), vec![ids[1]; 4], "{status}");
    assert!(of("Groups:").is_empty(), "{status}");
    // Fields after the name in brackets: state, parent, group, session, terminal (proc_pid_stat(5)).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read its stat");
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    assert_eq!(
        (fields[3], fields[4]),
        (pid.to_string().as_str(), "0"),
        "its own session, no terminal: {stat}"
    );

    // Ctrl-C on root's side ends it as well.
    doctor.signal(rustix::process::Signal::INT);
    let start = Instant::now();
    while !processes(realm.uid()).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(5), "it goes on after its other side has ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Nor does one begin whose other side has ended already. By a shell, since who leads a group can't leave it.
    let home = realm.dir();
    let words =
        ["enter", ids[0], ids[1], home.to_str().unwrap_or_default(), "1", "key", "list", "--realm-home"];
    let mut orphan = realm.home.command("sh");
    orphan.args(["-c", "\"$@\"; exit $?", "sh"]).arg(realm.bare().get_program()).args(words).arg(&home);
    let _ = run(&mut orphan).code(5).says("has ended");
    // Nobody else gets anywhere by its word.
    let mut enter = realm.bare();
    enter.args(["enter", "0", "0", "/", "1", "--version"]);
    let _ = run(&mut enter).code(2);
    let mut enter = realm.home.command("setpriv");
    enter.args(["--reuid=65534", "--clear-groups", realm.bare().get_program().to_str().unwrap_or_default()]);
    let _ = run(enter.args(["enter", "1", "1", "/", "1", "--version"])).code(2);
}

/// A key's id may begin as an option does, whether or not the caller guards it by `--`.
#[test]
fn a_word_that_looks_like_an_option_reaches_the_account_as_a_word() {
    let Some(Ada { realm, .. }) = ada(&[], "") else { return };
    for words in [["--yes", &realm.name, "-0abc"].as_slice(), &["--yes", "--", &realm.name, "-0abc"]] {
        let mut retire = realm.bare();
        retire.args(["signing-key", "retire"]).args(words);
        let _ = run(&mut retire).code(1).says("there is no signing key \"-0abc\"");
    }
}

#[test]
fn a_serve_that_root_starts_outlives_the_shell_it_was_started_from() {
    let Some(realm) = HostRealm::without_init("") else { return };
    let _ = run(&mut realm.verb(&["init"])).ok();
    let serve = realm.verb(&["serve", "--no-ssh", "--http", "127.0.0.1:0"]);
    let mut shell = realm.home.command("sh");
    shell.args(["-c", "\"$@\" & wait", "sh"]).arg(serve.get_program()).args(serve.get_args());
    let mut shell = Running::start(&mut shell);
    shell.wait_for("serve", |shell| shell.stdout().contains("http").then_some(()));
    let serving = processes(realm.uid());
    shell.signal(rustix::process::Signal::KILL);
    let _ = shell.wait(Duration::from_secs(10));
    // A signal on the shell's end would have been sent with it; this is for what the receiver does then.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!serving.is_empty() && processes(realm.uid()) == serving, "{serving:?}");
    // Waiting for it to end, since its account goes next.
    let _ = run(Command::new("pkill").arg("--uid").arg(realm.uid().to_string()));
    let start = Instant::now();
    while !processes(realm.uid()).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "serve does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn doctor_has_nothing_to_say_of_a_good_host() {
    let Some(realm) = HostRealm::without_init("") else { return };
    let http = TcpListener::bind("127.0.0.1:0").expect("a port");
    let issuer = format!("http://{}/{}", http.local_addr().expect("its address"), realm.name);
    let _ = run(realm.verb(&["init"]).args(["--issuer", &issuer])).ok();
    drop(http);
    let key = realm.home.key("ada", ED25519);
    let _ = realm.enrol("ada", &key, &["--expires", "40d"]);
    let findings = run(realm.verb(&["doctor"]).arg("--json")).ok().json();
    let findings = findings.as_array().cloned().unwrap_or_default();
    let wrong: Vec<_> = findings.iter().filter(|f| f["severity"] != "ok").collect();
    // Nobody serves the issuer here, and its tokens are of the original's format.
    assert!(wrong.len() == 1 && wrong[0]["severity"] == "warning", "{findings:#?}");
    assert!(wrong[0]["what"].as_str().is_some_and(|what| what.contains("can't fetch")), "{findings:#?}");
    assert!(findings.len() >= 8, "{findings:#?}");
}

fn processes(uid: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    let theirs = |pid: &u32| fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == uid);
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(theirs).collect()
}

/// The home of an account as the Python seamless made it; gone with the test, wherever it ended up.
struct OriginalHome(PathBuf);

impl Drop for OriginalHome {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn adopt_takes_over_an_account_of_the_python_seamless() {
    let Some(realm) = HostRealm::without_init("") else { return };
    let home = OriginalHome(Path::new("/home").join(&realm.name));
    let key = realm.home.key("ada", ED25519);
    let account = ["--create-home", "--home-dir"];
    let _ =
        run(Command::new("useradd").args(account).arg(&home.0).args(["--skel", "/nonexistent", &realm.name]))
            .ok();
    fs::create_dir_all(home.0.join("keys")).expect("keys/");
    fs::create_dir_all(home.0.join(".ssh")).expect(".ssh/");
    fs::write(home.0.join("secret"), "0f0f0f0f0f0f0f0f0f0f").expect("secret");
    fs::copy(public(&key), home.0.join("keys/ada")).expect("keys/ada");
    fs::write(home.0.join("keys/b b"), "junk").expect("keys/b b");
    let owner = format!("{0}:{0}", realm.name);
    let _ = run(Command::new("chown").args(["-R", &owner]).arg(&home.0)).ok();
    let _ = run(Command::new("chmod").arg("0400").arg(home.0.join("secret"))).ok();

    let done = run(&mut realm.verb(&["adopt", "--yes"])).ok();
    assert!(done.stderr.contains("left behind: keys/b b"), "{done}");
    assert!(!home.0.exists() && realm.file("keys.adopted").is_dir());
    assert!(realm.sshd.realm_drop_in(&realm.name).exists());
    let token = realm.login(&key, &[]).ok().line();
    let secret = realm.home.join("secret");
    fs::write(&secret, "0f0f0f0f0f0f0f0f0f0f").expect("secret");
    let mut verify = realm.bare();
    let verdict =
        run(verify.args(["verify", "--json", "--secret-file"]).arg(&secret).arg(&token)).ok().json();
    assert_eq!(verdict["subject"], "ada", "the old secret's verifiers go on as they were");
    let _ = gives_nothing(realm.login(&key, &["id"]));
    let _ = run(&mut realm.verb(&["adopt", "--yes"])).fails();
}
