//! What every store must do. A second store runs the same suite.

use std::path::Path;

use super::*;
use crate::error::{Error, Kind};

type Open<'a> = &'a (dyn Fn(&Path) -> Box<dyn Store> + Sync);

/// Runs the whole suite: `make` prepares an empty store in a directory, `open` opens it, as often as asked.
pub(super) fn contract(open: Open<'_>, make: &dyn Fn(&Path)) {
    let cases: [fn(&Path, Open<'_>); 12] = [
        users_and_lists,
        one_key_one_user,
        all_or_nothing,
        survives_reopening,
        signing_keys_have_one_active,
        revocations_lapse_and_lift,
        the_version_moves,
        concurrent_adds_are_all_there,
        enrolling_judges_each_key_by_itself,
        a_key_that_comes_back_is_no_longer_revoked,
        what_ends_is_found_and_counted,
        a_challenge_is_spent_once,
    ];
    for case in cases {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        case(dir.path(), open);
    }
}

fn a_challenge_is_spent_once(dir: &Path, open: Open<'_>) {
    let (one, other) = (open(dir), open(dir));
    let version = one.version().unwrap();
    assert!(one.spend(b"a", 120, 100).unwrap());
    assert!(!one.spend(b"a", 120, 101).unwrap());
    assert!(!other.spend(b"a", 120, 102).unwrap(), "by another node");
    assert!(other.spend(b"b", 120, 102).unwrap());
    assert!(!open(dir).spend(b"b", 120, 120).unwrap(), "after a restart, up to its last second");
    assert!(one.spend(b"c", 140, 121).unwrap());
    assert_eq!(one.version().unwrap(), version, "and the realm has not changed");
    // Many at once: each has one winner.
    let wins = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = open(dir);
                for number in 0..50_u8 {
                    if store.spend(&[7, number], 140, 121).unwrap() {
                        wins.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(wins.into_inner(), 50);
}

fn apply(store: &dyn Store, changes: &[Change]) -> Result<()> {
    store.apply(changes, &mut || Ok(()))
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn user(text: &str) -> User {
    User { name: name(text), locked: false, groups: vec![], scopes: vec![], created_at: 7 }
}

fn key(owner: &str, n: u16) -> UserKey {
    let blob = n.to_be_bytes().to_vec();
    UserKey {
        fingerprint: Fingerprint::of(&blob),
        user: name(owner),
        algorithm: "ssh-ed25519".into(),
        blob,
        comment: "a comment".into(),
        expires_at: Some(9),
        from: vec!["10.0.0.0/8".into(), "::1".into()],
        require_touch: true,
        require_verify: false,
        added_at: u64::from(n),
        source: n.is_multiple_of(2).then(|| "file".to_owned()),
    }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn users_and_lists(dir: &Path, open: Open<'_>) {
    let store = open(dir);
    apply(&*store, &[Change::EnsureUser(user("bob")), Change::EnsureUser(user("ada"))]).unwrap();
    let edit =
        Change::EditGroups { user: name("ada"), add: strings(&["staff", "admin", "staff"]), remove: vec![] };
    apply(&*store, &[edit]).unwrap();
    let edit =
        Change::EditGroups { user: name("ada"), add: strings(&["ops"]), remove: strings(&["staff", "none"]) };
    let scopes = Change::EditScopes { user: name("ada"), add: strings(&["write", "read"]), remove: vec![] };
    apply(&*store, &[edit, scopes, Change::SetLocked(name("ada"), true)]).unwrap();
    // Making a user who is there changes nothing.
    apply(&*store, &[Change::EnsureUser(user("ada"))]).unwrap();
    let ada = store.user(&name("ada")).unwrap().unwrap();
    let expected = User {
        locked: true,
        groups: strings(&["admin", "ops"]),
        scopes: strings(&["read", "write"]),
        ..user("ada")
    };
    assert_eq!(ada, expected);
    assert_eq!(store.users().unwrap(), [expected, user("bob")]);
    assert_eq!(store.user(&name("eve")).unwrap(), None);
    for change in [
        Change::SetLocked(name("eve"), true),
        Change::RemoveUser(name("eve")),
        Change::EditGroups { user: name("eve"), add: vec![], remove: vec![] },
        Change::EditScopes { user: name("eve"), add: strings(&["x"]), remove: vec![] },
        Change::AddKey(key("eve", 1)),
    ] {
        let error = apply(&*store, &[change]).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Failed, "there is no user eve in this realm"));
    }
}

fn one_key_one_user(dir: &Path, open: Open<'_>) {
    let store = open(dir);
    apply(&*store, &[Change::EnsureUser(user("ada")), Change::EnsureUser(user("bob"))]).unwrap();
    apply(
        &*store,
        &[Change::AddKey(key("ada", 2)), Change::AddKey(key("ada", 1)), Change::AddKey(key("bob", 3))],
    )
    .unwrap();
    for owner in ["bob", "ada"] {
        let error = apply(&*store, &[Change::AddKey(key(owner, 1))]).unwrap_err();
        assert!(error.message().ends_with("already belongs to ada"), "{error}");
    }
    assert_eq!(store.key(&key("ada", 1).fingerprint).unwrap(), Some(key("ada", 1)));
    assert_eq!(store.keys(Some(&name("ada"))).unwrap(), [key("ada", 1), key("ada", 2)]);
    assert_eq!(store.keys(None).unwrap().len(), 3);
    apply(&*store, &[Change::RemoveUser(name("ada"))]).unwrap();
    assert_eq!(store.keys(None).unwrap(), [key("bob", 3)]);
    assert_eq!(store.key(&key("ada", 1).fingerprint).unwrap(), None);
    assert!(apply(&*store, &[Change::RemoveKey(key("ada", 1).fingerprint)]).is_err());
}

fn all_or_nothing(dir: &Path, open: Open<'_>) {
    let store = open(dir);
    let changes = [
        Change::EnsureUser(user("ada")),
        Change::AddKey(key("ada", 1)),
        Change::SetLocked(name("eve"), true),
    ];
    assert!(apply(&*store, &changes).is_err());
    assert_eq!(store.users().unwrap(), []);
    let changes = [Change::EnsureUser(user("ada")), Change::AddKey(key("ada", 1))];
    let error = store.apply(&changes, &mut || Err(Error::internal("no record"))).unwrap_err();
    assert_eq!(error.message(), "no record");
    assert_eq!((store.users().unwrap().len(), store.keys(None).unwrap().len()), (0, 0));
    apply(&*store, &changes).unwrap();
    assert_eq!(store.keys(None).unwrap().len(), 1);
}

fn survives_reopening(dir: &Path, open: Open<'_>) {
    apply(&*open(dir), &[Change::EnsureUser(user("ada")), Change::AddKey(key("ada", 1))]).unwrap();
    assert_eq!(open(dir).keys(None).unwrap(), [key("ada", 1)]);
}

fn signing_keys_have_one_active(dir: &Path, open: Open<'_>) {
    let store = open(dir);
    let one = SigningKey {
        kid: "k1".into(),
        algorithm: SigningAlgorithm::EdDsa,
        state: KeyState::Active,
        jwk: Some("{}".into()),
        created_at: 1,
        activated_at: Some(2),
        retired_at: None,
        expires_at: Some(3),
    };
    let two = SigningKey { kid: "k2".into(), created_at: 5, ..one.clone() };
    let secret = SigningKey { kid: "h".into(), algorithm: SigningAlgorithm::Hmac, jwk: None, ..one.clone() };
    apply(&*store, &[Change::PutSigningKey(one.clone()), Change::PutSigningKey(secret.clone())]).unwrap();
    assert!(apply(&*store, &[Change::PutSigningKey(two.clone())]).is_err());
    let retired = SigningKey { state: KeyState::Retired, retired_at: Some(9), ..one };
    apply(&*store, &[Change::PutSigningKey(retired.clone()), Change::PutSigningKey(two.clone())]).unwrap();
    assert_eq!(store.signing_keys().unwrap(), [secret, retired, two]);
}

fn revocations_lapse_and_lift(dir: &Path, open: Open<'_>) {
    let store = open(dir);
    let whats = [
        Revoked::Jti("j".into()),
        Revoked::Subject { sub: "ada".into(), issued_before: 10 },
        Revoked::SshKey { fingerprint: "SHA256:x".into(), user: "ada".into() },
        Revoked::Kid("k".into()),
    ];
    let all: Vec<_> = whats
        .into_iter()
        .zip(20..)
        .map(|(what, keep_until)| StoredRevocation { what, created_at: 10, keep_until })
        .collect();
    apply(&*store, &all.iter().cloned().map(Change::Revoke).collect::<Vec<_>>()).unwrap();
    assert_eq!(store.revocations(10).unwrap(), all);
    assert_eq!(store.revocations(21).unwrap(), all[2..]);
    apply(&*store, &[Change::ForgetRevocations { now: 20 }]).unwrap();
    assert_eq!(store.revocations(0).unwrap(), all[1..]);
    apply(&*store, &[Change::Lift(all[2].what.clone())]).unwrap();
    assert_eq!(store.revocations(0).unwrap(), [all[1].clone(), all[3].clone()]);
    apply(&*store, &[Change::Lift(Revoked::Subject { sub: "ada".into(), issued_before: 11 })]).unwrap();
    assert_eq!(store.revocations(0).unwrap().len(), 2, "only exactly these");
}

fn the_version_moves(dir: &Path, open: Open<'_>) {
    let (one, two) = (open(dir), open(dir));
    let before = (one.version().unwrap(), two.version().unwrap());
    assert_eq!(before, (one.version().unwrap(), two.version().unwrap()), "and only then");
    apply(&*one, &[Change::EnsureUser(user("ada"))]).unwrap();
    assert_ne!(before.0, one.version().unwrap());
    assert_ne!(before.1, two.version().unwrap());
    assert!(two.user(&name("ada")).unwrap().is_some());

    // However often it is asked, every commit is seen at once: one's own, another's, and the first after a quiet time.
    for n in 0..200 {
        let (writer, reader) = if n % 3 == 0 { (&one, &two) } else { (&two, &one) };
        let before = (writer.version().unwrap(), reader.version().unwrap());
        assert_eq!(before, (writer.version().unwrap(), reader.version().unwrap()));
        apply(&**writer, &[Change::EnsureUser(user(&format!("user-{n}")))]).unwrap();
        assert_ne!(before.0, writer.version().unwrap(), "{n}: the writer's own");
        assert_ne!(before.1, reader.version().unwrap(), "{n}: the other's");
    }
}

fn concurrent_adds_are_all_there(dir: &Path, open: Open<'_>) {
    std::thread::scope(|scope| {
        for n in 0..50 {
            scope.spawn(move || {
                let store = open(dir);
                apply(&*store, &[Change::EnsureUser(user("ada")), Change::AddKey(key("ada", n))]).unwrap();
            });
        }
    });
    assert_eq!(open(dir).keys(None).unwrap().len(), 50);
}

fn enrolment(owner: &str, n: u16, groups: &[&str]) -> Enrolment {
    Enrolment {
        key: key(owner, n),
        unsaid: Unsaid::default(),
        groups: strings(groups),
        scopes: strings(groups),
    }
}

fn enrol(store: &dyn Store, batch: &[Enrolment], then: Then) -> Vec<Enrolled> {
    let mut seen = Vec::new();
    let mut note = |fates: &[Enrolled]| {
        seen = fates.to_vec();
        Ok(then)
    };
    store.enrol(batch, 50, &mut note).unwrap();
    seen
}

fn enrolling_judges_each_key_by_itself(dir: &Path, open: Open<'_>) {
    let store = open(dir);
    apply(&*store, &[Change::EnsureUser(user("ada")), Change::AddKey(key("ada", 1))]).unwrap();
    let other = Enrolment { key: UserKey { expires_at: None, ..key("ada", 1) }, ..enrolment("ada", 1, &[]) };
    let renamed = Enrolment {
        key: UserKey { comment: "x".into(), source: Some("import".into()), added_at: 99, ..key("ada", 1) },
        ..enrolment("ada", 1, &[])
    };
    let batch = [
        enrolment("bob", 3, &["staff", "staff"]),
        enrolment("eve", 1, &["staff"]),
        renamed,
        enrolment("ada", 2, &[]),
    ];
    let before = store.version().unwrap();
    let tried = enrol(&*store, &batch, Then::RollBack);
    assert_eq!((store.totals().unwrap(), store.version().unwrap()), (Totals { users: 1, keys: 1 }, before));
    assert!(store.enrol(&batch, 50, &mut |_| Err(Error::internal("no record"))).is_err());
    assert_eq!(store.totals().unwrap(), Totals { users: 1, keys: 1 });

    let done = enrol(&*store, &batch, Then::Commit);
    assert_eq!(done, tried, "a trial says what would happen");
    let fates: Vec<_> = done.iter().map(|d| &d.key).collect();
    assert_eq!(fates, [&KeyFate::Added, &KeyFate::Taken(name("ada")), &KeyFate::Unchanged, &KeyFate::Added]);
    assert_eq!((done[0].groups.clone(), done[1].groups.clone()), (strings(&["staff"]), vec![]));
    assert_eq!(
        store.totals().unwrap(),
        Totals { users: 2, keys: 3 },
        "nobody is made for a key that is taken"
    );
    assert_eq!(store.key(&key("ada", 1).fingerprint).unwrap(), Some(key("ada", 1)), "unchanged is unchanged");
    assert_eq!(store.user(&name("bob")).unwrap().unwrap().groups, ["staff"]);

    assert_eq!(enrol(&*store, &[enrolment("bob", 3, &["staff", "ops"])], Then::Commit)[0].groups, ["ops"]);
    assert_eq!(enrol(&*store, std::slice::from_ref(&other), Then::Commit)[0].key, KeyFate::Changed);
    assert_eq!(store.key(&other.key.fingerprint).unwrap().as_ref(), Some(&other.key));

    // What nothing is said of stays, and what is said counts.
    let unsaid = Unsaid { expires_at: true, from: true, require_touch: false, require_verify: true };
    let plain = UserKey { expires_at: Some(99), from: vec![], require_touch: false, ..other.key.clone() };
    let loose = Enrolment { key: plain, unsaid, ..enrolment("ada", 1, &[]) };
    let expected = UserKey { require_touch: false, ..other.key };
    let done = enrol(&*store, std::slice::from_ref(&loose), Then::Commit).remove(0);
    assert_eq!((done.key, done.kept.as_deref()), (KeyFate::Changed, Some(&expected)));
    assert_eq!(store.key(&expected.fingerprint).unwrap(), Some(expected));
    assert_eq!(enrol(&*store, &[loose], Then::Commit)[0].key, KeyFate::Unchanged);
    assert_ne!(before, store.version().unwrap());
}

fn a_key_that_comes_back_is_no_longer_revoked(dir: &Path, open: Open<'_>) {
    let store = open(dir);
    let text = key("ada", 1).fingerprint.to_string();
    let revocation = |what, keep_until| StoredRevocation { what, created_at: 10, keep_until };
    let old = revocation(Revoked::SshKey { fingerprint: text, user: "ada".into() }, 70);
    let bystander =
        Revoked::SshKey { fingerprint: key("ada", 2).fingerprint.to_string(), user: "ada".into() };
    let bystander = revocation(bystander, 70);
    apply(&*store, &[Change::Revoke(old.clone()), Change::Revoke(bystander.clone())]).unwrap();
    enrol(&*store, &[enrolment("bob", 1, &[])], Then::Commit);
    let what = Revoked::Subject { sub: "ada".into(), issued_before: 49 };
    let new = StoredRevocation { what, created_at: 50, keep_until: 70 };
    assert_eq!(store.revocations(20).unwrap(), [bystander.clone(), new.clone()]);
    apply(&*store, &[Change::Revoke(old.clone())]).unwrap();
    enrol(&*store, &[enrolment("bob", 1, &[])], Then::Commit);
    assert_eq!(
        store.revocations(20).unwrap(),
        [bystander, old, new],
        "a key that was there all the time keeps it"
    );
}

fn what_ends_is_found_and_counted(dir: &Path, open: Open<'_>) {
    let store = open(dir);
    let ending = |n: u16, at| Enrolment {
        key: UserKey { expires_at: at, ..key("ada", n) },
        ..enrolment("ada", n, &[])
    };
    let batch =
        [ending(1, Some(30)), ending(2, None), ending(3, Some(10)), ending(4, Some(20)), ending(5, Some(40))];
    enrol(&*store, &batch, Then::Commit);
    let (first, all) = store.keys_ending(40, 2).unwrap();
    assert_eq!((first, all), (vec![batch[2].key.clone(), batch[3].key.clone()], 3));
    assert!(store.each_key(None, &mut |_| Err(Error::failed("enough"))).is_err());
}
