//! `git-credential-seamless`: git's helper protocol (gitcredentials(7), git-credential(1)).

use zeroize::Zeroizing;

use client::Token;

use crate::doors::client::source::Source;
use crate::doors::client::url::Url;
use crate::doors::output::{complain, write_out};
use crate::error::{Error, Result};

pub(super) fn run(action: &str) -> Result<u8> {
    match action {
        "get" => get(&Ask::read(&super::input()?)),
        "erase" => erase(&Ask::read(&super::input()?)),
        // git 2.46 asks what a helper can do.
        "capability" => {
            write_out("version 0\ncapability authtype\n");
            Ok(0)
        }
        "" => Err(Error::usage("git-credential-seamless is git's to call")
            .hint("seamless credential install git --for URL --login WHERE tells it to")),
        // What was used is kept already; what git will ask one day is none of ours.
        _ => Ok(0),
    }
}

/// What git says of the credential that it wants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ask {
    protocol: String,
    host: String,
    path: String,
    username: Option<String>,
    /// git takes a scheme and what follows it, in place of a name and a password.
    authtype: bool,
    /// The schemes that the server asks for, in lower case.
    schemes: Vec<String>,
}

impl Ask {
    fn read(text: &str) -> Self {
        let mut ask = Self::default();
        for (key, value) in
            text.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once('='))
        {
            match key {
                "protocol" => value.clone_into(&mut ask.protocol),
                "host" => value.clone_into(&mut ask.host),
                "path" => value.clone_into(&mut ask.path),
                "username" => ask.username = Some(value.to_owned()),
                "capability[]" => ask.authtype |= value == "authtype",
                "wwwauth[]" => {
                    ask.schemes.extend(value.split(' ').next().map(str::to_ascii_lowercase));
                }
                _ => {}
            }
        }
        ask
    }

    /// The service; none where the protocol is not HTTP's.
    fn url(&self) -> Option<Result<Url>> {
        let http = matches!(self.protocol.as_str(), "http" | "https");
        http.then(|| format!("{}://{}/{}", self.protocol, self.host, self.path).parse())
    }
}

fn get(ask: &Ask) -> Result<u8> {
    let Some(url) = ask.url() else { return Ok(0) };
    // Not a URL that every program reads alike, or not one of ours: for other helpers to answer.
    let Ok(url) = url else { return Ok(0) };
    let Some((source, entry)) = Source::listed(&url)? else { return Ok(0) };
    let silent =
        std::env::var_os("GIT_TERMINAL_PROMPT").is_some_and(|value| value == "0" || value == "false");
    let token = match source.silent(silent).token() {
        Ok(token) => token,
        Err(error) => {
            // The host is ours: no other helper can know better, and nobody has a password to type.
            write_out("quit=1\n");
            complain(&error);
            return Ok(error.kind().exit_code());
        }
    };
    let subject = token.subject.clone().or(entry.user);
    if ask.username.is_some() && subject.is_some() && ask.username != subject {
        // The URL names somebody else.
        return Ok(0);
    }
    write_out(&answer(ask, &token, subject.as_deref()));
    Ok(0)
}

fn answer(ask: &Ask, token: &Token, subject: Option<&str>) -> Zeroizing<String> {
    let scheme = token.token_type.as_str();
    // A server that asks for Basic alone wants the token as a password. (`chap:TOKEN` is no scheme.)
    let offered =
        ask.schemes.is_empty() || ask.schemes.iter().any(|offered| offered.eq_ignore_ascii_case(scheme));
    let mut text = Zeroizing::new(String::new());
    if ask.authtype && offered && !scheme.eq_ignore_ascii_case("chap") {
        text.push_str("capability[]=authtype\nauthtype=");
        text.push_str(scheme);
        text.push_str("\ncredential=");
        text.push_str(&token.access_token);
        // For other helpers, which would store it.
        text.push_str("\nephemeral=1\n");
    } else {
        text.push_str("username=");
        text.push_str(subject.unwrap_or("token"));
        text.push_str("\npassword=");
        text.push_str(&token.access_token);
        text.push('\n');
    }
    if let Some(at) = token.expires_at {
        text.push_str(&format!("password_expiry_utc={at}\n"));
    }
    text
}

/// git has been refused with it.
fn erase(ask: &Ask) -> Result<u8> {
    if let Some(Ok(url)) = ask.url()
        && let Some((source, _)) = Source::listed(&url)?
    {
        source.forget()?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(kind: &str) -> Token {
        Token {
            access_token: Zeroizing::new("T.O.K".to_owned()),
            token_type: kind.to_owned(),
            expires_at: Some(1_800_000_000),
            subject: Some("ada".to_owned()),
        }
    }

    #[test]
    fn what_git_writes_is_read() {
        let ask = Ask::read(
            "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example.com:8443\npath=a/b=c.git\n\
             username=ada\nwwwauth[]=Basic realm=\"x\"\nwwwauth[]=Bearer realm=\"x\"\nnew=thing\nno sign\n\nhost=evil\n",
        );
        assert_eq!(ask.url().unwrap().unwrap().to_string(), "https://git.example.com:8443/a/b=c.git");
        assert_eq!((ask.username.as_deref(), ask.authtype), (Some("ada"), true));
        assert_eq!(ask.schemes, ["basic", "bearer"]);
        assert!(Ask::read("protocol=ssh\nhost=x\n").url().is_none() && Ask::read("").url().is_none());
        assert!(Ask::read("protocol=http\nhost=git.example.com\n").url().unwrap().is_err());
        assert!(Ask::read("protocol=https\nhost=a@b\n").url().unwrap().is_err());
    }

    #[test]
    fn a_scheme_where_git_and_the_server_take_it_else_a_password() {
        let password = "username=ada\npassword=T.O.K\npassword_expiry_utc=1800000000\n";
        let bearer = "capability[]=authtype\nauthtype=Bearer\ncredential=T.O.K\nephemeral=1\n\
                      password_expiry_utc=1800000000\n";
        for (asked, kind, expected) in [
            ("", "Bearer", password),
            ("capability[]=authtype\n", "Bearer", bearer),
            ("capability[]=authtype\nwwwauth[]=bearer x=y\n", "Bearer", bearer),
            ("capability[]=authtype\nwwwauth[]=Basic realm=x\n", "Bearer", password),
            ("capability[]=authtype\n", "chap", password),
        ] {
            assert_eq!(*answer(&Ask::read(asked), &token(kind), Some("ada")), expected, "{asked:?} {kind}");
        }
    }
}
