//! Backups of a realm that is used, restored elsewhere; and realms of an older schema.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use seamless_tests::home::{ED25519, Home, public};
use seamless_tests::process::{run, run_with};
use seamless_tests::realm;
use seamless_tests::serve::Served;
use seamless_tests::skip::skip;
use seamless_tests::sshd::HostRealm;

/// An age identity and its recipient; none where age is not installed.
fn age(folder: &Path) -> Option<(PathBuf, String)> {
    let identity = folder.join("backup.key");
    let made = Command::new("age-keygen").arg("-o").arg(&identity).output();
    if !made.is_ok_and(|output| output.status.success()) {
        skip("no age; `apt-get install age`");
        return None;
    }
    let recipient = run(Command::new("age-keygen").arg("-y").arg(&identity)).ok().line();
    Some((identity, recipient))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// `verify` says whose the token is.
#[track_caller]
fn verifies(home: &Home, dir: &Path, token: &str) -> String {
    let done = run(realm::verb(home, dir, &["verify", "--json"]).arg(token)).ok();
    done.json()["subject"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_backup_made_under_load_mints_and_verifies_elsewhere() {
    let served = Served::start();
    let Some((identity, recipient)) = age(&served.home.join("")) else { return };
    let file = served.home.join("demo.tar");
    let stop = AtomicBool::new(false);
    let (token, records) = std::thread::scope(|scope| {
        let minting = scope.spawn(|| {
            let mut last = served.token();
            while !stop.load(Ordering::Relaxed) {
                last = served.token();
            }
            last
        });
        // Changes by another process meanwhile.
        let changing = scope.spawn(|| {
            for number in 0..10 {
                let key = served.home.key(&format!("u{number}"), ED25519);
                let _ = run(&mut realm::add(&served.home, &served.dir, &key, &format!("u{number}"))).ok();
            }
        });
        let mut records = 0;
        for _ in 0..5 {
            let done = run(&mut served.verb(&[
                "realm",
                "backup",
                text(&file),
                "--force",
                "--with-keys",
                &recipient,
                "--json",
            ]));
            let done = done.ok().json();
            assert_eq!((&done["private_keys"], &done["realm"]), (&true.into(), &"demo".into()), "{done}");
            records += 1;
        }
        changing.join().expect("ten users");
        stop.store(true, Ordering::Relaxed);
        (minting.join().expect("tokens"), records)
    });
    assert_eq!(records, 5);
    assert_eq!(file.metadata().expect("the backup").permissions().mode() & 0o7777, 0o600);
    let listing = run(Command::new("tar").arg("-tf").arg(&file)).ok().stdout;
    assert!(listing.starts_with("manifest.json\nrealm.toml\nrealm.db\naudit/"), "{listing}");
    assert!(listing.ends_with("keys.age\n"), "{listing}");
    let again = run(&mut served.verb(&["realm", "backup", text(&file)])).code(1);
    let _ = again.says("is there already").says("--force");

    let dir = served.home.join("elsewhere");
    let restore = |words: &[&str]| {
        run(served.home.seamless(["realm", "restore"]).arg(&file).arg("--dir").arg(&dir).args(words))
    };
    let _ = restore(&[]).code(2).says("--identity FILE");
    let done = restore(&["--identity", text(&identity), "--json"]).ok();
    assert!(done.stderr.contains("counts again"), "{done}");
    assert_eq!(done.json()["new_signing_keys"], serde_json::json!([]));
    let user = verifies(&served.home, &served.dir, &token);
    assert_eq!(verifies(&served.home, &dir, &token), user, "a token of before");
    let new = run(&mut realm::verb(&served.home, &dir, &["token", "--user", &user])).ok().line();
    assert_eq!(verifies(&served.home, &served.dir, &new), user, "a token of the restored realm");
    let _ = run(&mut realm::verb(&served.home, &dir, &["audit", "verify"])).ok().says("the chain is whole");
    // What the database has, the log has: every user whose key came along was recorded.
    let audit =
        run(&mut realm::verb(&served.home, &dir, &["audit", "show", "--action", "key.add", "--json"]))
            .ok()
            .stdout;
    let users = run(&mut realm::verb(&served.home, &dir, &["user", "list", "--json"])).ok().json();
    for user in users.as_array().into_iter().flatten() {
        assert!(audit.contains(&format!("\"subject\":{}", user["user"])), "{user} has no record");
    }
    let _ = restore(&["--new-keys"]).fails().says("there is a realm in");
    let left: Vec<_> = std::fs::read_dir(&served.dir)
        .expect("the realm")
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(".backup"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn without_keys_and_through_a_pipe() {
    let (home, dir, _key) = Served::start().interrupt();
    let token = run(&mut realm::verb(&home, &dir, &["token", "--user", "root"]));
    let backup = run(&mut realm::verb(&home, &dir, &["realm", "backup", "-"]));
    assert_eq!(backup.code, Some(0), "{}", backup.stderr);
    assert!(backup.stderr.contains("without private keys"), "{}", backup.stderr);
    drop(token);
    // Binary: not by the text of a `Done`.
    let file = home.join("pipe.tar");
    let script = format!("seamless realm backup --dir '{}' - > '{}'", dir.display(), file.display());
    let _ = run(home.command("sh").args(["-c", &script])).ok();
    let script = format!(
        "cat '{}' | seamless realm restore --dir '{}' -",
        file.display(),
        home.join("again").display()
    );
    let done = run(home.command("sh").args(["-c", &script])).ok();
    let _ = done.says("new signing keys for").says("is restored in");
    let _ = run(&mut realm::verb(&home, &home.join("again"), &["doctor"]));
    let minted = run(&mut realm::verb(&home, &home.join("again"), &["user", "list", "--json"])).ok().json();
    let user = minted[0]["user"].as_str().expect("a user").to_owned();
    let new = run(&mut realm::verb(&home, &home.join("again"), &["token", "--user", &user])).ok().line();
    assert_eq!(verifies(&home, &home.join("again"), &new), user);

    // A wrong identity, a wrong recipient, a file that is none.
    let _ = run(&mut realm::verb(&home, &dir, &["realm", "backup", "x.tar", "--with-keys", "--output=/x"]))
        .code(2);
    let _ = run(&mut realm::verb(&home, &dir, &["realm", "backup", "x.tar", "--with-keys", "age1short"]))
        .code(2)
        .says("is no age recipient");
    let _ = run_with(home.seamless(["realm", "restore", "--dir", "nowhere"]).arg("-"), b"no tar at all")
        .fails()
        .says("this is no whole backup");
}

#[test]
fn a_realm_of_the_host_comes_back_with_account_and_fence() {
    let Some(mut realm) = HostRealm::init(&[], "") else { return };
    let Some((identity, recipient)) = age(&realm.home.join("")) else { return };
    let key = realm.home.key("ada", ED25519);
    let _ = realm.enrol("ada", &key, &[]);
    let token = realm.login(&key, &[]).ok().line();
    let file = realm.home.join("corp.tar");
    // As root: the realm's account writes into a file that only root could make.
    let _ = run(realm.verb(&["realm", "backup"]).arg(&file).args(["--with-keys", &recipient])).ok();
    assert_eq!(file.metadata().expect("the backup").uid(), 0);

    let _ = realm.reloading(&["delete", "--yes"]).ok();
    let _ = realm.login(&key, &[]).fails();
    let mut restore = realm.bare();
    restore.args(["realm", "restore", &realm.name]).arg(&file).arg("--identity").arg(&identity);
    restore.arg("--sshd-config").arg(realm.sshd.config());
    let _ = realm.reloading_by(restore).ok().says("is restored in");
    let again = realm.login(&key, &[]).ok().line();
    assert!(again.starts_with("ada."), "{again}");
    for token in [&token, &again] {
        let mut verify = realm.bare();
        let verdict =
            run(verify.args(["verify", "--json", token]).env("SEAMLESS_REALM", &realm.name)).ok().json();
        assert_eq!(verdict["subject"], "ada", "{verdict}");
    }
    assert_eq!(realm.dir().metadata().expect("its home").uid(), realm.uid());
    let _ = run(&mut realm.verb(&["audit", "verify"])).ok().says("the chain is whole");
    let mut twice = realm.bare();
    twice.args(["realm", "restore", &realm.name]).arg(&file).arg("--new-keys");
    let _ = run(twice.arg("--sshd-config").arg(realm.sshd.config())).fails();
    let _ = realm.login(&key, &[]).ok();
}

/// The realm of `tests/fixtures/schema-1`, as it lay on the disk; none without Python.
fn schema_1(home: &Home) -> PathBuf {
    let from = seamless_tests::root().join("tests/fixtures/schema-1");
    let dir = home.join("corp");
    let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())";
    std::fs::create_dir(&dir).expect("a folder");
    for folder in ["signing", "audit"] {
        std::fs::create_dir(dir.join(folder)).expect("a folder");
        for entry in std::fs::read_dir(from.join(folder)).expect("the fixture").flatten() {
            let to = dir.join(folder).join(entry.file_name());
            std::fs::copy(entry.path(), &to).expect("copy");
            let mode = if folder == "signing" { 0o400 } else { 0o600 };
            std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode)).expect("a mode");
        }
    }
    std::fs::copy(from.join("realm.toml"), dir.join("realm.toml")).expect("copy");
    let _ = run(Command::new("python3")
        .args(["-c", script])
        .arg(dir.join("realm.db"))
        .arg(from.join("realm.sql")))
    .ok();
    for (file, mode) in
        [("realm.db", 0o600), ("realm.toml", 0o600), ("signing", 0o700), ("audit", 0o700), ("", 0o700)]
    {
        std::fs::set_permissions(dir.join(file), std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    dir
}

#[test]
fn a_realm_of_the_first_schema_goes_on() {
    let home = Home::new();
    let dir = schema_1(&home);
    let key = home.join("ada");
    std::fs::copy(seamless_tests::root().join("tests/fixtures/schema-1/ada"), &key).expect("copy");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let public_key = run(Command::new("ssh-keygen").arg("-y").arg("-f").arg(&key)).ok().line();
    std::fs::write(public(&key), public_key).expect("write");
    let fingerprint = home.fingerprint(&key);

    // Fifty log-ins are the first to come, by the forced command, which otherwise only reads.
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    let mut forced = home.seamless(["forced", "--dir"]);
                    forced.arg(&dir).args(["--user", "ada", "--key", &fingerprint]);
                    forced.env("SSH_CONNECTION", "127.0.0.1 1 127.0.0.1 22");
                    run(&mut forced).ok().line()
                })
            })
            .collect();
        asked.into_iter().map(|t| t.join().expect("a token")).collect()
    });
    for token in tokens.iter().take(3) {
        assert_eq!(verifies(&home, &dir, token), "ada");
    }
    let upgrades =
        run(&mut realm::verb(&home, &dir, &["audit", "show", "--action", "realm.upgrade", "--json"]));
    assert_eq!(upgrades.ok().json().as_array().map(Vec::len), Some(1));
    let _ = run(&mut realm::verb(&home, &dir, &["audit", "verify"])).ok().says("the chain is whole");

    // Every kind of row is as it was.
    let list = run(&mut realm::verb(&home, &dir, &["key", "list", "--json"])).ok().json();
    assert_eq!(list.as_array().map(Vec::len), Some(3), "{list}");
    let users = run(&mut realm::verb(&home, &dir, &["user", "list", "--json"])).ok().stdout;
    for part in ["\"bob\"", "\"eve\"", "\"ops\"", "\"write\""] {
        assert!(users.contains(part), "{part}: {users}");
    }
    let keys = run(&mut realm::verb(&home, &dir, &["signing-key", "list", "--json"])).ok().json();
    assert_eq!(keys.as_array().map(Vec::len), Some(7), "{keys}");
    let _ = run(&mut realm::verb(&home, &dir, &["token", "--user", "bob"])).code(4);
    let _ = run(&mut realm::verb(&home, &dir, &["realm", "upgrade"])).ok().says("up to date, schema 2");

    // And by the verb, before anybody comes.
    let other = Home::new();
    let dir = schema_1(&other);
    let _ = run(&mut realm::verb(&other, &dir, &["realm", "upgrade"])).ok().says("from schema 1 to 2");
    let _ = run(&mut realm::verb(&other, &dir, &["audit", "verify"])).ok().says("the chain is whole");
}
