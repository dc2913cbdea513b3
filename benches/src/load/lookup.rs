//! A realm with very many keys: finding one, filling it, and writing all of them down. Beside sshd, which reads its file
//! from the top at every log-in.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use seamless_bench::edge::{Error, cpu};
use seamless_bench::meter::{Goal, median, print};
use tokio::runtime::Runtime;

use crate::issuer::{Installed, Realm, Serve, Took, run, timed};
use crate::ssh::{Login, runtime};
use crate::sshd::{Keys, Sshd, line};
use crate::test_keys::{self, Form};
use crate::{number, say};

/// A realm with many keys takes at most this times as long as one with a single key.
const FLAT: Goal = Goal::Ratio(1.5);

/// How much is measured.
struct Sizes {
    middle: u64,
    most: u64,
    synced: u64,
    rounds: usize,
}

/// Fills three realms and looks keys up in them.
pub(crate) fn measure(quick: bool) -> Result<(), Error> {
    let sizes = if quick {
        Sizes { middle: 1_000, most: 10_000, synced: 10_000, rounds: 5 }
    } else {
        Sizes { middle: 10_000, most: 1_000_000, synced: 100_000, rounds: 15 }
    };
    let installed = Installed::new()?;
    let one = installed.realm("one", "seamless")?;
    let middle = installed.realm("middle", "seamless")?;
    let most = installed.realm("most", "seamless")?;
    import(&installed, &middle, sizes.middle)?;
    let took = import(&installed, &most, sizes.most)?;
    let name = format!("`seamless key import` of {} keys", sizes.most);
    number(&name, took.seconds, "s", Some(60.0));
    number(&format!("{name}: its CPU time"), took.cpu, "s", None);
    sync(&installed, sizes.synced)?;

    let realms = [(1, &one), (sizes.middle, &middle), (sizes.most, &most)];
    by_command(&installed, &realms, sizes.rounds)?;
    embedded(&installed, &realms, sizes.rounds)?;
    beside_a_file(&installed, &one, &most, &sizes)
}

/// Enrols so many keys more than the one that is there.
pub(crate) fn import(installed: &Installed, realm: &Realm, keys: u64) -> Result<Took, Error> {
    say(&format!("importing {keys} keys"))?;
    let file = installed.work.path().join("import.csv");
    let mut out = BufWriter::new(File::create(&file)?);
    test_keys::write(&mut out, Form::Csv, 0, keys, keys)?;
    out.into_inner()?.sync_all()?;
    let took = timed(realm.verb(installed, &["key", "import"]).arg(&file))?;
    let list = run(&mut realm.verb(installed, &["--json", "key", "list"]))?;
    let listed = list.matches("SHA256:").count();
    if u64::try_from(listed)? < keys {
        return Err(format!("{listed} keys are in a realm that {keys} were imported into").into());
    }
    Ok(took)
}

/// `seamless sync` of a realm with so many keys.
fn sync(installed: &Installed, keys: u64) -> Result<(), Error> {
    if !installed.trusted {
        return say("no `sync`: only root can install what sshd would run");
    }
    let realm = installed.realm("synced", "seamless")?;
    import(installed, &realm, keys)?;
    let written = realm.dir.join(".ssh/authorized_keys");
    let (mut seconds, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let _ = std::fs::remove_file(&written);
        let took = timed(&mut realm.verb(installed, &["sync"]))?;
        seconds.push(took.seconds);
        cpu.push(took.cpu);
        let lines =
            std::fs::read(&written)?.split(|b| *b == b'\n').filter(|l| l.starts_with(b"restrict,")).count();
        if u64::try_from(lines)? != keys + 1 {
            return Err(format!("sync wrote {lines} lines for {} keys", keys + 1).into());
        }
    }
    let name = format!("`seamless sync` of {keys} keys");
    number(&name, median(&mut seconds), "s", Some(2.0));
    number(&format!("{name}: its CPU time"), median(&mut cpu), "s", None);
    Ok(())
}

/// `seamless authorized-keys` as sshd starts it, for every offered key anew.
fn by_command(installed: &Installed, realms: &[(u64, &Realm); 3], rounds: usize) -> Result<(), Error> {
    const RUNS: u32 = 20;
    say("looking up by command")?;
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for turn in 0..3 {
            let at = (turn + round) % 3;
            let realm = realms[at].1;
            let key = realm.public().to_openssh()?;
            let words: Vec<&str> = key.split(' ').take(2).collect();
            let start = Instant::now();
            for _ in 0..RUNS {
                let found =
                    run(realm.verb(installed, &["authorized-keys"]).args(&words).stdin(Stdio::null()))?;
                if !found.contains("--user ada ") {
                    return Err(format!("ada's key was not found: {found}").into());
                }
            }
            // The first round warms up.
            if round > 0 {
                took[at].push(start.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS));
            }
        }
    }
    for at in [1, 2] {
        print(
            &format!("look a key up by AuthorizedKeysCommand: {} keys", realms[at].0),
            &took[at],
            "the same with 1 key",
            &took[0],
            FLAT,
        );
    }
    Ok(())
}

/// Log-ins at the embedded server, one after the other.
fn embedded(installed: &Installed, realms: &[(u64, &Realm); 3], rounds: usize) -> Result<(), Error> {
    const LOGINS: usize = 100;
    say("logging in at the embedded servers")?;
    let runtime = runtime()?;
    let servers =
        realms.iter().map(|(_, realm)| Serve::start(installed, realm, &[])).collect::<Result<Vec<_>, _>>()?;
    let (mut wall, mut spent) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for round in 0..=rounds {
        for turn in 0..3 {
            let at = (turn + round) % 3;
            let before = cpu(servers[at].id())?;
            let took = logins(&runtime, &servers[at].login, LOGINS)?;
            if round > 0 {
                wall[at].push(took);
                spent[at].push((cpu(servers[at].id())? - before) / LOGINS as f64);
            }
        }
    }
    for at in [1, 2] {
        let keys = realms[at].0;
        let name = format!("log in at `seamless serve`: {keys} keys");
        print(&name, &wall[at], "the same with 1 key", &wall[0], FLAT);
        let name = format!("log in at `seamless serve`, its CPU time: {keys} keys");
        print(&name, &spent[at], "the same with 1 key", &spent[0], FLAT);
    }
    Ok(())
}

/// sshd with everybody in one file, ours the last line; and sshd that asks the realm.
fn beside_a_file(installed: &Installed, one: &Realm, most: &Realm, sizes: &Sizes) -> Result<(), Error> {
    say("logging in at sshd")?;
    let runtime = runtime()?;
    let few = sshd_with_file(installed, one, 1)?;
    let many = sshd_with_file(installed, most, sizes.most)?;
    let asking = if installed.trusted { Some(Sshd::start(installed, most, &Keys::Command)?) } else { None };
    let serve = Serve::start(installed, most, &[])?;
    for login in [&serve.login, &few.login] {
        logins(&runtime, login, 1)?;
    }
    let (mut ours, mut asked, mut one_line, mut all_lines) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        ours.push(logins(&runtime, &serve.login, 20)?);
        one_line.push(logins(&runtime, &few.login, 5)?);
        if let Some(asking) = &asking {
            asked.push(logins(&runtime, &asking.login, 5)?);
        }
        all_lines.push(logins(&runtime, &many.login, 1)?);
    }
    let keys = sizes.most;
    let file = format!("sshd with an authorized_keys file of {keys} lines");
    print(&format!("log in at `seamless serve`: {keys} keys"), &ours, &file, &all_lines, Goal::None);
    if !asked.is_empty() {
        let name = format!("log in at sshd with our AuthorizedKeysCommand: {keys} keys");
        print(&name, &asked, &file, &all_lines, Goal::None);
        print(&name, &asked, "sshd with an authorized_keys file of 2 lines", &one_line, Goal::None);
    }
    Ok(())
}

fn sshd_with_file(installed: &Installed, realm: &Realm, others: u64) -> Result<Sshd, Error> {
    let path: PathBuf = installed.work.path().join(format!("{}.authorized_keys", realm.name));
    let ours = line(installed, realm)?;
    let before_the_key = ours.split(" ssh-ed25519 ").next().unwrap_or_default();
    let mut out = BufWriter::new(File::create(&path)?);
    for n in 0..others {
        writeln!(out, "{before_the_key} {}", test_keys::line(n))?;
    }
    out.write_all(ours.as_bytes())?;
    out.flush()?;
    Sshd::start(installed, realm, &Keys::File(&path))
}

/// Nanoseconds of a log-in, one after the other.
fn logins(runtime: &Runtime, login: &Login, count: usize) -> Result<f64, Error> {
    let start = Instant::now();
    let tokens = runtime.block_on(login.tokens(count, 1))?;
    let took = start.elapsed().as_secs_f64() * 1e9 / count as f64;
    if tokens.iter().any(|token| !token.starts_with("ada.")) {
        return Err("a token that is not ada's".into());
    }
    Ok(took)
}
