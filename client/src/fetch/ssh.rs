//! Over ssh, by OpenSSH's own client: its configuration, agent, jump hosts and known hosts apply.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::now;
use crate::error::{Error, Kind, Result, shorten};
use crate::{Options, Token, Wish};

/// The most that is read of what ssh prints.
const MOST: u64 = 64 * 1024;
/// How long a person may take over a passphrase: as long as sshd lets a log-in take.
const TYPING: Duration = Duration::from_secs(120);

pub(super) fn fetch(
    user: Option<&str>,
    host: &str,
    port: Option<u16>,
    wish: &Wish,
    options: &Options,
) -> Result<Token> {
    let words = words(wish)?;
    let mut command = Command::new("ssh");
    command.arg("-T");
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(file) = &options.identity {
        command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(file);
    }
    if options.fingerprint.is_some() {
        return Err(Error::new(Kind::Usage, "a fingerprint says nothing to ssh")
            .hint("name the key's file: --identity ~/.ssh/id_ed25519.pub"));
    }
    let seconds = options.timeout.as_secs().max(1);
    command.args(["-o", &format!("ConnectTimeout={seconds}")]);
    if !options.interactive {
        command.args(["-o", "BatchMode=yes"]);
    }
    // The names can't begin with a hyphen either.
    let destination = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
    command.arg("--").arg(&destination).args(&words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| {
        Error::new(Kind::Internal, format!("can't run ssh: {e}")).hint("install openssh-client")
    })?;
    // Somebody may be typing a passphrase, or may be asked about a host key.
    let typing = if options.interactive { TYPING } else { Duration::ZERO };
    let deadline = Instant::now() + options.timeout + typing;
    let mut output = wait(child, deadline)?;
    let stdout = Zeroizing::new(std::mem::take(&mut output.stdout));
    if !output.status.success() {
        return Err(refused(&output, &destination));
    }
    let text = std::str::from_utf8(&stdout)
        .map_err(|_| Error::new(Kind::Server, "what ssh printed is no token"))?
        .trim_end_matches(['\r', '\n']);
    // The Python original prints the token alone, whatever is asked.
    if text.starts_with('{') {
        Token::from_json(text.as_bytes(), now())
    } else {
        Token::from_text(text, now())
    }
}

/// Words are joined by spaces on the way and split at them there, so none may have one, nor read as an option.
pub(super) fn check(word: &str) -> Result<()> {
    if word.is_empty() || word.starts_with('-') || !word.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::new(Kind::Usage, format!("{:?} can't be asked for over ssh", shorten(word))));
    }
    Ok(())
}

/// The remote words.
fn words(wish: &Wish) -> Result<Vec<String>> {
    let mut words = vec!["token".to_owned(), "--json".to_owned()];
    let mut put = |option: &str, value: &str| {
        check(value).map(|()| words.extend([option.to_owned(), value.to_owned()]))
    };
    wish.audiences.iter().try_for_each(|audience| put("-a", audience))?;
    wish.scopes.iter().try_for_each(|scope| put("-s", scope))?;
    if let Some(format) = &wish.format {
        put("--format", format)?;
    }
    if let Some(ttl) = wish.ttl {
        put("-t", &format!("{ttl}s"))?;
    }
    Ok(words)
}

/// How ssh ended, and what it printed by then.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    /// Of a failure only.
    stderr: Vec<u8>,
}

fn wait(mut child: Child, deadline: Instant) -> Result<Ended> {
    fn drain(from: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
        let (ours, theirs) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(from) = from {
                let _ = from.take(MOST).read_to_end(&mut bytes);
            }
            let _ = ours.send(bytes);
        });
        theirs
    }
    // A connection that ssh leaves behind to be shared (ControlPersist) may hold on to the pipes: they end in time as well.
    let read = |pipe: &Receiver<Vec<u8>>| {
        let left = deadline.saturating_duration_since(Instant::now());
        pipe.recv_timeout(left).map_err(|_| Error::new(Kind::Network, "ssh: no answer in time"))
    };
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let failed = |e: std::io::Error| Error::new(Kind::Internal, format!("can't wait for ssh: {e}"));
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(Kind::Network, "ssh: no answer in time"));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let stderr = if status.success() { Vec::new() } else { read(&stderr)? };
    Ok(Ended { status, stdout: read(&stdout)?, stderr })
}

/// In the server's own words where it has some, else in ssh's.
fn refused(output: &Ended, destination: &str) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let line = |word: &str| {
        said.lines().find_map(|line| line.trim().strip_prefix("seamless: ")?.strip_prefix(word).map(shorten))
    };
    let code = output.status.code();
    let kind = match code {
        Some(2) => Kind::Usage,
        Some(3 | 4) => Kind::Refused,
        Some(255) | None => Kind::Network,
        _ => Kind::Server,
    };
    if let Some(message) = line("error: ") {
        let error = Error { exit_status: code, ..Error::new(kind, message) };
        return match line("hint: ") {
            Some(hint) => error.hint(hint),
            None => error,
        };
    }
    let last =
        said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it printed nothing");
    let how = code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let error = Error::new(kind, format!("ssh {destination} ended with {how}: {}", shorten(last)));
    let error = Error { exit_status: code, ..error };
    if last.contains("Permission denied") {
        return Error { kind: Kind::Refused, ..error }
            .hint("is your key enrolled there, and does ssh offer it? ssh -v shows which it does");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_stay_apart() {
        let wish = Wish {
            audiences: vec!["https://a".into()],
            scopes: vec!["read".into()],
            format: Some("jwt".into()),
            ttl: Some(90),
        };
        let words = words(&wish).unwrap().join(" ");
        assert_eq!(words, "token --json -a https://a -s read --format jwt -t 90s");
        for bad in ["a b", "", "-x", "a\nb", "ä"] {
            assert!(
                self::words(&Wish { audiences: vec![bad.into()], ..Wish::default() }).is_err(),
                "{bad:?}"
            );
        }
    }
}
