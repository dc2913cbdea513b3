//! `seamless token inspect`: what a token says. Nothing of it is verified, and the output says so.

use serde_json::{Value, json};

use crate::error::{Error, Result};

use super::Context;
use super::output::time;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The token; from standard input where it is left out, which keeps it out of the process list
    token: Option<String>,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let bytes = match args.token {
        Some(token) => token.into_bytes(),
        None => context.read_file("-", 64 * 1024)?,
    };
    let token = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let seen = token::inspect(token).map_err(|rejection| {
        Error::failed(format!("this is no token: {}", rejection.code))
            .hint("a token is one line, of three parts between dots")
    })?;
    let parse = |text: &Option<String>| text.as_deref().and_then(|t| serde_json::from_str::<Value>(t).ok());
    let value = json!({
        "verified": false,
        "format": seen.format.as_str(),
        "header": parse(&seen.header),
        "payload": parse(&seen.payload),
        "subject": seen.subject,
        "issued_at": seen.issued_at,
    });
    context.out.print(&value, || {
        let mut text = format!("NOT VERIFIED: anyone could have written this\nformat   {}\n", seen.format);
        if let Some(subject) = &seen.subject {
            text.push_str(&format!("subject  {}\n", subject.escape_debug()));
        }
        if let Some(at) = seen.issued_at {
            text.push_str(&format!("issued   {}\n", time(at)));
        }
        for (name, part) in [("header", &seen.header), ("payload", &seen.payload)] {
            let pretty = parse(part).and_then(|v| serde_json::to_string_pretty(&v).ok());
            if let Some(pretty) = pretty.or_else(|| part.as_ref().map(|p| p.escape_debug().to_string())) {
                text.push_str(&format!("{name}   {}\n", pretty.replace('\n', "\n  ")));
            }
        }
        text
    });
    Ok(0)
}
