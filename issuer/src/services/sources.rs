//! Whose keys may log in: those of the realm's own store first, then those of the sources in its settings.

use std::collections::HashMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::backends::sources::local::{self, Question, Reply};
use crate::backends::sources::{self, Answer, KeySource};
use crate::backends::store::{Fingerprint, User, UserKey};
use crate::config::Source;
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::public_key::PublicKey;
use crate::realm::Realm;

/// A user and the keys that it may log in with.
#[derive(Clone, Debug)]
pub struct Person {
    /// The user. Who is in a source alone has no scopes.
    pub user: User,
    /// Its keys, the oldest first, expired ones among them; those of a source behind those enrolled here.
    pub keys: Vec<UserKey>,
    /// Why there may be more keys: a source is down.
    pub trouble: Option<Error>,
}

/// The sources of a realm, as far as they were asked yet.
pub struct Sources {
    settings: Vec<Source>,
    dir: PathBuf,
    /// Whether this process asks them itself. All but `serve` ask `serve`.
    here: AtomicBool,
    opened: OnceLock<Vec<Box<dyn KeySource>>>,
    index: Mutex<Index>,
}

/// Which user has which key: an ssh client offers a key and says no name.
#[derive(Default)]
struct Index {
    /// When it was made, in Unix seconds.
    at: Option<u64>,
    /// None: two users have it, so it is nobody's.
    owners: HashMap<Fingerprint, Option<UserName>>,
    /// How long making it took, in seconds.
    took: u64,
    trouble: Option<Error>,
}

/// How old the index may be where it has the key, and where it does not.
const HIT_FOR: u64 = 300;
const MISS_FOR: u64 = 5;
/// Whoever offers keys that nobody has makes it anew. A source that takes long to list is asked for no more than this part
/// of the time.
const SHARE: u64 = 20;

/// The user of that name. Asks the same for every name, known or not, so that the answer's time tells nothing of the
/// store. The store's word counts most: who is locked there is locked.
pub fn person(realm: &Realm, name: &UserName) -> Result<Option<Person>> {
    let user = realm.store.user(name)?;
    let mut keys = realm.store.keys(Some(name))?;
    if realm.sources.settings.is_empty() {
        return Ok(user.map(|user| Person { user, keys, trouble: None }));
    }
    let (answer, trouble) = match realm.sources.ask(realm, name, user.is_some()) {
        Ok(answer) => (answer, None),
        // Those enrolled here may go on.
        Err(error) if user.is_some() && !keys.is_empty() => (Answer::Unknown, Some(error)),
        Err(error) => return Err(error),
    };
    let Answer::User { keys: more, groups } = answer else {
        return Ok(user.map(|user| Person { user, keys, trouble }));
    };
    let mut user = user.unwrap_or_else(|| User {
        name: name.clone(),
        locked: false,
        groups: Vec::new(),
        scopes: Vec::new(),
        created_at: 0,
    });
    user.groups.extend(groups);
    user.groups.sort();
    user.groups.dedup();
    for key in more {
        // One key, one user: what is enrolled here is whose the store says.
        if !keys.iter().any(|own| own.fingerprint == key.fingerprint)
            && realm.store.key(&key.fingerprint)?.is_none()
        {
            keys.push(from_outside(name, key));
        }
    }
    Ok(Some(Person { user, keys, trouble }))
}

/// The key with that fingerprint, for whoever offers or proved it over ssh.
pub fn key(realm: &Realm, fingerprint: &Fingerprint) -> Result<Option<UserKey>> {
    let own = realm.store.key(fingerprint)?;
    if own.is_some() || realm.sources.settings.is_empty() {
        return Ok(own);
    }
    let Some(owner) = realm.sources.owner(realm, fingerprint)? else { return Ok(None) };
    // The list may be a few minutes old; what counts is what the source says now.
    let person = person(realm, &owner)?;
    Ok(person.and_then(|person| person.keys.into_iter().find(|key| key.fingerprint == *fingerprint)))
}

/// A user, and the key that it proved.
pub fn proven(
    realm: &Realm,
    name: &UserName,
    key: Option<Fingerprint>,
) -> Result<(Option<User>, Option<UserKey>)> {
    if realm.sources.settings.is_empty() {
        let user = realm.store.user(name)?;
        let key = key.map(|fingerprint| realm.store.key(&fingerprint)).transpose()?.flatten();
        return Ok((user, key.filter(|key| key.user == *name)));
    }
    let Some(person) = person(realm, name)? else { return Ok((None, None)) };
    let found = person.keys.into_iter().find(|own| Some(own.fingerprint) == key);
    match (found, key, person.trouble) {
        (None, Some(_), Some(error)) => Err(error),
        (found, ..) => Ok((Some(person.user), found)),
    }
}

/// Opens the socket at which [`answer`] is asked, and asks the sources here from now on.
pub fn listen(realm: &Realm) -> Result<UnixListener> {
    realm.sources.here.store(true, Ordering::Relaxed);
    local::listen(&realm.dir)
}

/// Answers a process of this realm that does no network.
pub fn answer(realm: &Realm, stream: UnixStream) -> std::io::Result<()> {
    local::answer(stream, |question| reply(realm, question))
}

fn reply(realm: &Realm, question: Question) -> Reply {
    let error = |error: Error| Reply::Error(error.message().to_owned());
    match question {
        Question::User { name, known } => match name.parse() {
            Ok(name) => match realm.sources.ask(realm, &name, known) {
                Ok(Answer::User { keys, groups }) => {
                    Reply::User { keys: keys.iter().map(PublicKey::to_line).collect(), groups }
                }
                Ok(Answer::Unknown | Answer::Refused(_)) => Reply::Unknown,
                Err(e) => error(e),
            },
            Err(_) => Reply::Unknown,
        },
        Question::Key(fingerprint) => match Fingerprint::parse(&fingerprint) {
            Some(fingerprint) => match realm.sources.owner(realm, &fingerprint) {
                Ok(Some(owner)) => Reply::Owner(owner.to_string()),
                Ok(None) => Reply::Unknown,
                Err(e) => error(e),
            },
            None => Reply::Unknown,
        },
    }
}

impl Sources {
    /// Of these settings, for the realm in `dir`.
    #[must_use]
    pub fn new(settings: &[Source], dir: &Path) -> Self {
        Self {
            settings: settings.to_vec(),
            dir: dir.to_owned(),
            here: AtomicBool::new(false),
            opened: OnceLock::new(),
            index: Mutex::default(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// All of them, in the order in which they are asked.
    pub fn all(&self) -> Result<&[Box<dyn KeySource>]> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = self.settings.iter().map(|s| sources::open(s, &self.dir)).collect::<Result<Vec<_>>>()?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn ask(&self, realm: &Realm, name: &UserName, known: bool) -> Result<Answer> {
        if !self.here.load(Ordering::Relaxed) {
            return local::keys_of(&self.dir, name, known);
        }
        ask_all(self.all()?, name, known, realm.now())
    }

    fn owner(&self, realm: &Realm, fingerprint: &Fingerprint) -> Result<Option<UserName>> {
        if !self.here.load(Ordering::Relaxed) {
            return local::owner(&self.dir, fingerprint);
        }
        let now = realm.now();
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let age = index.at.and_then(|at| now.checked_sub(at)).unwrap_or(u64::MAX);
        let miss_for = MISS_FOR.max(index.took.saturating_mul(SHARE)).min(HIT_FOR);
        let most = if index.owners.contains_key(fingerprint) { HIT_FOR } else { miss_for };
        if age >= most {
            index.make_anew(self.all()?, &self.known(realm)?, now);
        }
        match (index.owners.get(fingerprint), &index.trouble) {
            (Some(owner), _) => Ok(owner.clone()),
            (None, Some(trouble)) => Err(trouble.clone()),
            (None, None) => Ok(None),
        }
    }

    /// The names in the store, for sources that have no list of their own.
    fn known(&self, realm: &Realm) -> Result<Vec<UserName>> {
        let mut names = Vec::new();
        if self.settings.iter().any(|source| matches!(source, Source::Url(_) | Source::Github(_))) {
            realm.store.each_user(&mut |user| {
                names.push(user.name);
                Ok(())
            })?;
        }
        Ok(names)
    }
}

impl Index {
    fn make_anew(&mut self, sources: &[Box<dyn KeySource>], known: &[UserName], now: u64) {
        let began = std::time::Instant::now();
        let mut owners = HashMap::<Fingerprint, Option<UserName>>::new();
        let mut trouble = None;
        for source in sources {
            let listed = source.each(known, now, &mut |user, key| {
                let owner = owners.entry(key.fingerprint).or_insert_with(|| Some(user.clone()));
                if owner.as_ref() != Some(&user) {
                    *owner = None;
                }
            });
            if let Err(error) = listed {
                trouble.get_or_insert(error);
            }
        }
        if trouble.is_some() {
            // What was known before is still worth a question: the source is asked anyway.
            for (fingerprint, owner) in self.owners.drain() {
                owners.entry(fingerprint).or_insert(owner);
            }
        }
        *self = Self { at: Some(now), owners, took: began.elapsed().as_secs(), trouble };
    }
}

/// The first source that knows the user decides. All are asked, so that the answer's time does not tell which did.
fn ask_all(sources: &[Box<dyn KeySource>], name: &UserName, known: bool, now: u64) -> Result<Answer> {
    let mut decided: Option<Result<Answer>> = None;
    let mut required: Vec<&str> = Vec::new();
    for source in sources {
        let answer = source.keys_of(name, known, now);
        if decided.is_none() {
            decided = match answer {
                Ok(Answer::Unknown) => None,
                Ok(Answer::User { groups, .. })
                    if !required.iter().all(|r| groups.iter().any(|g| g == r)) =>
                {
                    Some(Ok(Answer::Refused("an earlier source lets members of a group in alone")))
                }
                Ok(answer) => Some(Ok(answer)),
                Err(error) => Some(Err(error)),
            };
        }
        required.extend(source.restriction());
    }
    decided.unwrap_or(Ok(Answer::Unknown))
}

fn from_outside(user: &UserName, key: PublicKey) -> UserKey {
    UserKey {
        fingerprint: key.fingerprint,
        user: user.clone(),
        algorithm: key.algorithm.to_owned(),
        blob: key.blob,
        comment: key.comment,
        expires_at: None,
        from: Vec::new(),
        require_touch: false,
        require_verify: false,
        added_at: 0,
        source: None,
    }
}

#[cfg(test)]
mod tests;
