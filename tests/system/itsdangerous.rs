//! The original's format, both ways, with the original's library.

use std::process::Command;

use seamless_tests::home::Home;
use seamless_tests::now;
use seamless_tests::peers::Peer;
use seamless_tests::process::{run, run_with};
use seamless_tests::realm::Realm;
use serde_json::json;

const SECRET: &[u8] = b"a secret of twenty-six bytes";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verify(home: &Home, options: &[&str]) -> Command {
    let secret = home.write("secret-of-the-test", SECRET);
    let mut command = home.seamless(["verify", "--json", "--secret-file"]);
    command.arg(secret).args(options);
    command
}

#[test]
fn the_original_reads_what_we_mint() {
    let Some(peer) = Peer::itsdangerous() else { return };
    let home = Home::new();
    let secret = home.write("given", SECRET);
    let realm = Realm::init(&["--secret-file", &secret.display().to_string()]);
    let before = now();
    let token = realm.token("ada", &[]).ok().line();
    let question =
        |token: &str| json!({"do": "unsign", "secret": hex(SECRET), "token": token, "max_age": 60});
    let answer = peer.ask(&question(&token));
    assert_eq!(answer["subject"], "ada", "{answer}");
    let timestamp = answer["timestamp"].as_u64().unwrap_or_default();
    assert!((before..=now()).contains(&timestamp), "minted at {timestamp}, asked at {before}");
    assert_eq!(peer.ask(&question(&format!("b{token}")))["error"], "BadTimeSignature");
}

#[test]
fn every_digest_that_a_realm_may_choose() {
    let Some(peer) = Peer::itsdangerous() else { return };
    let home = Home::new();
    let secret = home.write("given", SECRET);
    for digest in ["sha1", "sha256", "sha512"] {
        let realm = Realm::init(&["--secret-file", &secret.display().to_string(), "--digest", digest]);
        let token = realm.token("ada", &[]).ok().line();
        let answer =
            peer.ask(&json!({"do": "unsign", "secret": hex(SECRET), "digest": digest, "token": token}));
        assert_eq!(answer["subject"], "ada", "{digest}: {answer}");
    }
}

#[test]
fn we_read_what_the_original_signs() {
    let Some(peer) = Peer::itsdangerous() else { return };
    let home = Home::new();
    let now = now();
    let names = ["ada", "a.b.c", "Zoë Müller", "deploy@ci", "名前", "x"];
    for digest in ["sha1", "sha256", "sha512"] {
        let questions: Vec<_> = names
            .iter()
            .map(|name| json!({"do": "sign", "secret": hex(SECRET), "digest": digest, "subject": name, "at": now}))
            .collect();
        let tokens: Vec<String> = peer
            .ask_all(&questions)
            .iter()
            .map(|answer| answer["token"].as_str().unwrap_or_default().to_owned())
            .collect();
        let input = tokens.join("\n") + "\n";
        let at = (now + 30).to_string();
        let verdicts = run_with(&mut verify(&home, &["--digest", digest, "--at", &at]), input.as_bytes())
            .ok()
            .json_lines();
        assert_eq!(verdicts.len(), names.len(), "one verdict a line");
        for (verdict, name) in verdicts.iter().zip(names) {
            assert_eq!(verdict["verdict"], "ok", "{digest}, {name}: {verdict}");
            assert_eq!(verdict["subject"], name, "{digest}: {verdict}");
            assert_eq!(verdict["issued_at"], now, "{digest}, {name}: {verdict}");
        }
        let other = if digest == "sha1" { "sha256" } else { "sha1" };
        let refused = run(verify(&home, &["--digest", other, "--at", &at]).arg(&tokens[0])).fails().json();
        assert_eq!(refused["verdict"], "bad_signature", "{digest} is not {other}: {refused}");
    }
}

#[test]
fn time_is_judged_alike() {
    let Some(peer) = Peer::itsdangerous() else { return };
    let home = Home::new();
    let issued = 1_700_000_000_u64;
    let token =
        peer.ask(&json!({"do": "sign", "secret": hex(SECRET), "subject": "ada", "at": issued}))["token"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    for (age, ours, theirs) in [
        (0, "ok", None),
        (60, "ok", None),
        (61, "expired", Some("SignatureExpired")),
        (86_400, "expired", Some("SignatureExpired")),
    ] {
        let at = issued + age;
        let verdict = run(verify(&home, &["--max-age", "60", "--at", &at.to_string()]).arg(&token)).json();
        assert_eq!(verdict["verdict"], ours, "at an age of {age} s: {verdict}");
        let question =
            json!({"do": "unsign", "secret": hex(SECRET), "token": token, "max_age": 60, "at": at});
        let answer = peer.ask(&question);
        assert_eq!(answer["error"].as_str(), theirs, "at an age of {age} s: {answer}");
    }
    // Where we are stricter: the original takes a clock of any skew.
    let early = (issued - 6).to_string();
    let verdict = run(verify(&home, &["--at", &early]).arg(&token)).fails().json();
    assert_eq!(verdict["verdict"], "not_yet_valid", "{verdict}");
}
