//! TLS from two PEM files, with errors that say which file is wrong and how, and anew when they change.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::{Log, TlsFiles};
use crate::doors::blocking;
use crate::error::{Error, Result, io};

/// No chain or key is longer.
const MOST: u64 = 256 * 1024;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// The certificate in use.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Loaded>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    stamp: Stamp,
}

/// What changes about a file when it is written or replaced.
type Stamp = [Option<(u64, u64, i64, i64, u64)>; 2];

impl Tls {
    /// Reads certificate and key and checks that they belong together.
    pub fn load(files: TlsFiles) -> Result<Self> {
        let loaded = load(&files)?;
        Ok(Self { files, current: RwLock::new(loaded) })
    }

    /// Reads them again, for the connections that come from now on. Where they can't be used the old ones stay.
    pub fn reload(&self) -> Result<()> {
        let loaded = load(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Reads them again whenever they change, for ever.
    pub async fn follow(self: Arc<Self>, log: Log) {
        // The files are two, and written one after the other: what does not fit together at first is looked at once
        // more before anybody is told.
        let mut failed: Option<(Stamp, bool)> = None;
        loop {
            tokio::time::sleep(EVERY).await;
            let this = Arc::clone(&self);
            let end = blocking(move || {
                let stamp = stamp(&this.files);
                let same = stamp == this.current.read().unwrap_or_else(PoisonError::into_inner).stamp;
                Ok((stamp, if same { None } else { Some(this.reload()) }))
            });
            match end.await {
                Ok((_, None)) => failed = None,
                Ok((_, Some(Ok(())))) => {
                    failed = None;
                    log(&format!("http: the certificate {} was read anew", self.files.cert.display()));
                }
                Ok((stamp, Some(Err(error)))) => match failed {
                    Some((before, said)) if before == stamp => {
                        if !said {
                            log(&format!("error: http: the certificate stays the old one: {error}"));
                        }
                        failed = Some((stamp, true));
                    }
                    _ => failed = Some((stamp, false)),
                },
                Err(_) => {}
            }
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).acceptor.clone()
    }
}

fn load(files: &TlsFiles) -> Result<Loaded> {
    // Before they are read: a change in between is then seen as one.
    let stamp = stamp(files);
    Ok(Loaded { acceptor: acceptor(files)?, stamp })
}

fn stamp(files: &TlsFiles) -> Stamp {
    [&files.cert, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()))
    })
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let chain = chain(&files.cert)?;
    let key = key(&files.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("TLS can't be set up: {e}")))?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => Error::failed(format!(
            "the key {} does not fit the certificate {}",
            files.key.display(),
            files.cert.display()
        ))
        .hint("the first certificate in the file must be the server's own, its chain after it"),
        e => {
            Error::failed(format!("{} and {} can't be used: {e}", files.cert.display(), files.key.display()))
        }
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(Error::failed(format!("{} holds no PEM certificate", path.display()))
            .hint("--tls-cert takes the full chain, such as certbot's fullchain.pem")),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    // Unlike the realm's own keys it may be a link (certbot's are) and belong to a group (Debian's ssl-cert).
    let mode = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?.mode();
    if mode & 0o007 != 0 || mode & 0o020 != 0 {
        return Err(Error::failed(format!(
            "others can read or write the key {} (mode {:04o})",
            path.display(),
            mode & 0o7777
        ))
        .hint(format!("if nobody has read it: chmod o=,g-w {}", path.display())));
    }
    let bytes = Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        Error::failed(format!("{} holds no PEM private key", path.display()))
            .hint("--tls-key takes an unencrypted key, such as certbot's privkey.pem")
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?.len();
    if size > MOST {
        return Err(Error::failed(format!("{} is over {} KiB", path.display(), MOST / 1024)));
    }
    std::fs::read(path).map_err(|e| unreadable(path, &e))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let failed = Error::failed(io("read", path, error).message());
    match error.kind() {
        ErrorKind::PermissionDenied => failed.hint("the account that serves must be able to read it"),
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn says_which_file_is_wrong_and_how() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        let message =
            |files: &TlsFiles| acceptor(files).err().map(|e| e.message().to_owned()).unwrap_or_default();
        assert!(message(&files).contains("cert.pem: no such file"), "{}", message(&files));

        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&files.cert, "not a certificate", 0o644);
        assert!(message(&files).contains("cert.pem holds no PEM certificate"), "{}", message(&files));
        write(&files.cert, &pair.cert.pem(), 0o644);
        assert!(message(&files).contains("key.pem: no such file"), "{}", message(&files));
        write(&files.key, &pair.signing_key.serialize_pem(), 0o644);
        assert!(message(&files).contains("others can read"), "{}", message(&files));
        write(&files.key, "not a key", 0o600);
        assert!(message(&files).contains("key.pem holds no PEM private key"), "{}", message(&files));
        write(&files.key, &other.signing_key.serialize_pem(), 0o600);
        assert!(message(&files).contains("does not fit the certificate"), "{}", message(&files));
        write(&files.key, &pair.signing_key.serialize_pem(), 0o640);
        assert!(acceptor(&files).is_ok(), "a group may read it");
    }
}
