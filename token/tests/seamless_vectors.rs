//! tests/vectors/seamless-v1.json: made with itsdangerous, our verdicts.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(feature = "hmac", feature = "alloc"))]

mod support;

use support::{cases, judge, list, number, text, vectors};
use token::{Leeway, MaxAge, Scratch, Secret, Verifier, seamless};

#[test]
fn every_case_gets_its_verdict() {
    let file = vectors("seamless-v1.json");
    let leeway = Leeway::try_from(number(&file, "leeway")).unwrap();
    let mut wrong = vec![];
    let mut count = 0;
    for case in cases(&file) {
        let digest = text(case, "digest").parse().unwrap();
        let secrets: Vec<_> =
            list(case, "secrets").iter().map(|s| Secret::new(s.as_bytes(), digest).unwrap()).collect();
        let max_age = MaxAge::try_from(number(case, "max_age")).unwrap();
        let (token, now) = (text(case, "token").as_bytes(), number(case, "now"));

        let free = seamless::verify(token, &secrets, max_age, leeway, now);
        let verifier = Verifier::new("corp").with_secrets(secrets.clone(), max_age).with_leeway(leeway);
        let mut scratch = Scratch::new();
        let whole = verifier.verify(token, now, &mut scratch);

        for verdict in [free, whole] {
            let code = verdict.as_ref().map_or_else(|r| r.code.as_str(), |_| "ok");
            wrong.extend(judge(case, code).err());
            if let Ok(identity) = verdict {
                assert_eq!(identity.subject(), text(case, "subject"));
                assert_eq!(identity.issued_at(), number(case, "issued_at"));
                assert_eq!(identity.expires_at(), number(case, "issued_at") + max_age.seconds());
                assert_eq!(identity.scopes().count() + identity.audiences().count(), 0);
            }
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(count, 177);
}

/// What we mint is what itsdangerous mints, byte for byte.
#[cfg(feature = "mint")]
#[test]
fn minted_as_by_itsdangerous() {
    let file = vectors("seamless-v1.json");
    let valid = cases(&file).filter(|c| text(c, "name").starts_with("valid-"));
    let mut count = 0;
    for case in valid {
        let digest = text(case, "digest").parse().unwrap();
        let secret = Secret::new(list(case, "secrets")[0].as_bytes(), digest).unwrap();
        let token = token::mint_seamless(text(case, "subject"), number(case, "issued_at"), &secret).unwrap();
        assert_eq!(token, text(case, "token"));
        count += 1;
    }
    assert_eq!(count, 40);
}
