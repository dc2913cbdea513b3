//! Over HTTP: a challenge that an ssh-agent signs.

use std::sync::Arc;

use crtauth::agent::Identity;
use crtauth::client::{self as protocol, Challenge, ClientError, Expect};
use crtauth::{Version, Wish as Asked};
use ureq::http::{Response, StatusCode};

use super::now;
use crate::agent::{Agent, fingerprint};
use crate::error::{Error, Kind, Result, shorten};
use crate::identity::{PrivateAgent, public_blob};
use crate::origin::Url;
use crate::{Options, Token, Wish};

/// The most that is read of a body.
const MOST_BYTES: u64 = 64 * 1024;

pub(super) fn fetch(url: &str, wish: &Wish, options: &Options) -> Result<Token> {
    let place = Url::parse(url)?;
    let user = user(options)?;
    // Before anybody is asked anything: a missing key is the most frequent trouble, and needs no network.
    let mut keys = Keys::open(options)?;
    let server =
        Server { agent: http_agent(place.https, options), url: format!("{url}/_auth"), place: &place };
    let asked = Asked {
        format: wish.format.clone().unwrap_or_default(),
        audiences: wish.audiences.clone(),
        scopes: wish.scopes.clone(),
        ttl: wish.ttl.unwrap_or(0),
    };
    let lowest = if options.allow_v0 { Version::V0 } else { Version::V1 };
    let expect = Expect { server_name: &place.host, user: &user, wish: &asked, now: now(), lowest };
    let challenge = server.challenge(&expect)?;
    if challenge.version() < Version::V2 && *wish != Wish::default() {
        return Err(Error::new(
            Kind::Server,
            format!(
                "{url} speaks version {} of crtauth, whose tokens are for nobody in particular",
                challenge.version()
            ),
        )
        .hint("leave audience, scope, format and lifetime out"));
    }
    let response = keys.answer(&challenge, &user)?;
    server.token(&response, &user)
}

/// Who one is there.
fn user(options: &Options) -> Result<String> {
    let of = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
    options
        .user
        .clone()
        .or_else(|| of("USER"))
        .or_else(|| of("LOGNAME"))
        .ok_or_else(|| Error::new(Kind::Usage, "who are you there? USER is not set").hint("say --user NAME"))
}

/// What may sign.
struct Keys {
    agent: Agent,
    listed: Vec<Identity>,
    /// The one key that it must be.
    only: Option<String>,
    /// Held until the end.
    _private: Option<PrivateAgent>,
}

impl Keys {
    fn open(options: &Options) -> Result<Self> {
        let mut only = options.fingerprint.clone();
        let mut private = None;
        if let Some(file) = &options.identity {
            match public_blob(file)? {
                Some(blob) => only = Some(fingerprint(&blob)),
                None => private = Some(PrivateAgent::with(file, options)?),
            }
        }
        let mut agent = match &private {
            Some(private) => private.connect()?,
            None => Agent::of_environment()?,
        };
        let listed = agent.list()?;
        if listed.is_empty() {
            return Err(Error::new(Kind::NoKey, "the ssh-agent has no key")
                .hint("add one: ssh-add; a locked agent shows none either: ssh-add -X"));
        }
        if let Some(only) = &only
            && !listed.iter().any(|key| fingerprint(&key.blob) == *only)
        {
            return Err(Error::new(
                Kind::NoKey,
                format!("the ssh-agent does not have the key {}", shorten(only)),
            )
            .hint("it has these: ssh-add -l"));
        }
        Ok(Self { agent, listed, only, _private: private })
    }

    /// Signs once, with the key that the server knows or the one that it must be.
    fn answer(&mut self, challenge: &Challenge, user: &str) -> Result<String> {
        let key = match &self.only {
            Some(only) => self.listed.iter().find(|key| fingerprint(&key.blob) == *only),
            None => self.listed.iter().find(|key| challenge.wants(&key.blob)),
        };
        let Some(key) = key else { return Err(self.none_fits(challenge, user)) };
        let to_sign = challenge.to_sign(&key.blob).map_err(of_protocol)?;
        let signature = self.agent.sign(key, &to_sign.data, to_sign.flags)?;
        challenge.response(&key.blob, &signature).map_err(of_protocol)
    }

    fn none_fits(&self, challenge: &Challenge, user: &str) -> Error {
        let count = self.listed.len();
        let rsa = self.listed.iter().filter(|key| key.algorithm() == "ssh-rsa").count();
        if challenge.version() < Version::V2 && rsa == 0 {
            return Error::new(
                Kind::NoKey,
                format!(
                    "the server speaks version {} of crtauth, which knows RSA keys alone",
                    challenge.version()
                ),
            )
            .hint("add one: ssh-add ~/.ssh/id_rsa");
        }
        let keys = if count == 1 { "key".to_owned() } else { format!("{count} keys") };
        Error::new(
            Kind::NoKey,
            format!("the server knows none of the ssh-agent's {keys} as {}'s", shorten(user)),
        )
        .hint("is that your name there (--user NAME), and is one of these enrolled? ssh-add -l")
    }
}

/// The other side.
struct Server<'a> {
    agent: ureq::Agent,
    url: String,
    place: &'a Url,
}

impl Server<'_> {
    /// Asks for a challenge, in the newest version first.
    fn challenge(&self, expect: &Expect<'_>) -> Result<Challenge> {
        let mut refusal = None;
        for version in [Version::V2, Version::V1, Version::V0] {
            if version < expect.lowest {
                break;
            }
            let request = protocol::request(expect.user, version, expect.wish);
            let response = self.send(&request)?;
            match response.status() {
                StatusCode::OK => match protocol::challenge(&self.chap(&response)?, expect) {
                    // To a server from before version 1 the whole request was a name.
                    Err(ClientError::User(name))
                        if version > Version::V0 && request.strip_prefix("request:") == Some(&*name) => {}
                    judged => return judged.map_err(|e| self.of_challenge(e)),
                },
                // It does not understand; it may understand less.
                StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::INTERNAL_SERVER_ERROR => {
                    refusal.get_or_insert(response);
                }
                _ => return Err(self.refused(response, expect.user)),
            }
        }
        Err(match refusal {
            Some(response) => self.refused(response, expect.user),
            None => Error::new(Kind::Internal, "no version of crtauth is left to speak"),
        })
    }

    fn token(&self, response: &str, user: &str) -> Result<Token> {
        let mut response = self.send(response)?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response, user));
        }
        let token = protocol::token(&self.chap(&response)?).map_err(of_protocol)?;
        let body = self.body(&mut response)?;
        if !body.trim_ascii().starts_with(b"{") {
            return Token::from_text(&token, now());
        }
        let said = Token::from_json(&body, now())?;
        if *said.access_token == *token {
            Ok(said)
        } else {
            Err(self.strange("it answers two different tokens"))
        }
    }

    fn send(&self, message: &str) -> Result<Response<ureq::Body>> {
        self.agent.post(&self.url).header("X-CHAP", message).send_empty().map_err(|e| {
            Error::new(Kind::Network, format!("can't reach {}: {e}", self.place))
                .hint("is the name right, and is it up?")
        })
    }

    fn chap(&self, response: &Response<ureq::Body>) -> Result<String> {
        let value = response.headers().get("x-chap").and_then(|value| value.to_str().ok());
        value.map(str::to_owned).ok_or_else(|| self.strange("its answer has no X-CHAP"))
    }

    fn body(&self, response: &mut Response<ureq::Body>) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        let body = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        body.map(zeroize::Zeroizing::new).map_err(|e| self.strange(&e.to_string()))
    }

    fn strange(&self, why: &str) -> Error {
        Error::new(Kind::Server, format!("{} speaks no crtauth: {why}", self.place))
    }

    fn of_challenge(&self, error: ClientError) -> Error {
        let hint = match &error {
            ClientError::ServerName(_) => Some(
                "it passes somebody else's challenges on, or is known by another name: log in under that one"
                    .to_owned(),
            ),
            ClientError::TooOld(_) => {
                Some("say --allow-v0 if there is no newer one, and you trust the way there".to_owned())
            }
            _ => None,
        };
        let error = of_protocol(error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// What the server says where it says more than no.
    fn refused(&self, mut response: Response<ureq::Body>, user: &str) -> Error {
        let status = response.status();
        let body = self.body(&mut response).unwrap_or_default();
        let line = String::from_utf8_lossy(&body).lines().next().map(shorten).unwrap_or_default();
        let place = self.place;
        match status.as_u16() {
            404 => Error::new(Kind::Server, format!("{place} has no log-in over HTTP"))
                .hint("an operator turns it on: [crtauth] enabled = true; or log in over ssh: corp@host"),
            429 => {
                let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
                let after =
                    after.map_or_else(String::new, |after| format!("; try again in {} s", shorten(after)));
                Error::new(Kind::Refused, format!("{place} has had too many log-ins{after}"))
            }
            403 if line.is_empty() || line == "Failed to authenticate user" => {
                Error::new(Kind::Refused, format!("{place} does not let {} in", shorten(user)))
                    .hint("it never says why to a client; its log does")
            }
            300..400 => {
                Error::new(Kind::Server, format!("{place} sends us elsewhere, and a log-in is for one place"))
                    .hint("name that place itself")
            }
            400 | 403 => Error::new(Kind::Refused, line),
            status if line.is_empty() => Error::new(Kind::Server, format!("{place} answered {status}")),
            status => Error::new(Kind::Server, format!("{place} answered {status}: {line}")),
        }
    }
}

fn of_protocol(error: ClientError) -> Error {
    let kind = match error {
        ClientError::Clock { .. } => Kind::Clock,
        ClientError::KeyType(_) => Kind::NoKey,
        ClientError::SignedOtherwise(_) => Kind::NoAgent,
        _ => Kind::Server,
    };
    let said = Error::new(kind, shorten_line(&error.to_string()));
    match kind {
        Kind::Clock => said.hint("set the clock that is wrong; a challenge lives 20 s"),
        Kind::NoAgent => said.hint("the old versions need SHA-1, which this system or agent may forbid"),
        _ => said,
    }
}

fn shorten_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(300).collect()
}

/// Follows no redirect, and goes through the environment's proxy only where that is to see nothing.
fn http_agent(https: bool, options: &Options) -> ureq::Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .build();
    ureq::Agent::config_builder()
        .timeout_global(Some(options.timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .https_only(https)
        .proxy(if https { ureq::Proxy::try_from_env() } else { None })
        .user_agent(concat!("seamless/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .into()
}

#[cfg(test)]
mod tests;
