//! The forced command that sshd runs at every log-in. It stays tiny: no clap, no runtime, no network.
//!
//! Who asks comes only from the argv that we wrote into the authorized_keys line; of the environment only
//! SSH_ORIGINAL_COMMAND (what the client asks) and SSH_CONNECTION (where from) are read.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::backends::audit::Door;
use crate::backends::store::Fingerprint;
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::realm::{Access, Realm};
use crate::services::mint::Caller;
use crate::services::session::{self, Reply};

use super::syslog::{self, Severity};

pub use crate::services::hosting::FORCED as WORD;

/// Carries out one forced command; `argv` is what stands after [`WORD`].
pub fn main(argv: &[OsString]) -> u8 {
    // A core file would hold the signing key.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let reply = match open(argv) {
        Ok((realm, caller)) => {
            let command = std::env::var_os("SSH_ORIGINAL_COMMAND");
            let reply = session::answer(&realm, &caller, command.as_deref().map(OsStrExt::as_bytes));
            realm.abandon();
            reply
        }
        Err(error) => session::failure(&error),
    };
    print(&reply)
}

fn open(argv: &[OsString]) -> Result<(Realm, Caller)> {
    let wrong = || {
        Error::internal("the forced command's arguments are wrong")
            .hint("write the lines anew: seamless sync")
    };
    let text: Vec<_> = argv.iter().map(|a| a.to_str()).collect::<Option<_>>().ok_or_else(wrong)?;
    let ["--dir", dir, "--user", user, "--key", key] = text[..] else { return Err(wrong()) };
    let caller = Caller {
        user: user.parse().map_err(|_| wrong())?,
        key: Some(Fingerprint::parse(key).ok_or_else(wrong)?),
        door: Door::SshForced,
        address: address(std::env::var("SSH_CONNECTION").ok().as_deref()),
    };
    Ok((Realm::open(Path::new(dir), Access::Read, Arc::new(SystemClock))?, caller))
}

/// The client's address: the first word of SSH_CONNECTION.
fn address(connection: Option<&str>) -> Option<std::net::IpAddr> {
    let word = connection?.split(' ').next()?;
    // sshd may add the interface of a link-local address.
    word.split('%').next()?.parse().ok()
}

fn print(reply: &Reply) -> u8 {
    // sshd hands our stderr to the client, so what only the administrator may read goes to the host's log.
    if let Some(line) = &reply.log {
        syslog::send(if reply.exit == 0 { Severity::Info } else { Severity::Error }, line);
    }
    let _ = std::io::stderr().write_all(reply.stderr.as_bytes());
    let mut out = std::io::stdout().lock();
    match out.write_all(reply.stdout.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => reply.exit,
        Err(_) => crate::error::Kind::Internal.exit_code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_clients() {
        assert_eq!(address(Some("10.1.2.3 55044 10.0.0.1 22")).unwrap().to_string(), "10.1.2.3");
        assert_eq!(address(Some("fe80::1%eth0 5 ::1 22")).unwrap().to_string(), "fe80::1");
        assert_eq!(address(Some("UNKNOWN 65535 UNKNOWN 65535")), None);
        assert_eq!(address(Some("")), None);
        assert_eq!(address(None), None);
    }

    #[test]
    fn the_arguments_are_read_as_they_are_written() {
        let fingerprint = Fingerprint([7; 32]);
        let line = crate::backends::system::sshd::forced_arguments(
            Path::new("/nonexistent/corp"),
            "ada",
            &fingerprint,
        );
        let argv: Vec<OsString> = line.split(' ').skip(1).map(Into::into).collect();
        let error = open(&argv).err().unwrap();
        assert!(error.message().contains("there is no realm in /nonexistent/corp"), "{error}");
        for bad in [&argv[..5], &argv[1..], &[]] {
            assert!(open(bad).err().unwrap().message().contains("arguments are wrong"));
        }
    }
}
