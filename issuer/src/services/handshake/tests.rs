//! Handshakes against a realm on a clock that stands still.

use std::sync::atomic::Ordering;

use crtauth::client::{self, Expect};
use crtauth::{Version, Wish};
use ed25519_dalek::Signer as _;
use serde_json::Value;

use super::*;
use crate::backends::audit::Filter;
use crate::config::KeysBy;
use crate::names::UserName;
use crate::public_key::PublicKey;
use crate::services::fixture::{NOW, Watched, realm};
use crate::services::keys::{self, Conditions};
use crate::services::{trust, users};

/// A key of the crtauth vectors, whose private half signed them.
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDK0wNhgGlFZfBoRBS+M8wGoyOOVunYYjeaoRXKFKfhx288ZIo87WMfN6i5KnUTH3A/mYlVnK4bhchS6dUFisaXcURvFgY46pUSGuLTZxTe9anIIR/iT+V+8MRDHXffRGOCLEQUl0leYTht0dc7rxaW42d83yC7uuCISbgWqOANvMkZYqZjaejOOGVpkApxLGG8K8RvNBBM8TYqE3DQHSyRVU6S9HWLbWF+i8W2h4CLX2Quodf0c1dcqlftClHjdIyed/zQKhAo+FDcJrN+2ZDJ0mkYLVlJDZuLk/K/vSOwD3wXhby3cdHCsxnRfy2Ylnt31VF0aVtlhW4IJ+5mMzmz";

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/crtauth.json")).unwrap()
}

struct Key {
    signing: ed25519_dalek::SigningKey,
    public: PublicKey,
}

fn key(seed: u8) -> Key {
    let signing = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let data = ssh_key::public::KeyData::Ed25519(ssh_key::public::Ed25519PublicKey(
        signing.verifying_key().to_bytes(),
    ));
    let public =
        PublicKey::from_wire(&ssh_key::PublicKey::from(data).to_bytes().unwrap(), "", "key").unwrap();
    Key { signing, public }
}

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

fn enrol(realm: &Realm, name: &str, key: &PublicKey) {
    keys::add(realm, &user(name), key, &Conditions::default(), "file").unwrap();
}

/// A realm whose settings say so much more.
fn with(
    settings: impl FnOnce(&mut crate::config::Crtauth),
) -> (tempfile::TempDir, std::sync::Arc<crate::clock::FixedClock>, Realm) {
    let (parent, clock, mut realm) = realm(KeysBy::File);
    realm.config.crtauth.enabled = true;
    settings(&mut realm.config.crtauth);
    (parent, clock, realm)
}

fn ask(realm: &Realm, handshakes: &Handshakes, value: &str) -> Result<Answer, Refusal> {
    answer(realm, handshakes, value, Some([192, 0, 2, 1].into()))
}

fn challenged(realm: &Realm, handshakes: &Handshakes, value: &str) -> String {
    match ask(realm, handshakes, value).unwrap() {
        Answer::Challenge(header) => header,
        Answer::Token { .. } => unreachable!("a challenge"),
    }
}

fn expect<'a>(name: &'a str, wish: &'a Wish, now: u64) -> Expect<'a> {
    Expect { server_name: "login.example", user: name, wish, now, lowest: Version::V0 }
}

/// The response of a client of version 2.
fn signed(challenge: &str, name: &str, wish: &Wish, key: &Key) -> String {
    let challenge = client::challenge(challenge, &expect(name, wish, NOW)).unwrap();
    assert_eq!(challenge.version(), Version::V2);
    let to_sign = challenge.to_sign(&key.public.blob).unwrap();
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x40".to_vec();
    blob.extend(key.signing.sign(&to_sign.data).to_bytes());
    challenge.response(&key.public.blob, &blob).unwrap()
}

fn log_in(
    realm: &Realm,
    handshakes: &Handshakes,
    name: &str,
    wish: &Wish,
    key: &Key,
) -> Result<Answer, Refusal> {
    let challenge = challenged(realm, handshakes, &client::request(name, Version::V2, wish));
    ask(realm, handshakes, &signed(&challenge, name, wish, key))
}

fn records(realm: &Realm, action: &str) -> Vec<Value> {
    realm.audit.read(&Filter { action: Some(action.into()), ..Filter::default() }).unwrap()
}

#[test]
fn version_2_gives_what_ssh_gives() {
    let (_parent, clock, realm) = with(|_| ());
    let handshakes = Handshakes::open(&realm).unwrap().unwrap();
    let ada = key(1);
    enrol(&realm, "ada", &ada.public);
    let wish = Wish { ttl: 120, ..Wish::default() };
    let challenge = challenged(&realm, &handshakes, &client::request("ada", Version::V2, &wish));
    assert!(client::challenge(&challenge, &expect("ada", &wish, NOW)).unwrap().wants(&ada.public.blob));
    let response = signed(&challenge, "ada", &wish, &ada);
    let Answer::Token { header, body } = ask(&realm, &handshakes, &response).unwrap() else { unreachable!() };
    let body: Value = serde_json::from_str(&body.unwrap()).unwrap();
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["subject"]),
        (&"Bearer".into(), &120.into(), &"ada".into())
    );
    let token = client::token(&header).unwrap();
    assert_eq!(*token, body["access_token"].as_str().unwrap());
    let verifier = trust::verifier(&realm).unwrap();
    let mut scratch = token::Scratch::new();
    let identity = verifier.verify(token.as_bytes(), NOW, &mut scratch).unwrap();
    assert_eq!((identity.subject(), identity.client_id()), ("ada", Some("crtauth")));
    assert_eq!(identity.ssh_fp(), Some(&*ada.public.fingerprint.to_string()));
    let mint = &records(&realm, "mint")[0];
    assert_eq!(
        (&mint["door"], &mint["address"], &mint["outcome"]),
        (&"http".into(), &"192.0.2.1".into(), &"ok".into())
    );

    // Attack: send it again, now, from elsewhere, and after a restart of the server.
    assert!(matches!(ask(&realm, &handshakes, &response), Err(Refusal::Failed)));
    let again = Handshakes::open(&realm).unwrap().unwrap();
    assert!(matches!(answer(&realm, &again, &response, None), Err(Refusal::Failed)));
    assert_eq!(records(&realm, "login")[0]["given"]["reason"], "the challenge was answered before");
    clock.set(NOW + 21);
    assert!(matches!(ask(&realm, &handshakes, &response), Err(Refusal::Failed)));
    assert_eq!(records(&realm, "mint").len(), 1);
}

#[test]
fn the_policy_is_the_one_of_ssh() {
    let (_parent, _clock, realm) = with(|_| ());
    let handshakes = Handshakes::open(&realm).unwrap().unwrap();
    let ada = key(1);
    enrol(&realm, "ada", &ada.public);
    for (wish, says) in [
        (Wish { audiences: vec!["https://other.example".into()], ..Wish::default() }, "are not given here"),
        (Wish { scopes: vec!["write".into()], ..Wish::default() }, "is not granted to ada"),
        (Wish { ttl: 86_400, ..Wish::default() }, "is not allowed here"),
        (Wish { format: "paper".into(), ..Wish::default() }, "no token format"),
    ] {
        match log_in(&realm, &handshakes, "ada", &wish, &ada) {
            Err(Refusal::Policy(error)) => assert!(error.message().contains(says), "{error}"),
            other => unreachable!("{other:?}"),
        }
    }
}

#[test]
fn failures_say_nothing_and_are_recorded() {
    let (_parent, clock, realm) = with(|settings| settings.per_name = 0);
    let handshakes = Handshakes::open(&realm).unwrap().unwrap();
    let (ada, bob, stranger) = (key(1), key(2), key(3));
    enrol(&realm, "ada", &ada.public);
    enrol(&realm, "bob", &bob.public);
    let wish = Wish::default();
    let failed = |answer: Result<Answer, Refusal>, reason: &str| {
        assert!(matches!(answer, Err(Refusal::Failed)), "{reason}: {answer:?}");
        assert_eq!(records(&realm, "login").last().unwrap()["given"]["reason"], reason);
    };
    failed(log_in(&realm, &handshakes, "ada", &wish, &stranger), "no key of an active user");
    failed(log_in(&realm, &handshakes, "ada", &wish, &bob), "no key of an active user");
    failed(log_in(&realm, &handshakes, "nobody", &wish, &stranger), "no key of an active user");

    // A challenge for ada answered by bob's own key, and one of another realm's.
    let challenge = challenged(&realm, &handshakes, &client::request("ada", Version::V2, &wish));
    let response = signed(&challenge, "ada", &wish, &ada);
    let (_other_parent, _, other) = with(|_| ());
    let others = Handshakes::open(&other).unwrap().unwrap();
    clock.set(NOW + 11);
    failed(answer(&realm, &others, &response, None), "the challenge is not ours");
    clock.set(NOW + 21);
    failed(ask(&realm, &handshakes, &response), "the challenge has lapsed");
    clock.set(NOW - 3);
    failed(ask(&realm, &handshakes, &response), "the challenge is not valid yet");
    clock.set(NOW);
    users::lock(&realm, &user("ada")).unwrap();
    failed(ask(&realm, &handshakes, &response), "no key of an active user");
    assert_eq!(records(&realm, "mint").len(), 0);
    assert!(realm.audit.verify().unwrap().problems.is_empty());
}

/// Attack: ask for challenges, and learn who is there from their shape or from the work that they cost.
#[test]
fn four_kinds_of_users_look_the_same() {
    let (_parent, _clock, mut realm) = with(|settings| {
        settings.groups = vec!["staff".into()];
        (settings.per_address, settings.per_name) = (0, 0);
    });
    let rsa = PublicKey::parse_line(RSA, "key").unwrap();
    for (name, seed) in [("ada", 1), ("locked", 2), ("outsider", 3)] {
        enrol(&realm, name, &key(seed).public);
        if name != "outsider" {
            users::edit_groups(&realm, &user(name), &["staff".into()], &[]).unwrap();
        }
    }
    enrol(&realm, "ada", &rsa);
    users::lock(&realm, &user("locked")).unwrap();
    enrol(&realm, "keyless", &key(4).public);
    users::edit_groups(&realm, &user("keyless"), &["staff".into()], &[]).unwrap();
    keys::remove(&realm, key(4).public.fingerprint).unwrap();
    let watched = Watched::over(&realm);
    let asked = watched.asked();
    realm.store = Box::new(watched);
    let handshakes = Handshakes::open(&realm).unwrap().unwrap();
    for version in [Version::V1, Version::V2] {
        let mut seen = Vec::new();
        for name in ["ada", "nobody", "locked", "keyless", "outsider", "näh/.."] {
            let before = asked.load(Ordering::SeqCst);
            let challenge =
                challenged(&realm, &handshakes, &client::request(name, version, &Wish::default()));
            seen.push((asked.load(Ordering::SeqCst) - before, challenge.len() - name.len() * 4 / 3));
        }
        assert!(seen.iter().all(|(queries, _)| *queries == seen[0].0), "{version} {seen:?}");
        let (least, most) = seen.iter().fold((usize::MAX, 0), |(a, b), (_, l)| (a.min(*l), b.max(*l)));
        assert!(most - least <= 1, "but for the name's own length: {version} {seen:?}");
    }
    // Answering costs them the same queries, too.
    let wish = Wish::default();
    let mut seen = Vec::new();
    for name in ["nobody", "locked", "keyless", "outsider"] {
        let before = asked.load(Ordering::SeqCst);
        assert!(matches!(log_in(&realm, &handshakes, name, &wish, &key(9)), Err(Refusal::Failed)));
        seen.push(asked.load(Ordering::SeqCst) - before);
    }
    assert!(seen.iter().all(|queries| *queries == seen[0]), "{seen:?}");
}

#[test]
fn the_originals_clients_get_the_originals_tokens() {
    let vectors = vectors();
    let case = &vectors["python"]["roundtrip_upstream_test_key_v1"];
    let text = |field: &str| case[field].as_str().unwrap();
    let (_parent, clock, mut realm) = with(|settings| {
        settings.secret = vec!["crtauth.secret".into()];
        settings.server_name = "localhost".into();
        settings.lowest_version = 0;
        (settings.per_address, settings.per_name) = (0, 0);
    });
    crate::backends::files::create_private(&realm.dir.join("crtauth.secret"), b"server_secret_\n").unwrap();
    assert!(Handshakes::open(&realm).unwrap_err().message().contains("under 16 bytes"));
    std::fs::remove_file(realm.dir.join("crtauth.secret")).unwrap();
    crate::backends::files::create_private(&realm.dir.join("crtauth.secret"), b"server_secret_of_16\n")
        .unwrap();
    let mut handshakes = Handshakes::open(&realm).unwrap().unwrap();
    // The vectors' secret is shorter than one that may be configured.
    handshakes.keys = vec![Keys::shared(b"server_secret", crtauth::FakeDigest::Sha1)];
    handshakes.signing = token::ChapSecret::new(b"server_secret").unwrap();
    let rsa = PublicKey::parse_line(RSA, "key").unwrap();
    // The realm is younger than the vectors.
    std::fs::remove_dir_all(realm.dir.join("audit")).unwrap();
    crate::backends::files::create_dir(&realm.dir.join("audit"), 0o700).unwrap();
    clock.set(1_699_999_990);
    enrol(&realm, "test", &rsa);
    let forget = |realm: &mut Realm| {
        realm.store = Box::new(Watched::over(realm));
        for file in ["spent.db", "spent.db-wal", "spent.db-shm"] {
            let _ = std::fs::remove_file(realm.dir.join(file));
        }
    };
    let v1 = format!("response:{}", text("response"));
    let v0 = vectors["python"]["roundtrip_upstream_test_key_v0"]["response"].as_str().unwrap();
    let v0 = format!("response:{v0}");
    for (now, response, token_version, token) in [
        (1_699_999_997, &v1, 1, None),
        (1_699_999_998, &v1, 1, Some("")),
        (
            1_700_000_000,
            &v1,
            0,
            Some("token:dgAAAIcn-WZRYctZWZBOgPplZH3ZSNfHAAAAFHQAAABlU_D-ZVPxPAAAAAR0ZXN0"),
        ),
        (
            1_700_000_000,
            &v1,
            1,
            Some("token:AXTOZVPw_s5lU_E8pHRlc3TEIAjrEiqZk-oV6Wx0SGX0xj9WHFtS11b8SGjCDkf2Ul0H"),
        ),
        (
            1_700_000_000,
            &v0,
            0,
            Some("token:dgAAAIcn-WZRYctZWZBOgPplZH3ZSNfHAAAAFHQAAABlU_D-ZVPxPAAAAAR0ZXN0"),
        ),
        (1_700_000_020, &v0, 1, Some("")),
        (1_700_000_021, &v1, 1, None),
    ] {
        clock.set(now);
        realm.config.crtauth.token_version = token_version;
        match (ask(&realm, &handshakes, response), token) {
            (Ok(Answer::Token { header, body: None }), Some(token)) => {
                assert!(header.starts_with(token), "{now}")
            }
            (Err(Refusal::Failed), None) => continue,
            other => unreachable!("{now} {other:?}"),
        }
        // Spent it is, whatever the version: both have the same unique data.
        assert!(matches!(ask(&realm, &handshakes, &v1), Err(Refusal::Failed)));
        forget(&mut realm);
    }
}

#[test]
fn old_versions_only_where_they_are_allowed() {
    let (_parent, _clock, realm) = with(|_| ());
    let handshakes = Handshakes::open(&realm).unwrap().unwrap();
    assert!(matches!(ask(&realm, &handshakes, "request:ada"), Err(Refusal::Malformed(_))));
    assert!(ask(&realm, &handshakes, "request:AXGjYWRh").is_ok());
    assert!(ask(&realm, &handshakes, "request: AXGjYWRh").is_ok());
    for bad in ["", "request", "Request:AXGjYWRh", "foo:AXGjYWRh", "response:", "response:AXI", "request:"] {
        assert!(matches!(ask(&realm, &handshakes, bad), Err(Refusal::Malformed(_))), "{bad}");
    }
    let (_parent, _clock, realm) = with(|settings| settings.lowest_version = 2);
    let handshakes = Handshakes::open(&realm).unwrap().unwrap();
    assert!(matches!(ask(&realm, &handshakes, "request:AXGjYWRh"), Err(Refusal::Malformed(_))));
}

#[test]
fn limits_are_by_address_and_by_name() {
    let (_parent, clock, realm) = with(|settings| (settings.per_address, settings.per_name) = (6, 3));
    let handshakes = Handshakes::open(&realm).unwrap().unwrap();
    for _ in 0..3 {
        assert!(ask(&realm, &handshakes, "request:AXGjYWRh").is_ok());
    }
    assert!(matches!(ask(&realm, &handshakes, "request:AXGjYWRh"), Err(Refusal::TooMany { seconds: 20 })));
    assert!(ask(&realm, &handshakes, "request:AXGjYm9i").is_ok(), "another's name");
    assert!(ask(&realm, &handshakes, "request:AXGjYm9i").is_ok());
    assert!(matches!(ask(&realm, &handshakes, "request:AXGjYm9i"), Err(Refusal::TooMany { seconds: 10 })));
    assert!(answer(&realm, &handshakes, "request:AXGjYm9i", Some([192, 0, 2, 9].into())).is_ok());
    clock.set(NOW + 60);
    assert!(ask(&realm, &handshakes, "request:AXGjYWRh").is_ok());
}

/// Attack: learn the secret that services verify with, and make challenges with it.
#[test]
fn the_secrets_are_three_and_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_parent, _clock, realm) = with(|_| ());
    assert!(trust::verifier(&realm).is_ok(), "before the first start");
    let first = Handshakes::open(&realm).unwrap().unwrap();
    let second = Handshakes::open(&realm).unwrap().unwrap();
    assert_eq!(first.keys[0].token(), second.keys[0].token(), "the same after a restart");
    let folder = realm.dir.join(crate::realm::SIGNING);
    // One that is left from another secret is replaced.
    std::fs::remove_file(folder.join(secrets::FOR_VERIFIERS)).unwrap();
    crate::backends::files::create_private(&folder.join(secrets::FOR_VERIFIERS), b"of another realm")
        .unwrap();
    let _ = Handshakes::open(&realm).unwrap();
    let for_verifiers = std::fs::read(folder.join(secrets::FOR_VERIFIERS)).unwrap();
    assert_eq!(for_verifiers, first.keys[0].token());
    assert_ne!(std::fs::read(folder.join(secrets::OWN)).unwrap(), for_verifiers);
    for name in [secrets::OWN, secrets::FOR_VERIFIERS] {
        let mode = std::fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
    }
    assert!(!format!("{first:?}").contains("[u8"));
}
