//! Fuzz targets of the issuer: `issuer/tests/fuzz_corpus.rs` replays their corpus.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use issuer::backends::store::UserKey;
use issuer::backends::system::sshd;
use issuer::public_key::PublicKey;
use issuer::services::words::Words;

/// A public key file, and the authorized_keys line made from it: nothing of the input but the key may get there.
pub fn authorized_keys_line(data: &[u8]) {
    let Ok(key) = PublicKey::parse(data, "key") else { return };
    let again = PublicKey::from_wire(&key.blob, "", "key").unwrap();
    assert_eq!((again.algorithm, again.fingerprint), (key.algorithm, key.fingerprint));
    let user_key = UserKey {
        fingerprint: key.fingerprint,
        user: "ada".parse().unwrap(),
        algorithm: key.algorithm.to_owned(),
        blob: key.blob,
        comment: key.comment,
        expires_at: None,
        from: vec![],
        require_touch: false,
        require_verify: false,
        added_at: 0,
        source: None,
    };
    let line =
        sshd::authorized_keys_line(Path::new("/usr/bin/seamless"), Path::new("/r/corp"), &user_key).unwrap();
    assert!(
        line.starts_with(
            "restrict,command=\"/usr/bin/seamless forced --dir /r/corp --user ada --key SHA256:"
        )
    );
    assert_eq!(line.matches('"').count(), 2, "{line}");
    assert!(line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{line}");
}

/// SSH_ORIGINAL_COMMAND, or the payload of an exec request.
pub fn ssh_original_command(data: &[u8]) {
    match Words::parse(Some(data)) {
        Ok(Words::Token { ask, .. }) => {
            let words = ask.audiences.iter().chain(&ask.scopes);
            assert!(
                words
                    .into_iter()
                    .all(|w| !w.is_empty() && !w.contains(' ') && !w.chars().any(char::is_control))
            );
        }
        Ok(_) => (),
        // Whatever is wrong with it is the client's to mend, and stays one line.
        Err(error) => {
            assert_eq!(error.kind().exit_code(), 2);
            assert!(!error.message().contains('\n'));
        }
    }
}
