//! What must hold for every token, not only for those that somebody thought of.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(feature = "hmac", feature = "eddsa", feature = "es256", feature = "mint"))]

use std::sync::LazyLock;

use proptest::prelude::*;
use token::seen::Seen;
use token::{
    AccessClaims, Audiences, Code, Digest, Ed25519Signer, Es256Signer, Format, Leeway, MaxAge, Outcome,
    PublicKey, PublicKeys, RequestView, Revocation, Revocations, Rules, Scratch, Secret, Sign, Verifier,
    inspect, jws, mint_access, mint_seamless, seamless,
};

const ISSUER: &str = "https://login.example/corp";
const NOW: u64 = 1_800_000_000;

static ED25519: LazyLock<Ed25519Signer> = LazyLock::new(|| Ed25519Signer::from_seed(&[7; 32]));
static P256: LazyLock<Es256Signer> = LazyLock::new(|| Es256Signer::from_scalar(&[7; 32]).unwrap());
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let keys = PublicKeys::from_keys(ISSUER, vec![ED25519.public_key(), P256.public_key()]).unwrap();
    Verifier::new("corp")
        .with_secrets(vec![secret()], MaxAge::default())
        .with_public_keys(keys, Audiences::new(["a"]).unwrap())
});

fn secret() -> Secret {
    Secret::new(b"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", Digest::Sha1).unwrap()
}

fn claims<'a>(
    subject: &'a str,
    scopes: &'a [&'a str],
    groups: &'a [&'a str],
    audiences: &'a [&'a str],
) -> AccessClaims<'a> {
    AccessClaims {
        issuer: ISSUER,
        subject,
        audiences,
        client_id: "ssh",
        issued_at: NOW,
        expires_at: NOW + 300,
        jti: "j",
        scopes,
        groups,
        amr: &["hwk"],
        ssh_fp: Some("SHA256:x"),
    }
}

fn verify(token: &[u8]) -> Result<String, Code> {
    let mut scratch = Scratch::new();
    VERIFIER.verify(token, NOW, &mut scratch).map(|i| i.subject().to_owned()).map_err(|r| r.code)
}

fn name() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,24}".prop_filter("no control characters", |s| !s.chars().any(char::is_control))
}

proptest! {
    #[test]
    fn what_is_minted_verifies(
        subject in name(),
        scopes in prop::collection::vec("[!#-\\[\\]-~]{1,8}", 0..4),
        groups in prop::collection::vec(name(), 0..4),
        more in prop::collection::vec(name(), 0..3),
        p256 in any::<bool>(),
    ) {
        let strs = |list: &'_ [String]| -> Vec<String> { list.to_vec() };
        let (scopes, groups) = (strs(&scopes), strs(&groups));
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let audiences: Vec<&str> = more.iter().map(String::as_str).chain(["a"]).collect();
        let signer: &dyn Sign = if p256 { &*P256 } else { &*ED25519 };
        let token = mint_access(&claims(&subject, &scopes, &groups, &audiences), signer).unwrap();
        let mut scratch = Scratch::new();
        let identity = VERIFIER.verify(token.as_bytes(), NOW + 304, &mut scratch).unwrap();
        prop_assert_eq!(identity.format(), Format::Jwt);
        prop_assert_eq!(identity.subject(), &subject);
        prop_assert_eq!(identity.issuer(), Some(ISSUER));
        prop_assert_eq!(identity.kid(), Some(signer.kid()));
        prop_assert_eq!((identity.issued_at(), identity.expires_at()), (NOW, NOW + 300));
        prop_assert_eq!(identity.scopes().collect::<Vec<_>>(), scopes);
        prop_assert_eq!(identity.groups().collect::<Vec<_>>(), groups);
        prop_assert_eq!(identity.audiences().collect::<Vec<_>>(), audiences);
        prop_assert_eq!(identity.amr().collect::<Vec<_>>(), ["hwk"]);
        prop_assert_eq!((identity.jti(), identity.ssh_fp(), identity.client_id()), (Some("j"), Some("SHA256:x"), Some("ssh")));
    }

    #[test]
    fn what_is_minted_verifies_as_seamless_too(subject in name(), time in 1u64..1 << 40, late in 0u64..=60) {
        for digest in [Digest::Sha1, Digest::Sha256, Digest::Sha512] {
            let secrets = [secret(), Secret::new(b"another one of some length", digest).unwrap()];
            let minted = mint_seamless(&subject, time, &secrets[1]);
            prop_assume!(!subject.starts_with("eyJ"));
            let token = minted.unwrap();
            let verdict = seamless::verify(token.as_bytes(), &secrets, MaxAge::default(), Leeway::ZERO, time + late);
            let identity = verdict.unwrap();
            prop_assert_eq!((identity.subject(), identity.issued_at()), (subject.as_str(), time));
            prop_assert_eq!(Format::of(token.as_bytes()), Format::Seamless);
            prop_assert_eq!(inspect(token.as_bytes()).unwrap().subject.unwrap(), subject.clone());
        }
    }

    #[test]
    fn any_changed_byte_is_seen(at in any::<prop::sample::Index>(), to in any::<u8>(), which in 0..3) {
        let mut token = match which {
            0 => mint_seamless("ada", NOW, &secret()).unwrap(),
            1 => mint_access(&claims("ada", &[], &[], &["a"]), &*ED25519).unwrap(),
            _ => mint_access(&claims("ada", &[], &[], &["a"]), &*P256).unwrap(),
        }.into_bytes();
        prop_assert_eq!(verify(&token), Ok("ada".to_owned()));
        let at = at.index(token.len());
        prop_assume!(token[at] != to);
        token[at] = to;
        prop_assert!(verify(&token).is_err());
    }

    #[test]
    fn a_shorter_or_longer_token_is_another(cut in 1usize..38, more in "[A-Za-z0-9_.-]{1,8}") {
        for token in [
            mint_seamless("ada", NOW, &secret()).unwrap(),
            mint_access(&claims("ada", &[], &[], &["a"]), &*ED25519).unwrap(),
        ] {
            prop_assert!(verify(&token.as_bytes()[..token.len() - cut]).is_err());
            let longer = token + &more;
            prop_assert!(verify(longer.as_bytes()).is_err());
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(verify(&bytes).is_err());
        let _ = inspect(&bytes);
    }

    #[test]
    fn nothing_token_shaped_does_harm(text in "(eyJ[A-Za-z0-9_-]{0,12})?[A-Za-z0-9_.=-]{0,64}") {
        prop_assert!(verify(text.as_bytes()).is_err());
        let _ = inspect(text.as_bytes());
        let none = PublicKeys::from_jwks("i", "{\"keys\":[]}").unwrap();
        prop_assert!(jws::verify_signature(&text, &none).is_err());
    }

    #[test]
    fn no_json_does_harm(text in "[\\[\\]{},:\"a-z0-9\\\\/ ]{0,64}|\\PC{0,64}") {
        let _ = PublicKey::from_jwk(&text);
        let _ = PublicKeys::from_jwks("i", &text);
        let _ = Revocations::from_json(&text);
        let _ = Rules::from_json(&text);
    }

    #[test]
    fn no_path_does_harm(method in "[A-Z]{0,8}", authority in "\\PC{0,16}", path in prop::collection::vec(any::<u8>(), 0..32)) {
        let rules = Rules::from_json(r#"{"rules":[{"path_prefix":"/a","need":"open"}]}"#).unwrap();
        let _ = rules.decide(&method, &authority, Some(&path));
    }
}

#[test]
fn a_remembered_signature_is_all_that_is_remembered() {
    let token = mint_access(&claims("ada", &[], &[], &["a"]), &*ED25519).unwrap();
    let token = token.as_bytes();
    let mut seen = Seen::new([1; 32]);
    let mut verifier = VERIFIER.clone();
    let judge = |verifier: &Verifier, seen: &mut Seen, token: &[u8], now| {
        let mut scratch = Scratch::new();
        verifier.verify_seen(token, now, &mut scratch, seen).map(|_| ()).map_err(|r| r.code)
    };
    assert_eq!(judge(&verifier, &mut seen, token, NOW + 305), Err(Code::Expired));
    assert!(seen.is_empty());
    for _ in 0..2 {
        assert_eq!(judge(&verifier, &mut seen, token, NOW), Ok(()));
        assert_eq!(seen.len(), 1);
    }
    assert_eq!(judge(&verifier, &mut seen, token, NOW + 305), Err(Code::Expired));
    assert_eq!(judge(&verifier, &mut seen, token, NOW - 6), Err(Code::NotYetValid));
    let mut forged = token.to_vec();
    let last = forged.len() - 4;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    assert_eq!(judge(&verifier, &mut seen, &forged, NOW), Err(Code::BadSignature));
    verifier.set_revocations([Revocation::Jti("j".into())].into_iter().collect());
    assert_eq!(judge(&verifier, &mut seen, token, NOW), Err(Code::Revoked));
    assert!(seen.is_empty());
    verifier.set_public_keys(Some(PublicKeys::from_keys(ISSUER, vec![]).unwrap())).unwrap();
    assert_eq!(judge(&verifier, &mut seen, token, NOW), Err(Code::UnknownKey));
}

/// Ory Oathkeeper #743: a remembered yes was given to requests that need other scopes.
#[test]
fn a_remembered_signature_answers_no_other_question() {
    struct Asks<'a>(&'a str, &'a [u8]);
    impl RequestView for Asks<'_> {
        fn method(&self) -> &str {
            "GET"
        }
        fn scheme(&self) -> &str {
            "https"
        }
        fn authority(&self) -> &str {
            "a.example"
        }
        fn path(&self) -> Option<&[u8]> {
            Some(self.0.as_bytes())
        }
        fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
            name.eq_ignore_ascii_case("authorization").then_some(self.1).into_iter()
        }
    }

    let token = mint_access(&claims("ada", &["read"], &[], &["a"]), &*ED25519).unwrap();
    let header = format!("Bearer {token}");
    let rules = r#"{"rules": [
        {"path_prefix": "/read", "need": "required", "scopes": ["read"]},
        {"path_prefix": "/write", "need": "required", "scopes": ["write"]},
        {"path_prefix": "/other", "need": "required", "audience": "b"},
        {"path_prefix": "/touched", "need": "required", "amr": ["user"]}
    ]}"#;
    let verifier = VERIFIER.clone().with_rules(Rules::from_json(rules).unwrap());
    let mut seen = Seen::new([1; 32]);
    for _ in 0..3 {
        for (path, wanted) in [
            ("/read", None),
            ("/write", Some(Code::MissingScope)),
            ("/other", Some(Code::WrongAudience)),
            ("/touched", Some(Code::MissingScope)),
            ("/read", None),
        ] {
            let mut scratch = Scratch::new();
            let asks = Asks(path, header.as_bytes());
            let found = match verifier.check_seen(&asks, NOW, &mut scratch, &mut seen) {
                Outcome::Rejection(rejection) => Some(rejection.code),
                outcome => {
                    assert!(matches!(outcome, Outcome::Identity(_)), "{path}");
                    None
                }
            };
            assert_eq!(found, wanted, "{path}");
        }
        assert_eq!(seen.len(), 1, "it is remembered all the while");
    }
}

#[test]
fn what_an_operator_bound_to_a_secret_counts() {
    let token = mint_seamless("ada", NOW, &secret()).unwrap();
    let judge = |secret: Secret, audience: Option<&str>, scopes: &[&str]| {
        let mut verifier = Verifier::new("corp").with_secrets(vec![secret], MaxAge::default());
        if let Some(audience) = audience {
            verifier = verifier.with_audience(Audiences::new([audience]).unwrap());
        }
        let verifier = verifier.with_scopes(scopes.iter().copied());
        let mut scratch = Scratch::new();
        verifier.verify(token.as_bytes(), NOW, &mut scratch).map(|_| ()).map_err(|r| r.code)
    };
    assert_eq!(judge(secret(), None, &[]), Ok(()));
    assert_eq!(judge(secret(), Some("a"), &[]), Err(Code::WrongAudience));
    assert_eq!(judge(secret(), None, &["s"]), Err(Code::MissingScope));
    let bound = || secret().with_audiences(["b", "a"]).with_scopes(["s"]);
    assert_eq!(judge(bound(), Some("a"), &["s"]), Ok(()));
    assert_eq!(judge(bound(), Some("c"), &["s"]), Err(Code::WrongAudience));
    assert_eq!(judge(bound(), Some("a"), &["s", "t"]), Err(Code::MissingScope));
}

#[test]
fn what_can_not_be_in_a_token_is_not_minted() {
    use token::MintError::{Audience, Claim, Issuer, Scope, Subject, Time, TooLarge};
    let mint = |claims: &AccessClaims<'_>| mint_access(claims, &*ED25519).map(|_| ()).unwrap_err();
    let good = claims("ada", &[], &[], &["a"]);
    assert_eq!(mint(&AccessClaims { subject: "", ..good }), Subject);
    assert_eq!(mint(&AccessClaims { subject: "a\nb", ..good }), Subject);
    assert_eq!(mint(&AccessClaims { audiences: &[], ..good }), Audience);
    assert_eq!(mint(&AccessClaims { audiences: &["a", ""], ..good }), Audience);
    assert_eq!(mint(&AccessClaims { issuer: "", ..good }), Issuer);
    assert_eq!(mint(&AccessClaims { expires_at: NOW, ..good }), Time);
    assert_eq!(mint(&AccessClaims { scopes: &["a b"], ..good }), Scope);
    assert_eq!(mint(&AccessClaims { groups: &[""], ..good }), Claim);
    assert_eq!(mint(&AccessClaims { jti: "", ..good }), Claim);
    assert_eq!(mint(&AccessClaims { client_id: &"x".repeat(9000), ..good }), TooLarge);
    for subject in ["", "eyJa", "a\0"] {
        assert_eq!(mint_seamless(subject, NOW, &secret()), Err(Subject));
    }
    assert_eq!(mint_seamless("ada", 0, &secret()), Err(Time));
    assert_eq!(mint_seamless(&"x".repeat(9000), NOW, &secret()), Err(TooLarge));
}
