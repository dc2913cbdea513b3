//! `kill -9` while a verb is at work: nothing acknowledged is lost, nothing is half there, and the next one goes on.
//!
//! Each verb is killed before every system call with which it changes a file (strace counts them and kills), and at
//! random moments. `SEAMLESS_KILLS` says how many random ones; their seed is printed.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seamless_tests::home::{ED25519, Home, public};
use seamless_tests::process::run;
use seamless_tests::realm;
use seamless_tests::skip::skip;
use seamless_tests::sshd::Installed;
use serde_json::Value;

/// What makes, changes or syncs a file.
const CHANGES: &str = "write,pwrite64,writev,pwritev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,\
                       unlinkat,ftruncate,fallocate,mkdir,mkdirat,chmod,fchmod,fchmodat,openat,flock";

/// A realm to kill verbs on, and what they need.
struct Scene {
    home: Home,
    base: PathBuf,
    fingerprint: String,
    jti: String,
    token: String,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        let base = home.join("base");
        let _ = run(home.seamless(["init", "corp", "--format", "jwt", "--dir"]).arg(&base)).ok();
        let key = home.key("ada", ED25519);
        let _ = run(&mut realm::add(&home, &base, &key, "ada")).ok();
        let token = run(&mut realm::verb(&home, &base, &["token", "--user", "ada"])).ok().line();
        let jti = claim(&token, "jti");
        let _ = home.key("bob", ED25519);
        let _ = home.key("eve", ED25519);
        Self { fingerprint: home.fingerprint(&key), home, base, jti, token }
    }

    fn verb(&self, dir: &Path, words: &[&str]) -> Command {
        realm::verb(&self.home, dir, words)
    }

    /// A fresh copy of the realm.
    fn copy(&self) -> PathBuf {
        let dir = self.home.join("work");
        let _ = std::fs::remove_dir_all(&dir);
        let done = Command::new("cp").arg("-a").arg(&self.base).arg(&dir).status();
        assert!(done.is_ok_and(|s| s.success()), "a copy of the realm");
        dir
    }

    /// What the realm is, without what differs from run to run.
    fn state(&self, dir: &Path) -> String {
        let list = |words: &[&str]| run(&mut self.verb(dir, words)).ok().json();
        let mut keys: Vec<_> = list(&["key", "list", "--json"])
            .as_array()
            .into_iter()
            .flatten()
            .map(|k| format!("{} {}", k["user"], k["fingerprint"]))
            .collect();
        keys.sort();
        let signing = list(&["signing-key", "list", "--json"]);
        let mut states: Vec<_> = signing
            .as_array()
            .into_iter()
            .flatten()
            .map(|k| format!("{} {}", k["algorithm"], k["state"]))
            .collect();
        states.sort();
        let verdict = run(self.verb(dir, &["verify", "--json"]).arg(&self.token));
        let verdict: Value = serde_json::from_str(&verdict.stdout).unwrap_or_default();
        format!("{keys:?} {states:?} {}", verdict["verdict"])
    }
}

fn claim(token: &str, name: &str) -> String {
    let payload = token.split('.').nth(1).and_then(|p| URL_SAFE_NO_PAD.decode(p).ok()).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&payload).unwrap_or_default();
    claims[name].as_str().unwrap_or_default().to_owned()
}

fn authorized_keys(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(".ssh/authorized_keys")).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "authorized_keys is cut off: {text:?}");
    // The realm was copied: its path is not what is looked at.
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| l.rsplit(' ').next().unwrap_or(l).to_owned())
        .collect()
}

/// What a verb is killed at.
struct Kill<'a> {
    name: &'static str,
    /// The verb on this copy of the realm.
    command: &'a dyn Fn(&Path) -> Command,
    /// Looks over what it printed and did; `done` is whether it ended by itself.
    check: &'a dyn Fn(&Path, &Output, bool),
}

/// Kills it everywhere, and looks over what is left each time.
fn torture(scene: &Scene, kill: &Kill<'_>) {
    let before = (scene.state(&scene.base), authorized_keys(&scene.base));
    let dir = scene.copy();
    let start = Instant::now();
    let whole = output(&mut (kill.command)(&dir));
    let takes = start.elapsed();
    assert!(whole.status.success(), "{}: {}", kill.name, String::from_utf8_lossy(&whole.stderr));
    let after = (scene.state(&dir), authorized_keys(&dir));
    (kill.check)(&dir, &whole, true);

    let look = |at: &str, dir: &Path, output: &Output| {
        let done = output.status.success();
        let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
        assert!(done || killed, "{} at {at}: {output:?}", kill.name);
        let now = (scene.state(dir), authorized_keys(dir));
        let either = |now: &str, before: &str, after: &str| now == after || (now == before && !done);
        assert!(
            either(&now.0, &before.0, &after.0),
            "{} at {at}, done: {done}\n{before:#?}\n{now:#?}",
            kill.name
        );
        assert!(
            now.1 == after.1 || (now.1 == before.1 && !done),
            "{} at {at}: authorized_keys\n{before:#?}\n{now:#?}",
            kill.name
        );
        let _ = run(&mut scene.verb(dir, &["audit", "verify"])).ok().says("the chain is whole");
        (kill.check)(dir, output, done);
        well_again(scene, dir, &format!("{} at {at}", kill.name));
    };

    // Before each change of a file.
    let mut points = 0;
    if Command::new("strace").arg("-V").output().is_ok() {
        for (call, count) in calls(&(kill.command)(&scene.copy()), &scene.home) {
            for number in 1..=count {
                let dir = scene.copy();
                let command = (kill.command)(&dir);
                let mut traced = strace(&command);
                traced.args(["-o", "/dev/null", "-e", &format!("trace={call}")]);
                traced.args(["-e", &format!("inject={call}:signal=SIGKILL:when={number}")]);
                let output = output(traced.arg(command.get_program()).args(command.get_args()));
                look(&format!("{call} {number}"), &dir, &output);
                points += 1;
            }
        }
        assert!(points > 3, "{}: {points} places", kill.name);
    } else {
        skip("no strace; `apt-get install strace`");
    }

    // And at random moments.
    let times: u32 = std::env::var("SEAMLESS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let seed = u64::from(std::process::id())
        ^ u64::from(std::time::SystemTime::now().elapsed().unwrap_or_default().subsec_nanos());
    let mut random = seed | 1;
    let mut ended = 0;
    for number in 0..times {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let dir = scene.copy();
        let mut child = (kill.command)(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the verb");
        let wait = takes.mul_f64((random % 1200) as f64 / 1000.0);
        std::thread::sleep(wait);
        let _ = child.kill();
        let output = child.wait_with_output().expect("its output");
        ended += u32::from(output.status.success());
        look(&format!("random {number}, seed {seed}, after {wait:?}"), &dir, &output);
    }
    println!(
        "{}: killed at {points} places and {times} times at random ({ended} had ended), seed {seed}",
        kill.name
    );
}

/// The realm goes on: changes and mints are made, and doctor's mends for what is left are enough.
#[track_caller]
fn well_again(scene: &Scene, dir: &Path, at: &str) {
    let eve = scene.home.join("eve");
    let _ = run(&mut realm::add(&scene.home, dir, &eve, "eve")).ok();
    for format in ["jwt", "seamless"] {
        let token = run(&mut scene.verb(dir, &["token", "--user", "eve", "--format", format])).ok().line();
        let _ = run(scene.verb(dir, &["verify", "--json"]).arg(&token)).ok();
    }
    let _ = run(&mut scene.verb(dir, &["audit", "verify"])).ok().says("the chain is whole");
    let findings = |dir: &Path| {
        let found = run(&mut scene.verb(dir, &["doctor", "--json"])).json();
        let list =
            found.as_array().cloned().or_else(|| found["findings"].as_array().cloned()).unwrap_or_default();
        list.into_iter().filter(|f| f["severity"] != "ok").collect::<Vec<_>>()
    };
    for finding in findings(dir) {
        let what = finding["what"].as_str().unwrap_or_default();
        let mend = finding["mend"].as_str().unwrap_or_default();
        // Nobody serves it just now; and a torn record stays, covered by the next.
        if what.contains("is torn") || what.starts_with("can't fetch") {
            continue;
        }
        let script = mend.rsplit_once(": ").map_or(mend, |(_, command)| command);
        assert!(script.starts_with("rm ") || script.starts_with("seamless "), "{at}: {finding}");
        let _ = run(scene.home.command("sh").args(["-c", script])).ok();
    }
    for finding in findings(dir) {
        let what = finding["what"].as_str().unwrap_or_default();
        assert!(
            !what.contains("is left from") && !what.contains("belongs to no"),
            "{at}: not mended: {finding}"
        );
    }
    for name in ["", "signing", "audit", ".ssh"] {
        for entry in std::fs::read_dir(dir.join(name)).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            assert!(!file.starts_with(".new-") && !file.starts_with(".backup-"), "{at}: {file} is left");
        }
    }
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the verb")
}

fn strace(command: &Command) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

/// How often the command makes each of the calls that change files.
fn calls(command: &Command, home: &Home) -> BTreeMap<String, u32> {
    let log = home.join("calls");
    let mut traced = strace(command);
    traced.arg("-o").arg(&log).args(["-e", &format!("trace={CHANGES}")]);
    let output = output(traced.arg(command.get_program()).args(command.get_args()));
    assert!(output.status.success(), "{output:?}");
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(&log).expect("strace's log").lines() {
        let call = line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start());
        if let Some((name, _)) = call.split_once('(') {
            *counts.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    // Most of these only read.
    if let Some(opens) = counts.get_mut("openat") {
        *opens = (*opens).min(12);
    }
    counts
}

#[test]
fn add() {
    let scene = Scene::new();
    let bob = public(&scene.home.join("bob"));
    torture(
        &scene,
        &Kill {
            name: "add",
            command: &|dir| {
                let mut command = scene.verb(dir, &["add", "--user", "bob"]);
                command.arg(&bob);
                command
            },
            check: &|_, _, _| {},
        },
    );
}

#[test]
fn sync() {
    if !seamless_tests::system_allowed() {
        return skip("needs root: sshd would run an installed program only");
    }
    let scene = Scene::new();
    let installed = Installed::shared();
    let sync = |dir: &Path| {
        let mut command = scene.home.command(&installed.binary);
        command.args(["sync", "--dir"]).arg(dir);
        command
    };
    let _ = run(&mut sync(&scene.base)).ok();
    let bob = scene.home.join("bob");
    let _ = run(&mut realm::add(&scene.home, &scene.base, &bob, "bob")).ok();
    torture(
        &scene,
        &Kill {
            name: "sync",
            command: &sync,
            check: &|dir, _, done| {
                let lines = authorized_keys(dir).len();
                assert!(if done { lines == 2 } else { (1..=2).contains(&lines) }, "{lines} lines");
            },
        },
    );
}

#[test]
fn rotate() {
    let scene = Scene::new();
    torture(
        &scene,
        &Kill {
            name: "rotate",
            command: &|dir| scene.verb(dir, &["signing-key", "rotate", "--algorithm", "EdDSA", "--now"]),
            check: &|dir, _, _| {
                let keys = run(&mut scene.verb(dir, &["signing-key", "list", "--json"])).ok().json();
                let active = keys.as_array().into_iter().flatten().filter(|k| k["state"] == "active");
                let mut algorithms: Vec<_> = active.map(|k| k["algorithm"].to_string()).collect();
                algorithms.sort();
                assert_eq!(algorithms, ["\"EdDSA\"", "\"hmac\""], "one active key an algorithm");
            },
        },
    );
}

#[test]
fn revoke() {
    let scene = Scene::new();
    torture(
        &scene,
        &Kill {
            name: "revoke",
            command: &|dir| scene.verb(dir, &["token", "revoke", "--jti", &scene.jti]),
            check: &|dir, output, _| {
                // Whatever was acknowledged counts, whether the process then ended by itself or not.
                if String::from_utf8_lossy(&output.stdout).contains("revoked") {
                    let verdict = run(scene.verb(dir, &["verify", "--json"]).arg(&scene.token)).fails();
                    assert!(verdict.stdout.contains("revoked"), "{verdict}");
                }
            },
        },
    );
}

#[test]
fn mint() {
    let scene = Scene::new();
    torture(
        &scene,
        &Kill {
            name: "mint",
            command: &|dir| {
                let mut forced = scene.home.seamless(["forced", "--dir"]);
                forced.arg(dir).args(["--user", "ada", "--key", &scene.fingerprint]);
                forced.env("SSH_CONNECTION", "127.0.0.1 1 127.0.0.1 22");
                forced
            },
            check: &|dir, output, _| {
                let printed = String::from_utf8_lossy(&output.stdout).into_owned();
                if let Some(token) = printed.strip_suffix('\n') {
                    let jti = claim(token, "jti");
                    let logs = std::fs::read_dir(dir.join("audit")).expect("the log").flatten();
                    let records: String =
                        logs.filter_map(|e| std::fs::read_to_string(e.path()).ok()).collect();
                    assert!(!jti.is_empty() && records.contains(&jti), "a token without a record: {printed}");
                }
            },
        },
    );
}

#[test]
fn import() {
    let scene = Scene::new();
    let file = scene.home.join("team.csv");
    let mut text = "user,key\n".to_owned();
    for name in ["bob", "eve"] {
        let line = std::fs::read_to_string(public(&scene.home.join(name))).expect("a key");
        text.push_str(&format!("{name},{}\n", line.trim()));
    }
    // eve is what `well_again` adds: the same key again is no error.
    std::fs::write(&file, text).expect("write");
    torture(
        &scene,
        &Kill {
            name: "import",
            command: &|dir| {
                let mut command = scene.verb(dir, &["key", "import"]);
                command.arg(&file);
                command
            },
            check: &|_, _, _| {},
        },
    );
}

#[test]
fn migrate() {
    let mut scene = Scene::new();
    // The same realm as the first schema had it: without its last column.
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('PRAGMA journal_mode = DELETE')\n\
                  c.execute('ALTER TABLE user_keys DROP COLUMN source')\nc.execute('PRAGMA user_version = 1')\nc.commit()";
    let copy = scene.home.join("first");
    let done = Command::new("cp").arg("-a").arg(&scene.base).arg(&copy).status();
    assert!(done.is_ok_and(|s| s.success()), "a copy");
    let back = |dir: &Path| {
        let _ = run(Command::new("python3").args(["-c", script]).arg(dir.join("realm.db"))).ok();
    };
    back(&copy);
    // `state` opens a realm and so takes it forward: the base is looked at in another copy.
    let looked = scene.home.join("looked");
    let done = Command::new("cp").arg("-a").arg(&copy).arg(&looked).status();
    assert!(done.is_ok_and(|s| s.success()), "a copy");
    let before = scene.state(&looked);
    scene.base = copy;
    let first = scene.home.join("first.db");
    std::fs::copy(scene.base.join("realm.db"), &first).expect("copy");
    torture(
        &scene,
        &Kill {
            name: "migrate",
            command: &|dir| {
                // `torture` has looked at the base by now.
                for left in ["realm.db-wal", "realm.db-shm"] {
                    let _ = std::fs::remove_file(dir.join(left));
                }
                std::fs::copy(&first, dir.join("realm.db")).expect("the first schema");
                scene.verb(dir, &["realm", "upgrade"])
            },
            check: &|dir, _, _| assert_eq!(scene.state(dir), before, "every row is there"),
        },
    );
}

#[test]
fn backup_and_restore() {
    let scene = Scene::new();
    let file = scene.home.join("corp.tar");
    torture(
        &scene,
        &Kill {
            name: "backup",
            command: &|dir| {
                let mut command = scene.verb(dir, &["realm", "backup", "--force"]);
                command.arg(&file);
                command
            },
            check: &|_, _, done| {
                if done || file.exists() {
                    let again = scene.home.join("again");
                    let _ = std::fs::remove_dir_all(&again);
                    let _ =
                        run(scene.home.seamless(["realm", "restore", "--dir"]).arg(&again).arg(&file)).ok();
                    let _ = std::fs::remove_file(&file);
                }
                // What the caller's side leaves lies where the file was to be.
                for entry in std::fs::read_dir(scene.home.join("")).expect("the home").flatten() {
                    if entry.file_name().to_string_lossy().starts_with(".seamless-backup-") {
                        let _ = std::fs::remove_file(entry.path());
                    }
                }
            },
        },
    );

    // A restoration makes a realm or none; one that was killed is simply repeated.
    let _ = run(scene.verb(&scene.base, &["realm", "backup", "--force"]).arg(&file)).ok();
    let command = |dir: &Path| {
        let mut command = scene.home.seamless(["realm", "restore", "--dir"]);
        command.arg(dir).arg(&file);
        command
    };
    let target = scene.home.join("place").join("restored");
    let mut points = 0;
    for (call, count) in calls(&command(&target), &scene.home) {
        for number in 1..=count {
            let _ = std::fs::remove_dir_all(scene.home.join("place"));
            let restore = command(&target);
            let mut traced = strace(&restore);
            traced.args(["-o", "/dev/null", "-e", &format!("trace={call}")]);
            traced.args(["-e", &format!("inject={call}:signal=SIGKILL:when={number}")]);
            let output = output(traced.arg(restore.get_program()).args(restore.get_args()));
            if !target.exists() {
                assert!(!output.status.success());
                let _ = run(&mut command(&target)).ok();
            }
            well_again(&scene, &target, &format!("restore at {call} {number}"));
            points += 1;
        }
    }
    println!("restore: killed at {points} places");
}
