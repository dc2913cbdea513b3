//! Pages of public keys, such as `https://github.com/ada.keys`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Answer, KeySource, usable};
use crate::backends::http_get::{self, Fetched, HttpsUrl};
use crate::config;
use crate::error::{Error, Result};
use crate::names::UserName;
use crate::public_key::PublicKey;

/// The most pages that are remembered, and the most users that are looked up for a key.
const MOST: usize = 10_000;

/// Pages by user, kept for a while.
pub struct Pages {
    name: String,
    /// What stands before and behind the user's name.
    template: (String, String),
    settings: config::Pages,
    kept: Mutex<HashMap<UserName, Page>>,
}

#[derive(Clone)]
struct Page {
    /// None: there is no such page.
    keys: Option<Vec<PublicKey>>,
    etag: Option<String>,
    /// When it was last known to be so.
    seen: u64,
    /// When nobody answered, if that was the last of it.
    failed: Option<u64>,
}

impl Pages {
    /// As the settings say.
    pub fn new(settings: &config::Pages) -> Result<Self> {
        let (before, after) =
            settings.url.split_once("{user}").ok_or_else(|| Error::internal("the URL has no {user}"))?;
        Ok(Self {
            name: format!("url {}", settings.url),
            template: (before.to_owned(), after.to_owned()),
            settings: settings.clone(),
            kept: Mutex::default(),
        })
    }

    /// The page of a user. Of the letters that a name can have, two mean something in a URL.
    fn url(&self, user: &UserName) -> Result<HttpsUrl> {
        let encoded = user.as_str().replace('+', "%2B").replace('@', "%40");
        HttpsUrl::parse(&format!("{}{encoded}{}", self.template.0, self.template.1))
    }

    fn page(&self, user: &UserName, now: u64) -> Result<Page> {
        let kept = self.kept().get(user).cloned();
        let age = |since: u64| now.checked_sub(since).unwrap_or(u64::MAX);
        if let Some(page) = kept.as_ref().filter(|page| age(page.seen) < self.settings.fresh.0) {
            return Ok(page.clone());
        }
        let usable_still = |page: &&Page| age(page.seen) < self.settings.stale.0;
        // Where nobody answers, one asks again now and then, and not at every log-in.
        const RETRY: u64 = 10;
        let failed_lately = |page: &&Page| page.failed.is_some_and(|at| age(at) < RETRY);
        if let Some(page) = kept.as_ref().filter(usable_still).filter(failed_lately) {
            return Ok(page.clone());
        }
        let etag = kept.as_ref().filter(|page| page.keys.is_some()).and_then(|page| page.etag.as_deref());
        let page = match (http_get::page(&self.url(user)?, etag), kept) {
            (Ok(Fetched::New { text, etag }), _) => {
                Page { keys: Some(usable(&text, &self.name)), etag, seen: now, failed: None }
            }
            (Ok(Fetched::None), _) => Page { keys: None, etag: None, seen: now, failed: None },
            (Ok(Fetched::Same), Some(page)) => Page { seen: now, failed: None, ..page },
            (Ok(Fetched::Same), None) => {
                return Err(Error::failed("it says that nothing changed since never"));
            }
            (Err(_), Some(page)) if usable_still(&&page) => Page { failed: Some(now), ..page },
            (Err(error), _) => return Err(error),
        };
        let mut kept = self.kept();
        if kept.len() >= MOST && !kept.contains_key(user) {
            kept.clear();
        }
        kept.insert(user.clone(), page.clone());
        Ok(page)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<UserName, Page>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeySource for Pages {
    fn name(&self) -> &str {
        &self.name
    }

    fn keys_of(&self, user: &UserName, known: bool, now: u64) -> Result<Answer> {
        // The whole world has pages there.
        if !known && !self.settings.any_user {
            return Ok(Answer::Unknown);
        }
        Ok(match self.page(user, now)?.keys {
            Some(keys) => Answer::User { keys, groups: self.settings.groups.clone() },
            None => Answer::Unknown,
        })
    }

    fn each(&self, known: &[UserName], now: u64, each: &mut dyn FnMut(UserName, PublicKey)) -> Result<()> {
        let mut trouble = None;
        for user in known.iter().take(MOST) {
            match self.page(user, now) {
                Ok(page) => page.keys.unwrap_or_default().into_iter().for_each(|key| each(user.clone(), key)),
                // It is down: asking for ten thousand more would take all day.
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    fn check(&self) -> Result<()> {
        // Whoever it is: a page, or none, is an answer.
        http_get::page(&self.url(&"seamless".parse()?)?, None).map(|_| ())
    }
}
