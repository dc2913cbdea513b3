//! `seamless login`: prints a token.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::clock::{Clock as _, SystemClock};
use crate::doors::output::{Out, write_out};
use crate::error::Result;

use super::asked::Asked;
use super::source::Source;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
WHERE is a log-in over ssh (corp@host, ssh://corp@host:2222, ssh://NAME of ~/.ssh/config) or over
HTTP (https://host), where ssh-agent signs what the server sends. Plain http is for loopback.

  seamless login corp@login.example.com
  seamless login https://login.example.com --audience https://api.example.com --scope read
  TOKEN=$(seamless login https://login.example.com --identity ~/.ssh/id_ed25519)

Only the token and a newline go to standard output. It is kept in your cache for the next call,
for nobody else to read, as long as it has life left; `seamless logout` forgets it.")]
pub(in crate::doors) struct Args {
    /// The log-in server
    #[arg(value_name = "WHERE")]
    login: String,
    #[command(flatten)]
    asked: Asked,
}

pub(super) fn run(out: Out, args: &Args) -> Result<u8> {
    let token = Source::asked(&args.login, &args.asked)?.token()?;
    if !out.json {
        write_out(&Zeroizing::new(format!("{}\n", *token.access_token)));
        return Ok(0);
    }
    // The names of RFC 6749 section 5.1, as `ssh … token --json` has them.
    let mut value = Map::new();
    value.insert("access_token".to_owned(), Value::from(token.access_token.as_str()));
    value.insert("token_type".to_owned(), Value::from(token.token_type));
    if let Some(at) = token.expires_at {
        value.insert("expires_in".to_owned(), Value::from(at.saturating_sub(SystemClock.now())));
    }
    if let Some(subject) = token.subject {
        value.insert("subject".to_owned(), Value::from(subject));
    }
    write_out(&Zeroizing::new(format!("{}\n", Value::Object(value))));
    Ok(0)
}
