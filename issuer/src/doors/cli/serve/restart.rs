//! What signals ask of a running `serve`, and how it starts itself anew without refusing a connection.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::sockets::{self, Socket};
use crate::config::Config;
use crate::doors::cli::Context;
use crate::error::{Error, Result};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGINT, SIGTERM.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR2.
    Restart,
}

/// The signals that are waited for.
pub(super) struct Signals {
    int: Signal,
    term: Signal,
    hup: Signal,
    usr2: Signal,
}

impl Signals {
    /// From here on they end nothing by themselves.
    pub(super) fn listen() -> Result<Self> {
        let on = |kind| signal(kind).map_err(|e| Error::internal(format!("signals: {e}")));
        Ok(Self {
            int: on(SignalKind::interrupt())?,
            term: on(SignalKind::terminate())?,
            hup: on(SignalKind::hangup())?,
            usr2: on(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.int.recv() => Asked::Stop,
            _ = self.term.recv() => Asked::Stop,
            _ = self.hup.recv() => Asked::Reload,
            _ = self.usr2.recv() => Asked::Restart,
        }
    }
}

/// This program as it was called.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    pub(super) fn this(context: &Context) -> Result<Self> {
        let path = std::env::current_exe()
            .map_err(|e| Error::internal(format!("this program's path is not known: {e}")))?;
        Ok(Self { path, arguments: context.argv.clone() })
    }

    /// Whether a new one would come up: what it would fail at is better found while this one serves.
    pub(super) fn check(&self, dir: &Path) -> Result<()> {
        Config::load(dir)?;
        let ran = Command::new(&self.path)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match ran {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::failed(format!("{} does not run: {status}", self.path.display()))),
            Err(e) => Err(crate::error::io("run", &self.path, &e)),
        }
    }

    /// Becomes the new one, under the same process id; returns only on failure.
    pub(super) fn replace_this(&self, sockets: &[Socket]) -> Error {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        // They are open in the new one only if they are in this.
        let error = match sockets::hand_over(sockets, &mut command) {
            Ok(_side_by_side) => command.exec(),
            Err(error) => error,
        };
        crate::error::io("start anew", &self.path, &error)
    }
}

/// Tells the service manager that the next READY is another one.
pub(super) fn reloading() -> std::io::Result<()> {
    sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
}
