//! The accept loop and the life of a connection.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Version;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use prometheus_client::metrics::gauge::Gauge;
use rustix::fs::Mode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::opening::Opening;
use super::reply::Answer;
use super::{Limits, Listener, Peer, Site, Tls};
use crate::doors::slots::{Progress, Slot, Slots};
use crate::error::{self, Error, Result};

/// A token of 8 KiB with room for cookies and whatever else a proxy passes on.
const MOST_HEADERS: u16 = 32 * 1024;

/// The most that is read of a body that nobody looks at, in bytes.
const MOST_BODY: usize = 64 * 1024 * 1024;

/// How long accepting rests when the system has no handles or memory left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Binds a unix socket that its owner and group may connect to.
///
/// A socket that is there and that nobody listens on is left from a process that was killed, and makes room.
pub fn bind_unix(path: &Path) -> Result<std::os::unix::net::UnixListener> {
    remove_stale(path)?;
    // The mode has to be right from the first moment: a chmod afterwards would come late. The umask is the whole
    // process's, and stricter for an instant harms nobody.
    let before = rustix::process::umask(Mode::from_raw_mode(0o117));
    let bound = std::os::unix::net::UnixListener::bind(path);
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

/// Accepts on all of them until the shutdown, then waits for what is under way.
pub(super) async fn run(
    site: Arc<Site>,
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
) {
    let slots = Slots::new(limits.caps);
    let door =
        Arc::new(Door { site, http: http(limits), tls, slots, limits, shutdown, closing: Arc::default() });
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(attend(Arc::clone(&door), listener));
    }
    while doors.join_next().await.is_some() {}
}

/// Accepts on one of them until the shutdown, then waits no longer than the limits say.
async fn attend(door: Arc<Door>, listener: Listener) {
    let mut shutdown = door.shutdown.clone();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = closes(&mut shutdown) => break,
            accepted = accept(&listener) => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                if !is_of_one_connection(&error) {
                    door.site.report("can't accept connections", &error);
                    door.slots.shed();
                    sleep(BACK_OFF).await;
                }
                continue;
            }
        };
        let slot = tokio::select! {
            biased;
            // Whoever was accepted before the door closed is not sent away.
            slot = door.place(&stream) => slot,
            () = closes(&mut shutdown) => break,
        };
        if let Some(slot) = slot {
            let door = Arc::clone(&door);
            connections.spawn(async move { door.serve(stream, slot).await });
        }
    }
    door.closing.store(true, Ordering::Relaxed);
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(door.limits.linger + door.limits.closing, all).await;
}

enum Stream {
    Tcp(TcpStream, Peer, IpAddr),
    Unix(UnixStream),
}

async fn accept(listener: &Listener) -> io::Result<Stream> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            // Answers are one write each: waiting for more only delays them. A dead connection shows soon enough.
            let _ = stream.set_nodelay(true);
            Ok(Stream::Tcp(stream, Peer::Tcp(address.ip()), address.ip()))
        }
        Listener::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
    }
}

/// Trouble of the client alone, which was gone before it was accepted. All else is ours: EMFILE, ENFILE, ENOMEM.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted)
}

/// Removes the path of a socket that its caller still listens on, so that nobody else has put one there.
pub fn forget_unix(path: &Path) {
    let _ = std::fs::remove_file(path);
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
        // Answers are small: one buffer and a plain write cost less than two and a vectored one.
        .writev(false)
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
    tls: Option<Arc<Tls>>,
    slots: Arc<Slots>,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
    /// The same for who asks with every request.
    closing: Arc<AtomicBool>,
}

impl Door {
    /// A place for the connection, or none. Whoever speaks for many waits for one.
    async fn place(&self, stream: &Stream) -> Option<Slot> {
        let (peer, address) = match stream {
            Stream::Tcp(_, peer, address) => (*peer, *address),
            Stream::Unix(_) => (Peer::Unix, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        };
        if !self.site.believes(peer) {
            return self.slots.admit(address);
        }
        loop {
            match self.slots.admit_many(address) {
                Some(slot) => return Some(slot),
                None => self.slots.freed().await,
            }
        }
    }

    async fn serve(&self, stream: Stream, mut slot: Slot) {
        let _open = Open::new(self.site.metrics.connections());
        match (stream, &self.tls) {
            (Stream::Unix(stream), _) => self.connection(stream, Peer::Unix, slot).await,
            (Stream::Tcp(stream, peer, _), None) => self.connection(stream, peer, slot).await,
            (Stream::Tcp(stream, peer, _), Some(tls)) => {
                let mut shutdown = self.shutdown.clone();
                let handshake = tokio::select! {
                    handshake = timeout(self.limits.opening, tls.acceptor().accept(stream)) => handshake,
                    // Whoever began before the door closed is let in, as long as that takes no time.
                    () = async { closes(&mut shutdown).await; sleep(self.limits.linger).await } => return,
                    _ = &mut slot.cut => return,
                };
                if let Ok(Ok(stream)) = handshake {
                    self.connection(stream, peer, slot).await;
                }
            }
        }
    }

    async fn connection<S>(&self, stream: S, peer: Peer, mut slot: Slot)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let exchange = Arc::new(Exchange {
            site: Arc::clone(&self.site),
            closing: Arc::clone(&self.closing),
            progress: Arc::clone(&slot.progress),
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&exchange);
        let idle = self.limits.idle;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let exchange = Arc::clone(&theirs);
            let (request, body) = request.into_parts();
            // Most bodies are dropped unread.
            if !body.is_end_stream() && exchange.site.drains(&request) {
                tokio::spawn(timeout(idle, drain(body)));
            }
            async move { Ok::<_, Infallible>(exchange.answer(&request, peer).await) }
        });
        let io = TokioIo::new(Opening::new(stream, self.limits.opening));
        let mut connection = std::pin::pin!(self.http.serve_connection(io, service));
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            // What a client does wrong is no news.
            _ = connection.as_mut() => return,
            () = async { closes(&mut shutdown).await; sleep(self.limits.linger).await } => {}
            () = idles(&exchange.requests, self.limits.idle) => {}
            _ = &mut slot.cut => {
                // Its place has gone to another: what is left is an answer, if one is being made.
                if exchange.is_idle() {
                    return;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(self.limits.closing, connection).await;
    }
}

/// What the requests of one connection share.
struct Exchange {
    site: Arc<Site>,
    closing: Arc<AtomicBool>,
    progress: Arc<Progress>,
    requests: AtomicU64,
    answered: AtomicU64,
}

impl Exchange {
    async fn answer(&self, request: &Parts, peer: Peer) -> Answer {
        if self.requests.fetch_add(1, Ordering::Relaxed) == 0 {
            self.progress.spoke();
        }
        let mut answer = self.site.answer(request, peer).await;
        if self.closing.load(Ordering::Relaxed) && request.version <= Version::HTTP_11 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }

    fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == self.answered.load(Ordering::Relaxed)
    }
}

/// Reads a body to its end while the answer is on its way, up to a limit: closing the connection before that would break
/// it for a client that is still sending, before it has seen the answer.
async fn drain(mut body: Incoming) {
    let mut left = MOST_BODY;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
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
