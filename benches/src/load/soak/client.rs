//! One connection to `/verify`, over a unix socket or TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use seamless_bench::edge::{Error, read_answer, request};

/// Where `serve` listens.
pub(super) enum Door {
    Unix(PathBuf),
    Tls(SocketAddr, Arc<ClientConfig>),
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection.
pub(super) struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) fn open(door: &Door) -> Result<Self, Error> {
        const LIMIT: Option<Duration> = Some(Duration::from_secs(20));
        let stream: Box<dyn Stream> = match door {
            Door::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(LIMIT)?;
                Box::new(stream)
            }
            Door::Tls(address, config) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(LIMIT)?;
                stream.set_nodelay(true)?;
                let name = ServerName::from(address.ip());
                Box::new(StreamOwned::new(ClientConnection::new(Arc::clone(config), name)?, stream))
            }
        };
        Ok(Self { stream, buffer: vec![0; 16 * 1024] })
    }

    /// Shows a token; one that is not to be good is changed first. Fails where the answer is not what it must be.
    pub(super) fn verify(&mut self, token: &str, good: bool) -> Result<(), Error> {
        let token = if good { token.to_owned() } else { changed(token)? };
        let head = request("/verify", "localhost", Some(&format!("Bearer {token}")));
        self.stream.write_all(head.as_bytes())?;
        self.stream.flush()?;
        let (status, length) = read_answer(&mut self.stream, &mut self.buffer)?;
        if status != if good { 200 } else { 401 } {
            let said = String::from_utf8_lossy(&self.buffer[..length]);
            return Err(format!("good: {good}, and the answer was:\n{said}").into());
        }
        Ok(())
    }

    /// The whole answer to a GET, its head too.
    pub(super) fn text(&mut self, path: &str) -> Result<String, Error> {
        self.stream.write_all(request(path, "localhost", None).as_bytes())?;
        let (_, length) = read_answer(&mut self.stream, &mut self.buffer)?;
        Ok(String::from_utf8_lossy(&self.buffer[..length]).into_owned())
    }
}

/// The same token with another signature.
fn changed(token: &str) -> Result<String, Error> {
    let (signed, signature) = token.rsplit_once('.').ok_or("no JWT")?;
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    Ok(format!("{signed}.{first}{}", signature.get(1..).unwrap_or_default()))
}

/// A certificate of our own for loopback: who trusts it, and the files with it and its key.
pub(super) fn tls(folder: &Path) -> Result<(Arc<ClientConfig>, String, String), Error> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert, made.cert.pem())?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key)?;
    file.write_all(made.signing_key.serialize_pem().as_bytes())?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Arc::new(config), cert.display().to_string(), key.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::changed;

    #[test]
    fn a_changed_token_is_another() {
        for token in ["e.e.Abc", "e.e.bcd"] {
            assert_ne!(changed(token).unwrap(), token);
        }
        assert!(changed("none").is_err());
    }
}
