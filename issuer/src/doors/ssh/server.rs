//! Our own ssh server: tokens over ssh without an sshd, a root account or a system user.
//!
//! It speaks just enough of the protocol for `ssh -T corp@host` (design, section 7): one method, `publickey`;
//! one thing to do, the commands of [`crate::services::session`].

mod protocol;
mod stream;
mod visitor;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use self::stream::{Guarded, Prompt};
use self::visitor::Visitor;
use crate::doors::blocking;
use crate::doors::slots::{Caps, Slot, Slots};
use crate::error::Result;
use crate::realm::Realm;

pub use crate::services::host_key::{host_key, known_hosts_line};

/// What the server gives away before it stops giving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accept until a key is proven. Packets do not stretch it.
    pub grace: Duration,
    /// From accept until the connection is closed, whatever it does.
    pub life: Duration,
    /// How many connections.
    pub caps: Caps,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            life: Duration::from_secs(60),
            caps: Caps { connections: 512, per_address: 64 },
        }
    }
}

/// Takes a line for the operator.
type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How long a shutdown waits for sessions under way.
const DRAIN: Duration = Duration::from_secs(2);

/// How long to leave the listener alone after it failed: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How often to say that it failed. Under a flood it fails and recovers a hundred times a second.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Serves the realm on `listener` until `shutdown` turns true or its sender is gone, then finishes what is
/// under way within 2 s.
///
/// `log` takes the lines for the operator, without newline, token or secret.
///
/// # Errors
/// The host key can't be read or made. Nothing after that ends it: out of file handles it waits and goes on.
pub async fn serve(
    realm: Arc<Realm>,
    listener: TcpListener,
    limits: Limits,
    log: impl Fn(&str) + Send + Sync + 'static,
    mut shutdown: watch::Receiver<bool>,
) -> Result<()> {
    let log: Log = Arc::new(log);
    let dir = realm.dir.clone();
    let key = blocking(move || host_key(&dir)).await?;
    let config = Arc::new(protocol::config(key, limits));
    let slots = Slots::new(limits.caps);
    let mut pause = PAUSE.0;
    let mut said: Option<Instant> = None;

    let stopped = async move {
        // An error says that the sender is gone, and with it whoever could stop us in good order.
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = PAUSE.0;
                if let Some(slot) = slots.admit(peer.ip()) {
                    let (config, realm, log) = (Arc::clone(&config), Arc::clone(&realm), Arc::clone(&log));
                    tokio::spawn(connection(config, realm, log, stream, peer, (slot, limits)));
                }
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
                    said = Some(Instant::now());
                    log(&format!("seamless: error: can't accept ssh connections for now: {error}"));
                }
                slots.shed();
                tokio::select! {
                    () = &mut stopped => break,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    drop(listener);
    if tokio::time::timeout(DRAIN, slots.emptied()).await.is_err() {
        slots.cut_all();
    }
    Ok(())
}

/// Serves one connection to its end. How it ended is the peer's affair: nothing is logged, since anybody can
/// make it end badly as often as they like.
async fn connection(
    config: Arc<russh::server::Config>,
    realm: Arc<Realm>,
    log: Log,
    stream: TcpStream,
    peer: SocketAddr,
    (slot, limits): (Slot, Limits),
) {
    let visitor = Visitor::new(realm, log, peer.ip().to_canonical(), Arc::clone(&slot.progress));
    let stream = Guarded::new(Prompt::new(stream), slot, limits);
    if let Ok(session) = russh::server::run_stream(config, stream, visitor).await {
        let _ = session.await;
    }
}

/// Whether the failure of an accept is about the one connection it would have given.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}
