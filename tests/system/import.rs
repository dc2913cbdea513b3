//! `seamless key import`: thousands of lines, every kind of bad one among them, and what sshd reads afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use seamless_tests::home::{ED25519, Home, KeyType, public};
use seamless_tests::keys::{self, line};
use seamless_tests::process::{Done, Running, run, run_with};
use seamless_tests::realm::{Realm, verb};
use seamless_tests::sshd::HostRealm;
use serde_json::Value;

/// Good lines with bad ones dealt out among them, and what is to be said of each line that is refused.
struct Mixed {
    text: Vec<u8>,
    good: u64,
    refused: BTreeMap<u64, &'static str>,
}

impl Mixed {
    fn new(head: &str) -> Self {
        Self { text: head.as_bytes().to_vec(), good: 0, refused: BTreeMap::new() }
    }

    fn here(&self) -> u64 {
        1 + u64::try_from(self.text.iter().filter(|b| **b == b'\n').count()).expect("a number")
    }

    fn good(&mut self, line: &str) {
        self.text.extend_from_slice(line.as_bytes());
        self.good += 1;
    }

    fn bad(&mut self, line: impl AsRef<[u8]>, why: &'static str) {
        self.refused.insert(self.here(), why);
        self.text.extend_from_slice(line.as_ref());
        self.text.push(b'\n');
    }

    fn nothing(&mut self, line: &str) {
        self.text.extend_from_slice(line.as_bytes());
    }
}

/// Keys that no realm takes.
struct Junk {
    short_rsa: String,
    certificate: String,
    dsa: String,
}

impl Junk {
    fn new(home: &Home) -> Self {
        let read = |path: PathBuf| std::fs::read_to_string(path).expect("a public key").trim_end().to_owned();
        let rsa = home.key("tmp/short", KeyType { name: "rsa", bits: Some("1024") });
        let (ca, user) = (home.key("tmp/ca", ED25519), home.key("tmp/user", ED25519));
        let mut sign = home.command("ssh-keygen");
        let _ = run(sign.args(["-q", "-I", "x", "-n", "demo", "-s"]).arg(&ca).arg(public(&user))).ok();
        Self {
            short_rsa: read(public(&rsa)),
            certificate: read(home.join("tmp/user-cert.pub")),
            dsa: "ssh-dss AAAAB3NzaC1kc3MAAACBAP ada@x".to_owned(),
        }
    }
}

/// About 5 000 lines of CSV; keys from `first` on are used.
fn csv(junk: &Junk, taken: &str) -> Mixed {
    let mut csv = Mixed::new("\u{feff}user,key,expires,from,groups,scopes,require_touch\r\n");
    let (yes, rest) = (line(900_000), ",,,,,");
    for n in 0..5000 {
        let end = if n % 3 == 0 { "\r\n" } else { "\n" };
        csv.good(&match n % 5 {
            0 => format!("{},{} a comment{rest}{end}", keys::user(n), line(n)),
            1 => format!(
                "{},\"{} \"\"a, b\"\" <x>\",2199-01-31,\"10.0.0.0/8, ::1\",,,no{end}",
                keys::user(n),
                line(n)
            ),
            2 => format!(" {} , {} ,,,staff ops,read write,{end}", keys::user(n), line(n)),
            3 => format!("{},{} =HYPERLINK(1),,192.0.2.1,,,{end}", keys::user(n), line(n)),
            _ => format!("shared-{},{},2199-01-31T12:00:00+02:00,,,,{end}", n % 7, line(n)),
        });
        if n == 100 {
            csv.nothing("\n\r\n  \n");
        }
        let fresh = line(500_000 + n);
        match n {
            10 => csv.bad(format!("ada,{}{rest}", junk.short_rsa), "RSA key of 1024 bits"),
            11 => csv.bad(format!("ada,{}{rest}", junk.dsa), "DSA key"),
            12 => csv.bad(format!("ada,{}{rest}", junk.certificate), "certificate"),
            13 => csv.bad(format!("ada,{}{rest}", &line(n)[..70]), "base64"),
            14 => csv.bad(format!("ada,{fresh}\0{rest}"), "control character"),
            15 => csv.bad(format!("ada\t,{fresh}{rest}").replace('\t', "\x0b"), "control character"),
            16 => csv.bad(format!("ada b,{fresh}{rest}"), "not a user name"),
            17 => csv.bad(format!("eyJada,{fresh}{rest}"), "can't begin with"),
            18 => csv.bad(format!("-oProxyCommand=x,{fresh}{rest}"), "not a user name"),
            19 => csv.bad(format!("=cmd|'/c calc'!A1,{fresh}{rest}"), "not a user name"),
            20 => csv.bad(format!("späße,{fresh}{rest}"), "not a user name"),
            21 => csv.bad(b"caf\xe9,ssh-ed25519 AAAA,,,,,", "not a user name"),
            22 => csv.bad(format!(",{fresh}{rest}"), "user is empty"),
            23 => csv.bad(format!("ada,{rest}"), "key is empty"),
            24 => csv.bad(format!("ada,{fresh}"), "as many cells"),
            25 => csv.bad(format!("ada,{fresh} a, b{rest}"), "as many cells"),
            26 => csv.bad(format!("ada,{fresh} {}{rest}", "x".repeat(65_536)), "64 KiB"),
            27 => csv.bad(format!("ada,\"{fresh} x\nroot,{yes}{rest}\ny\"{rest}"), "line break"),
            28 => {
                csv.bad(format!("ada,\"restrict,command=\"\"x\"\" {fresh}\"{rest}"), "options before its key")
            }
            29 => csv.bad(format!("eve,{}{rest}", line(3)), "stands in line 5 already"),
            30 => csv.bad(format!("eve,{taken}{rest}"), "belongs to ada already"),
            31 => csv.bad(format!("ada,{fresh},90d,,,,"), "is not a date"),
            32 => csv.bad(format!("ada,{fresh},2001-01-01,,,,"), "expired already"),
            33 => csv.bad(format!("ada,{fresh},,*.example.com,,,"), "not an address or CIDR"),
            34 => csv.bad(format!("ada,{fresh},,,a\"\"b,,"), "not a group name"),
            35 => csv.bad(format!("ada,{fresh},,,,a\\b,"), "not a scope"),
            36 => csv.bad(format!("ada,{fresh},,,,,maybe"), "is yes or no"),
            37 => csv.bad(format!("ada,{fresh},,,,,yes"), "authenticator"),
            38 => csv.bad(format!("ada,hello{rest}"), "not an OpenSSH public key"),
            39 => csv.bad(format!("ada;{fresh};;;;;"), "as many cells"),
            41 => csv.bad(format!("ada,{fresh} x,,,admins,{rest}"), "as many cells"),
            42 => csv.bad(format!("ada,{fresh}{rest},"), "as many cells"),
            40 => csv.bad(
                format!("ada,ssh-rsa {}{rest}", &fresh["ssh-ed25519 ".len()..]),
                "type and its content differ",
            ),
            _ => {}
        }
    }
    csv
}

#[track_caller]
fn as_foreseen(report: &Value, mixed: &Mixed) {
    let list = report["refusals"].as_array().expect("a list");
    let seen: BTreeMap<u64, &str> = list
        .iter()
        .map(|r| (r["line"].as_u64().expect("a line"), r["why"].as_str().expect("a reason")))
        .collect();
    assert_eq!(
        seen.keys().collect::<BTreeSet<_>>(),
        mixed.refused.keys().collect::<BTreeSet<_>>(),
        "{seen:#?}"
    );
    for (line, why) in &mixed.refused {
        assert!(seen[line].contains(why), "line {line} is to be refused by `{why}`, not `{}`", seen[line]);
    }
    assert_eq!(report["refused"], mixed.refused.len(), "{report}");
}

fn counts(report: &Value) -> [u64; 4] {
    ["added", "changed", "unchanged", "refused"].map(|name| report[name].as_u64().expect("a count"))
}

fn import(realm: &Realm, file: &Path, options: &[&str]) -> Done {
    run(verb(&realm.home, &realm.dir, &["key", "import"]).arg(file).args(options))
}

fn sound(home: &Home, dir: &Path) {
    let _ = run(&mut verb(home, dir, &["audit", "verify"])).ok();
}

#[test]
fn a_csv_comes_in_but_for_what_is_wrong_with_it() {
    let realm = Realm::init(&[]);
    let taken = std::fs::read_to_string(public(&realm.key)).expect("ada's key");
    let mixed = csv(&Junk::new(&realm.home), taken.trim_end());
    let file = realm.home.write("team.csv", &mixed.text);
    let refused = u64::try_from(mixed.refused.len()).expect("a number");

    let trial = import(&realm, &file, &["--dry-run", "--json"]).code(3).json();
    as_foreseen(&trial, &mixed);
    assert_eq!((counts(&trial), &trial["done"]), ([mixed.good, 0, 0, refused], &false.into()));
    let whole = import(&realm, &file, &["--all-or-nothing", "--json"]).code(3).json();
    assert_eq!((&whole["done"], &whole["refused"]), (&false.into(), &refused.into()));
    let list = run(&mut verb(&realm.home, &realm.dir, &["key", "list", "--json"])).ok().json();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "neither changed anything");

    let done = import(&realm, &file, &["--json"]).code(3).json();
    as_foreseen(&done, &mixed);
    assert_eq!((counts(&done), &done["done"]), ([mixed.good, 0, 0, refused], &true.into()));
    let again = import(&realm, &file, &["--json"]).code(3).json();
    assert_eq!(counts(&again), [0, 0, mixed.good, refused], "run again, it changes nothing");

    let list = run(&mut verb(&realm.home, &realm.dir, &["key", "list", "--json"])).ok().json();
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 5001);
    assert!(
        list.iter().all(|k| k["user"] != "root" && k["user"] != "eve"),
        "what a comment smuggled is not in"
    );
    assert!(list.iter().all(|k| k["user"] == "ada" || k["source"] == "import"));
    let user = run(&mut verb(&realm.home, &realm.dir, &["user", "groups", &keys::user(2)])).ok();
    assert_eq!(user.stdout, "ops\nstaff\n");
    sound(&realm.home, &realm.dir);
    let actions = |action: &str| {
        let shown = run(&mut verb(
            &realm.home,
            &realm.dir,
            &["audit", "show", "--json", "--limit", "9999", "--action", action],
        ))
        .ok();
        shown.stdout.matches(&format!("\"action\":\"{action}\"")).count()
    };
    assert_eq!((actions("key.add"), actions("key.import")), (5001, 2), "each key is one record");
}

#[test]
fn an_authorized_keys_file_comes_in_and_keeps_what_restricts() {
    let realm = Realm::init(&[]);
    let junk = Junk::new(&realm.home);
    let mut mixed = Mixed::new("# our team\n\n");
    for n in 0..5000 {
        let (key, user) = (line(n), keys::user(n));
        let end = if n % 3 == 0 { "\r\n" } else { "\n" };
        mixed.good(&match n % 4 {
            0 => format!("{key} {user}@laptop{end}"),
            1 => format!(
                "restrict,from=\"10.0.0.0/8,2001:db8::/32\",expiry-time=\"21990131Z\" {key} {user}@x{end}"
            ),
            2 => format!("  no-pty,port-forwarding,environment=\"A=\\\"b, c\\\"\" \t{key}\t{user}{end}"),
            _ => format!("{key} {user}@example.com{end}"),
        });
        let fresh = line(500_000 + n);
        match n {
            10 => mixed.bad(&junk.short_rsa, "RSA key of 1024 bits"),
            11 => mixed.bad(&junk.dsa, "DSA key"),
            12 => mixed.bad(&junk.certificate, "certificate"),
            13 => mixed.bad(format!("command=\"/bin/x\" {fresh} ada@x"), "bound to a command"),
            14 => mixed
                .bad(format!("restrict,command=\"a \\\" {fresh}\",pty {fresh} ada@x"), "bound to a command"),
            15 => mixed.bad(format!("cert-authority {fresh} ada@x"), "certificate authority"),
            16 => mixed.bad(format!("from=\"*.example.com\" {fresh} ada@x"), "can't be kept"),
            17 => mixed.bad(format!("from=\"!10.0.0.1\" {fresh} ada@x"), "can't be kept"),
            18 => mixed.bad(format!("frobnicate {fresh} ada@x"), "not known here"),
            19 => mixed.bad(format!("command=\"x {fresh} ada@x"), "does not close"),
            20 => mixed.bad(format!("{fresh}\0 ada@x"), "control character"),
            21 => mixed.bad(format!("{fresh} {}", "x".repeat(65_536)), "64 KiB"),
            22 => mixed.bad(&fresh, "no comment"),
            23 => mixed.bad(format!("{fresh} @laptop"), "names no user"),
            24 => mixed.bad(format!("{fresh} Ada Lovelace"), "names no user"),
            25 => mixed.bad(format!("{fresh} eyJ@x"), "names no user"),
            26 => mixed.bad(format!("{fresh} -oProxyCommand@x"), "names no user"),
            27 => mixed.bad([fresh.as_bytes(), b" caf\xe9@x"].concat(), "names no user"),
            28 => mixed.bad(format!("expiry-time=\"20010101\" {fresh} ada@x"), "expired already"),
            29 => mixed.bad(format!("verify-required {fresh} ada@x"), "authenticator"),
            30 => mixed.bad(format!("{} eve@x", line(0)), "stands in line 3 already"),
            31 => mixed.bad("hello world", "neither a key nor"),
            32 => mixed.bad(format!("\u{feff}{fresh} ada@x"), "neither a key nor"),
            33 => mixed.nothing(&format!("   # {fresh} ada@x\n\n\t\n")),
            _ => {}
        }
    }
    let file = realm.home.write("authorized_keys", &mixed.text);
    let _ = import(&realm, &file, &[]).code(2).says("does not say whose the keys are");
    let by_comment = ["--user-from", "comment", "--json"];
    let done = import(&realm, &file, &by_comment).code(3).json();
    as_foreseen(&done, &mixed);
    assert_eq!(counts(&done)[0], mixed.good);
    assert_eq!(done["options_left_out"], 1250);
    let again = import(&realm, &file, &by_comment).code(3).json();
    assert_eq!(counts(&again)[..3], [0, 0, mixed.good]);

    let list =
        run(&mut verb(&realm.home, &realm.dir, &["key", "list", "--json", "--user", &keys::user(1)])).ok();
    let key = &list.json()[0];
    assert_eq!(key["from"], serde_json::json!(["10.0.0.0/8", "2001:db8::/32"]));
    assert_eq!(key["expires_at"], 7_229_174_400_u64);
    assert!(
        run(&mut verb(&realm.home, &realm.dir, &["user", "list"]))
            .ok()
            .stdout
            .lines()
            .all(|l| !l.contains("eve"))
    );
    sound(&realm.home, &realm.dir);
}

#[test]
fn the_report_has_each_refused_line_and_stdin_is_read_too() {
    let realm = Realm::init(&[]);
    let mut text = "user,key\n".to_owned();
    (0..40).for_each(|n| text.push_str(&format!("bad name,{}\n", line(n))));
    text.push_str(&format!("eve,{}\n", line(50)));
    let report = realm.home.join("refused.txt");
    let mut import = verb(&realm.home, &realm.dir, &["key", "import", "-"]);
    let done = run_with(import.arg("--report").arg(&report), text.as_bytes()).code(3);
    assert_eq!(done.stdout, "41 lines: 1 added, 0 changed, 0 unchanged, 40 refused\n");
    assert_eq!(done.stderr.lines().count(), 40, "no terminal, so all of them: {done}");
    let lines = std::fs::read_to_string(&report).expect("the report");
    assert!(lines.starts_with("line 2: \"bad name\" is not a user name\nline 3"), "{lines}");
    assert_eq!(lines.lines().count(), 40);
    for (text, said) in [
        ("", "is empty"),
        ("user,key,email\n", "is not a column"),
        ("user;key\n", "separated by commas"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "a private key"),
    ] {
        let _ = run_with(&mut verb(&realm.home, &realm.dir, &["key", "import", "-"]), text.as_bytes())
            .code(2)
            .says(said);
    }
    let file = realm.home.write("no.csv", format!("user,key\nbob,{}\n", line(60)));
    let _ = run(verb(&realm.home, &realm.dir, &["key", "import", "--user", "eve"]).arg(file))
        .code(2)
        .says("column user");
}

/// kill -9 at moments spread over the import: whole batches are in, and the same import run again does the rest.
#[test]
fn an_import_that_is_killed_is_completed_by_another() {
    const KEYS: u64 = 60_000;
    let realm = Realm::init(&[]);
    let mut text = Vec::new();
    keys::write(&mut text, keys::Form::Csv, 0, KEYS, KEYS).expect("keys");
    let file = realm.home.write("keys.csv", &text);
    let mut before = 0;
    for wait in [5, 40, 90, 200, 330, 470] {
        let running = Running::start(verb(&realm.home, &realm.dir, &["key", "import", "--json"]).arg(&file));
        std::thread::sleep(Duration::from_millis(wait));
        running.signal(Signal::KILL);
        drop(running);
        let shown = run(&mut verb(&realm.home, &realm.dir, &["realm", "show", "--json"])).ok().json();
        let keys = shown["keys"].as_u64().expect("a count");
        assert!(keys >= before, "nothing that was in is lost: {keys} after {before}");
        before = keys;
        sound(&realm.home, &realm.dir);
    }
    let done = import(&realm, &file, &["--json"]).ok().json();
    assert_eq!(counts(&done)[0] + counts(&done)[2], KEYS, "{done}");
    let shown = run(&mut verb(&realm.home, &realm.dir, &["realm", "show", "--json"])).ok().json();
    assert_eq!(shown["keys"], KEYS + 1);
    assert_eq!(counts(&import(&realm, &file, &["--json"]).ok().json()), [0, 0, KEYS, 0]);
    sound(&realm.home, &realm.dir);
}

/// As root the file is the caller's, the work is the account's, and sshd reads nothing but lines of ours.
#[test]
fn root_imports_for_an_account() {
    let Some(realm) = HostRealm::init(&[], "") else { return };
    let home = Home::new();
    let junk = Junk::new(&home);
    let ada = home.key("ada", ED25519);
    let taken = std::fs::read_to_string(public(&ada)).expect("ada's key");
    let _ = realm.enrol("ada", &ada, &[]);
    let mixed = csv(&junk, taken.trim_end());
    // Nobody but root can read the file, or write where the report goes.
    let file = home.write("team.csv", &mixed.text);
    let report = home.join("refused.txt");
    let mut import = realm.bare();
    import.args(["key", "import", &realm.name]).arg(&file).arg("--report").arg(&report);
    let done = run(&mut import).code(3);
    let said = format!("{} added, 0 changed, 0 unchanged, {} refused", mixed.good, mixed.refused.len());
    let _ = done.says(&said);
    let lines = std::fs::read_to_string(&report).expect("the report");
    assert_eq!(lines.lines().count(), mixed.refused.len(), "{lines}");
    assert!(lines.contains("line 13 of ada: the key is an RSA key of 1024 bits"), "{lines}");

    let text = std::fs::read_to_string(realm.file(".ssh/authorized_keys")).expect("authorized_keys");
    let ours: Vec<_> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(ours.len(), 5001);
    for line in ours {
        assert!(line.starts_with("restrict,command=\"") && line.matches("command=").count() == 1, "{line}");
        assert!(line.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{line}");
        assert!(!line.contains("HYPERLINK") && !line.contains("comment"), "no comment gets there: {line}");
        assert_eq!(line.split(' ').filter(|word| word.starts_with("AAAA")).count(), 1, "{line}");
    }
    let key = realm.login(&ada, &[]).ok().line();
    assert!(key.starts_with("ada."), "{key}");
    // By a pipe as well.
    let mut import = realm.bare();
    let done = run_with(import.args(["key", "import", &realm.name, "-", "--json"]), &mixed.text).code(3);
    assert_eq!(counts(&done.json())[..3], [0, 0, mixed.good]);
    let doctor = run(&mut realm.verb(&["doctor"]));
    assert!(!doctor.stdout.contains("has no line for key"), "{doctor}");
}
