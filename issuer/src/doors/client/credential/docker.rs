//! `docker-credential-seamless`: the protocol of docker's credential helpers, which podman, skopeo and others speak too.
//!
//! What goes wrong is said on standard output, in the words that docker looks for.

use serde_json::json;
use zeroize::Zeroizing;

use client::servers::Service;

use crate::doors::client::source::{self, Source};
use crate::doors::client::url::Url;
use crate::doors::output::{visible, write_out};
use crate::error::{Error, Result};

/// By which docker tells "log in first" from trouble.
const NOT_FOUND: &str = "credentials not found in native keychain";

pub(super) fn run(action: &str) -> u8 {
    let done = match action {
        "get" => super::input().and_then(|input| get(&input)),
        "store" => super::input().and_then(|input| store(&input)),
        "erase" => super::input().and_then(|input| erase(&input)),
        "list" => list(),
        "version" | "--version" => {
            Ok(format!("docker-credential-seamless {}\n", env!("CARGO_PKG_VERSION")).into())
        }
        _ => Err(Error::usage("docker-credential-seamless is docker's to call: get, store, erase, list")
            .hint("seamless credential install docker --for URL --login WHERE tells it to")),
    };
    match done {
        Ok(answer) => {
            write_out(&answer);
            0
        }
        Err(error) => {
            let hint = error.hint_text().map(|hint| format!(" ({hint})")).unwrap_or_default();
            write_out(&format!("{}{}\n", visible(error.message()), visible(&hint)));
            1
        }
    }
}

fn get(input: &str) -> Result<Zeroizing<String>> {
    let server = input.trim();
    let (source, entry) = find(server)?.ok_or_else(|| Error::failed(NOT_FOUND))?;
    let token = source.token()?;
    let answer = json!({
        "ServerURL": server,
        "Username": token.subject.as_deref().or(entry.user.as_deref()).unwrap_or("token"),
        "Secret": token.access_token.as_str(),
    });
    Ok(Zeroizing::new(format!("{answer}\n")))
}

/// docker stores what it got from here after it was accepted: it is kept already. Anything else it has to keep itself.
fn store(input: &str) -> Result<Zeroizing<String>> {
    #[derive(serde::Deserialize)]
    struct Credentials {
        #[serde(rename = "ServerURL")]
        server: String,
    }
    let Credentials { server } =
        serde_json::from_str(input).map_err(|_| Error::usage("that is no JSON of docker's"))?;
    find(&server)?.map(|_| Zeroizing::default()).ok_or_else(|| {
        Error::failed("seamless keeps no passwords").hint("use another helper for this registry")
    })
}

fn erase(input: &str) -> Result<Zeroizing<String>> {
    let (source, _) = find(input.trim())?.ok_or_else(|| Error::failed(NOT_FOUND))?;
    source.forget()?;
    Ok(Zeroizing::default())
}

/// The services of servers.toml with their users, as far as they stand there: nobody is logged in for a list.
fn list() -> Result<Zeroizing<String>> {
    let entries: serde_json::Map<_, _> = source::services()?
        .into_iter()
        .map(|entry| (entry.url, entry.user.unwrap_or_default().into()))
        .collect();
    Ok(Zeroizing::new(format!("{}\n", serde_json::Value::Object(entries))))
}

/// docker names a registry by host and port, or by a URL where it is its own.
fn find(server: &str) -> Result<Option<(Source, Service)>> {
    if server.contains("://") {
        return server.parse::<Url>().map_or(Ok(None), |url| Source::listed(&url));
    }
    for scheme in ["https", "http"] {
        if let Ok(url) = format!("{scheme}://{server}").parse::<Url>()
            && let Some(found) = Source::listed(&url)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
