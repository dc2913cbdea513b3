//! authorized_keys, as sshd(8) has it. Options that restrict a key are kept or refuse it, never dropped; those that
//! give what seamless never gives are left out.

use std::io::BufRead;

use super::{Entry, Lines, MOST_LINE_BYTES, Refusal, Whose, unreadable, user_in_comment, when};
use crate::backends::store::Unsaid;
use crate::error::{Error, Result};
use crate::names::shorten;
use crate::public_key::PublicKey;
use crate::services::keys::Conditions;

/// What every line that `sync` writes has by its `restrict`.
const IMPLIED: [&str; 6] =
    ["restrict", "no-agent-forwarding", "no-port-forwarding", "no-pty", "no-user-rc", "no-x11-forwarding"];

/// What no line of ours ever gives. `no-touch-required` too: `sk-*` keys are always touched.
const NEVER_GIVEN: [&str; 10] = [
    "agent-forwarding",
    "environment",
    "no-touch-required",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "pty",
    "tunnel",
    "user-rc",
    "x11-forwarding",
];

/// The lines of an authorized_keys file.
pub(super) struct AuthorizedKeys<'a, R> {
    input: R,
    whose: &'a Whose,
    line: u64,
    bytes: Vec<u8>,
}

impl<'a, R: BufRead> AuthorizedKeys<'a, R> {
    pub(super) fn open(input: R, whose: &'a Whose) -> Result<Self> {
        if *whose == Whose::Column {
            return Err(Error::usage("authorized_keys does not say whose the keys are")
                .hint("say --user NAME for all of them, or --user-from comment"));
        }
        Ok(Self { input, whose, line: 0, bytes: Vec::new() })
    }

    /// Reads a line into `bytes`; whether there was one, and whether it was longer than what is kept of it.
    fn read(&mut self) -> Result<Option<bool>> {
        self.bytes.clear();
        let mut any = false;
        let mut too_long = false;
        loop {
            let input = self.input.fill_buf().map_err(|e| unreadable(&e))?;
            if input.is_empty() {
                return Ok(any.then_some(too_long));
            }
            any = true;
            let newline = input.iter().position(|b| *b == b'\n');
            let part = input.get(..newline.unwrap_or(input.len())).unwrap_or_default();
            if self.bytes.len() + part.len() > MOST_LINE_BYTES {
                too_long = true;
            } else {
                self.bytes.extend_from_slice(part);
            }
            let used = newline.map_or(input.len(), |at| at + 1);
            self.input.consume(used);
            if newline.is_some() {
                self.line += 1;
                return Ok(Some(too_long));
            }
        }
    }
}

impl<R: BufRead> Lines for AuthorizedKeys<'_, R> {
    fn next(&mut self) -> Result<Option<Result<Entry, Refusal>>> {
        loop {
            let before = self.line;
            let Some(too_long) = self.read()? else { return Ok(None) };
            // The last line may lack its newline.
            self.line = before + 1;
            if too_long {
                return Ok(Some(Err(Refusal::line(self.line, "the line is over 64 KiB"))));
            }
            let bytes = self.bytes.trim_ascii();
            if bytes.is_empty() || bytes.starts_with(b"#") {
                continue;
            }
            if bytes.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
                return Ok(Some(Err(Refusal::line(self.line, "the line holds a control character"))));
            }
            return Ok(Some(entry(self.line, &String::from_utf8_lossy(bytes), self.whose)));
        }
    }
}

fn entry(line: u64, text: &str, whose: &Whose) -> Result<Entry, Refusal> {
    let mut refusal = Refusal::line(line, "");
    let because = |refusal: &Refusal, why: String| Refusal { why, ..refusal.clone() };
    let (options, key) = split(text).map_err(|why| because(&refusal, why))?;
    let key = PublicKey::parse_line(key, "the key").map_err(|e| because(&refusal, e.message().to_owned()))?;
    refusal.fingerprint = Some(key.fingerprint.to_string());
    let user = match whose {
        Whose::All(user) => user.clone(),
        _ => user_in_comment(&key.comment, whose).map_err(|why| because(&refusal, why))?,
    };
    refusal.user = Some(user.clone());
    let (conditions, left_out) = conditions(&options).map_err(|why| because(&refusal, why))?;
    let unsaid = Unsaid {
        expires_at: conditions.expires_at.is_none(),
        from: conditions.from.is_empty(),
        require_touch: !conditions.require_touch,
        require_verify: !conditions.require_verify,
    };
    Ok(Entry { line, user, key, conditions, unsaid, groups: vec![], scopes: vec![], left_out })
}

/// An option and its value.
type Option_<'a> = (&'a str, Option<String>);

/// The options before a key, and the key. As sshd, which looks for a key first.
fn split(text: &str) -> Result<(Vec<Option_<'_>>, &str), String> {
    let is_key = |text: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start));
    if is_key(text) {
        return Ok((vec![], text));
    }
    let (mut options, mut rest) = (Vec::new(), text);
    loop {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            return Err("the options before the key are not readable".to_owned());
        }
        let (value, after) = match after.strip_prefix("=\"") {
            Some(quoted) => {
                let (value, after) = unquote(quoted).ok_or("a quote in the options does not close")?;
                (Some(value), after)
            }
            None => (None, after),
        };
        options.push((name, value));
        if let Some(more) = after.strip_prefix(',') {
            rest = more;
            continue;
        }
        let key = after.trim_start_matches([' ', '\t']);
        return if key.len() < after.len() && is_key(key) {
            Ok((options, key))
        } else {
            Err("the line is neither a key nor options and a key".to_owned())
        };
    }
}

/// Up to the closing quote; `\"` is a quote inside.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if text.get(at + 1..).is_some_and(|rest| rest.starts_with('"')) => {
                value.push('"');
                chars.next();
            }
            '"' => return text.get(at + 1..).map(|rest| (value, rest)),
            c => value.push(c),
        }
    }
    None
}

/// What the options ask of the key, and whether some were left out.
fn conditions(options: &[Option_<'_>]) -> Result<(Conditions, bool), String> {
    let (mut conditions, mut left_out) = (Conditions::default(), false);
    for (name, value) in options {
        let name = name.to_ascii_lowercase();
        match (name.as_str(), value) {
            ("from", Some(list)) if conditions.from.is_empty() => conditions.from = addresses(list)?,
            ("expiry-time", Some(time)) if conditions.expires_at.is_none() => {
                conditions.expires_at = Some(when::of_sshd(time)?);
            }
            ("from" | "expiry-time", _) => {
                return Err(format!("the option {name} has no value, or is there twice"));
            }
            ("verify-required", None) => conditions.require_verify = true,
            ("touch-required", None) => conditions.require_touch = true,
            ("command", _) => {
                return Err(
                    "the key is bound to a command by command=; if it shall mint, enrol it by itself".into(),
                );
            }
            ("cert-authority" | "principals", _) => {
                return Err("the key is a certificate authority's, not a user's".to_owned());
            }
            (known, None) if IMPLIED.contains(&known) => {}
            (known, _) if NEVER_GIVEN.contains(&known) => left_out = true,
            _ => return Err(format!("the option {:?} is not known here", shorten(&name))),
        }
    }
    Ok((conditions, left_out))
}

fn addresses(list: &str) -> Result<Vec<String>, String> {
    let list: Vec<String> = list.split(',').map(|one| one.trim().to_owned()).collect();
    for one in &list {
        if one.parse::<ipnet::IpNet>().is_err() && one.parse::<std::net::IpAddr>().is_err() {
            return Err(format!(
                "from= has {:?}, which is not an address or CIDR and can't be kept",
                shorten(one)
            ));
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn read(options: &str) -> Result<Entry, String> {
        let text = if options.is_empty() { format!("{KEY} ada@x") } else { format!("{options} {KEY} ada@x") };
        entry(1, &text, &Whose::CommentBeforeAt).map_err(|r| r.why)
    }

    #[test]
    fn what_restricts_is_kept() {
        let seen = read("no-pty,from=\"10.0.0.0/8,::1\",expiry-time=\"20270115Z\",Restrict,verify-required")
            .unwrap();
        assert_eq!(seen.conditions.from, ["10.0.0.0/8", "::1"]);
        assert_eq!((seen.conditions.expires_at, seen.conditions.require_verify), (Some(1_799_971_200), true));
        assert!(!seen.left_out && seen.user.as_str() == "ada");
        let seen = read("environment=\"A=\\\"b, c\\\"\",pty,permitopen=\"a:1\"").unwrap();
        assert!(seen.left_out && seen.conditions == Conditions::default());
        assert!(!read("").unwrap().left_out);
    }

    #[test]
    fn what_can_not_be_kept_refuses_the_key() {
        for (options, expected) in [
            ("command=\"/bin/x\"", "bound to a command"),
            ("COMMAND=\"ssh-ed25519 AAAA\"", "bound to a command"),
            ("restrict,command=\"a \\\" ssh-rsa AAAA\",pty", "bound to a command"),
            ("cert-authority,principals=\"a\"", "certificate authority"),
            ("from=\"*.example.com\"", "can't be kept"),
            ("from=\"!10.0.0.1,10.0.0.0/8\"", "can't be kept"),
            ("from=\"10.0.0.1\",from=\"10.0.0.2\"", "twice"),
            ("from", "no value"),
            ("expiry-time=\"soon\"", "expiry-time"),
            ("command=\"x", "does not close"),
            ("frobnicate", "not known here"),
            ("restrict,", "not readable"),
            ("hello world", "neither a key nor"),
            ("restrict,command=x", "neither a key nor"),
        ] {
            let why = read(options).err().unwrap_or_else(|| panic!("{options} was taken"));
            assert!(why.contains(expected), "{options}: {why}");
        }
    }

    #[test]
    fn a_comment_names_a_user_or_nobody() {
        let user = |comment: &str, whose: &Whose| {
            entry(1, &format!("{KEY} {comment}"), whose).map(|e| e.user.to_string()).map_err(|r| r.why)
        };
        let (before, whole) = (Whose::CommentBeforeAt, Whose::WholeComment);
        assert_eq!(user("ada@laptop", &before).unwrap(), "ada");
        assert_eq!(user("ada", &before).unwrap(), "ada");
        assert_eq!(user("ada@example.com", &whole).unwrap(), "ada@example.com");
        for bad in
            ["", "@laptop", "Ada Lovelace", "ada@laptop\u{e9} x y", "eyJ@x", "=cmd|'/c calc'!A1@x", "-x@y"]
        {
            if bad.starts_with("ada@") {
                assert!(user(bad, &whole).is_err(), "{bad}");
            } else {
                assert!(user(bad, &before).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let long = "x".repeat(MOST_LINE_BYTES + 1);
        let text = format!("# head\r\n\n{long}\n\0{KEY}\n{KEY} ada@x\r\n   {KEY} bob@x");
        let whose = Whose::CommentBeforeAt;
        let mut lines =
            AuthorizedKeys::open(std::io::BufReader::with_capacity(11, text.as_bytes()), &whose).unwrap();
        let mut seen = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            seen.push(line.map_or_else(|r| (r.line, r.why), |e| (e.line, e.user.to_string())));
        }
        let expected = [
            (3, "the line is over 64 KiB"),
            (4, "the line holds a control character"),
            (5, "ada"),
            (6, "bob"),
        ];
        assert_eq!(seen, expected.map(|(line, what)| (line, what.to_owned())));
        assert!(AuthorizedKeys::open(&b""[..], &Whose::Column).is_err(), "never guessed");
    }
}
