//! A public key file as people hand it in: exactly one key of a type that may mint, or one line that says why not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::public::{KeyData, RsaPublicKey};

use crate::backends::store::Fingerprint;
use crate::error::{Error, Result};
use crate::names::shorten;

/// The most that a key file may hold.
pub const MOST_BYTES: usize = 64 * 1024;

/// The key types of OpenSSH 9 that may mint, as they stand on the wire.
pub const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The fewest bits of an RSA modulus (NIST SP 800-131A).
const RSA_BITS: usize = 2048;

/// A public key that may be enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// One of [`TYPES`].
    pub algorithm: &'static str,
    /// The wire form (RFC 4253 section 6.6).
    pub blob: Vec<u8>,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// The file's comment, cut to printable ASCII.
    pub comment: String,
}

impl PublicKey {
    /// Reads a key file's bytes; `name` is what errors call it.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        if bytes.len() > MOST_BYTES {
            return Err(Error::usage(format!("{name} is over 64 KiB"))
                .hint("a public key is one line, such as ~/.ssh/id_ed25519.pub"));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Error::usage(format!("{name} is not an OpenSSH public key")).hint(HOW_TO_MAKE));
        };
        refuse_other_formats(text, name)?;
        let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let Some(line) = lines.next() else {
            return Err(Error::usage(format!("{name} holds no key")).hint(HOW_TO_MAKE));
        };
        let more = lines.count();
        if more > 0 {
            return Err(Error::usage(format!("{name} holds {} lines where one key is meant", more + 1))
                .hint("hand in one key at a time; a user may have several"));
        }
        Self::parse_line(line, name)
    }

    /// Reads one `type base64 [comment]` line.
    pub fn parse_line(line: &str, name: &str) -> Result<Self> {
        let junk = || Error::usage(format!("{name} is not an OpenSSH public key")).hint(HOW_TO_MAKE);
        let (kind, rest) = line.split_once([' ', '\t']).ok_or_else(junk)?;
        let algorithm = known_type(kind, name, line)?;
        let (base64, comment) = match rest.trim_start().split_once([' ', '\t']) {
            Some((base64, comment)) => (base64, comment.trim()),
            None => (rest.trim(), ""),
        };
        let blob = STANDARD.decode(base64).map_err(|_| {
            Error::usage(format!("{name} is broken: its base64 does not decode"))
                .hint("copy the whole line of the .pub file")
        })?;
        Self::from_blob(algorithm, blob, comment, name)
    }

    /// Checks a key that comes as its wire form, such as from an agent.
    pub fn from_wire(blob: &[u8], comment: &str, name: &str) -> Result<Self> {
        let kind =
            wire_type(blob).ok_or_else(|| Error::usage(format!("{name} is not an OpenSSH public key")))?;
        let algorithm = known_type(kind, name, kind)?;
        Self::from_blob(algorithm, blob.to_vec(), comment, name)
    }

    /// The line of a public key file.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{} {} {}", self.algorithm, STANDARD.encode(&self.blob), self.comment)
    }

    /// Whether the private half lives in a FIDO authenticator.
    #[must_use]
    pub fn is_sk(&self) -> bool {
        self.algorithm.starts_with("sk-")
    }

    fn from_blob(algorithm: &'static str, blob: Vec<u8>, comment: &str, name: &str) -> Result<Self> {
        let broken = |why: &str| {
            Error::usage(format!("{name} is broken: {why}")).hint("copy the whole line of the .pub file")
        };
        if wire_type(&blob) != Some(algorithm) {
            return Err(broken("its type and its content differ"));
        }
        let key =
            ssh_key::PublicKey::from_bytes(&blob).map_err(|_| broken("its content is no key of its type"))?;
        // One key, one wire form: another encoding of the same key would get a fingerprint of its own.
        if key.to_bytes().ok().as_deref() != Some(blob.as_slice()) {
            return Err(broken("its content is not in canonical form"));
        }
        if let KeyData::Rsa(rsa) = key.key_data()
            && rsa_bits(rsa) < RSA_BITS
        {
            return Err(Error::usage(format!(
                "{name} is an RSA key of {} bits, {RSA_BITS} are the least",
                rsa_bits(rsa)
            ))
            .hint("make a new key: ssh-keygen -t ed25519"));
        }
        let fingerprint = Fingerprint::of(&blob);
        let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        Ok(Self { algorithm, blob, fingerprint, comment: comment.chars().take(128).map(printable).collect() })
    }
}

/// The bits of an RSA modulus. `key_size` counts whole bytes, which would let 2041 bits pass for 2048.
#[must_use]
pub fn rsa_bits(rsa: &RsaPublicKey) -> usize {
    match rsa.n().as_positive_bytes() {
        Some(bytes @ [first, ..]) => bytes.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0),
        _ => 0,
    }
}

const HOW_TO_MAKE: &str = "hand in the .pub file; make a key with: ssh-keygen -t ed25519";

/// The type's name at the head of a key's wire form.
#[must_use]
pub fn wire_type(blob: &[u8]) -> Option<&str> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

fn known_type(kind: &str, name: &str, line: &str) -> Result<&'static str> {
    if let Some(known) = TYPES.into_iter().find(|t| *t == kind) {
        return Ok(known);
    }
    if kind.ends_with("-cert-v01@openssh.com") {
        return Err(Error::usage(format!("{name} is a certificate, not a public key"))
            .hint("hand in the .pub file beside it whose name does not end in -cert.pub"));
    }
    if kind == "ssh-dss" {
        return Err(Error::usage(format!("{name} is a DSA key, which OpenSSH no longer accepts"))
            .hint("make a new key: ssh-keygen -t ed25519"));
    }
    if TYPES.iter().any(|t| line.contains(&format!("{t} AAAA"))) {
        return Err(Error::usage(format!("{name} has options before its key"))
            .hint("hand in the key alone; --expires, --from, --require-touch and --require-verify set what sshd should ask"));
    }
    if kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-") {
        return Err(Error::usage(format!(
            "{name} is a key of the type {:?}, which is not accepted",
            shorten(kind)
        ))
        .hint("make a new key: ssh-keygen -t ed25519"));
    }
    Err(Error::usage(format!("{name} is not an OpenSSH public key")).hint(HOW_TO_MAKE))
}

fn refuse_other_formats(text: &str, name: &str) -> Result<()> {
    if text.contains("PRIVATE KEY") || text.starts_with("PuTTY-User-Key-File") {
        return Err(Error::usage(format!("{name} is a private key"))
            .hint("it must never leave its owner; hand in the .pub file beside it"));
    }
    if text.starts_with("---- BEGIN SSH2 PUBLIC KEY") {
        return Err(Error::usage(format!("{name} is in the format of RFC 4716"))
            .hint("turn it into OpenSSH's: ssh-keygen -i -f FILE"));
    }
    if text.starts_with("-----BEGIN") {
        return Err(Error::usage(format!("{name} is a PEM file, not an OpenSSH public key"))
            .hint("a public key in PEM turns into OpenSSH's by: ssh-keygen -i -m PKCS8 -f FILE"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@example";

    fn why(text: &str) -> String {
        PublicKey::parse(text.as_bytes(), "key.pub").unwrap_err().message().to_owned()
    }

    #[test]
    fn a_key_file_is_read() {
        let key = PublicKey::parse(format!("\n# mine\n{ED25519}\n").as_bytes(), "key.pub").unwrap();
        assert_eq!((key.algorithm, key.comment.as_str()), ("ssh-ed25519", "ada@example"));
        assert_eq!(PublicKey::from_wire(&key.blob, "ada@example", "agent key").unwrap(), key);
        assert!(!key.is_sk());
    }

    #[test]
    fn everything_else_gets_one_clear_line() {
        let blob = ED25519.split(' ').nth(1).unwrap();
        for (text, expected) in [
            (String::new(), "holds no key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n".into(), "is a private key"),
            ("PuTTY-User-Key-File-3: ssh-ed25519".into(), "is a private key"),
            ("---- BEGIN SSH2 PUBLIC KEY ----".into(), "RFC 4716"),
            ("-----BEGIN PUBLIC KEY-----".into(), "is a PEM file"),
            (format!("ssh-dss {blob}"), "is a DSA key"),
            (format!("ssh-ed25519-cert-v01@openssh.com {blob}"), "is a certificate"),
            (format!("{ED25519}\n{ED25519}"), "holds 2 lines where one key is meant"),
            (format!("restrict {ED25519}"), "has options before its key"),
            (format!("command=\"x y\" {ED25519}"), "has options before its key"),
            (format!("ssh-rsa {blob}"), "its type and its content differ"),
            ("ssh-ed25519 AAAA!".into(), "its base64 does not decode"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA".into(), "does not decode"),
            (format!("ssh-ed448 {blob}"), "which is not accepted"),
            ("hello world".into(), "is not an OpenSSH public key"),
            ("hello".into(), "is not an OpenSSH public key"),
        ] {
            let message = why(&text);
            assert!(message.starts_with("key.pub") && message.contains(expected), "{text:?}: {message}");
        }
        assert!(PublicKey::parse(&[0xff; 10], "key.pub").is_err());
        assert!(
            PublicKey::parse(&[b'a'; MOST_BYTES + 1], "key.pub").unwrap_err().message().contains("64 KiB")
        );
    }

    #[test]
    fn an_rsa_key_has_all_its_bits() {
        use ssh_key::Mpint;
        for (first, bits) in [(0xff, 2048), (0x80, 2048), (0x7f, 2047), (0x01, 2041)] {
            let mut n = vec![0xff; 256];
            n[0] = first;
            let n = Mpint::from_positive_bytes(&n);
            let e = Mpint::from_positive_bytes(&[1, 0, 1]);
            let key = ssh_key::PublicKey::from(KeyData::Rsa(RsaPublicKey::new(e, n).unwrap()));
            let read = PublicKey::from_wire(&key.to_bytes().unwrap(), "", "key.pub");
            match read {
                Ok(_) => assert_eq!(bits, 2048),
                Err(error) => assert!(error.message().contains(&format!("of {bits} bits")), "{error}"),
            }
        }
    }

    #[test]
    fn a_comment_cannot_carry_control_characters() {
        let key = PublicKey::parse(format!("{}\u{1b}[31m\u{7}", ED25519).as_bytes(), "k").unwrap();
        assert_eq!(key.comment, "ada@example?[31m?");
    }
}
