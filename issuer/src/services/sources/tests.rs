//! Sources beside a realm on a clock that stands still.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::backends::audit::Door;
use crate::config::{self, KeysBy};
use crate::services::fixture::realm;
use crate::services::keys::tests::enrol;
use crate::services::mint::{self, Ask, Caller};
use crate::services::{session, users};

const BOBS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICr3z7xPmzCcJrs4Ygv6BZ1hTCMJyNYhAG5UYAqz5aUr";

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

/// A source that a test makes up.
#[derive(Default)]
struct Made {
    knows: HashMap<&'static str, Answer>,
    group: Option<&'static str>,
    down: bool,
    asked: Arc<AtomicUsize>,
}

impl KeySource for Made {
    fn name(&self) -> &str {
        "made"
    }

    fn keys_of(&self, user: &UserName, _: bool, _: u64) -> Result<Answer> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        Ok(self.knows.get(user.as_str()).cloned().unwrap_or(Answer::Unknown))
    }

    fn each(&self, _: &[UserName], _: u64, each: &mut dyn FnMut(UserName, PublicKey)) -> Result<()> {
        for (user, answer) in &self.knows {
            if let Answer::User { keys, .. } = answer {
                keys.iter().for_each(|key| each(name(user), key.clone()));
            }
        }
        self.check()
    }

    fn restriction(&self) -> Option<&str> {
        self.group
    }

    fn check(&self) -> Result<()> {
        if self.down { Err(Error::internal("made is down")) } else { Ok(()) }
    }
}

fn bob(groups: &[&str]) -> Answer {
    let keys = vec![PublicKey::parse_line(BOBS, "key").unwrap()];
    Answer::User { keys, groups: groups.iter().map(|g| (*g).to_owned()).collect() }
}

fn with(mut realm: Realm, sources: Vec<Made>) -> Realm {
    // The settings say only that there are some.
    let settings = config::Directory { path: "keys".into(), groups: vec![] };
    realm.sources = Sources::new(&[Source::Directory(settings)], &realm.dir);
    let boxed = |made: Made| -> Box<dyn KeySource> { Box::new(made) };
    let sources = sources.into_iter().map(boxed).collect();
    assert!(realm.sources.opened.set(sources).is_ok());
    realm.sources.here.store(true, Ordering::Relaxed);
    realm
}

fn knows(user: &'static str, answer: Answer) -> Made {
    Made { knows: [(user, answer)].into(), ..Made::default() }
}

fn mint(realm: &Realm, user: &str, key: Fingerprint) -> Result<crate::services::mint::Minted> {
    let caller = Caller { user: name(user), key: Some(key), door: Door::Http, address: None };
    mint::mint(realm, &caller, &Ask::default())
}

#[test]
fn whoever_a_source_knows_can_log_in_by_every_door() {
    let (_parent, _clock, realm) = realm(KeysBy::Command);
    let realm = with(realm, vec![Made::default(), knows("bob", bob(&["staff"]))]);
    let key = PublicKey::parse_line(BOBS, "key").unwrap();
    let person = person(&realm, &name("bob")).unwrap().unwrap();
    assert_eq!((person.keys.len(), &person.user.groups[..]), (1, &["staff".to_owned()][..]));
    assert!(person.user.scopes.is_empty());
    assert_eq!(session::candidate(&realm, &key.blob, None).unwrap(), Some(name("bob")));
    assert_eq!(mint(&realm, "bob", key.fingerprint).unwrap().subject, name("bob"));
    assert!(super::person(&realm, &name("nobody")).unwrap().is_none());
    assert!(session::candidate(&realm, b"another", None).unwrap().is_none());
}

#[test]
fn the_stores_word_counts_most() {
    let (_parent, _clock, realm) = realm(KeysBy::Command);
    let own = enrol(&realm, "bob");
    users::edit_scopes(&realm, &name("bob"), &["read".into()], &[]).unwrap();
    let realm = with(realm, vec![knows("bob", bob(&["staff"]))]);
    let person = super::person(&realm, &name("bob")).unwrap().unwrap();
    assert_eq!((person.keys.len(), &person.user.scopes[..]), (2, &["read".to_owned()][..]));
    users::lock(&realm, &name("bob")).unwrap();
    let outside = PublicKey::parse_line(BOBS, "key").unwrap();
    for key in [own.fingerprint, outside.fingerprint] {
        assert_eq!(mint(&realm, "bob", key).err().unwrap().kind().exit_code(), 4);
    }
}

/// Attack: claim another's enrolled key through a source, and speak for its user.
#[test]
fn a_key_that_is_enrolled_here_is_whose_the_store_says() {
    let (_parent, _clock, realm) = realm(KeysBy::Command);
    let own = enrol(&realm, "ada");
    let claims = Answer::User { keys: vec![own.clone()], groups: vec![] };
    let realm = with(realm, vec![knows("eve", claims)]);
    assert!(person(&realm, &name("eve")).unwrap().unwrap().keys.is_empty());
    assert!(mint(&realm, "eve", own.fingerprint).is_err());
    assert_eq!(session::candidate(&realm, &own.blob, None).unwrap(), Some(name("ada")));
}

#[test]
fn a_key_that_two_users_have_is_nobodys_over_ssh() {
    let (_parent, _clock, realm) = realm(KeysBy::Command);
    let realm = with(realm, vec![knows("bob", bob(&[])), knows("eve", bob(&[]))]);
    let key = PublicKey::parse_line(BOBS, "key").unwrap();
    assert_eq!(session::candidate(&realm, &key.blob, None).unwrap(), None);
}

/// Attack: be thrown out of the group that may log in, and come back by way of the next source.
#[test]
fn a_restriction_holds_for_later_sources() {
    let key = PublicKey::parse_line(BOBS, "key").unwrap();
    let ldap = |knows: Made| Made { group: Some("ops"), ..knows };
    for (first, second, may) in [
        (knows("bob", Answer::Refused("not in it")), knows("bob", bob(&["ops"])), false),
        (Made::default(), knows("bob", bob(&[])), false),
        (Made::default(), knows("bob", bob(&["ops"])), true),
        (Made { down: true, ..Made::default() }, knows("bob", bob(&["ops"])), false),
    ] {
        let (_parent, _clock, realm) = realm(KeysBy::Command);
        let realm = with(realm, vec![ldap(first), second]);
        assert_eq!(mint(&realm, "bob", key.fingerprint).is_ok(), may);
    }
}

#[test]
fn a_source_that_is_down_is_not_an_empty_one() {
    let (_parent, clock, realm) = realm(KeysBy::Command);
    let own = enrol(&realm, "ada");
    let realm = with(realm, vec![Made { down: true, ..knows("bob", bob(&[])) }]);
    assert_eq!(person(&realm, &name("bob")).unwrap_err().message(), "made is down");
    assert_eq!(person(&realm, &name("nobody")).unwrap_err().message(), "made is down");
    assert_eq!(session::candidate(&realm, b"unknown", None).unwrap_err().message(), "made is down");
    // Those enrolled here go on, and who has another key learns that it may be known elsewhere.
    let ada = person(&realm, &name("ada")).unwrap().unwrap();
    assert!(ada.trouble.is_some() && ada.keys.len() == 1);
    assert!(mint(&realm, "ada", own.fingerprint).is_ok());
    clock.set(realm.now() + 1);
    assert_eq!(mint(&realm, "ada", Fingerprint([1; 32])).err().unwrap().message(), "made is down");
}

#[test]
fn every_source_is_asked_for_every_name() {
    let (_parent, _clock, realm) = realm(KeysBy::Command);
    let (first, second) = (knows("bob", bob(&[])), Made::default());
    let counts = [Arc::clone(&first.asked), Arc::clone(&second.asked)];
    enrol(&realm, "ada");
    let realm = with(realm, vec![first, second]);
    for (number, user) in ["ada", "bob", "nobody"].into_iter().enumerate() {
        let _ = person(&realm, &name(user)).unwrap();
        assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == number + 1), "{user}");
    }
}

#[test]
fn processes_without_network_ask_the_running_serve() {
    let (_parent, _clock, realm) = realm(KeysBy::Command);
    let dir = realm.dir.clone();
    let clock = Arc::clone(&realm.clock);
    let served = Arc::new(with(realm, vec![knows("bob", bob(&["staff"]))]));
    let mut asking = Realm::open(&dir, crate::realm::Access::Read, clock).unwrap();
    let settings = config::Directory { path: "keys".into(), groups: vec![] };
    asking.sources = Sources::new(&[Source::Directory(settings)], &dir);
    let key = PublicKey::parse_line(BOBS, "key").unwrap();
    assert!(session::candidate(&asking, &key.blob, None).unwrap_err().message().contains("does not run"));

    crate::doors::local::serve(&served).unwrap();
    assert_eq!(session::candidate(&asking, &key.blob, None).unwrap(), Some(name("bob")));
    assert_eq!(mint(&asking, "bob", key.fingerprint).unwrap().subject, name("bob"));
    assert_eq!(person(&asking, &name("bob")).unwrap().unwrap().user.groups, ["staff"]);
    assert_eq!(session::candidate(&asking, b"unknown", None).unwrap(), None);
    use std::os::unix::fs::PermissionsExt as _;
    let socket = std::fs::metadata(dir.join(local::SOCKET)).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}
