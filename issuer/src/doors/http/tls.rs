//! TLS from two PEM files, with errors that say which file is wrong and how.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::TlsFiles;
use crate::error::{Error, Result, io};

/// No chain or key is longer.
const MOST: u64 = 256 * 1024;

/// Reads certificate and key and checks that they belong together.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
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
