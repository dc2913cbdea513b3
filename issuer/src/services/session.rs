//! What happens inside an ssh session, the same behind sshd's forced command and behind our own server.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::backends::audit::{Door, Record};
use crate::backends::store::Fingerprint;
use crate::clock::random;
use crate::config::Format;
use crate::duration::Seconds;
use crate::error::{Error, Kind, Result};
use crate::names::UserName;
use crate::realm::Realm;
use crate::services::mint::{self, Caller, Minted, format_name};
use crate::services::sources;
use crate::services::words::{self, Words};

/// What the client gets, and what the host's log gets.
pub struct Reply {
    /// For the client; of a token, it and a newline and nothing else.
    pub stdout: Zeroizing<String>,
    /// For the client: an error line and its hint.
    pub stderr: String,
    /// Design, section 7.
    pub exit: u8,
    /// One line for the host's log. Of a token, what it says, never the token.
    pub log: Option<String>,
}

/// Carries out what a client with a proven key asks for.
pub fn answer(realm: &Realm, caller: &Caller, command: Option<&[u8]>) -> Reply {
    match Words::parse(command).and_then(|words| carry_out(realm, caller, words)) {
        Ok(reply) => reply,
        Err(error) => failure(&error),
    }
}

/// The user that an offered key would speak for, if its owner proves it. Changes and records nothing: a client
/// offers every key that it has, and whoever wants to know whose a key is can offer it too.
///
/// One look-up, whatever comes of it: a refusal tells nothing by its work (CVE-2016-20012 and its kin). A locked user
/// may log in, to be told so by the mint; an unusable key may not.
pub fn candidate(realm: &Realm, blob: &[u8], address: Option<IpAddr>) -> Result<Option<UserName>> {
    let key = sources::key(realm, &Fingerprint::of(blob))?;
    let usable = key.filter(|key| {
        key.expires_at.is_none_or(|at| realm.now() < at) && mint::comes_from(&key.from, address)
    });
    Ok(usable.map(|key| key.user))
}

/// How often the refusal of a key that the realm does not know is recorded, in seconds.
const STRANGERS_EVERY: u64 = 10;

/// Refusals of keys that nobody here has. Anybody can make such a key and prove it, as often as they like; a record
/// for each would let them fill the disk, and without a record nobody gets a token.
#[derive(Debug, Default)]
pub struct Strangers {
    /// When one was last recorded, and how many were not since.
    last: Mutex<(u64, u64)>,
}

impl Strangers {
    /// How many went unrecorded before this one, if this one is to be recorded.
    pub(super) fn record_now(&self, now: u64) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not silence it.
        if last.0 <= now && now < last.0.saturating_add(STRANGERS_EVERY) {
            last.1 = last.1.saturating_add(1);
            return None;
        }
        let before = last.1;
        *last = (now, 0);
        Some(before)
    }
}

/// Records that a proven key was turned away before a session began: each one that the realm knows, and of others
/// one now and then, with how many there were between.
pub fn refused(realm: &Realm, blob: &[u8], address: Option<IpAddr>, reason: &'static str) {
    let fingerprint = Fingerprint::of(blob);
    let owner = realm.store.key(&fingerprint).ok().flatten().map(|k| k.user.to_string());
    let unrecorded = match &owner {
        Some(_) => 0,
        None => match realm.strangers.record_now(realm.now()) {
            Some(before) => before,
            None => return,
        },
    };
    let mut given = json!({"reason": reason});
    if let (Some(given), true) = (given.as_object_mut(), unrecorded > 0) {
        given.insert("unrecorded_before".to_owned(), unrecorded.into());
    }
    let record = Record {
        action: "login",
        subject: owner,
        fingerprint: Some(fingerprint.to_string()),
        door: Door::SshOwn,
        address: address.map(|a| a.to_string()),
        asked: Value::Null,
        given,
        outcome: "refused",
        id: None,
    };
    // Turned away it is either way.
    let _ = realm.audit.append(realm.now(), &record, false);
}

/// What a client is told of a failure. Of what is broken here it learns an id, which the log has too.
#[must_use]
pub fn failure(error: &Error) -> Reply {
    if mint::is_for_clients(error) {
        let hint = error.hint_text().map(|h| format!("seamless: hint: {h}\n")).unwrap_or_default();
        return Reply {
            stdout: Zeroizing::default(),
            stderr: format!("seamless: error: {}\n{hint}", error.message()),
            exit: error.kind().exit_code(),
            log: None,
        };
    }
    let id =
        random::<4>().map_or_else(|_| "unknown".to_owned(), |b| format!("{:08x}", u32::from_be_bytes(b)));
    Reply {
        stdout: Zeroizing::default(),
        stderr: format!(
            "seamless: error: no token now, the trouble is on this side\nseamless: hint: tell the administrator the id {id}\n"
        ),
        exit: Kind::Internal.exit_code(),
        log: Some(format!(
            "error {id}: {}{}",
            error.message(),
            error.hint_text().map(|h| format!("; hint: {h}")).unwrap_or_default()
        )),
    }
}

fn carry_out(realm: &Realm, caller: &Caller, words: Words) -> Result<Reply> {
    match words {
        Words::Help => Ok(plain(words::HELP.to_owned())),
        Words::Token { ask, json } => {
            let minted = mint::mint(realm, caller, &ask)?;
            let log = Some(log_line(&minted, caller));
            let stdout =
                if json { token_json(&minted) } else { Zeroizing::new(format!("{}\n", *minted.token)) };
            Ok(Reply { stdout, stderr: String::new(), exit: 0, log })
        }
        Words::Whoami { json } => whoami(realm, caller, json),
        Words::Keys { json } => keys(realm, caller, json),
    }
}

/// RFC 6749 section 5.1, plus the subject.
#[must_use]
pub fn token_json(minted: &Minted) -> Zeroizing<String> {
    let kind = match minted.format {
        Format::Jwt => "Bearer",
        Format::Seamless => "seamless",
    };
    let mut body = json!({
        "access_token": *minted.token,
        "token_type": kind,
        "expires_in": minted.expires_in,
        "subject": minted.subject.as_str(),
    });
    if let (Some(object), false) = (body.as_object_mut(), minted.scopes.is_empty()) {
        object.insert("scope".to_owned(), Value::from(minted.scopes.join(" ")));
    }
    let text = Zeroizing::new(format!("{body}\n"));
    if let Some(Value::String(token)) = body.get_mut("access_token") {
        zeroize::Zeroize::zeroize(token);
    }
    text
}

/// `ada  SHA256:…  jwt  aud=…  5m`
fn log_line(minted: &Minted, caller: &Caller) -> String {
    let key = caller.key.map_or_else(|| "-".to_owned(), |k| k.to_string());
    let audience = if minted.audiences.is_empty() { "-".to_owned() } else { minted.audiences.join(",") };
    format!(
        "{}  {key}  {}  aud={audience}  {}",
        minted.subject,
        format_name(minted.format),
        Seconds(minted.expires_in)
    )
}

fn whoami(realm: &Realm, caller: &Caller, json: bool) -> Result<Reply> {
    let (user, key) = mint::authorise(realm, caller, realm.now())?;
    let fingerprint = caller.key.map(|k| k.to_string());
    if json {
        let expires_at = key.and_then(|k| k.expires_at);
        return Ok(plain(format!(
            "{}\n",
            json!({"user": user.name.as_str(), "realm": realm.name.as_str(), "key": fingerprint,
                   "key_expires_at": expires_at, "groups": user.groups, "scopes": user.scopes})
        )));
    }
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(" ") };
    Ok(plain(format!(
        "user    {}\nrealm   {}\nkey     {}\ngroups  {}\nscopes  {}\n",
        user.name,
        realm.name,
        fingerprint.unwrap_or_else(|| "-".to_owned()),
        list(&user.groups),
        list(&user.scopes)
    )))
}

fn keys(realm: &Realm, caller: &Caller, json: bool) -> Result<Reply> {
    mint::authorise(realm, caller, realm.now())?;
    let keys = sources::person(realm, &caller.user)?.map(|person| person.keys).unwrap_or_default();
    if json {
        let list: Vec<_> = keys
            .iter()
            .map(|k| {
                json!({"fingerprint": k.fingerprint.to_string(), "type": k.algorithm, "comment": k.comment,
                            "expires_at": k.expires_at, "this": Some(k.fingerprint) == caller.key})
            })
            .collect();
        return Ok(plain(format!("{}\n", Value::from(list))));
    }
    let line = |k: &crate::backends::store::UserKey| {
        let mark = if Some(k.fingerprint) == caller.key { "*" } else { " " };
        format!("{mark} {}  {}  {}\n", k.fingerprint, k.algorithm, k.comment)
    };
    Ok(plain(keys.iter().map(line).collect()))
}

fn plain(text: String) -> Reply {
    Reply { stdout: Zeroizing::new(text), stderr: String::new(), exit: 0, log: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::audit::Filter;
    use crate::config::KeysBy;
    use crate::services::fixture::{NOW, realm};
    use crate::services::keys::tests::enrol;

    fn logins(realm: &Realm) -> Vec<Value> {
        let filter = Filter { action: Some("login".into()), ..Filter::default() };
        realm.audit.read(&filter).unwrap()
    }

    /// Attack: prove keys of one's own making for days, until the disk is full and nobody gets a token.
    #[test]
    fn strangers_do_not_fill_the_disk() {
        let (_parent, clock, realm) = realm(KeysBy::File);
        let known = enrol(&realm, "ada");
        for second in 0..20 {
            clock.set(NOW + second);
            for number in 0..10 {
                refused(&realm, &[number; 51], None, "not a key of an active user");
            }
        }
        let records = logins(&realm);
        assert_eq!(records.len(), 2, "one in ten seconds");
        assert_eq!(
            (&records[0]["given"]["unrecorded_before"], &records[1]["given"]["unrecorded_before"]),
            (&Value::Null, &Value::from(99)),
            "and how many there were between"
        );
        for _ in 0..3 {
            refused(&realm, &known.blob, None, "expired");
        }
        assert_eq!(logins(&realm).len(), 5, "what the realm knows is recorded each time");
        clock.set(NOW + 19 - 50);
        refused(&realm, &[9; 51], None, "not a key of an active user");
        assert_eq!(logins(&realm).len(), 6, "a clock that was set back does not silence it");
    }
}
