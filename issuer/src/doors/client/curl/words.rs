//! What curl is told, as far as it decides where a token would go.
//!
//! Everything is passed on as it came. Here it is only read, by curl's own rules, and refused where the header could
//! reach somebody else or where we cannot tell.

use std::ffi::OsString;
use std::path::Path;

use crate::error::{Error, Result};

use super::options::{ALONE, WITH_VALUE, find, long};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Where it goes.
    pub(super) urls: Vec<String>,
    /// It goes on where it is sent by a redirect.
    pub(super) follows: bool,
    /// It would send to whoever answers.
    pub(super) insecure: bool,
    /// An option that leads elsewhere than the URL's host says.
    pub(super) reroutes: Option<&'static str>,
    /// Another path is asked for than the URL has.
    pub(super) retargets: bool,
    /// Sent again it would not be the same: its input is read once, or its output has been written.
    pub(super) once: bool,
    /// `-q` came first, where alone it counts.
    pub(super) no_curlrc: bool,
}

/// Reads the words after `seamless curl`.
pub(super) fn read(args: &[OsString]) -> Result<Words> {
    let mut words = Words::default();
    let mut args = args.iter().enumerate();
    let mut options = true;
    while let Some((at, arg)) = args.next() {
        let arg = arg.to_string_lossy();
        let mut next = || args.next().map(|(_, value)| value.to_string_lossy().into_owned());
        if !options || !arg.starts_with('-') {
            words.urls.push(arg.into_owned());
        } else if arg == "--" {
            options = false;
        } else if let Some(long) = arg.strip_prefix("--") {
            let name = known(long)?;
            let value = if find(WITH_VALUE, name).is_some() {
                Some(next().ok_or_else(|| no_value(&arg))?)
            } else {
                None
            };
            words.option(name, &arg, value, at)?;
        } else {
            words.cluster(arg.strip_prefix('-').unwrap_or_default(), at, next)?;
        }
    }
    Ok(words)
}

impl Words {
    /// `-sSLo FILE`: letters together, and what is left of the word is the value of the first that has one.
    fn cluster(&mut self, letters: &str, at: usize, mut next: impl FnMut() -> Option<String>) -> Result<()> {
        if letters.is_empty() {
            return Err(unknown("-"));
        }
        for (start, letter) in letters.char_indices() {
            let shown = format!("-{letter}");
            let name = known(long(letter).ok_or_else(|| unknown(&shown))?)?;
            if find(WITH_VALUE, name).is_none() {
                self.option(name, &shown, None, at)?;
                continue;
            }
            let rest = letters.get(start + letter.len_utf8()..).unwrap_or_default();
            let value = if rest.is_empty() { next() } else { Some(rest.to_owned()) };
            return self.option(name, &shown, Some(value.ok_or_else(|| no_value(&shown))?), at);
        }
        Ok(())
    }

    fn option(&mut self, name: &'static str, shown: &str, value: Option<String>, at: usize) -> Result<()> {
        let value = value.unwrap_or_default();
        match name {
            "url" => self.urls.push(value),
            "location" | "follow" => self.follows = !shown.starts_with("--no-"),
            "insecure" => self.insecure = !shown.starts_with("--no-"),
            "request-target" => self.retargets = true,
            "disable" => self.no_curlrc |= at == 0,
            // Through any of these plain http would leave the machine.
            "connect-to"
            | "resolve"
            | "proxy"
            | "preproxy"
            | "socks4"
            | "socks4a"
            | "socks5"
            | "socks5-hostname"
            | "proxy1.0"
            | "noproxy"
            | "unix-socket"
            | "abstract-unix-socket" => self.reroutes = Some(name),
            // Ours goes there: the first answer's head is looked at. Or the second answer would not be the whole.
            "dump-header" | "continue-at" | "clobber" | "skip-existing" => self.once = true,
            "upload-file" => self.once |= read_once(&value),
            "data" | "data-ascii" | "data-binary" | "data-urlencode" | "form" | "json" | "header"
            | "url-query" => {
                if name == "header" && names_authorization(&value) {
                    return Err(Error::usage("there is an Authorization header among curl's words")
                        .hint("leave it out: it is what seamless curl adds"));
                }
                // `@FILE`, `name@FILE`, `name=@FILE`, `name=<FILE`.
                let files =
                    value.split_once(['@', '<']).map(|(_, file)| file.split(';').next().unwrap_or_default());
                self.once |= files.is_some_and(read_once);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The option, if it is one whose reach is known.
fn known(name: &str) -> Result<&'static str> {
    let refused = |why: &str, hint: &str| Err(Error::usage(format!("curl's {why}")).hint(hint));
    match name {
        "location-trusted" => {
            return refused(
                "--location-trusted would hand the token to every host that a redirect names",
                "say -L",
            );
        }
        "config" => return refused("-K hides where it goes", "say here what stands in that file"),
        "next" => {
            return refused(
                "--next would send the next request without the token",
                "call seamless curl for each",
            );
        }
        "libcurl" => return refused("--libcurl would write the token to a file", "leave it out"),
        _ => {}
    }
    find(WITH_VALUE, name)
        .or_else(|| find(ALONE, name))
        .or_else(|| find(ALONE, name.strip_prefix("no-")?))
        .ok_or_else(|| unknown(&format!("--{name}")))
}

fn unknown(shown: &str) -> Error {
    Error::usage(format!("{shown:?} is no option of curl that is known here"))
        .hint("options in full; or give curl the header yourself: seamless header URL | curl -H @- …")
}

fn no_value(shown: &str) -> Error {
    Error::usage(format!("curl's {shown} has no value"))
}

fn names_authorization(header: &str) -> bool {
    header.split([':', ';']).next().is_some_and(|name| name.trim().eq_ignore_ascii_case("authorization"))
}

/// Standard input, a pipe of the shell's `<(…)`: what is not there a second time.
fn read_once(file: &str) -> bool {
    let file = file.trim_matches('"');
    matches!(file, "-" | ".") || Path::new(file).metadata().is_ok_and(|meta| !meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Words> {
        read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn urls_are_found_among_options() {
        for line in [
            "https://a/x",
            "-sS https://a/x",
            "-sSo out https://a/x",
            "-oout -XPOST https://a/x",
            "-X POST -d https://b/ https://a/x",
            "--data https://b/ -H x:y -A agent https://a/x",
            "--url https://a/x",
            "-H https://b https://a/x --max-time 3",
            "-s -- https://a/x",
            "-w -L https://a/x",
            "--json {} https://a/x -o -",
            "--no-progress-meter --no-location https://a/x",
        ] {
            assert_eq!(of(line).unwrap().urls, ["https://a/x"], "{line}");
            assert!(!of(line).unwrap().follows, "{line}");
        }
        assert_eq!(of("https://a/1 -o x https://a/2").unwrap().urls, ["https://a/1", "https://a/2"]);
        assert_eq!(of("-- -L").unwrap().urls, ["-L"]);
    }

    #[test]
    fn what_leads_elsewhere_is_seen() {
        for line in ["-L https://a", "-sSfL https://a", "https://a --location", "https://a --follow"] {
            assert!(of(line).unwrap().follows, "{line}");
        }
        for line in ["-k https://a", "-sk https://a", "--insecure https://a", "https://a -kL"] {
            assert!(of(line).unwrap().insecure, "{line}");
        }
        assert_eq!(of("-x http://p https://a").unwrap().reroutes, Some("proxy"));
        assert_eq!(of("-sxhttp://p https://a").unwrap().reroutes, Some("proxy"));
        assert_eq!(of("--connect-to a:1:b:2 http://a").unwrap().reroutes, Some("connect-to"));
        assert!(of("--request-target /x https://a").unwrap().retargets);
        assert!(of("-q https://a").unwrap().no_curlrc && !of("-s -q https://a").unwrap().no_curlrc);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        for line in [
            "--location-trusted https://a",
            "-K file https://a",
            "-sKfile https://a",
            "--config file",
            "https://a --next https://b",
            "https://a -: https://b",
            "--libcurl x.c https://a",
            // An abbreviation, which some curls take; a new option; one of another program.
            "--loc https://a",
            "--expand-url https://a",
            "--data=x https://a",
            "-é https://a",
            "- https://a",
            "https://a -o",
            "-H Authorization:x https://a",
            "-Hauthorization; https://a",
        ] {
            assert!(of(line).is_err(), "{line}");
        }
    }

    #[test]
    fn only_what_is_the_same_again_is_sent_again() {
        for line in ["https://a", "-d x https://a", "-o /dev/null https://a", "-d @Cargo.toml https://a"] {
            assert!(!of(line).unwrap().once, "{line}");
        }
        for line in [
            "-d @- https://a",
            "-T - https://a",
            "-T . https://a",
            "-T /dev/null https://a",
            "--json @- https://a",
            "-F file=@- https://a",
            "-F x=<- https://a",
            "-F x=@/dev/null;type=a/b https://a",
            "--data-urlencode x@- https://a",
            "--data-binary @/dev/stdin https://a",
            "-H @/dev/stdin https://a",
            "-C - https://a",
            "-D x https://a",
            "--no-clobber https://a",
        ] {
            assert!(of(line).unwrap().once, "{line}");
        }
    }
}
