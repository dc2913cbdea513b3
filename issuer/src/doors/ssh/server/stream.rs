//! A connection's bytes, with an end that no packet can put off.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::Limits;
use crate::doors::slots::Slot;

/// A client that has sent less than this has sent no more than its version line (RFC 4253 section 4.2).
const VERSION_LINE: usize = 256;

/// Fails every read and write past the grace time until a key is proven, past the connection's life,
/// and once its place went to another.
///
/// The library's own timer starts anew with every packet, so one byte every few seconds would hold a
/// connection for ever.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    slot: Slot,
    timer: Pin<Box<Sleep>>,
    life_ends: Instant,
    ended: Option<ErrorKind>,
    received: usize,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, slot: Slot, limits: Limits) -> Self {
        let life_ends = slot.since + limits.life;
        let timer = Box::pin(tokio::time::sleep_until(life_ends.min(slot.since + limits.grace)));
        Self { stream, slot, timer, life_ends, ended: None, received: 0 }
    }

    /// Fails if the connection is over, and otherwise sees to it that the task wakes when it is.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(kind) = self.ended {
            return Err(kind.into());
        }
        if Pin::new(&mut self.slot.cut).poll(cx).is_ready() {
            return Err(self.ended.insert(ErrorKind::ConnectionAborted).to_owned().into());
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if !self.slot.progress.is_proven() || self.timer.deadline() >= self.life_ends {
                return Err(self.ended.insert(ErrorKind::TimedOut).to_owned().into());
            }
            self.timer.as_mut().reset(self.life_ends);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if this.received < VERSION_LINE {
            this.received += buffer.filled().len() - before;
            if this.received >= VERSION_LINE {
                this.slot.progress.spoke();
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// TCP without the waits of Nagle's algorithm and of delayed acknowledgements, which cost 22 ms a log-in.
#[derive(Debug)]
pub(super) struct Prompt(TcpStream);

impl Prompt {
    pub(super) fn new(stream: TcpStream) -> Self {
        // A connection is as good without it, only slower.
        let _ = stream.set_nodelay(true);
        Self(stream)
    }

    /// Linux falls back to delayed acknowledgements by itself, so this follows every read.
    fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.0).poll_read(cx, buffer);
        if polled.is_ready() {
            this.acknowledge_at_once();
        }
        polled
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::doors::slots::Slots;

    fn guarded() -> (Arc<Slots>, Guarded<DuplexStream>, DuplexStream) {
        let slots = Slots::new(Limits::default().caps);
        let slot = slots.admit(Ipv4Addr::LOCALHOST.into()).unwrap();
        let (near, far) = duplex(64);
        (slots, Guarded::new(near, slot, Limits::default()), far)
    }

    #[tokio::test(start_paused = true)]
    async fn dripped_bytes_do_not_stretch_the_grace() {
        let (_slots, mut near, mut far) = guarded();
        let began = Instant::now();
        let dripping = tokio::spawn(async move {
            while far.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        });
        let mut byte = [0];
        let error = loop {
            if let Err(error) = near.read_exact(&mut byte).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 5);
        assert_eq!(near.write_all(b"x").await.unwrap_err().kind(), ErrorKind::TimedOut, "and it stays so");
        dripping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_too() {
        let (_slots, mut near, _far) = guarded();
        let began = Instant::now();
        assert_eq!(near.write_all(&[0; 65]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proven_connection_lives_its_life_and_no_longer() {
        let (_slots, mut near, _far) = guarded();
        near.slot.progress.proved();
        let began = Instant::now();
        assert_eq!(near.read_u8().await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_wakes_a_waiting_read() {
        let (slots, mut near, _far) = guarded();
        let reading = tokio::spawn(async move { near.read_u8().await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        slots.cut_all();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}
