//! Encryption to age recipients, by the program `age` (or `rage`).
//!
//! A child process rather than the library: that would bring a second generation of every cipher and hash
//! (docs/decisions/0008). What is secret goes through pipes alone, never by an argument or a file.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The programs that speak the format, by preference.
const PROGRAMS: [&str; 2] = ["age", "rage"];

/// The most that is decrypted: a realm has a handful of keys.
const MOST: u64 = 16 * 1024 * 1024;

/// An age recipient: `age1…`, or an SSH public key that age encrypts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient(String);

impl std::str::FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let base64 =
            |t: &str| t.len() > 16 && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        let bech32 =
            |t: &str| t.len() > 16 && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let mut words = text.split(' ');
        let good = match (words.next(), words.next()) {
            (Some("ssh-ed25519" | "ssh-rsa"), Some(blob)) => base64(blob),
            (Some(word), None) => word.strip_prefix("age1").is_some_and(bech32),
            _ => false,
        };
        if !good {
            return Err(Error::usage(format!("{:?} is no age recipient", crate::names::shorten(text)))
                .hint("age1… as age-keygen prints it, or a public key as \"ssh-ed25519 AAAA…\""));
        }
        // Without the comment: it says nothing to age.
        Ok(Self(text.split(' ').take(2).collect::<Vec<_>>().join(" ")))
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Encrypts to all of the recipients.
pub fn encrypt(plain: &[u8], to: &[Recipient]) -> Result<Vec<u8>> {
    let mut command = Command::new(program()?);
    command.arg("--encrypt");
    for recipient in to {
        command.args(["--recipient", &recipient.0]);
    }
    run(&mut command, plain).map(|output| output.to_vec())
}

/// Decrypts with the identity file, which is read by age: it may ask for a passphrase on the terminal.
pub fn decrypt(cipher: &[u8], identity: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let identity = std::path::absolute(identity).map_err(|e| crate::error::io("find", identity, &e))?;
    let mut command = Command::new(program()?);
    // Absolute, so that no name is an option.
    command.arg("--decrypt").arg("--identity").arg(identity);
    run(&mut command, cipher)
}

fn run(command: &mut Command, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |e: std::io::Error| Error::failed(format!("{name}: {e}"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut output = Zeroizing::new(Vec::with_capacity(input.len() + 4096));
    let mut said = String::new();
    let read = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // It may have refused before it read all.
                let _ = stdin.write_all(input);
            }
        });
        let said = &mut said;
        scope.spawn(move || {
            if let Some(stderr) = stderr {
                let _ = stderr.take(4096).read_to_string(said);
            }
        });
        stdout.map_or(Ok(0), |stdout| stdout.take(MOST).read_to_end(&mut output))
    });
    let status = child.wait().map_err(failed)?;
    read.map_err(failed)?;
    if !status.success() {
        let first = said.lines().next().unwrap_or_default();
        let why = if first.is_empty() { status.to_string() } else { first.to_owned() };
        return Err(Error::failed(format!("the keys of the backup: {why}")));
    }
    Ok(output)
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = PROGRAMS.iter().find_map(|name| {
        std::env::split_paths(&path).filter(|d| d.is_absolute()).map(|d| d.join(name)).find(|p| p.is_file())
    });
    found.ok_or_else(|| {
        Error::failed("the keys of a backup are encrypted by the program age, which is not installed")
            .hint("apt install age, or your system's way; rage does as well")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_by_their_shape() {
        for good in [
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ",
        ] {
            assert_eq!(good.parse::<Recipient>().unwrap().to_string(), good);
        }
        let with_comment = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9 ada@host --x";
        assert!(!with_comment.parse::<Recipient>().unwrap().to_string().contains("ada"));
        for bad in
            ["", "-", "--output=/etc/passwd", "age1", "age1QQ", "AGE-SECRET-KEY-1QQ", "ssh-ed25519", "/x"]
        {
            assert!(bad.parse::<Recipient>().is_err(), "{bad}");
        }
    }
}
