//! The server's own key, and how a client comes to know it.

use std::path::Path;

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey};

use crate::backends::files;
use crate::clock::random;
use crate::error::{Error, Result};

/// In a realm's directory.
/// The private key of the embedded ssh server, in the realm's directory.
pub const FILE: &str = "ssh_host_ed25519_key";

/// The realm's ssh host key; made, 0400, where there is none yet.
pub fn host_key(dir: &Path) -> Result<PrivateKey> {
    let path = dir.join(FILE);
    // Whether it is there decides; whether it can be trusted is `read_private`'s question.
    if std::fs::symlink_metadata(&path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return create(&path);
    }
    let pem = files::read_private(&path)?;
    let key = PrivateKey::from_openssh(pem.as_slice()).map_err(|e| {
        Error::internal(format!("{} is not an OpenSSH private key: {e}", path.display()))
            .hint("move it away; the server makes a new one, which clients must learn again")
    })?;
    if key.is_encrypted() || key.algorithm() != Algorithm::Ed25519 {
        return Err(Error::internal(format!("{} is not an unencrypted Ed25519 key", path.display())));
    }
    Ok(key)
}

/// The line of a known_hosts file by which a client recognises this server there.
///
/// `host` is a name or an address without brackets.
#[must_use]
pub fn known_hosts_line(key: &PublicKey, host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase(); // as the client looks it up
    let host = if port == 22 { host } else { format!("[{host}]:{port}") };
    let bare = PublicKey::new(key.key_data().clone(), "");
    match bare.to_openssh() {
        Ok(key) => format!("{host} {key}"),
        // An Ed25519 key is 51 bytes and always has a text form.
        Err(_) => String::new(),
    }
}

fn create(path: &Path) -> Result<PrivateKey> {
    let seed = zeroize::Zeroizing::new(random::<32>()?);
    let made = || -> Result<_, ssh_key::Error> {
        let key = PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&seed)), "seamless")?;
        let pem = key.to_openssh(LineEnding::LF)?;
        Ok((key, pem))
    };
    let (key, pem) = made().map_err(|e| Error::internal(format!("can't make an ssh host key: {e}")))?;
    files::create_private(path, pem.as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let made = host_key(dir.path()).unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        assert_eq!(host_key(dir.path()).unwrap().public_key().key_data(), made.public_key().key_data());
    }

    #[test]
    fn one_that_others_can_read_or_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        host_key(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(host_key(dir.path()).is_err());

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(host_key(dir.path()).is_err());
    }

    #[test]
    fn something_else_is_named_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        let error = host_key(dir.path()).unwrap_err();
        assert!(error.message().contains("not an OpenSSH private key"), "{error}");
    }

    #[test]
    fn known_hosts_has_the_port_unless_it_is_22() {
        let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let key = PublicKey::from_openssh(&format!("{text} a comment")).unwrap();
        assert_eq!(known_hosts_line(&key, "127.0.0.1", 2222), format!("[127.0.0.1]:2222 {text}"));
        assert_eq!(known_hosts_line(&key, "Login.Example.com", 22), format!("login.example.com {text}"));
        assert_eq!(known_hosts_line(&key, "::1", 22), format!("::1 {text}"));
        assert_eq!(known_hosts_line(&key, "::1", 2222), format!("[::1]:2222 {text}"));
    }
}
