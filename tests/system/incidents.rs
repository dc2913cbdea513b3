//! What went wrong in other programs of this field, tried on ours. docs/incidents.md walks through them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::{FlockOperation, flock};
use seamless_tests::attacker::{FAILURE, PK_OK, SUCCESS, Target, UNIMPLEMENTED, step, step_as};
use seamless_tests::home::{ED25519, Home, public};
use seamless_tests::http::free_port;
use seamless_tests::peers::Peer;
use seamless_tests::process::{Done, Running, run, run_with};
use seamless_tests::realm::lock;
use seamless_tests::serve::{RULES, Served};
use seamless_tests::skip::needs;
use seamless_tests::sshd::HostRealm;
use serde_json::{Value, json};

/// What a message of the server's was.
fn code(answer: &Value) -> u64 {
    answer["code"].as_u64().unwrap_or_default()
}

/// Whose the session is, by `whoami --json` in it.
#[track_caller]
fn speaks_for(answer: &Value) -> String {
    let text = answer["stdout"].as_str().unwrap_or_else(|| panic!("a session was expected: {answer}"));
    let who: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {answer}"));
    who["user"].as_str().unwrap_or_default().to_owned()
}

fn whoami() -> Value {
    json!({"exec": "whoami --json"})
}

/// Soft Serve's GHSA-pchf-49fh-w34r, and the misuse behind CVE-2024-45337: the name of a key that was only offered.
#[test]
fn the_name_is_that_of_the_key_that_signed() {
    let Some(attacker) = Peer::ssh_attacker() else { return };
    for target in Target::both() {
        let (ada, mallory) = (target.enrolled("ada"), target.enrolled("mallory"));
        let stranger = target.home().key("stranger", ED25519);
        // Before the proof, after an offer of the right one, between two, after a refused one, over and over.
        for offers in [
            vec![step("offer", &ada)],
            vec![step("offer", &mallory), step("offer", &ada)],
            vec![step("offer", &ada), step("offer", &stranger), step("offer", &ada)],
            vec![step("offer", &ada), json!({"method": "none"}), step("offer", &ada)],
        ] {
            let steps = [offers, vec![step("prove", &mallory), whoami()]].concat();
            let answers = target.attack(&attacker, &steps);
            assert_eq!(code(&answers[steps.len() - 2]), SUCCESS, "{target:?}: {answers:?}");
            assert_eq!(speaks_for(&answers[steps.len() - 1]), "mallory", "{target:?}: {steps:?}");
        }
        // One connection, one name: what is offered or proven after it changes nothing.
        let steps = [step("prove", &mallory), step("offer", &ada), whoami()];
        let answers = target.attack(&attacker, &steps);
        assert_eq!(code(&answers[0]), SUCCESS, "{answers:?}");
        if answers[2]["refused"].is_null() {
            assert_eq!(speaks_for(&answers[2]), "mallory", "{target:?}");
        }
        // Another's signature under a known key's name, alone and before the right one. After that sshd gives no
        // session at all: the options of the two keys' lines differ.
        let steps = [json!({"forge": ada, "by": mallory}), whoami(), step("prove", &mallory), whoami()];
        let answers = target.attack(&attacker, &steps);
        assert_eq!(code(&answers[0]), FAILURE, "{target:?}: {answers:?}");
        assert!(answers[1]["stdout"].is_null(), "{answers:?}");
        if answers[3]["refused"].is_null() {
            assert_eq!(speaks_for(&answers[3]), "mallory", "{target:?}");
        }
    }
}

/// Soft Serve's CVE-2023-43809: a key that is offered, not proven, and then a method that lets everybody in.
#[test]
fn no_other_method_follows_an_offered_key() {
    let Some(attacker) = Peer::ssh_attacker() else { return };
    for target in Target::both() {
        let ada = target.enrolled("ada");
        for follow in [
            vec![json!({"method": "keyboard-interactive"}), json!({"respond": 0}), json!({"respond": 1})],
            vec![json!({"method": "password"})],
            vec![
                json!({"method": "hostbased"}),
                json!({"method": "gssapi-with-mic"}),
                json!({"method": "none"}),
            ],
        ] {
            let steps = [vec![step("offer", &ada)], follow, vec![whoami()]].concat();
            let answers = target.attack(&attacker, &steps);
            assert_eq!(code(&answers[0]), PK_OK, "the key is known: {answers:?}");
            for answer in &answers[1..answers.len() - 1] {
                let passed_over = answer["closed"] == true || code(answer) == UNIMPLEMENTED;
                assert!(code(answer) == FAILURE || passed_over, "{target:?}: {steps:?}: {answers:?}");
                // Only one method is named as a way on.
                let methods = answer["body"].as_str().filter(|_| code(answer) == FAILURE);
                assert_eq!(methods.unwrap_or(PUBLICKEY), PUBLICKEY, "{target:?}: {answers:?}");
            }
            assert!(answers[steps.len() - 1]["stdout"].is_null(), "{target:?}: {steps:?}: {answers:?}");
        }
    }
}

/// The name-list `publickey` and "no partial success" (RFC 4252 section 5.1).
const PUBLICKEY: &str = "000000097075626c69636b657900";

/// libssh's CVE-2018-10933: a client that says itself that it has succeeded. Erlang/OTP's CVE-2025-32433: one that
/// does not ask and opens a channel.
#[test]
fn nothing_is_done_for_whoever_has_proven_nothing() {
    let Some(attacker) = Peer::ssh_attacker() else { return };
    for target in Target::both() {
        let ada = target.enrolled("ada");
        let before = target.audit().as_array().map_or(0, Vec::len);
        for steps in [
            vec![json!({"exec": "token"})],
            vec![step("offer", &ada), json!({"exec": "token"})],
            vec![json!({"send": SUCCESS_MESSAGE}), json!({"exec": "token"})],
            vec![step("offer", &ada), json!({"send": SUCCESS_MESSAGE}), json!({"exec": "token"})],
        ] {
            let answers = target.attack(&attacker, &steps);
            let last = &answers[steps.len() - 1];
            assert!(last["refused"].is_string(), "{target:?}: {steps:?}: {answers:?}");
        }
        let after = target.audit().as_array().map_or(0, Vec::len);
        assert_eq!(before, after, "nothing was minted and nobody logged in");
    }
}

/// SSH_MSG_USERAUTH_SUCCESS, which is the server's to send.
const SUCCESS_MESSAGE: &str = "34";

/// OpenSSH's CVE-2016-20012 and CVE-2018-15473: telling by an answer which names and keys are known. What the
/// answers cost is counted in issuer/src/doors/ssh/server/visitor.rs.
#[test]
fn refusals_tell_nothing_about_who_is_known() {
    let Some(attacker) = Peer::ssh_attacker() else { return };
    let target = Target::Embedded(Box::new(Served::start()));
    let Target::Embedded(served) = &target else { return };
    let (ada, stranger) = (target.enrolled("ada"), target.home().key("stranger", ED25519));
    let locked = target.enrolled("locked");
    let _ = run(&mut lock(&served.home, &served.dir, "locked")).ok();
    let far = served.home.key("far", ED25519);
    let _ = run(
        seamless_tests::realm::add(&served.home, &served.dir, &far, "far").args(["--from", "10.0.0.0/8"])
    )
    .ok();
    let records = target.audit();

    let realm = served.ssh.user.as_str();
    let mut shapes = BTreeSet::new();
    for user in [realm, "root", "ada", "locked", "nobody-here", ""] {
        for key in [&stranger, &far, &ada, &locked] {
            if user == realm && (key == &ada || key == &locked) {
                continue;
            }
            let answers = target
                .attack(&attacker, &[step_as("offer", key, user), json!({"method": "none", "user": user})]);
            shapes.insert(format!("{answers:?}"));
        }
    }
    assert_eq!(shapes.len(), 1, "one answer to all: {shapes:#?}");
    let shape = shapes.pop_first().unwrap_or_default();
    assert_eq!(shape.matches(PUBLICKEY).count(), 2, "{shape}");

    // A request that can't be read ends the connection, whoever it is about.
    let mut ends = BTreeSet::new();
    for (user, key) in [(realm, &ada), (realm, &stranger), ("root", &ada), ("nobody-here", &stranger)] {
        ends.insert(format!("{:?}", target.attack(&attacker, &[step_as("cut", key, user)])));
    }
    assert_eq!(ends.len(), 1, "{ends:#?}");

    // To a known key under the right name the answer repeats the key and names nobody, be its user locked or not.
    for key in [&ada, &locked] {
        let line = fs::read_to_string(public(key)).expect("a public key");
        let blob = base64::engine::general_purpose::STANDARD
            .decode(line.split(' ').nth(1).unwrap_or_default())
            .expect("base64");
        let echo = [string(b"ssh-ed25519"), string(&blob)].concat();
        let hex = echo.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        assert_eq!(target.attack(&attacker, &[step("offer", key)]), [json!({"code": PK_OK, "body": hex})]);
    }
    assert_eq!(target.audit(), records, "what was not proven is not recorded");
}

/// Terrapin, CVE-2023-48795: messages slipped in before the keys are agreed on shift the numbers, and later ones can
/// be cut away unseen.
#[test]
fn key_exchange_is_strict() {
    let served = Served::start();
    let lists = Handshake::with(&served).offered;
    assert!(lists[0].contains(&"kex-strict-s-v00@openssh.com".to_owned()), "{lists:?}");
    for name in lists.iter().flatten() {
        let old = [
            "-cbc",
            "sha1",
            "group1-",
            "group14-",
            "group-exchange",
            "3des",
            "arcfour",
            "ssh-rsa",
            "ssh-dss",
        ];
        assert!(!old.iter().any(|part| name.contains(part)), "{name} is offered: {lists:?}");
    }
    for mac in lists[4].iter().chain(&lists[5]) {
        assert!(mac.contains("-etm@"), "{mac} is offered");
    }

    const IGNORE: &[u8] = &[2, 0, 0, 0, 0];
    const DEBUG: &[u8] = &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let control = Handshake::with(&served).goes_on(&[]);
    assert!(control, "the control: without an extra message keys are exchanged");
    for extra in [IGNORE, DEBUG] {
        let went_on = Handshake::with(&served).goes_on(&[extra]);
        assert!(!went_on, "message {} before the keys are agreed on ends the connection", extra[0]);
    }
}

/// A connection in plain text, before the keys are agreed on.
struct Handshake {
    stream: TcpStream,
    /// The name-lists of the server's SSH_MSG_KEXINIT (RFC 4253 section 7.1).
    offered: Vec<Vec<String>>,
}

impl Handshake {
    fn with(served: &Served) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", served.ssh.port)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(3))).expect("set a time-out");
        stream.write_all(b"SSH-2.0-attack\r\n").expect("send a version");
        let mut version = Vec::new();
        while version.last() != Some(&b'\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a version");
            version.push(byte[0]);
        }
        let mut handshake = Self { stream, offered: Vec::new() };
        let message = handshake.read().expect("SSH_MSG_KEXINIT");
        assert_eq!(message[0], 20, "SSH_MSG_KEXINIT");
        let mut rest = &message[17..];
        for _ in 0..10 {
            let (length, after) = rest.split_first_chunk::<4>().expect("a name-list");
            let (list, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            let list = String::from_utf8_lossy(list);
            handshake.offered.push(list.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect());
            rest = after;
        }
        handshake
    }

    /// Agrees to be strict, sends these messages where none may be, and goes on. Whether the server does, too.
    fn goes_on(mut self, extra: &[&[u8]]) -> bool {
        let mut init = vec![20];
        init.extend([7; 16]);
        for list in [
            "curve25519-sha256,kex-strict-c-v00@openssh.com",
            "ssh-ed25519",
            "chacha20-poly1305@openssh.com",
            "chacha20-poly1305@openssh.com",
            "hmac-sha2-256-etm@openssh.com",
            "hmac-sha2-256-etm@openssh.com",
            "none",
            "none",
            "",
            "",
        ] {
            init.extend(string(list.as_bytes()));
        }
        init.extend([0; 5]);
        // The base point is as good a public key as any.
        let mut point = [0; 32];
        point[0] = 9;
        let exchange = [vec![30], string(&point)].concat();
        let messages = extra.iter().map(|message| message.to_vec()).chain([init, exchange]);
        for message in messages {
            if self.write(&message).is_err() {
                return false;
            }
        }
        // 31 is SSH_MSG_KEX_ECDH_REPLY.
        self.read().is_some_and(|message| message[0] == 31)
    }

    fn write(&mut self, payload: &[u8]) -> std::io::Result<()> {
        let mut padding = 8 - (payload.len() + 5) % 8;
        if padding < 4 {
            padding += 8;
        }
        let length = u32::try_from(payload.len() + padding + 1).expect("a short message");
        let head = [&length.to_be_bytes()[..], &[u8::try_from(padding).expect("little")]].concat();
        self.stream.write_all(&[&head, payload, &vec![0; padding]].concat())
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let mut body = vec![0; length.checked_sub(1).filter(|length| *length < 1 << 16)?];
        self.stream.read_exact(&mut body).ok()?;
        body.truncate(body.len().checked_sub(usize::from(head[4]))?);
        Some(body)
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes(), bytes].concat()
}

/// opkssh's GHSA-56wx-66px-9j66: one reading of a token is checked, another is believed.
#[test]
fn only_what_was_signed_is_read() {
    let served = Served::start();
    let token = served.token();
    let parts: Vec<&str> = token.split('.').collect();
    let [h, p, s] = parts[..] else { panic!("three parts: {token}") };
    let claims = URL_SAFE_NO_PAD.decode(p).expect("claims");
    let mut forged: Value = serde_json::from_slice(&claims).expect("claims are JSON");
    forged["sub"] = "somebody-else".into();
    let f = URL_SAFE_NO_PAD.encode(forged.to_string());
    let crafted = [
        // Other parts, more parts, parts in another order.
        format!("{h}.{f}.{s}"),
        format!("{h}.{p}.{s}.{f}"),
        format!("{h}.{f}.{s}.{p}"),
        format!("{h}.{p}.{f}.{s}"),
        format!("{h}.{p}.{s}.{h}.{f}.{s}"),
        format!("{h}.{p}.{s}:{h}.{f}.{s}"),
        format!("{h}:{f}:{s}"),
        format!("{h}.{p}.{s}~{f}"),
        format!("{h}.{p}.{s}."),
        format!(".{h}.{p}.{s}"),
        format!("{h}..{p}.{s}"),
        format!("{h}..{s}"),
        format!("{h}.{p}."),
        format!("{h}.{p}"),
        // What a lenient reader of base64url passes over.
        format!("{h}.{p}=.{s}"),
        format!("{h}.{p}.{s}="),
        format!("{h}.{p}.{s}=="),
        format!("{h}. {p}.{s}"),
        format!("{h} .{p}.{s}"),
        format!("{h}.{p} {f}.{s}"),
        format!("{h}.{p}.{s} {f}"),
        format!("{h}.{p}\t.{s}"),
        format!("{h}.{p}\u{b}.{s}"),
        format!("{h}.{p}%2e{s}"),
        format!("{h}.{p}\u{ff0e}{s}"),
        // JSON serialisation (RFC 7515 section 7.2), general and flattened.
        json!({"protected": h, "payload": p, "signature": s}).to_string(),
        json!({"payload": f, "signatures": [{"protected": h, "signature": s}]}).to_string(),
        json!({"payload": p, "payload2": f, "protected": h, "signature": s}).to_string(),
    ];
    let input = crafted.iter().map(|token| format!("{token}\n")).collect::<String>() + &token + "\n";
    let verdicts = run_with(&mut served.verb(&["verify", "--json"]), input.as_bytes()).code(1).json_lines();
    assert_eq!(verdicts.len(), crafted.len() + 1, "a verdict for each: {verdicts:?}");
    for (token, verdict) in crafted.iter().zip(&verdicts) {
        assert_ne!(verdict["verdict"], "ok", "{token}");
        assert!(verdict["subject"].is_null(), "{token}: {verdict}");
    }
    assert_eq!(verdicts.last().map(|v| &v["verdict"]), Some(&"ok".into()), "the control");

    let _ = served.verify(&token).status(200);
    for crafted in &crafted {
        let answer = served.verify(crafted);
        assert!(matches!(answer.status, 400 | 401), "{crafted}: {answer:#?}");
        assert_eq!(answer.header("x-seamless-user").unwrap_or_default(), "", "{crafted}");
    }
}

/// opkssh #588 and #597: text that somebody chose, inside a line that sshd obeys.
#[test]
fn no_text_of_anybodys_choice_gets_into_a_key_line() {
    for mode in ["file", "command"] {
        let Some(realm) = HostRealm::init(&["--keys", mode], "") else { return };
        let key = realm.home.key("ada", ED25519);
        let line = fs::read_to_string(public(&key)).expect("a public key");
        let blob = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let bare = format!("ssh-ed25519 {blob}");
        let add = |user: &str, text: &str, more: &[&str]| {
            let mut add = realm.bare();
            run_with(add.args(["add", &realm.name, "-", "--user", user]).args(more), text.as_bytes())
        };
        for user in [
            "ada\" command=\"id",
            "ada\",command=\"id",
            "ada\ncommand=\"id\" ssh-ed25519 AAAA",
            "ada --dir /tmp",
            "ada,root",
            "ada\\",
            "ada\u{2028}",
            "$(id)",
            "%u",
            "-ada",
            "",
        ] {
            let _ = add(user, &bare, &[]).fails();
        }
        for (text, more) in [
            (format!("{bare}\ncommand=\"id\" {bare}\n"), &[][..]),
            (format!("command=\"id\" {bare}\n"), &[]),
            (format!("cert-authority,principals=\"{}\" {bare}\n", realm.name), &[]),
            (format!("ssh-ed25519,command=\"id\" {blob}\n"), &[]),
            (bare.clone(), &["--from", "10.0.0.0/8\",command=\"id"]),
            (bare.clone(), &["--from", "*"]),
            (bare.clone(), &["--expires", "20300101\",command=\"id"]),
        ] {
            let _ = add("eve", &text, more).fails();
        }
        // A comment is anybody's text. It is kept for people to read, and stays out of the line.
        let marked = "MARKED\",command=\"id\" no-pty\rMARKED";
        let _ = add("ada", &format!("{bare} {marked}\n"), &["--from", "127.0.0.1", "--expires", "9d"]).ok();
        let csv = format!("user,key\nbob\"\"x,{bare}\n\"b,ob\",{bare}\n\"b\nob\",{bare}\n");
        let file = realm.home.join("import.csv");
        fs::write(&file, csv).expect("write a file");
        let _ = run(realm.bare().args(["key", "import", &realm.name]).arg(&file)).fails();

        let lines = if mode == "file" {
            fs::read_to_string(realm.file(".ssh/authorized_keys")).expect("read authorized_keys")
        } else {
            let mut command = realm.bare();
            let command = command.args(["authorized-keys", "--dir"]).arg(realm.dir());
            run(command.args(["ssh-ed25519", &blob])).ok().stdout
        };
        let ours: Vec<_> = lines.lines().filter(|line| !line.starts_with('#')).collect();
        let [one] = ours[..] else { panic!("one key, one line: {lines}") };
        assert!(!lines.contains("MARKED"), "{lines}");
        let fingerprint = realm.home.fingerprint(&key);
        let start = format!("forced --dir {} --user ada --key {fingerprint}\"", realm.dir().display());
        let (before, after) = one.split_once(&start).unwrap_or_else(|| panic!("{start} in {one}"));
        assert!(before.starts_with("restrict,command=\"/") && before.matches('"').count() == 1, "{one}");
        let (options, rest) = after.split_once(" ssh-ed25519 ").unwrap_or_else(|| panic!("{one}"));
        assert_eq!(rest, blob, "nothing follows the key");
        assert!(
            options.bytes().all(|b| b.is_ascii_alphanumeric() || b",=\"./-".contains(&b))
                && options.starts_with(",expiry-time=\"")
                && options.ends_with(",from=\"127.0.0.1\""),
            "{one}"
        );
        let token = realm.login(&key, &[]).ok().line();
        assert!(token.starts_with("ada."), "and sshd takes it: {token}");
    }
}

/// Ory Oathkeeper #743: an answer that is remembered for the token, whatever was asked about it.
#[test]
fn a_verdict_is_remembered_for_nobody_elses_question() {
    let served = Served::start();
    let user = served.verify(&served.token()).json()["subject"].as_str().unwrap_or_default().to_owned();
    let _ = run(&mut served.verb(&["user", "scopes", &user, "--add", "read"])).ok();
    let token = served.token_json(&["-s", "read"])["access_token"].as_str().unwrap_or_default().to_owned();
    let header = format!("Bearer {token}");
    // Often enough that every thread of the server has met the token.
    for _ in 0..12 {
        for (query, status) in [
            ("", 200),
            ("?scope=write", 403),
            ("?scope=read", 200),
            ("?scope=read&scope=write", 403),
            ("?audience=https%3A%2F%2Felsewhere.example", 401),
            ("", 200),
        ] {
            let answer = served.http.get(&format!("/verify{query}"), &[("Authorization", &header)]);
            assert_eq!(answer.status, status, "{query}: {answer:#?}");
        }
    }

    let served = Served::by_rules(RULES);
    let header = format!("Bearer {}", served.token());
    for _ in 0..12 {
        for (path, status) in [("/x", 200), ("/admin", 403), ("/x", 200), ("/admin/x", 403), ("/open", 200)] {
            let asked = [
                ("Authorization", header.as_str()),
                ("X-Forwarded-Method", "GET"),
                ("X-Forwarded-Host", "a.example"),
                ("X-Forwarded-Uri", path),
            ];
            let answer = served.http.get("/verify", &asked);
            assert_eq!(answer.status, status, "{path}: {answer:#?}");
        }
    }
}

/// What must be seen nowhere: tokens, what they are signed with, and whatever stood in a credential's place.
struct Marks(Vec<String>);

impl Marks {
    /// The secrets of a realm as they may be written: the shared one, and each line of a private key's base64.
    fn of(dir: &Path) -> Self {
        let mut marks = Vec::new();
        for entry in fs::read_dir(dir.join("signing")).expect("signing/").flatten() {
            let text = fs::read_to_string(entry.path()).expect("a private key or secret");
            marks.extend(text.lines().filter(|line| !line.starts_with("--")).map(str::to_owned));
        }
        let host_key = fs::read_to_string(dir.join("ssh_host_ed25519_key")).unwrap_or_default();
        // The first lines of OpenSSH's form are the same for every key.
        marks.extend(host_key.lines().skip(3).filter(|line| !line.starts_with("--")).map(str::to_owned));
        assert!(marks.len() >= 2, "there are secrets to look for");
        Self(marks)
    }

    fn add(&mut self, token: &str) {
        self.0.push(token.to_owned());
        // What the token says may be shown; that with which it is used may not.
        self.0.extend(token.rsplit('.').next().filter(|part| part.len() > 12).map(str::to_owned));
    }

    #[track_caller]
    fn not_in(&self, what: &str, text: &[u8]) {
        for mark in self.0.iter().filter(|mark| mark.len() > 7) {
            let found = text.windows(mark.len()).any(|window| window == mark.as_bytes());
            assert!(!found, "{mark} is in {what}:\n{}", String::from_utf8_lossy(text));
        }
    }

    #[track_caller]
    fn not_shown(&self, done: &Done) {
        self.not_in(&done.command, done.stdout.as_bytes());
        self.not_in(&done.command, done.stderr.as_bytes());
    }
}

/// A header in the logs, as in kubernetes' CVE-2019-11250 and many others: everything is run, with all that can be
/// told about it, and then looked through.
#[test]
fn no_token_and_no_secret_is_written_anywhere() {
    let home = Home::new();
    let key = home.default_key(ED25519);
    let dir = home.join("demo");
    let secret = home.write("secret", "MARKED-shared-secret-0123456789\n");
    let _ = run(home.seamless(["init", "--dir"]).arg(&dir).args(["--secret-file"]).arg(&secret)).ok();
    let _ = run(&mut seamless_tests::realm::add(&home, &dir, &key, "ada")).ok();
    let served = Served::start_with(home, dir, key, |serve| {
        serve.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace")
    });
    let mut marks = Marks::of(&served.dir);

    // Tokens by every door.
    let jwt = served.login(&["token", "--format", "jwt"]).ok().line();
    let seamless = served.login(&["token", "--format", "seamless"]).ok().line();
    let json =
        served.token_json(&["--format", "jwt"])["access_token"].as_str().unwrap_or_default().to_owned();
    let cli = run(&mut served.verb(&["token", "--user", "ada", "--format", "jwt"])).ok().line();
    let mut tampered = jwt.clone();
    let flipped = if tampered.pop() == Some('A') { 'E' } else { 'A' };
    tampered.push(flipped);
    for token in [&jwt, &seamless, &json, &cli, &tampered] {
        marks.add(token);
    }
    marks.add("MARKED-credential");
    marks.add("ada.MARKEDMARKED.MARKEDMARKEDMARKED");

    // In every place of a request where somebody may put one.
    let bearer = format!("Bearer {jwt}");
    let twice = format!("Bearer {jwt}, Bearer {tampered}");
    for (path, headers) in [
        ("/verify".to_owned(), vec![("Authorization", bearer.as_str())]),
        ("/verify".to_owned(), vec![("Authorization", "Bearer MARKED-credential")]),
        ("/verify".to_owned(), vec![("Authorization", "Basic MARKED-credential")]),
        ("/verify".to_owned(), vec![("Authorization", "seamless ada.MARKEDMARKED.MARKEDMARKEDMARKED")]),
        ("/verify".to_owned(), vec![("Authorization", &twice)]),
        ("/verify".to_owned(), vec![("Authorization", &bearer), ("Authorization", &bearer)]),
        ("/verify".to_owned(), vec![("Cookie", "token=MARKED-credential")]),
        ("/verify".to_owned(), vec![("X-Forwarded-Uri", "/x?token=MARKED-credential")]),
        ("/verify?scope=root".to_owned(), vec![("Authorization", &bearer)]),
        (format!("/verify?access_token={jwt}"), vec![]),
        (format!("/verify?audience={tampered}"), vec![("Authorization", &bearer)]),
        (format!("/verify/{jwt}"), vec![]),
        (format!("/{tampered}"), vec![]),
        (format!("/metrics?token={jwt}"), vec![]),
        ("/metrics".to_owned(), vec![("Authorization", &bearer)]),
        ("/healthz".to_owned(), vec![("Authorization", &bearer)]),
    ] {
        let mut forged = headers.clone();
        forged.push(("Accept", "application/json"));
        for headers in [headers, forged] {
            let answer = served.http.get(&path, &headers);
            marks.not_in(&format!("the answer to {path}"), format!("{answer:?}").as_bytes());
        }
    }
    let mut stream = TcpStream::connect(served.http.address).expect("connect");
    let _ = stream.write_all(
        format!("GET /verify HTTP/1.1\r\nHost: \u{1}\r\nAuthorization: {bearer}\r\n\r\n").as_bytes(),
    );
    let _ = stream.write_all(b"Authorization: Bearer MARKED-credential\r\n\0\0\r\n\r\n");
    drop(stream);

    // Every verb that takes one, on its good and its bad days.
    for token in [&jwt, &seamless, &tampered, &"MARKED-credential".to_owned(), &format!("{jwt}.{jwt}")] {
        for words in [
            &["verify"][..],
            &["verify", "--json"],
            &["verify", "--audience", "https://elsewhere.example"],
            &["explain"],
            &["explain", "--json"],
        ] {
            let mut command = served.verb(words);
            command.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
            marks.not_shown(&run_with(&mut command, format!("{token}\n").as_bytes()));
        }
        let mut inspect = served.home.seamless(["token", "inspect", "--json"]);
        marks.not_shown(&run_with(&mut inspect, format!("{token}\n").as_bytes()));
    }
    for words in [
        &["realm", "show"][..],
        &["doctor"],
        &["signing-key", "list", "--json"],
        &["signing-key", "rotate"],
        &["user", "list", "--json"],
        &["key", "list", "--json"],
        &["audit", "show", "--json"],
        &["audit", "verify"],
    ] {
        marks.not_shown(&run(&mut served.verb(words)));
    }
    for words in [&["id"][..], &["whoami"], &["keys", "--json"], &["token", "-t", "90d"]] {
        marks.not_shown(&served.login(words));
    }
    let metrics = served.http.get("/metrics", &[]).status(200);
    marks.not_in("/metrics", metrics.body.as_bytes());

    // What runs shows nothing to whoever lists processes.
    for file in ["cmdline", "environ"] {
        let path = format!("/proc/{}/{file}", served.id());
        if let Ok(bytes) = fs::read(&path) {
            marks.not_in(&path, &bytes);
        }
    }
    marks.not_in("what `serve` printed", served.transcript().as_bytes());
    let mut looked_at = 0;
    let mut folders = vec![served.dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("read a folder").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("signing") {
                folders.push(path);
            } else if path.is_file() && !path.ends_with("ssh_host_ed25519_key") {
                marks.not_in(&path.display().to_string(), &fs::read(&path).expect("read a file"));
                looked_at += 1;
            }
        }
    }
    assert!(looked_at >= 4, "settings, database, audit log, known_hosts");
}

/// The same on a host: root hands secrets and tokens on to the realm's account, and sshd logs all that it can.
#[test]
fn no_process_on_a_host_shows_a_token_or_a_secret() {
    let Some(mut realm) = HostRealm::without_init("LogLevel DEBUG3") else { return };
    let secret = realm.home.write("secret", "MARKED-shared-secret-0123456789\n");
    let stop = Arc::new(AtomicBool::new(false));
    let watching = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            // Only what is started meanwhile, and that as often as can be: some of it lives for a millisecond.
            let processes =
                || fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
            let before: BTreeSet<PathBuf> = processes().collect();
            let mut seen = BTreeSet::new();
            while !stop.load(Ordering::Acquire) {
                for process in processes().filter(|path| !before.contains(path)) {
                    for file in ["cmdline", "environ"] {
                        seen.extend(fs::read(process.join(file)).ok());
                    }
                }
            }
            seen
        }
    });
    let _ = realm.reloading(&["init", "--secret-file", &secret.display().to_string()]).ok();
    let key = realm.home.key("ada", ED25519);
    let _ = realm.enrol("ada", &key, &[]);
    let mut marks = Marks::of(&realm.dir());
    let mut verdicts = Vec::new();
    for format in ["seamless", "jwt"] {
        let token = realm.login(&key, &["token", "--format", format]).ok().line();
        verdicts.push(run_with(
            &mut realm.verb(&["verify", "--json", "--realm"]),
            format!("{token}\n").as_bytes(),
        ));
        verdicts.push(run_with(&mut realm.verb(&["explain", "--realm"]), format!("{token}\n").as_bytes()));
        marks.add(&token);
    }
    let _ = realm.login(&key, &["token", "-t", "90d", "--format", "jwt"]).code(3);
    verdicts.push(run(&mut realm.verb(&["doctor"])));
    verdicts.push(run(realm.verb(&["audit", "show"]).arg("--json")));
    stop.store(true, Ordering::Release);
    let seen = watching.join().expect("what was seen");
    assert!(
        seen.iter().any(|bytes| bytes.windows(6).any(|w| w == b"forced")),
        "the control: forced commands were among what was seen"
    );
    for bytes in &seen {
        marks.not_in("a process's arguments or environment", bytes);
    }
    for done in &verdicts {
        marks.not_shown(done);
    }
    marks.not_in("sshd's log", realm.sshd.log().as_bytes());
}

/// What /proc says of a process's ids.
#[derive(Debug)]
struct Ids {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl Ids {
    fn of(process: &Path) -> Option<Self> {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let numbers = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            Some(line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect())
        };
        Some(Self { uids: numbers("Uid:")?, gids: numbers("Gid:")?, groups: numbers("Groups:")? })
    }

    /// The account's and nothing else's, real, effective, saved and for files alike.
    #[track_caller]
    fn are_only(&self, uid: u32, gid: u32, what: &str) {
        assert_eq!(self.uids, [uid].into(), "{what}: {self:?}");
        assert_eq!(self.gids, [gid].into(), "{what}: {self:?}");
        assert!(self.groups.iter().all(|group| *group == gid), "{what}: {self:?}");
    }
}

/// The users crate's CVE-2025-5791 put root's group into every list of groups. Nothing here decides by such a list;
/// and what becomes a realm's account keeps none of root's groups, however many root had.
#[test]
fn nothing_keeps_roots_groups() {
    let Some(setpriv) = needs("setpriv") else { return };
    let Some(realm) = HostRealm::init(&[], "") else { return };
    let key = realm.home.key("bob", ED25519);
    let _ = realm.enrol("bob", &key, &[]);
    let _ = realm.enrol("ada", &realm.home.key("ada", ED25519), &[]);
    let (uid, gid) = (realm.uid(), fs::metadata(realm.dir()).expect("the realm").gid());
    let program = PathBuf::from(realm.bare().get_program());
    let with_groups = |words: &[&str]| {
        let mut command = Command::new(&setpriv);
        command.args(["--groups", "0,4,24,27"]).arg(&program).args(words).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("HOME", "/root").current_dir("/");
        command
    };
    let children = |command: &mut Command| {
        let running = Running::start(command);
        (running.id(), running)
    };

    // `serve`, which becomes the account for good.
    let at = format!("127.0.0.1:{}", free_port());
    let (id, mut serve) = children(&mut with_groups(&["serve", &realm.name, "--no-ssh", "--http", &at]));
    serve.wait_for("the door", |_| TcpStream::connect(&at).ok());
    Ids::of(Path::new(&format!("/proc/{id}"))).expect("its ids").are_only(uid, gid, "serve");
    drop(serve);

    // A verb of root's, and a log-in through sshd: both wait for the audit log, and can be looked at.
    let audit = fs::File::open(realm.file("audit")).expect("the audit log");
    for what in ["a verb", "a forced command"] {
        flock(&audit, FlockOperation::LockExclusive).expect("hold the audit log");
        let mut running = match what {
            "a verb" => children(&mut with_groups(&["user", "lock", &realm.name, "ada", "--yes"])).1,
            _ => Running::start(&mut realm.server().ssh(&realm.home, &key, &[])),
        };
        let found = working_as(uid, &program);
        flock(&audit, FlockOperation::Unlock).expect("let go of the audit log");
        running.wait(Duration::from_secs(10));
        found.unwrap_or_else(|| panic!("{what} was not to be seen")).are_only(uid, gid, what);
    }

    let locked = fs::read_to_string(seamless_tests::root().join("Cargo.lock")).expect("Cargo.lock");
    assert!(!locked.contains("\nname = \"users\"\n"), "the crate that has the fault is not linked");
}

/// The ids of a process of this program that runs as the account by now. It waits for the lock for two seconds.
fn working_as(uid: u32, program: &Path) -> Option<Ids> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let ours = fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe == program);
            let ids = Ids::of(&process.path()).filter(|_| ours);
            if let Some(ids) = ids.filter(|ids| ids.uids.contains(&uid)) {
                return Some(ids);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// A key that was taken out of a realm does not come back because it still lies in somebody's home.
#[test]
fn a_restart_enrols_nothing_that_was_removed() {
    let served = Served::start();
    let fingerprint = served.home.fingerprint(&served.key);
    let _ = run(&mut served.verb(&["key", "remove", &fingerprint, "--yes"])).ok();
    let (home, dir, key) = served.interrupt();
    let served = Served::start_in(home, dir, key, &[]);
    let _ = served.login(&[]).fails().says("Permission denied (publickey)");
}

/// A page that names a test which is gone promises what nobody checks.
#[test]
fn every_test_that_the_pages_name_is_there() {
    let root = seamless_tests::root();
    for (page, least) in [("docs/incidents.md", 40), ("SECURITY.md", 30)] {
        let text = fs::read_to_string(root.join(page)).expect(page);
        let mut named = 0;
        let mut file: Option<PathBuf> = None;
        for (at, line) in text.lines().enumerate() {
            // A name belongs to the file before it, in the same paragraph or row.
            if line.is_empty() || line.starts_with('|') {
                file = None;
            }
            for word in line.split('`').skip(1).step_by(2) {
                let place = format!("{page}:{}: `{word}`", at + 1);
                let is_place = [
                    "tests/",
                    "issuer/",
                    "crtauth/",
                    "client/",
                    "token/",
                    "tower/",
                    "verifier-wasm/",
                    "fuzz/",
                ]
                .iter()
                .any(|folder| word.starts_with(folder));
                if is_place {
                    assert!(root.join(word).exists(), "{place} is not there");
                    file = Some(root.join(word));
                } else if word.ends_with(".rs") && !word.contains('/') {
                    // Beside the one before, or a system test.
                    let beside = file.as_deref().and_then(Path::parent).map(|folder| folder.join(word));
                    let system = root.join("tests/system").join(word);
                    file = beside.into_iter().chain([system]).find(|path| path.is_file());
                    assert!(file.is_some(), "{place} is not there");
                } else if is_test_name(word)
                    && let Some(path) = file.as_deref().filter(|path| path.is_file())
                {
                    let known = fs::read_to_string(path).expect("a file that the page names");
                    let names = [format!("fn {word}("), format!("\"name\": \"{word}\"")];
                    assert!(names.iter().any(|n| known.contains(n)), "{place} is not in {}", path.display());
                    named += 1;
                }
            }
        }
        assert!(named >= least, "{page} names tests: {named}");
    }
}

/// Names of tests have several words; those of vectors have hyphens.
fn is_test_name(word: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    word.bytes().all(good) && word.matches(['_', '-']).count() >= 2
}
