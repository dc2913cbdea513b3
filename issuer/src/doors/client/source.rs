//! Where tokens come from: a log-in server with what is asked of it, by the user's own words alone.
//!
//! A service never says where to log in or for whom its token is to be: one that could would have tokens made for
//! others. The user's flags say it, or an entry of the user's servers.toml; else a service is its own log-in server.

use client::servers::{Servers, Service};
use client::{Cache, Destination, Options, Token, Wish};

use crate::clock::{Clock as _, SystemClock};
use crate::error::{Error, Kind, Result};

use super::asked::Asked;
use super::url::Url;

/// One token's origin.
pub(super) struct Source {
    login: Destination,
    wish: Wish,
    options: Options,
    cached: bool,
}

impl Source {
    /// As the flags say.
    pub(super) fn asked(login: &str, asked: &Asked) -> Result<Self> {
        let login = login.parse().map_err(of_client)?;
        Ok(Self { login, wish: asked.wish()?, options: asked.options(), cached: !asked.no_cache })
    }

    /// For a service: by its entry where flags say nothing else, or by the service's own log-in.
    pub(super) fn of(url: &Url, asked: &Asked) -> Result<Self> {
        match service(url)? {
            Some(service) => Self::by(&service, url, asked),
            None => Self::asked(url.origin(), asked),
        }
    }

    /// For a service that has an entry, with that entry.
    pub(super) fn listed(url: &Url) -> Result<Option<(Self, Service)>> {
        let Some(service) = service(url)? else { return Ok(None) };
        Ok(Some((Self::by(&service, url, &Asked::default())?, service)))
    }

    fn by(service: &Service, url: &Url, asked: &Asked) -> Result<Self> {
        let login = service.login.clone().unwrap_or_else(|| url.origin().to_owned());
        let or = |said: &[String], listed: &[String]| if said.is_empty() { listed } else { said }.to_vec();
        let asked = Asked {
            user: asked.user.clone().or_else(|| service.user.clone()),
            audience: or(&asked.audience, &service.audiences),
            scope: or(&asked.scope, &service.scopes),
            format: asked.format.clone().or_else(|| service.format.clone()),
            ..asked.clone()
        };
        Self::asked(&login, &asked)
    }

    /// Nobody is asked for anything.
    pub(super) fn silent(mut self, silent: bool) -> Self {
        self.options.interactive &= !silent;
        self
    }

    /// A token with some life left: the kept one, or a new one.
    pub(super) fn token(&self) -> Result<Token> {
        if !self.cached {
            return client::fetch(&self.login, &self.wish, &self.options).map_err(of_client);
        }
        let cache = Cache::open(None).map_err(of_client)?;
        cache.token(&self.login, &self.wish, &self.options, SystemClock.now()).map_err(of_client)
    }

    /// The next one is new.
    pub(super) fn forget(&self) -> Result<()> {
        let cache = Cache::open(None).map_err(of_client)?;
        cache.forget(&self.login, &self.wish, &self.options).map_err(of_client)
    }
}

/// The entry whose URL is the longest beginning of this one.
pub(super) fn service(url: &Url) -> Result<Option<Service>> {
    let servers = Servers::read().map_err(of_client)?;
    Ok(servers.find(&url.to_string()).cloned())
}

/// Whether services of this origin are told apart by their paths.
pub(super) fn is_shared(url: &Url) -> Result<bool> {
    let by_path = |entry: Service| {
        entry.url.parse().is_ok_and(|known: Url| known.origin() == url.origin() && known.path() != "/")
    };
    Ok(services()?.into_iter().any(by_path))
}

/// All entries.
pub(super) fn services() -> Result<Vec<Service>> {
    Servers::read().map(|servers| servers.service).map_err(of_client)
}

/// The user's side has an error of its own; its words are ours.
pub(super) fn of_client(error: client::Error) -> Error {
    use client::Kind as K;
    let kind = match error.kind {
        K::Usage => Kind::Usage,
        K::Refused => Kind::Policy,
        K::Internal => Kind::Internal,
        _ => Kind::Failed,
    };
    let ours = Error::new(kind, error.message);
    match error.hint {
        Some(hint) => ours.hint(hint),
        None => ours,
    }
}
