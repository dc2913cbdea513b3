//! The command line: snapshots, and what no snapshot can hold.

use seamless_tests::home::{ECDSA, ED25519, Home, KeyType, RSA, public};
use seamless_tests::process::{Done, run, run_with};
use seamless_tests::realm::Realm;

/// Pinned in tests/cli; `TRYCMD=overwrite cargo xtask test --only cli` writes them anew.
#[test]
fn snapshots() {
    let home = Home::new();
    let cases = trycmd::TestCases::new();
    cases
        .case(seamless_tests::root().join("tests/cli/*.trycmd"))
        .register_bin("seamless", seamless_tests::binary())
        .env("HOME", home.path().display().to_string())
        .env("XDG_DATA_HOME", home.join("data").display().to_string())
        .env("XDG_CONFIG_HOME", home.join("config").display().to_string())
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100");
    cases.run();
}

/// One line of error, perhaps one of hint, no panic, nothing on stdout.
#[track_caller]
fn one_clear_line(done: Done, code: i32) -> Done {
    let done = done.fails().code(code);
    assert_eq!(done.stdout, "", "{done}");
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert!(lines.first().is_some_and(|line| line.starts_with("seamless: error: ")), "{done}");
    assert!(lines.len() == 1 || lines.len() == 2 && lines[1].starts_with("seamless: hint: "), "{done}");
    assert!(!lines.iter().any(|line| line.ends_with('.')), "no full stop:\n{done}");
    done
}

#[test]
fn the_originals_lines_without_root() {
    let realm = Realm::init(&[]);
    let token = realm.token("ada", &[]).ok().line();
    assert!(token.starts_with("ada."), "the original's format is init's default: {token}");
    let bob = realm.home.key("bob", RSA);
    let text = std::fs::read(public(&bob)).expect("a public key");
    let _ = run_with(&mut realm.verb(&["add", "-", "--user", "bob"]), &text).ok();
    let _ = realm.token("bob", &[]).ok().line();
    let _ = run(&mut realm.verb(&["remove", "bob", "--yes"])).ok();
    let _ = realm.token("bob", &[]).fails();
}

#[test]
fn the_realm_by_environment() {
    let realm = Realm::init(&[]);
    let mut token = realm.home.seamless(["token", "--user", "ada"]);
    let _ = run(token.env("SEAMLESS_REALM", &realm.dir)).ok().line();
}

#[test]
fn ids_may_begin_as_options_do() {
    let realm = Realm::init(&[]);
    // `-y` and `-h` are options: of a longer word they are the beginning.
    for kid in ["-0abc", "-yabc", "-hx_", "--abc"] {
        let mut retire = realm.verb(&["signing-key", "retire"]);
        let done = one_clear_line(run(retire.args([kid, "--compromised", "--yes"])), 1);
        let _ = done.says(&format!("there is no signing key {kid:?}"));
        let mut revoke = realm.verb(&["token", "revoke"]);
        let _ = one_clear_line(run(revoke.args(["--kid", kid])), 1).says("no signing key");
        let mut revoke = realm.verb(&["token", "revoke"]);
        let _ = run(revoke.args(["--jti", kid])).ok().says(kid);
    }
}

#[test]
fn what_is_no_user_key() {
    let realm = Realm::init(&[]);
    let home = &realm.home;
    let private = home.key("someone", ED25519);
    let one = std::fs::read_to_string(public(&private)).expect("a public key");
    let two = std::fs::read_to_string(public(&home.key("other", ECDSA))).expect("a public key");
    let short = KeyType { name: "rsa", bits: Some("1024") };
    let short = std::fs::read_to_string(public(&home.key("short", short))).expect("a public key");
    let ca = home.key("ca", ED25519);
    let _ = run(home.command("ssh-keygen").args(["-q", "-I", "x", "-s"]).arg(&ca).arg(public(&private))).ok();
    let certificate = std::fs::read_to_string(home.join("someone-cert.pub")).expect("a certificate");
    let private_text = std::fs::read_to_string(&private).expect("a private key");
    let long = "x".repeat(70_000);
    for (what, text) in [
        ("a private key", private_text.as_str()),
        ("a short RSA key", short.as_str()),
        ("a certificate", certificate.as_str()),
        ("two keys", &format!("{one}{two}")),
        ("nothing", ""),
        ("junk", "hello world\n"),
        ("a cut key", &one[..40]),
        ("too much", &long),
        ("DSA", "ssh-dss AAAAB3NzaC1kc3MAAACBAA== old\n"),
        ("control characters", "ssh-ed25519 \u{1b}[2J x\n"),
    ] {
        let mut add = realm.verb(&["add", "-", "--user", "eve"]);
        let done = run_with(&mut add, text.as_bytes());
        assert!(done.code.is_some_and(|code| code != 0), "{what} was taken:\n{done}");
        let code = done.code.unwrap_or_default();
        let done = one_clear_line(done, code);
        assert!(
            !done.stderr.contains("BEGIN") && !done.stderr.contains('\u{1b}'),
            "{what} is not repeated:\n{done}"
        );
    }
    let _ = realm.token("eve", &[]).fails();
}

#[test]
fn one_key_one_user() {
    let realm = Realm::init(&[]);
    let mut add = realm.verb(&["add", "--user", "eve"]);
    let done = run(add.arg(public(&realm.key))).fails();
    let _ = done.says("ada");
}

#[test]
fn trouble_is_named() {
    let realm = Realm::init(&[]);
    let home = &realm.home;
    let nowhere = home.join("nowhere").display().to_string();
    let _ = run(&mut home.seamless(["token", "--dir", &nowhere, "--user", "ada"])).fails().says("nowhere");
    let _ =
        run(&mut home.seamless(["token", "no-such-realm", "--user", "ada"])).fails().says("no-such-realm");
    let _ = realm.token("nobody", &[]).fails().says("nobody");
    for option in [["--ttl", "1m"], ["--audience", "x"], ["--scope", "x"]] {
        let done = realm.token("ada", &["--format", "seamless", option[0], option[1]]);
        let _ = done.fails().code(2);
    }

    let file = realm.dir.join("realm.toml");
    let text = std::fs::read_to_string(&file).expect("realm.toml");
    let line = text.lines().count() + 2;
    std::fs::write(&file, format!("{text}\nno_such_key = 1\n")).expect("write realm.toml");
    let done = realm.token("ada", &[]).fails();
    assert!(
        done.stderr.contains("no_such_key") && done.stderr.contains(&line.to_string()),
        "the key and its line {line}:\n{done}"
    );
    std::fs::write(&file, text).expect("write realm.toml");
    let _ = realm.token("ada", &[]).ok();
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let realm = Realm::init(&[]);
    for entry in std::fs::read_dir(realm.dir.join("signing")).expect("signing/").flatten() {
        std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o644)).expect("set a mode");
    }
    let _ = realm.token("ada", &[]).fails().says("chmod");
}

#[test]
fn no_record_no_token() {
    let realm = Realm::init(&[]);
    let audit = realm.dir.join("audit");
    std::fs::rename(&audit, realm.dir.join("audit-away")).expect("move the audit log");
    // A file where the folder was: nothing can be written below it, not even by root.
    std::fs::write(&audit, "").expect("block the audit log");
    let done = realm.token("ada", &[]).fails().code(5);
    assert_eq!(done.stdout, "", "{done}");
}

#[test]
fn the_audit_log_holds_and_shows_tampering() {
    let realm = Realm::init(&[]);
    for _ in 0..3 {
        let _ = realm.token("ada", &[]).ok();
    }
    let _ = run(&mut realm.verb(&["audit", "verify"])).ok();
    let records = run(&mut realm.verb(&["audit", "show", "--json"])).ok();
    assert!(records.stdout.contains("ada"), "{records}");
    let file =
        std::fs::read_dir(realm.dir.join("audit")).expect("audit/").flatten().next().expect("a file").path();
    let text = std::fs::read_to_string(&file).expect("the audit log");
    std::fs::write(&file, text.replacen("ada", "eve", 1)).expect("tamper with it");
    let _ = run(&mut realm.verb(&["audit", "verify"])).fails();
}

#[test]
fn verify_reads_lines_and_fails_if_one_does() {
    let realm = Realm::init(&[]);
    let token = realm.token("ada", &[]).ok().line();
    let input = format!("{token}\n{token}x\n");
    let done = run_with(&mut realm.verb(&["verify", "--json"]), input.as_bytes()).fails().code(1);
    let verdicts = done.json_lines();
    let codes: Vec<_> =
        verdicts.iter().map(|verdict| verdict["verdict"].as_str().unwrap_or_default()).collect();
    assert_eq!(codes.first(), Some(&"ok"), "{verdicts:?}");
    assert!(matches!(codes.get(1), Some(&"bad_signature" | &"malformed")), "{verdicts:?}");
}

#[test]
fn helpers_for_shells_and_man() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let _ = run(&mut home.seamless(["completions", shell])).ok().says("seamless");
    }
    let _ = run(&mut home.seamless(["--version"])).ok().line();
    let _ = run(&mut home.seamless(["man"])).ok();
}
