//! The page that verifies a token, in headless Chromium, against the keys of a real realm.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use seamless_tests::process::run_with;
use seamless_tests::serve::Served;
use seamless_tests::skip::{find, skip};
use serde_json::{Value, json};

#[test]
fn the_page_says_who_and_why_not() {
    let (Some(node), Ok(npm)) = (find("node"), std::env::var("SEAMLESS_NPM")) else {
        return skip("no npm packages; `cargo xtask test` installs them where Node is");
    };
    let Some(chromium) = find("chromium") else {
        return skip("chromium is not installed; --system installs it");
    };
    let dist =
        std::env::var_os("SEAMLESS_DIST").map_or_else(|| seamless_tests::root().join("dist"), PathBuf::from);
    let page = dist.join("browser");
    if !page.join("index.html").is_file() {
        return skip("no page in dist/; `cargo xtask wasm` makes it");
    }
    let served = Served::start();
    let token = served.token();
    let identity = served.verify(&token).status(200).json();
    let (issuer, subject) = (text(&identity, "issuer"), text(&identity, "subject"));
    let question = json!({"token": token, "issuer": issuer, "audience": issuer});
    let mut command = Command::new(node);
    command
        .arg(seamless_tests::root().join("tests/peers/page_peer.mjs"))
        .arg(&page)
        .env("SEAMLESS_NPM", npm)
        .env("SEAMLESS_CHROMIUM", chromium);
    let done = run_with(&mut command, question.to_string().as_bytes()).ok();
    let steps: HashMap<String, Value> =
        done.json_lines().into_iter().map(|line| (text(&line, "step"), line)).collect();
    let step = |name: &str| steps.get(name).unwrap_or_else(|| panic!("{name} in {steps:#?}"));

    assert_eq!(step("order")["skip"], "skip", "the first stop leads to the form");
    assert_eq!(step("nothing")["focus"], "token", "what is missing has the focus");
    assert_eq!(step("nothing")["invalid"], json!(["token", "issuer", "audience"]));

    let good = step("good");
    assert_eq!((&good["kind"], &good["focus"]), (&json!("good"), &json!("verdict")), "{good}");
    assert!(text(good, "title").contains(&subject) && text(good, "live").starts_with("Good: "), "{good}");
    for fact in ["Valid until", "Still good for", issuer.as_str(), "SHA256:"] {
        assert!(text(good, "facts").contains(fact), "{fact}: {good}");
    }
    for (name, code) in [
        ("wrong audience", "wrong_audience"),
        ("forged", "bad_signature"),
        ("garbage", "bad_authorization|malformed"),
        ("scope", "missing_scope"),
        ("expired", "expired"),
        ("no keys", "keys_unavailable"),
    ] {
        let seen = step(name);
        assert_eq!((&seen["kind"], &seen["focus"]), (&json!("bad"), &json!("verdict")), "{seen}");
        let facts = text(seen, "facts");
        assert!(code.split('|').any(|code| facts.contains(code)), "{name}: {seen}");
        assert!(!text(seen, "why").is_empty() && !text(seen, "mend").is_empty(), "{name}: {seen}");
        assert!(text(seen, "live").starts_with("Refused: "), "{name}: {seen}");
        assert_eq!(seen["images"], 0, "what a token holds is text: {seen}");
    }
    assert_eq!(step("http")["invalid"], json!(["issuer"]), "keys come by https");

    let kept = step("kept");
    assert_eq!(kept["complaints"], json!([]), "the console is quiet");
    assert_eq!(kept["leaks"], json!([]), "the token is in no request");
    assert_eq!(kept["storage"], json!("[{},{},\"\"]"), "nothing is stored");
    assert!(!text(kept, "address").contains("eyJ"));
    for name in ["a11y", "phone"] {
        assert_eq!(step(name)["found"], json!([]), "{name}");
    }
    assert_eq!(step("phone")["overflow"], 0, "nothing is cut off on a phone");
    let cleared = step("cleared");
    assert_eq!(
        (&cleared["focus"], &cleared["hidden"], &cleared["token"]),
        (&json!("token"), &json!(true), &json!(""))
    );
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}
