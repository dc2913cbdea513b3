//! What ssh-agents do, and what becomes of a log-in then.

use std::path::{Path, PathBuf};
use std::process::Command;

use seamless_tests::agent::Agent;
use seamless_tests::home::{ECDSA, ED25519, Home, RSA, public};
use seamless_tests::login::{LoginRealm, Logins};
use seamless_tests::process::{Done, run};

/// A served realm that knows these keys as ada's, and an agent without keys.
struct Stage {
    logins: Logins,
    agent: Agent,
}

impl Stage {
    fn start(keys: impl FnOnce(&Home) -> Vec<PathBuf>) -> (Self, Vec<PathBuf>) {
        let realm = LoginRealm::new();
        let keys = keys(&realm.home);
        for key in &keys {
            let _ = run(&mut seamless_tests::realm::add(&realm.home, &realm.dir, key, "ada")).ok();
        }
        let logins = realm.serve();
        let agent = Agent::start(&logins.served.home);
        (Self { logins, agent }, keys)
    }

    fn home(&self) -> &Home {
        &self.logins.served.home
    }

    fn ssh_add(&self, words: &[&str]) -> Command {
        let mut command = self.home().command("ssh-add");
        command.args(words).env("SSH_AUTH_SOCK", &self.agent.socket);
        command
    }

    /// `seamless login` as ada with the agent.
    fn login(&self, words: &[&str]) -> Done {
        let mut command = self.home().seamless(["login", &self.logins.url, "--no-cache", "--user", "ada"]);
        run(command.args(words).env("SSH_AUTH_SOCK", &self.agent.socket))
    }
}

/// A program that answers what ssh-add asks.
fn askpass(home: &Home, answer: &str) -> PathBuf {
    let path = home.write(home.join(format!("askpass-{answer}")), format!("#!/bin/sh\necho {answer}\n"));
    let _ = run(home.command("chmod").arg("700").arg(&path)).ok();
    path
}

fn asked(command: &mut Command, askpass: &Path) -> Done {
    run(command.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", "none:0"))
}

fn generate(home: &Home, name: &str, words: &[&str]) -> PathBuf {
    let path = home.join(name);
    let _ = run(home.command("ssh-keygen").arg("-q").args(words).arg("-f").arg(&path)).ok();
    path
}

#[test]
fn any_key_that_an_agent_can_use() {
    let (stage, keys) = Stage::start(|home| {
        vec![
            home.key("a", ED25519),
            home.key("b", ECDSA),
            generate(home, "c", &["-t", "ecdsa", "-b", "384", "-N", ""]),
            generate(home, "d", &["-t", "ecdsa", "-b", "521", "-N", ""]),
            home.key("e", RSA),
        ]
    });
    for key in &keys {
        let _ = run(&mut stage.ssh_add(&["-q", "-D"])).ok();
        // Among others that the realm does not know.
        for number in 0..3 {
            let stranger = stage.home().join(format!("stranger-{number}"));
            if !stranger.exists() {
                let _ = stage.home().key(&format!("stranger-{number}"), ED25519);
            }
            stage.agent.add(stage.home(), &stranger);
        }
        stage.agent.add(stage.home(), key);
        let token = stage.login(&[]).ok().line();
        let verdict = stage.logins.served.verify(&token).status(200).json();
        assert_eq!(verdict["ssh_fp"], stage.home().fingerprint(key).as_str(), "{}", key.display());
    }
    // Named, by its fingerprint or its public half.
    for key in &keys {
        stage.agent.add(stage.home(), key);
    }
    for key in &keys {
        let fingerprint = stage.home().fingerprint(key);
        let by_file = public(key).display().to_string();
        for words in [["--key", &*fingerprint], ["--identity", &*by_file]] {
            let token = stage.login(&words).ok().line();
            assert_eq!(stage.logins.served.verify(&token).status(200).json()["ssh_fp"], &*fingerprint);
        }
    }
}

#[test]
fn an_agent_that_will_not_sign_is_named() {
    let (stage, keys) = Stage::start(|home| vec![home.key("a", ED25519), home.key("b", RSA)]);
    let _ = stage.login(&[]).fails().says("the ssh-agent has no key");
    // A key that somebody has to confirm, and nobody does.
    stage.agent.add_refusing(stage.home(), &keys[0]);
    let _ = stage.login(&[]).fails().says("the ssh-agent refuses to sign with SHA256:").says("ssh-add -c");
    let _ = run(&mut stage.ssh_add(&["-q", "-D"])).ok();
    // A key for certain hosts alone.
    let known = stage.logins.served.dir.join("known_hosts");
    let host = format!("[127.0.0.1]:{}", stage.logins.served.ssh.port);
    let file = keys[0].display().to_string();
    let known = known.display().to_string();
    let _ = run(&mut stage.ssh_add(&["-q", "-h", &host, "-H", &known, &file])).ok();
    let _ = stage.login(&[]).fails().says("the ssh-agent refuses to sign").says("ssh-add -h");
    let _ = run(&mut stage.ssh_add(&["-q", "-D"])).ok();
    // A locked one shows nothing.
    stage.agent.add(stage.home(), &keys[1]);
    let _ = stage.login(&[]).ok();
    let _ = asked(&mut stage.ssh_add(&["-x"]), &askpass(stage.home(), "secret")).ok();
    let _ = stage.login(&[]).fails().says("a locked agent shows none either");
    let _ = asked(&mut stage.ssh_add(&["-X"]), &askpass(stage.home(), "secret")).ok();
    let _ = stage.login(&[]).ok();
    // None at all, and one that is gone.
    let mut none = stage.home().seamless(["login", &stage.logins.url, "--no-cache", "--user", "ada"]);
    let _ = run(none.env_remove("SSH_AUTH_SOCK")).fails().says("SSH_AUTH_SOCK is not set");
    let _ = run(none.env("SSH_AUTH_SOCK", "/nonexistent/agent")).fails().says("no ssh-agent answers");
}

#[test]
fn key_files_of_every_kind() {
    let (stage, keys) = Stage::start(|home| {
        vec![
            generate(home, "openssh", &["-t", "ed25519", "-N", "passphrase"]),
            generate(home, "pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]),
            generate(home, "locked-pem", &["-t", "ecdsa", "-m", "PEM", "-N", "passphrase"]),
            generate(home, "pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", ""]),
        ]
    });
    let folder = stage.home().join("temporary");
    std::fs::create_dir(&folder).expect("a folder for temporary files");
    let right = askpass(stage.home(), "passphrase");
    for key in &keys {
        let mut command = stage.home().seamless(["login", &stage.logins.url, "--no-cache", "--user", "ada"]);
        let token = asked(command.arg("--identity").arg(key).env("TMPDIR", &folder), &right).ok().line();
        let _ = stage.logins.served.verify(&token).status(200);
    }
    // Wrong, and then no more: ssh-add asks until somebody gives up.
    let wrong = stage.home().join("wrong");
    let script =
        format!("#!/bin/sh\n[ -e {0}.asked ] && exit 1\ntouch {0}.asked\necho nonsense\n", wrong.display());
    let _ = stage.home().write(&wrong, script);
    let _ = run(stage.home().command("chmod").arg("700").arg(&wrong)).ok();
    let mut command = stage.home().seamless(["login", &stage.logins.url, "--no-cache", "--user", "ada"]);
    let _ = asked(command.arg("--identity").arg(&keys[0]).env("TMPDIR", &folder), &wrong)
        .fails()
        .says("can't be used");
    // Nothing of ours stays, neither an agent nor its folder.
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 0);
    let left = run(Command::new("sh")
        .args(["-c", "ps -eo args | grep \"^ssh-agent -D -a $0\" || true"])
        .arg(&folder));
    assert_eq!(left.stdout, "");
    let _ = stage
        .logins
        .login("ada", Path::new("/nonexistent/key"), &[])
        .fails()
        .says("can't read /nonexistent/key: no such file");
}

/// Attack: an agent that shows a key which its owner knows to be enrolled, and signs with another.
#[test]
fn an_agent_that_lies_gets_nobody_in() {
    let (stage, keys) = Stage::start(|home| vec![home.key("ada", ED25519)]);
    let own = stage.home().key("eve", ED25519);
    stage.agent.add(stage.home(), &own);
    let socket = seamless_tests::agent::lying_agent(stage.home(), &keys[0], &own, &stage.agent);
    let mut command = stage.home().seamless(["login", &stage.logins.url, "--no-cache", "--user", "ada"]);
    let _ = run(command.env("SSH_AUTH_SOCK", socket)).fails().says("does not let ada in");
    assert_eq!(stage.logins.last_refusal(), "the signature is not the key's");
}

#[test]
fn clocks_that_differ_are_told_by_how_much() {
    let (stage, keys) = Stage::start(|home| vec![home.key("ada", ED25519)]);
    let Some(clock) = seamless_tests::skip::clock(stage.home()) else { return };
    stage.agent.add(stage.home(), &keys[0]);
    let _ = stage.login(&[]).ok();
    let time = stage.home().write(stage.home().join("time"), "");
    for (set, side) in [(seamless_tests::now() - 3600, "ahead of"), (seamless_tests::now() + 3600, "behind")]
    {
        let _ = stage.home().write(&time, format!("{set}"));
        let mut command = stage.home().seamless(["login", &stage.logins.url, "--no-cache", "--user", "ada"]);
        command.env("SSH_AUTH_SOCK", &stage.agent.socket);
        let done = run(command.env("LD_PRELOAD", &clock).env("SEAMLESS_CLOCK", &time)).fails();
        let told =
            done.stderr.split(" s ").next().and_then(|text| text.rsplit(' ').next()?.parse::<u64>().ok());
        // A few seconds may pass between the two.
        assert!(told.is_some_and(|told| told.abs_diff(3600) < 60), "{}", done.stderr);
        let _ = done.says(side);
    }
}
