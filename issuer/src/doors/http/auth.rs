//! `/_auth`: log-ins that an ssh-agent signs, over the header `X-CHAP` in both directions.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;

use super::reply::{self, Answer};
use super::{Peer, Site, client_address};
use crate::doors::blocking;
use crate::error::{Error, Result};
use crate::services::handshake::{self, Handshakes, Refusal};

const X_CHAP: HeaderName = HeaderName::from_static("x-chap");

/// Answers one message.
pub(super) async fn answer(site: &Site, handshakes: Arc<Handshakes>, request: &Parts, peer: Peer) -> Answer {
    let mut values = request.headers.get_all(X_CHAP).iter();
    let value = match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => value.to_owned(),
        (None, _) => return malformed("the header X-CHAP is missing"),
        _ => return malformed("the header X-CHAP can't be read"),
    };
    let peer = match peer {
        Peer::Tcp(address) => Some(address),
        Peer::Unix => None,
    };
    let address = client_address(peer, &request.headers, &site.proxies);
    let answered = if handshake::is_quick(&site.realm, &value) {
        // Handing it to another thread and back would cost more than it does.
        handshake::answer(&site.realm, &handshakes, &value, address)
    } else {
        let realm = Arc::clone(&site.realm);
        blocking(move || Ok(handshake::answer(&realm, &handshakes, &value, address)))
            .await
            .unwrap_or_else(|error| Err(Refusal::Trouble(error)))
    };
    match answered {
        Ok(answer) => accepted(&answer).unwrap_or_else(|error| trouble(site, &error)),
        Err(Refusal::Malformed(why)) => malformed(why),
        // As the original says it, and not why.
        Err(Refusal::Failed) => reply::line(StatusCode::FORBIDDEN, "Failed to authenticate user\n"),
        Err(Refusal::Policy(error)) => reply::fresh(StatusCode::FORBIDDEN, reply::TEXT, format!("{error}\n")),
        Err(Refusal::TooMany { seconds }) => {
            let mut answer =
                reply::line(StatusCode::TOO_MANY_REQUESTS, "too many log-ins, try again later\n");
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            answer
        }
        Err(Refusal::Trouble(error)) => trouble(site, &error),
    }
}

fn accepted(answer: &handshake::Answer) -> Result<Answer> {
    let (header, body) = match answer {
        handshake::Answer::Challenge(header) => (header.as_str(), None),
        handshake::Answer::Token { header, body } => (header.as_str(), body.as_ref()),
    };
    let header = HeaderValue::from_str(header)
        .map_err(|_| Error::internal("the answer does not fit into a header"))?;
    let mut answer = match body {
        Some(json) => reply::fresh(StatusCode::OK, reply::JSON, json.as_str().to_owned()),
        None => reply::fresh(StatusCode::OK, reply::TEXT, Bytes::new()),
    };
    answer.headers_mut().insert(X_CHAP, header);
    Ok(answer)
}

fn malformed(why: &str) -> Answer {
    reply::fresh(StatusCode::BAD_REQUEST, reply::TEXT, format!("{why}\n"))
}

fn trouble(site: &Site, error: &Error) -> Answer {
    site.report("a log-in can't be answered", error);
    reply::line(StatusCode::SERVICE_UNAVAILABLE, "no log-in now, the trouble is on this side\n")
}
