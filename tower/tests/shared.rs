//! One verifier for all threads, whose keys and revocations change under it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seamless_tower::token::{
    AccessClaims, Audiences, Code, Ed25519Signer, PublicKeys, Rejection, Revocations, Verifier, mint_access,
};
use seamless_tower::{KeyFetch, SharedVerifier};

const ISSUER: &str = "https://login.example/corp";
const AUDIENCE: &str = "https://api.example";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn token(signer: &Ed25519Signer) -> String {
    let claims = AccessClaims {
        issuer: ISSUER,
        subject: "ada",
        audiences: &[AUDIENCE],
        client_id: "ssh",
        issued_at: now(),
        expires_at: now() + 300,
        jti: "1",
        scopes: &[],
        groups: &[],
        amr: &[],
        ssh_fp: None,
    };
    mint_access(&claims, signer).unwrap()
}

fn write(path: &std::path::Path, signers: &[&Ed25519Signer]) {
    let keys = signers.iter().map(|signer| signer.public_key()).collect();
    std::fs::write(path, PublicKeys::from_keys(ISSUER, keys).unwrap().to_jwks()).unwrap();
}

fn verifier() -> Verifier {
    Verifier::new("corp").with_issuer(ISSUER, Audiences::new([AUDIENCE]).unwrap())
}

fn judge(shared: &SharedVerifier, token: &str) -> Result<String, Code> {
    let judged = shared.lend(true, |verifier, scratch, seen| {
        let verdict = match seen {
            Some(seen) => verifier.verify_seen(token.as_bytes(), now(), scratch, seen),
            None => verifier.verify(token.as_bytes(), now(), scratch),
        };
        verdict.map(|identity| identity.subject().to_owned())
    });
    judged.map_err(|rejection| rejection.code)
}

fn until(shared: &SharedVerifier, token: &str, wanted: &Result<String, Code>) {
    let limit = Instant::now() + Duration::from_secs(30);
    while judge(shared, token) != *wanted {
        assert!(Instant::now() < limit, "{:?}, not {wanted:?}", judge(shared, token));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn keys_in_a_file_are_read_again_and_a_broken_file_changes_nothing() {
    let folder = std::env::temp_dir().join(format!("seamless-shared-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("jwks.json");
    let (old, new) = (Ed25519Signer::from_seed(&[1; 32]), Ed25519Signer::from_seed(&[2; 32]));
    write(&file, &[&old]);
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&warnings);
    let keys = KeyFetch::from_file(ISSUER, &file)
        .on_warning(move |text| heard.lock().unwrap().push(text.to_owned()));
    let shared = SharedVerifier::fetching(verifier(), keys).unwrap();
    let (by_old, by_new) = (token(&old), token(&new));
    let ada = Ok("ada".to_owned());
    until(&shared, &by_old, &ada);
    assert_eq!(judge(&shared, &by_new), Err(Code::UnknownKey));

    // Too long for a set of keys, and no set of keys: what was there before stays.
    for broken in [" ".repeat(70_000), "{".to_owned()] {
        let before = warnings.lock().unwrap().len();
        std::fs::write(&file, broken).unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        while warnings.lock().unwrap().len() == before {
            assert!(Instant::now() < limit, "no warning");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(judge(&shared, &by_old), ada);
    }
    write(&file, &[&new]);
    until(&shared, &by_new, &ada);
    assert_eq!(judge(&shared, &by_old), Err(Code::UnknownKey));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn keys_that_nobody_keeps_fresh_any_more_count_no_more() {
    let folder = std::env::temp_dir().join(format!("seamless-shared-end-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("jwks.json");
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    write(&file, &[&signer]);
    let keys = KeyFetch::from_file(ISSUER, &file).on_warning(|_| panic!("of the service's own code"));
    let shared = SharedVerifier::fetching(verifier(), keys).unwrap();
    let token = token(&signer);
    until(&shared, &token, &Ok("ada".to_owned()));
    std::fs::write(&file, "{").unwrap();
    until(&shared, &token, &Err(Code::KeysUnavailable));
    // For a thread that is gone nobody waits.
    let began = Instant::now();
    (0..20).for_each(|_| shared.wait());
    assert!(began.elapsed() < Duration::from_secs(10));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_change_counts_for_whoever_comes_after_and_is_not_lost() {
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    let keys = PublicKeys::from_keys(ISSUER, vec![signer.public_key()]).unwrap();
    let shared = SharedVerifier::new(
        Verifier::new("corp").with_public_keys(keys.clone(), Audiences::new([AUDIENCE]).unwrap()),
    );
    let token = token(&signer);
    assert_eq!(judge(&shared, &token), Ok("ada".to_owned()));
    let revoked = Revocations::from_json(r#"[{"jti": "1"}]"#).unwrap();
    // Keys come from one thread and revocations from another.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..500).for_each(|_| shared.change(|one| one.set_public_keys(Some(keys.clone())).unwrap()));
        });
        shared.change(|verifier| verifier.set_revocations(revoked));
    });
    assert_eq!(judge(&shared, &token), Err(Code::Revoked));
}

#[test]
fn within_a_judgement_there_is_no_other() {
    let shared = SharedVerifier::new(verifier());
    let inner = shared
        .lend(false, |_, _, _| Ok(shared.lend(false, |_, _, _| Ok(())).map_err(|rejection| rejection.code)));
    assert_eq!(inner.map_err(|rejection| rejection.code), Ok(Err(Code::KeysUnavailable)));
    // Nobody waits where nothing is fetched.
    assert!(!shared.may_wait(Rejection::from(Code::UnknownKey)));
}
