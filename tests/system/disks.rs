//! Full and read-only disks, clocks that jump, and many at once: clear errors, no token without a record, and nothing
//! to be mended by hand afterwards.

use std::path::{Path, PathBuf};
use std::process::Command;

use seamless_tests::home::{ED25519, Home, public};
use seamless_tests::process::{Done, run};
use seamless_tests::realm;
use seamless_tests::serve::Served;
use seamless_tests::skip::{clock, skip};

/// A small file system in memory; it is gone with this value.
struct Disk(PathBuf);

impl Disk {
    fn mount(home: &Home, size: &str) -> Option<Self> {
        if !seamless_tests::system_allowed() {
            skip("needs root: it mounts a small disk");
            return None;
        }
        let at = home.join("disk");
        std::fs::create_dir(&at).expect("a folder");
        let options = format!("size={size},mode=0755");
        let _ = run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at)).ok();
        Some(Self(at))
    }

    fn remount(&self, how: &str) {
        let _ = run(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0)).ok();
    }

    /// Leaves no new file to be made, however much room there is.
    fn take_every_name(&self) {
        let folder = self.0.join("names");
        std::fs::create_dir(&folder).expect("a folder");
        assert!((0..10_000).any(|n| std::fs::File::create(folder.join(n.to_string())).is_err()));
    }

    /// Leaves so many bytes.
    fn fill(&self, but: u64) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        let length = file.metadata().expect("its length").len();
        file.set_len(length.saturating_sub(but)).expect("make room");
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("the filler");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// An error in one line, its hint, and nothing on stdout.
#[track_caller]
fn refused(done: Done) -> Done {
    let done = done.fails();
    assert_eq!(done.stdout, "", "{done}");
    let errors = done.stderr.lines().filter(|l| l.starts_with("seamless: error: ")).count();
    assert_eq!(errors, 1, "one line was expected of\n{done}");
    assert!(done.stderr.contains("seamless: hint: "), "what to do was expected of\n{done}");
    done
}

/// What doctor finds, but that nobody serves the realm.
fn doctor(home: &Home, dir: &Path) -> Vec<String> {
    let found = run(&mut realm::verb(home, dir, &["doctor", "--json"])).json();
    let list =
        found.as_array().cloned().or_else(|| found["findings"].as_array().cloned()).unwrap_or_default();
    list.iter()
        .filter(|f| f["severity"] != "ok")
        .map(|f| {
            format!("{} | {}", f["what"].as_str().unwrap_or_default(), f["mend"].as_str().unwrap_or_default())
        })
        .filter(|text| !text.starts_with("can't fetch"))
        .collect()
}

fn forced(home: &Home, dir: &Path, user: &str, fingerprint: &str) -> Command {
    let mut forced = home.seamless(["forced", "--dir"]);
    forced.arg(dir).args(["--user", user, "--key", fingerprint]);
    forced.env("SSH_CONNECTION", "127.0.0.1 1 127.0.0.1 22");
    forced
}

#[test]
fn a_full_disk_mints_nothing_and_loses_nothing() {
    let home = Home::new();
    let Some(disk) = Disk::mount(&home, "6m") else { return };
    let dir = disk.0.join("demo");
    let key = home.default_key(ED25519);
    let served = Served::start_in(home, dir.clone(), key.clone(), &[]);
    let home = &served.home;
    let before = served.token();
    let user = served.verify(&before).status(200).header("x-seamless-user").unwrap_or_default().to_owned();
    let fingerprint = home.fingerprint(&key);
    let _ = home.key("bob", ED25519);

    for left in [0, 4096, 8192, 16_384, 65_536] {
        disk.fill(left);
        // It may still fit: then it is whole. If not, it was refused and nothing is there.
        let mint = run(&mut forced(home, &dir, &user, &fingerprint));
        if mint.code == Some(0) {
            let _ = served.verify(&mint.line()).status(200);
        } else {
            let _ = refused(mint.code(5));
        }
        let add = run(&mut realm::add(home, &dir, &home.join("bob"), "bob"));
        let keys = run(&mut realm::verb(home, &dir, &["key", "list", "--json"])).ok().stdout;
        let there = keys.contains(&home.fingerprint(&home.join("bob")));
        if add.code == Some(0) {
            assert!(there, "with {left} bytes left:\n{add}");
            let _ = run(&mut realm::remove_key(home, &dir, &home.fingerprint(&home.join("bob"))));
        } else {
            assert!(!there, "with {left} bytes left:\n{add}");
            assert!(refused(add).stderr.contains("no space left"), "with {left} bytes left");
        }
        disk.free();
        let _ = run(&mut realm::remove_key(home, &dir, &home.fingerprint(&home.join("bob"))));
    }

    disk.fill(0);
    // The block that the log ends in may have room for a few records yet.
    let mut logins = std::iter::repeat_with(|| served.login(&[])).take(40);
    let login = logins.find(|login| login.code != Some(0)).expect("a full disk");
    assert_eq!((login.stdout.as_str(), login.code), ("", Some(5)), "{login}");
    let _ = served.verify(&before).status(200);
    let health = served.http.get("/healthz", &[]).status(503);
    assert_eq!(health.body, "no room for the audit log\n");
    let found = doctor(home, &dir);
    assert!(found.iter().any(|f| f.starts_with("no space left on the disk of")), "{found:?}");
    disk.free();

    // Nobody mends anything.
    let _ = served.verify(&served.token()).status(200);
    let _ = served.http.get("/healthz", &[]).status(200);
    let _ = run(&mut realm::add(home, &dir, &home.join("bob"), "bob")).ok();
    let _ = run(&mut realm::verb(home, &dir, &["audit", "verify"])).ok().says("the chain is whole");
    let left: Vec<_> = doctor(home, &dir).into_iter().filter(|f| !f.contains("nearly full")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A realm behind sshd: each log-in is a process of its own, and the first to open the database.
#[test]
fn a_full_disk_under_a_realm_that_nobody_serves_is_called_so() {
    for names in [false, true] {
        let home = Home::new();
        let size = if names { "6m,nr_inodes=100" } else { "6m" };
        let Some(disk) = Disk::mount(&home, size) else { return };
        let dir = disk.0.join("demo");
        let _ = run(home.seamless(["init", "demo", "--dir"]).arg(&dir)).ok();
        let key = home.key("ada", ED25519);
        let _ = run(&mut realm::add(&home, &dir, &key, "ada")).ok();
        let bob = home.key("bob", ED25519);
        if names {
            disk.take_every_name();
        } else {
            disk.fill(4096);
        }
        let _ = refused(run(&mut forced(&home, &dir, "ada", &home.fingerprint(&key))).code(5));
        for words in [&["key", "list"][..], &["signing-key", "rotate", "--now"], &["token", "--user", "ada"]]
        {
            let done = refused(run(&mut realm::verb(&home, &dir, words)).code(5));
            assert!(done.stderr.contains("no space left on the disk"), "{done}");
        }
        let _ = refused(run(&mut realm::add(&home, &dir, &bob, "bob")).code(5));
        let found = doctor(&home, &dir);
        let what = if names { "takes no new file" } else { "no space left on the disk of" };
        assert!(found.iter().any(|f| f.contains(what)), "{found:?}");
        assert!(
            !found.iter().any(|f| f.contains("see seamless doctor")),
            "it is doctor who says so: {found:?}"
        );

        if names {
            std::fs::remove_dir_all(disk.0.join("names")).expect("room");
        } else {
            disk.free();
        }
        let _ = run(&mut forced(&home, &dir, "ada", &home.fingerprint(&key))).ok().line();
        let _ = run(&mut realm::add(&home, &dir, &bob, "bob")).ok();
        let _ = run(&mut realm::verb(&home, &dir, &["audit", "verify"])).ok().says("the chain is whole");
        let left: Vec<_> = doctor(&home, &dir).into_iter().filter(|f| !f.contains("nearly full")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_log_that_takes_no_records_is_found() {
    if !seamless_tests::system_allowed() {
        return skip("needs root: it mounts a file read-only");
    }
    let realm = realm::Realm::init(&[]);
    let logs: Vec<_> = std::fs::read_dir(realm.dir.join("audit")).expect("the log").flatten().collect();
    let log = logs[0].path();
    let mount = |words: &[&str]| run(Command::new("mount").args(words).arg(&log)).ok();
    let _ = mount(&["--bind", log.to_str().expect("a path")]);
    let _ = mount(&["-o", "remount,bind,ro"]);
    let mint = run(&mut realm.verb(&["token", "--user", "ada"]));
    let found = doctor(&realm.home, &realm.dir);
    let _ = run(Command::new("umount").arg(&log)).ok();
    let _ = mint.code(5);
    assert!(found.len() == 1 && found[0].contains("the file system is read-only"), "{found:?}");
    let _ = run(&mut realm.verb(&["token", "--user", "ada"])).ok().line();
    assert_eq!(doctor(&realm.home, &realm.dir), Vec::<String>::new());
}

#[test]
fn a_read_only_disk_verifies_and_changes_nothing() {
    let home = Home::new();
    let Some(disk) = Disk::mount(&home, "32m") else { return };
    let dir = disk.0.join("a realm?");
    let _ = run(home.seamless(["init", "demo", "--dir"]).arg(&dir)).ok();
    let key = home.key("ada", ED25519);
    let _ = run(&mut realm::add(&home, &dir, &key, "ada")).ok();
    let token = run(&mut realm::verb(&home, &dir, &["token", "--user", "ada"])).ok().line();
    for again in [false, true] {
        if again {
            // As a machine that lost its power leaves it: with a journal beside it.
            let mut serve = home.seamless(["serve", "--no-ssh", "--dir"]);
            serve.arg(&dir).args(["--http", &format!("127.0.0.1:{}", seamless_tests::http::free_port())]);
            let mut running = seamless_tests::process::Running::start(&mut serve);
            running.wait_for("the banner", |r| r.stdout().contains("Paste into").then_some(()));
            running.signal(rustix::process::Signal::KILL);
            let _ = running.wait(std::time::Duration::from_secs(5));
        }
        disk.remount("ro");
        let verdict = run(realm::verb(&home, &dir, &["verify", "--json"]).arg(&token)).ok().json();
        assert_eq!(verdict["subject"], "ada", "{verdict}");
        let _ = run(&mut realm::verb(&home, &dir, &["key", "list"])).ok().says("ada");
        let _ = run(&mut realm::verb(&home, &dir, &["audit", "verify"])).ok();
        let _ = refused(run(&mut forced(&home, &dir, "ada", &home.fingerprint(&key))).code(5));
        let _ = refused(run(&mut realm::verb(&home, &dir, &["user", "lock", "ada", "--yes"])));
        let found = doctor(&home, &dir);
        assert!(
            found.iter().any(|f| f.contains("takes no changes") && f.contains("remount,rw")),
            "{found:?}"
        );
        disk.remount("rw");
        let _ = run(&mut forced(&home, &dir, "ada", &home.fingerprint(&key))).ok().line();
        assert_eq!(doctor(&home, &dir), Vec::<String>::new());
    }
}

#[test]
fn fifty_changes_and_five_hundred_mints_at_once() {
    let realm = realm::Realm::init(&["--format", "jwt"]);
    let fingerprint = realm.home.fingerprint(&realm.key);
    let keys: Vec<_> = (0..50).map(|n| realm.home.key(&format!("u{n}"), ED25519)).collect();
    std::thread::scope(|scope| {
        for (number, key) in keys.iter().enumerate() {
            let realm = &realm;
            scope.spawn(move || {
                let _ = run(&mut realm::add(&realm.home, &realm.dir, key, &format!("u{number}"))).ok();
            });
        }
    });
    let list = run(&mut realm.verb(&["key", "list", "--json"])).ok().json();
    assert_eq!(list.as_array().map(Vec::len), Some(51));

    let tokens: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let (realm, fingerprint) = (&realm, &fingerprint);
                scope.spawn(move || {
                    (0..5)
                        .map(|_| run(&mut forced(&realm.home, &realm.dir, "ada", fingerprint)).ok().line())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|c| c.join().expect("five tokens")).collect()
    });
    let different: std::collections::BTreeSet<_> = tokens.iter().collect();
    assert_eq!(different.len(), 500);
    let mints = run(&mut realm.verb(&["audit", "show", "--action", "mint", "--limit", "9999", "--json"]));
    assert_eq!(mints.ok().json().as_array().map(Vec::len), Some(500), "each has its record");
    let _ = run(&mut realm.verb(&["audit", "verify"])).ok().says("the chain is whole");

    // And over the embedded server.
    let served = Served::start();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let _ = served.login(&[]).ok().line();
                }
            });
        }
    });
    let mints = run(&mut served.verb(&["audit", "show", "--action", "mint", "--limit", "9999", "--json"]));
    assert_eq!(mints.ok().json().as_array().map(Vec::len), Some(80));
}

#[test]
fn a_clock_that_jumps_is_said_and_mints_nothing_wrong() {
    let realm = realm::Realm::init(&["--format", "jwt"]);
    let Some(library) = clock(&realm.home) else { return };
    let file = realm.home.join("clock");
    let start = seamless_tests::now();
    let set = |offset: i64| {
        let at = i64::try_from(start).unwrap_or_default() + offset;
        std::fs::write(&file, at.to_string()).expect("set the clock");
    };
    let at_that_time = |mut command: Command| {
        command.env("LD_PRELOAD", &library).env("SEAMLESS_CLOCK", &file);
        command
    };
    let token = || at_that_time(realm.verb(&["token", "--user", "ada"]));
    let verify = |token: &str| {
        let mut command = at_that_time(realm.verb(&["verify", "--json"]));
        let done = run(command.arg(token));
        serde_json::from_str::<serde_json::Value>(&done.stdout).unwrap_or_default()["verdict"].clone()
    };
    set(10);
    let first = run(&mut token()).ok().line();
    assert_eq!(verify(&first), "ok");

    // An hour back: nothing is minted or changed, and it is said why.
    set(-3600);
    let _ = refused(run(&mut token()).code(5)).says("before the newest audit record").says("set the clock");
    let bob = realm.home.key("bob", ED25519);
    let mut add = at_that_time(realm.verb(&["add", "--user", "bob"]));
    let _ = refused(run(add.arg(public(&bob)))).says("before the newest audit record");
    assert_eq!(verify(&first), "not_yet_valid");
    let doctor = run(&mut at_that_time(realm.verb(&["doctor"])));
    let _ = doctor.fails().says("is before the newest audit record").says("accept-clock");

    // A day on: what was out has lapsed; new ones are of that day.
    set(86_400);
    assert_eq!(verify(&first), "expired");
    let tomorrow = run(&mut token()).ok().line();
    assert_eq!(verify(&tomorrow), "ok");

    // Right again: the records of tomorrow stand in the way until the operator says which is right.
    set(60);
    let _ = refused(run(&mut token()).code(5)).says("accept-clock");
    assert_eq!(verify(&tomorrow), "not_yet_valid", "what was minted by a wrong clock is worth nothing yet");
    let _ = run(&mut at_that_time(realm.verb(&["audit", "accept-clock", "--yes"]))).ok();
    assert_eq!(verify(&run(&mut token()).ok().line()), "ok");
    let _ = run(&mut at_that_time(realm.verb(&["audit", "verify"]))).ok().says("the chain is whole");
}
