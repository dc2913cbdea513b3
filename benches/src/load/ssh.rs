//! A light ssh client: one connection is one log-in and one command. Stock ssh costs 65 ms of CPU each time, which
//! would be what is measured.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use russh::client::{self, AuthResult, Config, Handler};
use russh::keys::ssh_key::Algorithm;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect, Preferred, cipher, kex, mac};
use seamless_bench::edge::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Somebody at an ssh server.
#[derive(Clone)]
pub(crate) struct Login {
    address: SocketAddr,
    user: String,
    key: Arc<PrivateKey>,
    host_key: PublicKey,
    config: Arc<Config>,
}

impl Login {
    /// This user, with this key, at the server with this host key.
    pub(crate) fn new(address: SocketAddr, user: &str, key: Arc<PrivateKey>, host_key: PublicKey) -> Self {
        let config = Arc::new(Config { preferred: preferred(), ..Config::default() });
        Self { address, user: user.to_owned(), key, host_key, config }
    }

    /// Nobody, until the server's key is known.
    pub(crate) fn unknown(address: SocketAddr) -> Self {
        let nobody = Arc::new(PrivateKey::from(Ed25519Keypair::from_seed(&[0; 32])));
        let host_key = nobody.public_key().clone();
        Self::new(address, "", nobody, host_key)
    }

    /// Logs in and has `token` carried out: what was printed, without the newline.
    pub(crate) async fn token(&self) -> Result<String, Error> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let visitor = Visitor { host_key: self.host_key.clone() };
        let mut session = client::connect_stream(Arc::clone(&self.config), Prompt(stream), visitor).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), None);
        match session.authenticate_publickey(&self.user, key).await? {
            AuthResult::Success => {}
            AuthResult::Failure { .. } => return Err("the key was refused".into()),
        }
        let mut channel = session.channel_open_session().await?;
        channel.exec(true, "token").await?;
        let (mut out, mut said, mut exit) = (Vec::new(), Vec::new(), None);
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => out.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, .. } => said.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => exit = Some(exit_status),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        session.disconnect(Disconnect::ByApplication, "", "").await?;
        // Until the connection is closed it would hold a place.
        let _ = session.await;
        let mut token = String::from_utf8(out)?;
        if exit != Some(0) || token.pop() != Some('\n') || token.is_empty() {
            return Err(format!("exit {exit:?}: {}", String::from_utf8_lossy(&said)).into());
        }
        Ok(token)
    }

    /// That many log-ins over that many connections at a time. The first that fails ends it.
    pub(crate) async fn tokens(&self, count: usize, at_a_time: usize) -> Result<Vec<String>, Error> {
        let left = Arc::new(AtomicUsize::new(count));
        let workers: Vec<_> = (0..at_a_time)
            .map(|_| {
                let (login, left) = (self.clone(), Arc::clone(&left));
                tokio::spawn(async move {
                    let mut tokens = Vec::new();
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                        .is_ok()
                    {
                        // Errors of this kind can't go to another thread.
                        tokens.push(login.token().await.map_err(|error| error.to_string())?);
                    }
                    Ok::<_, String>(tokens)
                })
            })
            .collect();
        let mut tokens = Vec::with_capacity(count);
        for worker in workers {
            tokens.extend(worker.await??);
        }
        Ok(tokens)
    }
}

/// The runtime of the clients.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// What every OpenSSH of the last ten years has, so that two servers do the same work.
fn preferred() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
        ]),
        key: Cow::Borrowed(&[Algorithm::Ed25519]),
        cipher: Cow::Borrowed(&[cipher::CHACHA20_POLY1305]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM]),
        ..Preferred::default()
    }
}

struct Visitor {
    host_key: PublicKey,
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.key_data() == self.host_key.key_data(),
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }
}

/// TCP that acknowledges at once: sshd leaves Nagle's algorithm on until a session runs, and would wait 40 ms.
struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buffer);
        if polled.is_ready() {
            let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
        }
        polled
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
