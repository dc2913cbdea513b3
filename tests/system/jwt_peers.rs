//! PyJWT and jose verify our JWTs from our key set.

use seamless_tests::peers::Peer;
use seamless_tests::process::run;
use seamless_tests::serve::Served;
use serde_json::{Value, json};

/// Issuer, audience and the key set's URL, as a service would configure them: by discovery.
struct Known {
    issuer: String,
    audience: String,
    jwks: String,
}

fn known(served: &Served, token: &str) -> Known {
    let shown = served.verify(token).status(200).json();
    let issuer = shown["issuer"].as_str().unwrap_or_else(|| panic!("an issuer in {shown}")).to_owned();
    let audience = shown["audiences"][0]
        .as_str()
        .or_else(|| shown["audience"][0].as_str())
        .or_else(|| shown["audience"].as_str())
        .unwrap_or_else(|| panic!("an audience in {shown}"))
        .to_owned();
    let below: String = issuer.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
    let document =
        served.http.get(&format!("{below}/.well-known/openid-configuration"), &[]).status(200).json();
    assert_eq!(document["issuer"], issuer.as_str(), "discovery names the issuer of the tokens");
    let jwks = document["jwks_uri"].as_str().unwrap_or_default();
    let path: String = jwks.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
    Known { issuer, audience, jwks: format!("http://{}/{path}", served.http.address) }
}

fn both_verify(peer: &Peer) {
    let served = Served::start();
    let token = served.token();
    let known = known(&served, &token);
    let file = served.home.join("jwks.json");
    let path = known.jwks.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
    std::fs::write(&file, served.http.get(&path, &[]).status(200).body).expect("write the key set");

    let ask = |token: &str, jwks: &str, audience: &str, issuer: &str| json!({"token": token, "jwks": jwks, "audience": audience, "issuer": issuer});
    let local = file.display().to_string();
    let forged = token.replacen('.', ".e30", 1);
    let answers = peer.ask_all(&[
        ask(&token, &known.jwks, &known.audience, &known.issuer),
        ask(&token, &local, &known.audience, &known.issuer),
        ask(&token, &known.jwks, "https://elsewhere.example", &known.issuer),
        ask(&token, &known.jwks, &known.audience, "https://elsewhere.example"),
        ask(&forged, &local, &known.audience, &known.issuer),
    ]);
    let fingerprint = served.home.fingerprint(&served.key);
    for answer in &answers[..2] {
        assert!(answer["error"].is_null(), "{answer}");
        judge(answer, &known, &fingerprint);
    }
    for answer in &answers[2..] {
        assert!(answer["error"].is_string(), "a refusal was expected: {answer}");
    }
}

fn judge(answer: &Value, known: &Known, fingerprint: &str) {
    let header = answer["header"].as_object().expect("a header");
    let mut names: Vec<_> = header.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "kid", "typ"], "exactly these: {answer}");
    assert_eq!(header["typ"], "at+jwt", "{answer}");
    assert_eq!(header["alg"], "EdDSA", "{answer}");
    let claims = &answer["claims"];
    assert_eq!(claims["iss"], known.issuer.as_str(), "{answer}");
    assert_eq!(claims["client_id"], "ssh", "{answer}");
    assert_eq!(claims["ssh_fp"], fingerprint, "the proven key: {answer}");
    let (issued, expires) = (claims["iat"].as_u64().unwrap_or(0), claims["exp"].as_u64().unwrap_or(0));
    assert_eq!(expires - issued, 300, "{answer}");
}

#[test]
fn pyjwt_verifies() {
    let Some(peer) = Peer::pyjwt() else { return };
    both_verify(&peer);
}

#[test]
fn jose_verifies() {
    let Some(peer) = Peer::jose() else { return };
    both_verify(&peer);
}

#[test]
fn seamless_verify_reads_the_same_key_set() {
    let served = Served::start();
    let token = served.token();
    let known = known(&served, &token);
    let verify = |issuer: &str, audience: &str| {
        let mut command = served.home.seamless(["verify", "--json", "--jwks", &known.jwks]);
        command.args(["--issuer", issuer, "--audience", audience]).arg(&token);
        run(&mut command)
    };
    assert_eq!(verify(&known.issuer, &known.audience).ok().json()["verdict"], "ok");
    assert_eq!(
        verify("https://elsewhere.example", &known.audience).fails().json()["verdict"],
        "wrong_issuer"
    );
    assert_eq!(
        verify(&known.issuer, "https://elsewhere.example").fails().json()["verdict"],
        "wrong_audience"
    );
}

#[test]
fn every_algorithm_an_audience_may_have() {
    let (Some(pyjwt), Some(jose)) = (Peer::pyjwt(), Peer::jose()) else { return };
    let served = Served::start();
    let plain = served.token();
    let (home, dir, key) = served.interrupt();
    let file = dir.join("realm.toml");
    let mut text = std::fs::read_to_string(&file).expect("realm.toml");
    for algorithm in ["ES256", "RS256"] {
        text.push_str(&format!(
            "\n[audiences.\"https://{}.example\"]\nalgorithm = \"{algorithm}\"\n",
            algorithm.to_lowercase()
        ));
    }
    std::fs::write(&file, text).expect("write realm.toml");
    let served = Served::start_in(home, dir, key, &[]);
    let known = known(&served, &plain);
    for algorithm in ["ES256", "RS256"] {
        let audience = format!("https://{}.example", algorithm.to_lowercase());
        let _ = run(&mut served.verb(&["signing-key", "rotate", "--algorithm", algorithm, "--now"])).ok();
        let token = served.login(&["token", "-a", &audience]).ok().line();
        for peer in [&pyjwt, &jose] {
            let answer = peer.ask(
                &json!({"token": token, "jwks": known.jwks, "audience": audience, "issuer": known.issuer}),
            );
            assert_eq!(answer["header"]["alg"], algorithm, "{peer:?}: {answer}");
        }
    }
}
