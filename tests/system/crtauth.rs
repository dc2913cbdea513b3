//! Log-ins over HTTP against the originals of crtauth, in both directions, with a real ssh-agent that holds several keys.

use seamless_tests::crtauth::{Door, Originals, keys_folder, login};
use seamless_tests::home::{Home, RSA};
use seamless_tests::process::run;
use serde_json::Value;

/// A realm in a fleet with servers of the originals.
const SHARED: &str = "secret = \"shared.secret\"\nlowest_version = 0";

fn text<'a>(said: &'a Value, name: &str) -> &'a str {
    said[name].as_str().unwrap_or_default()
}

/// What the original's client says after a log-in here: `/verify` took its token, of this version, for ada's.
#[track_caller]
fn is_in(said: &Value, token: u8) {
    assert_eq!(said["status"], 200, "{said}");
    assert!(text(said, "body").contains("\"subject\":\"ada\""), "{said}");
    let begins = if token == 0 { "dgAAA" } else { "AXT" };
    assert!(text(said, "token").starts_with(begins), "a token of version {token}: {said}");
}

#[test]
fn the_original_clients_log_in_here() {
    let Some(originals) = Originals::find() else { return };
    for token in [0, 1] {
        let door = Door::start(&format!("{SHARED}\ntoken_version = {token}"));
        let ask = |words: &[&str]| originals.client(&door.served.home, &door.agent, words);
        let (url, query) = (door.url("/verify"), door.url(&format!("/verify?audience={}", door.issuer)));
        for version in ["0", "1"] {
            let said = ask(&["library", version, &url, "ada"]);
            is_in(&said, token);
            assert_eq!(said["challenge"].to_string(), version, "the version that was asked for: {said}");
            // A body of one packet, and one that no buffer between takes at once.
            for more in [&["GET", "0"][..], &["POST", "100"], &["PUT", "3000000"]] {
                let said = ask(&[&["plugin", version, &url, "ada"], more].concat());
                is_in(&said, token);
                assert_eq!(said["handshake"].to_string(), "[401,200,200]", "{more:?}: {said}");
            }
            // The plugin repeats the query of what it wants behind `/_auth`.
            is_in(&ask(&["plugin", version, &query, "ada"]), token);
        }
    }
}

#[test]
fn the_realms_own_secret_serves_them_as_well() {
    let Some(originals) = Originals::find() else { return };
    let door = Door::start("");
    let url = door.url("/verify");
    let ask = |words: &[&str]| originals.client(&door.served.home, &door.agent, words);
    is_in(&ask(&["library", "1", &url, "ada"]), 1);
    is_in(&ask(&["plugin", "1", &url, "ada"]), 1);
    // Version 0 has to be asked for in the settings.
    let said = ask(&["library", "0", &url, "ada"]);
    assert_eq!(said["message"], "400 version 0 is not spoken here\n", "{said}");
    assert_eq!(ask(&["plugin", "0", &url, "ada"])["error"], "HttpCrtAuthError");
}

#[test]
fn who_has_no_such_key_hears_what_a_stranger_hears() {
    let Some(originals) = Originals::find() else { return };
    let door = Door::start(SHARED);
    let mut heard = Vec::new();
    // Nobody, a user whose key these versions can't use, and one who is locked.
    let _ = run(&mut seamless_tests::realm::lock(&door.served.home, &door.served.dir, "ada")).ok();
    for user in ["nobody", "bob", "ada", "../ada", "*"] {
        for version in ["0", "1"] {
            let words = ["library", version, &door.url("/verify"), user];
            let said = originals.client(&door.served.home, &door.agent, &words);
            assert_eq!(said["error"], "SshAgentError", "{user}: {said}");
            heard.push(text(&said, "message").to_owned());
        }
    }
    heard.dedup();
    assert_eq!(heard.len(), 1, "{heard:?}");
}

#[test]
fn a_challenge_for_another_host_is_not_signed() {
    let Some(originals) = Originals::find() else { return };
    let door = Door::start("");
    let url = format!("http://127.0.0.1:{}/verify", door.served.http.address.port());
    let said = originals.client(&door.served.home, &door.agent, &["library", "1", &url, "ada"]);
    assert_eq!(said["error"], "InvalidInputException", "{said}");
    assert!(text(&said, "message").contains("MITM"), "{said}");

    let home = &door.served.home;
    let keys = keys_folder(home, "ada", &door.rsa);
    let elsewhere = originals.server(home, &keys, "elsewhere.example", "01");
    let refused = run(&mut login(home, &door.agent, &elsewhere.url(""), &["--user", "ada"])).fails();
    let _ = refused.says("elsewhere.example");
}

/// As a migration has it: nobody is enrolled anew.
#[test]
fn the_originals_keys_folder_is_a_source() {
    let Some(originals) = Originals::find() else { return };
    let home = Home::new();
    let grace = home.key("grace", RSA);
    let keys = keys_folder(&home, "grace", &grace);
    let source = format!("[[sources]]\nkind = \"directory\"\npath = \"{}\"", keys.display());
    let door = Door::start(&format!("{SHARED}\n{source}"));
    door.agent.add(&home, &grace);
    let ask = |words: &[&str]| originals.client(&door.served.home, &door.agent, words);
    for (user, way) in [("grace", "library"), ("grace", "plugin"), ("ada", "plugin")] {
        let said = ask(&[way, "1", &door.url("/verify"), user]);
        assert_eq!(said["status"], 200, "{user}: {said}");
        assert!(text(&said, "body").contains(&format!("\"subject\":\"{user}\"")), "{said}");
    }
    std::fs::remove_file(keys.join("grace_id_rsa.pub")).expect("remove the key");
    assert_eq!(ask(&["plugin", "1", &door.url("/verify"), "grace"])["error"], "SshAgentError");
}

/// Trap 4: the original's own server takes a name of 32 bytes, as its client packs it, for one of version 0.
#[test]
fn long_names_and_names_with_dots() {
    let Some(originals) = Originals::find() else { return };
    let door = Door::start(SHARED);
    let long = ["u".repeat(31), "u".repeat(32), "u".repeat(64), "john.doe".to_owned()];
    let url = door.url("/verify");
    for (number, name) in long.iter().enumerate() {
        let _ = door.enrol(name, &format!("long-{number}"), RSA);
        for version in ["0", "1"] {
            let words = ["library", version, &url, name];
            let said = originals.client(&door.served.home, &door.agent, &words);
            assert_eq!(said["status"], 200, "{name}, version {version}: {said}");
            assert!(text(&said, "body").contains(&format!("\"subject\":\"{name}\"")), "{said}");
        }
    }
}

/// Trap 2: the original's SingleKeySigner leaves zero bytes out in front, once in 256 signatures.
#[test]
fn a_signature_of_255_bytes_is_one() {
    let Some(originals) = Originals::find() else { return };
    let door = Door::start(SHARED);
    let secret = door.served.dir.join("shared.secret");
    let public = seamless_tests::home::public(&door.rsa);
    let words =
        ["short", &secret.display().to_string(), &public.display().to_string(), &door.url("/verify"), "ada"];
    let said = originals.client(&door.served.home, &door.agent, &words);
    assert!(said["shorter_by"].as_u64() >= Some(1), "{said}");
    is_in(&said, 1);
}

/// Any of them makes the challenge, any takes the response, any takes the token: a load balancer picks.
#[test]
fn a_fleet_of_both_with_one_secret() {
    let Some(originals) = Originals::find() else { return };
    let door = Door::start(&format!("{SHARED}\ntoken_version = 0"));
    let home = &door.served.home;
    let theirs = originals.server(home, &keys_folder(home, "ada", &door.rsa), "localhost", "01");
    let ask = |words: &[&str]| originals.client(home, &door.agent, words);
    is_in(&ask(&["relay", &theirs.url("/x"), &door.url("/verify"), "ada"]), 0);
    let said = ask(&["relay", &door.url("/verify"), &theirs.url("/x"), "ada"]);
    assert_eq!((&said["status"], text(&said, "body")), (&Value::from(200), "hello ada"), "{said}");

    let authorization = |said: &Value| format!("chap:{}", text(said, "token"));
    let of_ours = authorization(&ask(&["library", "1", &door.url("/verify"), "ada"]));
    let of_theirs = authorization(&said);
    let _ = theirs.http.get("/x", &[("Authorization", &of_ours)]).status(200);
    let _ = door.served.http.get("/verify", &[("Authorization", &of_theirs)]).status(200);

    // Strangers are the same strangers to each of them.
    let fingerprint = |http: &seamless_tests::http::Http| {
        let answer = http.get("/_auth", &[("X-CHAP", "request:AXGmbm9ib2R5")]).status(200);
        let challenge = answer.header("x-chap").unwrap_or_default().to_owned();
        challenge["challenge:".len()..].get(42..54).unwrap_or_default().to_owned()
    };
    let ours = fingerprint(&door.served.http);
    assert!(!ours.is_empty());
    assert_eq!(ours, fingerprint(&theirs.http));
}

#[test]
fn we_log_in_to_the_original_server() {
    let Some(originals) = Originals::find() else { return };
    let home = Home::new();
    let agent = seamless_tests::agent::Agent::start(&home);
    let rsa = home.key("ada", RSA);
    for key in [home.default_key(seamless_tests::home::ED25519), home.key("stranger", RSA), rsa.clone()] {
        agent.add(&home, &key);
    }
    let keys = keys_folder(&home, "ada", &rsa);
    let long = "u".repeat(32);
    let _ = keys_folder(&home, &long, &rsa);
    let into = |server: &seamless_tests::crtauth::OriginalServer, words: &[&str], user: &str| {
        let token = run(&mut login(&home, &agent, &server.url(""), words)).ok().line();
        let answer = server.http.get("/x", &[("Authorization", &format!("chap:{token}"))]).status(200);
        assert_eq!(answer.body, format!("hello {user}"));
    };
    for versions in ["01", "1"] {
        let server = originals.server(&home, &keys, "localhost", versions);
        into(&server, &["--user", "ada"], "ada");
        into(&server, &["--user", &long], &long);
        into(&server, &["--user", "ada", "--identity", &rsa.display().to_string()], "ada");
        let refused = run(&mut login(&home, &agent, &server.url(""), &["--user", "nobody"])).fails();
        let _ = refused.says("the server knows none of the ssh-agent's 3 keys as nobody's");
    }

    let old = originals.server(&home, &keys, "localhost", "0");
    let refused = run(&mut login(&home, &agent, &old.url(""), &["--user", "ada"])).fails();
    let _ = refused.says("--allow-v0");
    into(&old, &["--user", "ada", "--allow-v0"], "ada");
}
