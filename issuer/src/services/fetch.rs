//! Public keys from GitHub or a URL, fetched once. What is enrolled is what was seen: nothing is fetched again.

use crate::backends::http_get::{self, HttpsUrl};
use crate::backends::store::Fingerprint;
use crate::error::{Error, Result};
use crate::names::shorten;
use crate::public_key::PublicKey;
use crate::realm::Realm;
use crate::services::keys::{self, Conditions};

/// A place that publishes somebody's keys.
#[derive(Clone, Debug)]
pub struct Place {
    url: HttpsUrl,
    /// As the store has it.
    pub source: String,
    github: Option<String>,
}

/// What was found there.
#[derive(Debug)]
pub struct Found {
    /// What may be enrolled, each once.
    pub keys: Vec<PublicKey>,
    /// What may not, and why.
    pub unusable: Vec<String>,
}

impl Place {
    /// `https://github.com/NAME.keys`. `base` stands for `https://github.com` in tests and is of this machine.
    pub fn github(name: &str, base: Option<&str>) -> Result<Self> {
        // GitHub's alphabet; managed users have an underscore before their company's short name.
        let good = (1..=39).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !good {
            return Err(Error::usage(format!("{:?} is not a name of GitHub's", shorten(name)))
                .hint("up to 39 letters, digits and hyphens, without @"));
        }
        if let Some(base) = base {
            let authority = base.strip_prefix("https://").unwrap_or_default();
            if !crate::config::is_loopback_authority(authority) {
                return Err(Error::usage("GitHub is at github.com"));
            }
        }
        let url = HttpsUrl::parse(&format!("{}/{name}.keys", base.unwrap_or("https://github.com")))?;
        Ok(Self { url, source: format!("github:{name}"), github: Some(name.to_owned()) })
    }

    /// Any https URL that answers lines such as those of a `.pub` file.
    pub fn url(text: &str) -> Result<Self> {
        let url = HttpsUrl::parse(text)?;
        Ok(Self { source: url.public().to_owned(), url, github: None })
    }

    fn name(&self) -> String {
        self.github.as_ref().map_or_else(|| self.source.clone(), |name| format!("{name} at GitHub"))
    }
}

/// Fetches the keys, and sorts out those that can't be enrolled under these conditions.
pub fn fetch(realm: &Realm, place: &Place, conditions: &Conditions) -> Result<Found> {
    let Some(text) = http_get::keys(&place.url)? else {
        return Err(match &place.github {
            Some(name) => {
                Error::failed(format!("GitHub has no user {name}")).hint("it may have another name there")
            }
            None => Error::failed(format!("there is nothing at {}", place.url.public())),
        });
    };
    sort(&text, place, conditions, realm.now())
}

/// Of the keys that were found those with the fingerprints that were asked for; all of these must be there.
pub fn choose(found: Vec<PublicKey>, pins: &[Fingerprint], place: &Place) -> Result<Vec<PublicKey>> {
    if let Some(missing) = pins.iter().find(|pin| !found.iter().any(|key| key.fingerprint == **pin)) {
        return Err(Error::failed(format!("{} has no usable key {missing}", place.name()))
            .hint("nothing was enrolled; ask the key's owner for the fingerprint: ssh-keygen -lf KEY.pub"));
    }
    Ok(if pins.is_empty() {
        found
    } else {
        found.into_iter().filter(|key| pins.contains(&key.fingerprint)).collect()
    })
}

fn sort(text: &str, place: &Place, conditions: &Conditions, now: u64) -> Result<Found> {
    let mut found = Found { keys: Vec::new(), unusable: Vec::new() };
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = format!("line {}", number + 1);
        let key = PublicKey::parse_line(line, &name)
            .and_then(|key| keys::check(&key, conditions, now).map(|()| key));
        match key {
            Ok(key) if found.keys.iter().any(|k| k.fingerprint == key.fingerprint) => {}
            Ok(key) => found.keys.push(key),
            Err(error) if error.message().starts_with(&name) => {
                found.unusable.push(error.message().to_owned())
            }
            Err(error) => found.unusable.push(format!("{name}: {}", error.message())),
        }
    }
    if found.keys.is_empty() {
        let name = place.name();
        return Err(match found.unusable.first() {
            None => Error::failed(format!("{name} has no keys")),
            Some(first) if found.unusable.len() == 1 => {
                Error::failed(format!("{name} has no usable key: {first}"))
            }
            Some(first) => Error::failed(format!(
                "{name} has {} keys and none that is usable; the first: {first}",
                found.unusable.len()
            )),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn names_are_github_s() {
        for good in ["ada", "a-b", "A1", "octo_corp", &"a".repeat(39)] {
            assert_eq!(Place::github(good, None).unwrap().source, format!("github:{good}"));
        }
        for bad in
            ["", "@ada", "-a", "a/../b", "a.keys?", "ada%2f", "a b", "a\n", "späß", "_a", &"a".repeat(40)]
        {
            assert!(Place::github(bad, None).is_err(), "{bad:?}");
        }
        for base in ["https://evil.example", "http://127.0.0.1:1", "https://127.0.0.1@evil", ""] {
            assert!(Place::github("ada", Some(base)).is_err(), "{base:?}");
        }
    }

    #[test]
    fn what_is_no_usable_key_is_named() {
        let place = Place::github("ada", None).unwrap();
        let read = |text: &str| sort(text, &place, &Conditions::default(), 1);
        let found = read(&format!("{KEY}\n\n{KEY} again\nssh-dss AAAA\ncommand=\"x\" {KEY}\n")).unwrap();
        assert_eq!((found.keys.len(), found.unusable.len()), (1, 2), "{found:?}");
        assert!(found.unusable[0].starts_with("line 4 is a DSA key"), "{found:?}");
        assert!(read("").unwrap_err().message().ends_with("ada at GitHub has no keys"));
        assert!(read("hello world").unwrap_err().message().contains("no usable key: line 1 is not"));
        let touch = Conditions { require_touch: true, ..Conditions::default() };
        assert!(sort(KEY, &place, &touch, 1).unwrap_err().message().contains("authenticator"));
    }

    #[test]
    fn a_pinned_key_must_be_there() {
        let place = Place::url("https://keys.example/ada?x=secret").unwrap();
        assert_eq!(place.source, "https://keys.example/ada");
        let key = PublicKey::parse_line(KEY, "key").unwrap();
        let chosen = choose(vec![key.clone()], &[key.fingerprint], &place).unwrap();
        assert_eq!(chosen, std::slice::from_ref(&key));
        let error = choose(vec![key.clone()], &[key.fingerprint, Fingerprint::of(b"x")], &place).unwrap_err();
        assert!(error.message().contains("has no usable key SHA256:"), "{error}");
        assert_eq!(choose(vec![key.clone()], &[], &place).unwrap(), [key]);
    }
}
