//! The sockets that `serve` listens on: made here, or handed over.
//!
//! A service manager hands them over (sd_listen_fds(3)), and so does the `serve` that this process was until it
//! started itself anew. Connections that come in between wait in the kernel's queue, so none is refused.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::doors::http;
use crate::error::{Error, Result};

/// How many ports after a taken default are tried.
const NEXT_PORTS: u16 = 50;

/// Which door a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Ssh,
    Http,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A socket that listens. Whatever takes requests from it works on a duplicate: as long as this one is open, nobody
/// is refused.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) door: Door,
    pub(super) at: At,
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What was handed over and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Handed(Vec<(Origin, Socket)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A `.socket` unit: where we are to listen, whatever else is said.
    Unit,
    /// We ourselves, before: wanted if it is where we would listen anyway.
    Before,
}

impl Door {
    const ALL: [Self; 2] = [Self::Ssh, Self::Http];

    /// The option that names its address.
    const fn option(self) -> &'static str {
        match self {
            Self::Ssh => "--ssh",
            Self::Http => "--http",
        }
    }

    /// `FileDescriptorName=` of a `.socket` unit.
    const fn unit(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Http => "http",
        }
    }

    /// The name under which we keep ours.
    const fn kept(self) -> &'static str {
        match self {
            Self::Ssh => "seamless-ssh",
            Self::Http => "seamless-http",
        }
    }
}

impl Handed {
    /// Takes what the environment names. To be called while there is one thread, since it takes the names away.
    pub(super) fn over() -> Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = ListenFd::from_env();
        let mut handed = Vec::new();
        for number in 0..given.len() {
            let name = names.split(':').nth(number).unwrap_or_default();
            let (origin, door) = Door::ALL
                .into_iter()
                .find_map(|door| match name {
                    _ if name == door.unit() => Some((Origin::Unit, door)),
                    _ if name == door.kept() => Some((Origin::Before, door)),
                    _ => None,
                })
                .ok_or_else(|| {
                    Error::usage(format!("the service manager hands over a socket named {name:?}"))
                        .hint("say in its .socket unit which door it is for: FileDescriptorName=http or ssh")
                })?;
            let unusable = |e: std::io::Error| {
                Error::usage(format!("the socket {name:?} that the service manager hands over: {e}"))
            };
            let listener = match given.take_tcp_listener(number) {
                Ok(Some(listener)) => Listener::Tcp(listener),
                _ => match given.take_unix_listener(number).map_err(unusable)? {
                    Some(listener) => Listener::Unix(listener),
                    None => continue,
                },
            };
            handed.push((origin, Socket::of(door, listener).map_err(unusable)?));
        }
        Ok(Self(handed))
    }

    /// The sockets of a door: what a unit hands over, and one for each of the addresses; without either the default.
    pub(super) fn sockets(&mut self, door: Door, named: &[At], default: SocketAddr) -> Result<Vec<Socket>> {
        let mut sockets = self.take(|origin, s| origin == Origin::Unit && s.door == door);
        for at in named {
            if sockets.iter().any(|s| s.at == *at) {
                continue;
            }
            match self.take(|_, s| s.door == door && s.at == *at).pop() {
                Some(socket) => sockets.push(socket),
                None => sockets.push(Socket::bind(door, at)?),
            }
        }
        if sockets.is_empty() {
            // The port that the default gave way to before is kept.
            let near = |at: &At| {
                matches!(at, At::Tcp(a) if a.ip() == default.ip()
                    && (default.port()..=default.port() + NEXT_PORTS).contains(&a.port()))
            };
            match self.take(|_, s| s.door == door && near(&s.at)).pop() {
                Some(socket) => sockets.push(socket),
                None => sockets.push(Socket::bind_near(door, default)?),
            }
        }
        Ok(sockets)
    }

    fn take(&mut self, which: impl Fn(Origin, &Socket) -> bool) -> Vec<Socket> {
        self.0.extract_if(.., |(origin, socket)| which(*origin, socket)).map(|(_, socket)| socket).collect()
    }
}

impl Socket {
    fn of(door: Door, listener: Listener) -> std::io::Result<Self> {
        let at = match &listener {
            Listener::Tcp(listener) => At::Tcp(listener.local_addr()?),
            Listener::Unix(listener) => {
                At::Unix(listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default())
            }
        };
        Ok(Self { door, at, listener })
    }

    fn bind(door: Door, at: &At) -> Result<Self> {
        let listener = match at {
            At::Tcp(address) => Listener::Tcp(listen(*address).map_err(|e| taken(door, *address, &e))?),
            At::Unix(path) => Listener::Unix(http::bind_unix(path)?),
        };
        Self::of(door, listener).map_err(|e| broken(&e))
    }

    /// A taken default gives way to the next free port.
    fn bind_near(door: Door, default: SocketAddr) -> Result<Self> {
        let mut at = default;
        loop {
            match listen(at) {
                Ok(listener) => return Self::of(door, Listener::Tcp(listener)).map_err(|e| broken(&e)),
                Err(e)
                    if e.kind() == std::io::ErrorKind::AddrInUse
                        && at.port() < default.port() + NEXT_PORTS =>
                {
                    at.set_port(at.port() + 1);
                }
                Err(e) => return Err(taken(door, at, &e)),
            }
        }
    }

    /// A duplicate for the ssh door.
    pub(super) fn ssh(&self) -> Result<tokio::net::TcpListener> {
        match &self.listener {
            Listener::Tcp(listener) => tcp(listener),
            Listener::Unix(_) => Err(Error::usage("the ssh server listens on TCP alone")),
        }
    }

    /// A duplicate for the HTTP door.
    pub(super) fn http(&self) -> Result<http::Listener> {
        Ok(match &self.listener {
            Listener::Tcp(listener) => http::Listener::Tcp(tcp(listener)?),
            Listener::Unix(listener) => {
                let listener = listener.try_clone().map_err(|e| broken(&e))?;
                listener.set_nonblocking(true).map_err(|e| broken(&e))?;
                http::Listener::Unix(tokio::net::UnixListener::from_std(listener).map_err(|e| broken(&e))?)
            }
        })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Gives the sockets to the service manager to keep, which hands them to the next `serve` after this one. Whether it
/// does depends on its unit (FileDescriptorStoreMax=).
pub(super) fn keep(sockets: &[Socket]) {
    for door in Door::ALL {
        let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(door.kept())]);
    }
    for socket in sockets {
        let state = [NotifyState::FdStore, NotifyState::FdName(socket.door.kept())];
        let _ = sd_notify::notify_with_fds(&state, &[socket.as_fd()]);
    }
}

/// Lets the process that `command` turns this one into have the sockets. What is given must live until then.
pub(super) fn hand_over(sockets: &[Socket], command: &mut Command) -> std::io::Result<Vec<OwnedFd>> {
    // The protocol wants them side by side.
    for first in [3, 64, 256, 512] {
        let side_by_side: Vec<OwnedFd> = sockets
            .iter()
            .zip(first..)
            .map(|(socket, number)| rustix::io::fcntl_dupfd_cloexec(socket, number))
            .collect::<Result<_, _>>()?;
        let Some(start) = side_by_side.first().map(|fd| fd.as_raw_fd()) else { return Ok(Vec::new()) };
        if !side_by_side.iter().zip(start..).all(|(fd, number)| fd.as_raw_fd() == number) {
            continue;
        }
        for fd in &side_by_side {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        let names: Vec<_> = sockets.iter().map(|s| s.door.kept()).collect();
        command
            .env("LISTEN_PID", std::process::id().to_string())
            .env("LISTEN_FDS", sockets.len().to_string())
            .env("LISTEN_FDS_FIRST_FD", start.to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        return Ok(side_by_side);
    }
    Err(std::io::Error::other("no free file handles side by side"))
}

/// Removes the paths of unix sockets, unless a service manager keeps them.
pub(super) fn forget(sockets: &[Socket]) {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        return;
    }
    for socket in sockets {
        if let At::Unix(path) = &socket.at {
            http::forget_unix(path);
        }
    }
}

/// Reads an address and port, or `unix:PATH`.
pub(super) fn address(text: &str, door: Door) -> Result<At> {
    if let (Door::Http, Some(path)) = (door, text.strip_prefix("unix:")) {
        let path = std::path::absolute(path).map_err(|e| crate::error::io("find", Path::new(path), &e))?;
        return Ok(At::Unix(path));
    }
    text.parse().map(At::Tcp).map_err(|_| {
        Error::usage(format!("{:?} is not an address and port", crate::names::shorten(text)))
            .hint(format!("such as {} 127.0.0.1:8080", door.option()))
    })
}

/// With room for those who come while this process is replaced by the next.
fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    const WAITING: i32 = 1024;
    let listener = TcpListener::bind(at)?;
    rustix::net::listen(&listener, WAITING)?;
    Ok(listener)
}

fn tcp(listener: &TcpListener) -> Result<tokio::net::TcpListener> {
    let listener = listener.try_clone().map_err(|e| broken(&e))?;
    listener.set_nonblocking(true).map_err(|e| broken(&e))?;
    tokio::net::TcpListener::from_std(listener).map_err(|e| broken(&e))
}

fn broken(error: &std::io::Error) -> Error {
    Error::internal(format!("a listening socket: {error}"))
}

fn taken(door: Door, at: SocketAddr, error: &std::io::Error) -> Error {
    let reason = match error.kind() {
        std::io::ErrorKind::AddrInUse => "the port is taken".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    };
    Error::failed(format!("can't listen on {at}: {reason}"))
        .hint(format!("name another: {} ADDR", door.option()))
}
