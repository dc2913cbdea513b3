//! The words that may follow `ssh REALM@host`: a closed type with a parser of its own.
//!
//! It shares nothing with the command line: no verb of the administrator, no `--user`, `--dir`, file, URL or
//! environment option can be reached from here (`ssh corp@host token --user root`).

use crate::config::Format;
use crate::duration::Seconds;
use crate::error::{Error, Result};
use crate::names::shorten;
use crate::services::mint::Ask;

/// The most that a command may hold.
pub const MOST_BYTES: usize = 8 * 1024;

/// What a client asks for in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// A token.
    Token {
        /// Its particulars.
        ask: Ask,
        /// Whether as JSON.
        json: bool,
    },
    /// Who the key speaks for.
    Whoami {
        /// Whether as JSON.
        json: bool,
    },
    /// The user's keys.
    Keys {
        /// Whether as JSON.
        json: bool,
    },
    /// The words there are.
    Help,
}

/// What `help` prints.
pub const HELP: &str = "\
usage: ssh -T REALM@HOST [token [OPTIONS] | whoami | keys | help]

  token            a token; alone, in the realm's default format
    --format F       jwt or seamless
    -a, --audience A whom it is for; may be repeated
    -s, --scope S    what it may do; may be repeated
    -t, --ttl T      how long it lasts, such as 5m
    --json           access_token, token_type, expires_in, scope, subject
  whoami           who this key speaks for       [--json]
  keys             the keys enrolled for you     [--json]
  help             this text
";

impl Words {
    /// Reads what the client sent; nothing sent means `token`.
    pub fn parse(command: Option<&[u8]>) -> Result<Self> {
        let command = command.unwrap_or_default();
        if command.len() > MOST_BYTES {
            return Err(Error::usage("the command is over 8 KiB"));
        }
        let text = std::str::from_utf8(command).map_err(|_| Error::usage("the command is not UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(Error::usage("the command has control characters"));
        }
        let mut words = text.split(' ').filter(|w| !w.is_empty());
        match words.next() {
            None => Ok(Self::Token { ask: Ask::default(), json: false }),
            Some("token") => token(words),
            Some("whoami") => only_json(words).map(|json| Self::Whoami { json }),
            Some("keys") => only_json(words).map(|json| Self::Keys { json }),
            Some("help" | "--help" | "-h") => Ok(Self::Help),
            Some(other) => Err(unknown(other)),
        }
    }
}

fn token<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Words> {
    let mut ask = Ask::default();
    let mut json = false;
    while let Some(word) = words.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (word, None),
        };
        if name == "--json" && inline.is_none() {
            json = true;
            continue;
        }
        if !matches!(name, "--format" | "-a" | "--audience" | "-s" | "--scope" | "-t" | "--ttl") {
            return Err(unknown(word));
        }
        let value = inline.or_else(|| words.next()).filter(|v| !v.is_empty());
        let value = value.ok_or_else(|| Error::usage(format!("{name} wants a value")).hint(SEE_HELP))?;
        match name {
            "--format" => ask.format = Some(format(value)?),
            "-a" | "--audience" => ask.audiences.push(value.to_owned()),
            "-s" | "--scope" => ask.scopes.push(value.to_owned()),
            _ => ask.ttl = Some(value.parse::<Seconds>()?.0),
        }
    }
    Ok(Words::Token { ask, json })
}

/// Reads a format's name.
pub fn format(text: &str) -> Result<Format> {
    match text {
        "jwt" => Ok(Format::Jwt),
        "seamless" => Ok(Format::Seamless),
        _ => Err(Error::usage(format!("{:?} is not a token format", shorten(text))).hint("jwt or seamless")),
    }
}

fn only_json<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<bool> {
    match (words.next(), words.next()) {
        (None, _) => Ok(false),
        (Some("--json"), None) => Ok(true),
        (Some("--json"), Some(other)) | (Some(other), _) => Err(unknown(other)),
    }
}

const SEE_HELP: &str = "the words there are: ssh -T REALM@HOST help";

fn unknown(word: &str) -> Error {
    Error::usage(format!("{:?} is not understood here", shorten(word))).hint(SEE_HELP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Words> {
        Words::parse(Some(text.as_bytes()))
    }

    #[test]
    fn the_words_of_the_design() {
        assert_eq!(Words::parse(None).unwrap(), parse("token").unwrap());
        assert_eq!(parse("").unwrap(), parse("token").unwrap());
        let Words::Token { ask, json } =
            parse("token --format jwt -a https://a -a https://b -s read --scope=write -t 5m --json").unwrap()
        else {
            panic!("not a token")
        };
        assert_eq!(ask.audiences, ["https://a", "https://b"]);
        assert_eq!(ask.scopes, ["read", "write"]);
        assert_eq!((ask.format, ask.ttl, json), (Some(Format::Jwt), Some(300), true));
        assert_eq!(parse("whoami --json").unwrap(), Words::Whoami { json: true });
        assert_eq!(parse("keys").unwrap(), Words::Keys { json: false });
        assert_eq!(parse("help").unwrap(), Words::Help);
    }

    #[test]
    fn nothing_else_is_reachable() {
        for bad in [
            "token --user root",
            "token --dir /",
            "token REALM",
            "token --secret-file x",
            "init corp",
            "user lock ada",
            "id",
            "sh",
            "/bin/sh -c id",
            "token; id",
            "token\nid",
            "token\0",
            "token $(id)",
            "scp -t .",
            "whoami x",
            "token --ttl",
            "token --ttl=",
            "token --format",
            "token --format x",
            "token -t 5y",
            "internal-sftp",
            "TOKEN",
            "forced --dir x",
            "keys --json --json",
            "token -aX",
        ] {
            assert_eq!(parse(bad).map_err(|e| e.kind().exit_code()).unwrap_err(), 2, "{bad:?}");
        }
        assert!(Words::parse(Some(&[b'a'; MOST_BYTES + 1])).is_err());
        assert!(Words::parse(Some(&[0xff, 0xfe])).is_err());
    }
}
