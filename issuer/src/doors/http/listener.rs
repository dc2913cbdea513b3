//! The accept loop and the life of a connection.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use prometheus_client::metrics::gauge::Gauge;
use rustix::fs::Mode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::opening::Opening;
use super::{Limits, Listener, Peer, Site};
use crate::error::{self, Error, Result};

/// A token of 8 KiB with room for cookies and whatever else a proxy passes on.
const MOST_HEADERS: u16 = 32 * 1024;

/// How long accepting rests when the system has no handles or memory left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Binds a unix socket that its owner and group may connect to.
///
/// A socket that is there and that nobody listens on is left from a process that was killed, and makes room.
/// Must be called inside a tokio runtime.
pub fn bind_unix(path: &Path) -> Result<UnixListener> {
    remove_stale(path)?;
    // The mode has to be right from the first moment: a chmod afterwards would come late. The umask is the whole
    // process's, and stricter for an instant harms nobody.
    let before = rustix::process::umask(Mode::from_raw_mode(0o117));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound.map_err(|e| error::io("listen on", path, &e))
}

fn remove_stale(path: &Path) -> Result<()> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(error::io("look at", path, &e)),
    };
    if !meta.file_type().is_socket() {
        return Err(Error::failed(format!("{} is in the way: it is not a socket", path.display()))
            .hint("take another path, or remove it if nobody needs it"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(Error::failed(format!("another process listens on {}", path.display()))),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|e| error::io("remove the old socket", path, &e))
        }
        Err(e) => Err(error::io("connect to", path, &e)),
    }
}

/// Accepts until the shutdown, then waits for what is under way, no longer than `limits.closing`.
pub(super) async fn run(
    site: Arc<Site>,
    listener: Listener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    let door = Arc::new(Door { site, http: http(limits), tls, limits, shutdown: shutdown.clone() });
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = closes(&mut shutdown) => break,
            accepted = async {
                // A place first: without one the connection stays in the kernel's queue.
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, accept(&listener).await)
            } => accepted,
        };
        let (slot, stream) = match accepted {
            (Ok(slot), Ok(stream)) => (slot, stream),
            // The semaphore is never closed.
            (Err(_), _) => break,
            (_, Err(error)) => {
                if !is_of_one_connection(&error) {
                    door.site.report("can't accept connections", &error);
                    sleep(BACK_OFF).await;
                }
                continue;
            }
        };
        let door = Arc::clone(&door);
        connections.spawn(async move {
            let _slot = slot;
            door.serve(stream).await;
        });
    }
    forget_socket(listener);
    let _ = timeout(limits.closing, async { while connections.join_next().await.is_some() {} }).await;
}

enum Stream {
    Tcp(TcpStream, Peer),
    Unix(UnixStream),
}

async fn accept(listener: &Listener) -> io::Result<Stream> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            // Answers are one write each: waiting for more only delays them. A dead connection shows soon enough.
            let _ = stream.set_nodelay(true);
            Ok(Stream::Tcp(stream, Peer::Tcp(address.ip())))
        }
        Listener::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
    }
}

/// Trouble of the client alone, which was gone before it was accepted. All else is ours: EMFILE, ENFILE, ENOMEM.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted)
}

/// A socket whose process is gone is in everybody's way.
fn forget_socket(listener: Listener) {
    let path: Option<PathBuf> = match &listener {
        Listener::Tcp(_) => None,
        Listener::Unix(listener) => {
            listener.local_addr().ok().and_then(|a| a.as_pathname().map(Path::to_owned))
        }
    };
    if let Some(path) = path {
        // While we still listen nobody else has put one there.
        let _ = std::fs::remove_file(path);
    }
    drop(listener);
}

async fn closes(shutdown: &mut watch::Receiver<bool>) {
    // Whoever could have said so is gone: that says it too.
    let _ = shutdown.wait_for(|closes| *closes).await;
}

fn http(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Runs between requests too, so it also ends idle connections.
        .header_read_timeout(limits.opening)
        .max_buf_size(usize::from(MOST_HEADERS));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::from(MOST_HEADERS))
        .max_concurrent_streams(64)
        // Bodies are not read, so there is nothing to make room for.
        .initial_stream_window_size(16 * 1024)
        .initial_connection_window_size(64 * 1024)
        .keep_alive_interval(limits.idle)
        .keep_alive_timeout(limits.opening);
    builder
}

/// What all connections share.
struct Door {
    site: Arc<Site>,
    http: Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
}

impl Door {
    async fn serve(&self, stream: Stream) {
        let _open = Open::new(self.site.metrics.connections());
        match (stream, &self.tls) {
            (Stream::Unix(stream), _) => self.connection(stream, Peer::Unix).await,
            (Stream::Tcp(stream, peer), None) => self.connection(stream, peer).await,
            (Stream::Tcp(stream, peer), Some(tls)) => {
                let mut shutdown = self.shutdown.clone();
                let handshake = tokio::select! {
                    handshake = timeout(self.limits.opening, tls.accept(stream)) => handshake,
                    () = closes(&mut shutdown) => return,
                };
                if let Ok(Ok(stream)) = handshake {
                    self.connection(stream, peer).await;
                }
            }
        }
    }

    async fn connection<S>(&self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let requests = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&requests);
        let site = Arc::clone(&self.site);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            count.fetch_add(1, Ordering::Relaxed);
            let site = Arc::clone(&site);
            // The body is dropped unread.
            let (request, _) = request.into_parts();
            async move { Ok::<_, Infallible>(site.answer(&request, peer).await) }
        });
        let io = TokioIo::new(Opening::new(stream, self.limits.opening));
        let mut connection = std::pin::pin!(self.http.serve_connection(io, service));
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            // What a client does wrong is no news.
            _ = connection.as_mut() => return,
            () = closes(&mut shutdown) => {}
            () = idles(&requests, self.limits.idle) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(self.limits.closing, connection).await;
    }
}

/// Ends when no request has come for one period. Answers take less than that, so none is cut off.
async fn idles(requests: &AtomicU64, period: Duration) {
    let mut before = requests.load(Ordering::Relaxed);
    loop {
        sleep(period).await;
        let now = requests.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// One more connection, as long as it lives.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
