//! tests/vectors/chap.json: tokens of crtauth, the originals' own among them.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "chap")]

mod support;

use support::{cases, judge, list, number, text, vectors};
use token::{ChapSecret, Scratch, Verifier};

#[test]
fn every_case_gets_its_verdict() {
    let file = vectors("chap.json");
    let mut wrong = vec![];
    let mut count = 0;
    for case in cases(&file) {
        let secrets = list(case, "secrets").iter().map(|s| ChapSecret::new(s.as_bytes()).unwrap()).collect();
        let verifier = Verifier::new("corp").with_chap_secrets(secrets);
        let (token, now) = (text(case, "token").as_bytes(), number(case, "now"));
        let mut scratch = Scratch::new();
        let verdict = verifier.verify(token, now, &mut scratch);
        let code = verdict.as_ref().map_or_else(|r| r.code.as_str(), |_| "ok");
        wrong.extend(judge(case, code).err());
        if let Ok(identity) = verdict {
            assert_eq!(identity.subject(), text(case, "subject"));
            assert!(identity.issued_at() <= now && now <= identity.expires_at());
            assert_eq!(identity.scopes().count() + identity.audiences().count(), 0);
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(count, 114);
}

#[cfg(feature = "mint")]
mod properties {
    use proptest::prelude::*;
    use token::{ChapVersion, Code, mint_chap};

    use super::*;

    fn version(one: bool) -> ChapVersion {
        if one { ChapVersion::V1 } else { ChapVersion::V0 }
    }

    proptest! {
        #[test]
        fn what_is_minted_verifies(name in "[^\\p{Cc}]{1,60}", from in 1_u64..4_000_000_000, life in 1_u64..=600, one: bool) {
            let secret = ChapSecret::new(b"0123456789abcdef").unwrap();
            let token = mint_chap(&secret, version(one), &name, from, from + life).unwrap();
            let verifier = Verifier::new("corp").with_chap_secrets(vec![secret]);
            let mut scratch = Scratch::new();
            let identity = verifier.verify(token.as_bytes(), from + life / 2, &mut scratch).unwrap();
            prop_assert_eq!(identity.subject(), name);
        }

        #[test]
        fn any_other_byte_is_refused(at: prop::sample::Index, other in "[A-Za-z0-9_-]", one: bool) {
            let secret = ChapSecret::new(b"0123456789abcdef").unwrap();
            let mut token = mint_chap(&secret, version(one), "ada", 1000, 1060).unwrap().into_bytes();
            let at = at.index(token.len());
            prop_assume!(token[at] != other.as_bytes()[0]);
            token[at] = other.as_bytes()[0];
            let verifier = Verifier::new("corp").with_chap_secrets(vec![secret]);
            let mut scratch = Scratch::new();
            prop_assert!(verifier.verify(&token, 1030, &mut scratch).is_err());
        }

        #[test]
        fn anything_may_come(token in "(AXT|dgAAA)[A-Za-z0-9_-]{0,200}", now: u64) {
            let verifier = Verifier::new("corp").with_chap_secrets(vec![ChapSecret::new(b"s").unwrap()]);
            let mut scratch = Scratch::new();
            let code = verifier.verify(token.as_bytes(), now, &mut scratch).unwrap_err().code;
            prop_assert!(matches!(code, Code::Malformed | Code::BadSignature));
        }
    }

    /// Attack: lock a user, and use the token from before; bind an audience that was not meant.
    #[test]
    fn revoked_and_bound_as_every_format() {
        let secret =
            ChapSecret::new(b"0123456789abcdef").unwrap().with_audiences(["https://a"]).with_scopes(["read"]);
        let token = mint_chap(&secret, ChapVersion::V1, "ada", 1000, 1060).unwrap();
        let verifier = Verifier::new("corp").with_chap_secrets(vec![secret]);
        let code = |verifier: &Verifier| {
            verifier.verify(token.as_bytes(), 1030, &mut Scratch::new()).map(|_| ()).map_err(|r| r.code)
        };
        assert_eq!(code(&verifier), Ok(()));
        let revoked = |before: u64| {
            let json = format!("[{{\"sub\":\"ada\",\"issued_before\":{before}}}]");
            verifier.clone().with_revocations(token::Revocations::from_json(&json).unwrap())
        };
        assert_eq!((code(&revoked(1000)), code(&revoked(999))), (Err(Code::Revoked), Ok(())));
        let audience = |name: &str| verifier.clone().with_audience(token::Audiences::new([name]).unwrap());
        assert_eq!(
            (code(&audience("https://a")), code(&audience("https://b"))),
            (Ok(()), Err(Code::WrongAudience))
        );
        assert_eq!(code(&verifier.clone().with_scopes(["read", "write"])), Err(Code::MissingScope));
        assert_eq!(code(&Verifier::new("corp")), Err(Code::UnsupportedAlgorithm));
    }
}
