//! Where the MACs of handshakes and `chap` tokens come from.

use std::path::{Path, PathBuf};

use crtauth::{FakeDigest, Keys};
use zeroize::Zeroizing;

use crate::backends::files;
use crate::clock::random;
use crate::config::{Crtauth, FakeFingerprint};
use crate::error::{Error, Result};
use crate::realm::{Realm, SIGNING};

/// The realm's own secret, under [`SIGNING`].
pub const OWN: &str = "chap.secret";
/// What services verify tokens with that the realm's own secret signs, under [`SIGNING`].
pub const FOR_VERIFIERS: &str = "chap-token.secret";

/// The fewest bytes of a secret.
const SHORTEST: usize = 16;

/// The keys of every secret, the one that signs first. None where log-ins over HTTP are off, or where nothing was ever
/// signed.
pub fn load(realm: &Realm) -> Result<Vec<Keys>> {
    let settings = &realm.config.crtauth;
    if !settings.enabled {
        return Ok(Vec::new());
    }
    if settings.secret.is_empty() {
        let path = own(&realm.dir);
        return if path.exists() { Ok(vec![Keys::derived(&read(&path)?)]) } else { Ok(Vec::new()) };
    }
    let digest = match settings.fake_fingerprint {
        FakeFingerprint::Sha1 => FakeDigest::Sha1,
        FakeFingerprint::Sha256 => FakeDigest::Sha256,
    };
    settings.secret.iter().map(|file| Ok(Keys::shared(&read(&realm.dir.join(file))?, digest))).collect()
}

/// [`load`], making the realm's own secret first where it needs one.
pub fn load_or_make(realm: &Realm) -> Result<Vec<Keys>> {
    if realm.config.crtauth.secret.is_empty() && !own(&realm.dir).exists() {
        let text: String = random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = Zeroizing::new(text);
        files::create_private(&own(&realm.dir), secret.as_bytes())?;
    }
    let keys = load(realm)?;
    if let (Some(first), true) = (keys.first(), realm.config.crtauth.secret.is_empty()) {
        let copy = realm.dir.join(SIGNING).join(FOR_VERIFIERS);
        // One of another secret, from before a restore, would have services refuse every token.
        let is_right = copy.exists() && files::read_private(&copy)?.as_slice() == first.token();
        if !is_right {
            files::write_atomic(&copy, first.token(), files::SECRET_FILE)?;
        }
    }
    Ok(keys)
}

/// What verifies tokens of these keys, bound to what the operator bound them to.
pub fn verifying(keys: &[Keys], settings: &Crtauth) -> Result<Vec<token::ChapSecret>> {
    keys.iter()
        .map(|keys| {
            let secret = token::ChapSecret::new(keys.token())
                .map_err(|e| Error::internal(format!("the secret of crtauth: {e}")))?;
            Ok(secret
                .with_audiences(settings.audiences.iter().cloned())
                .with_scopes(settings.scopes.iter().cloned()))
        })
        .collect()
}

/// Where the realm's own secret lies.
#[must_use]
pub fn own(dir: &Path) -> PathBuf {
    dir.join(SIGNING).join(OWN)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut secret = files::read_private(path)?;
    // As in every secret file, a final newline is no part of it.
    if secret.ends_with(b"\n") {
        secret.pop();
    }
    if secret.len() < SHORTEST {
        return Err(Error::internal(format!("{} has under {SHORTEST} bytes", path.display()))
            .hint("whoever guesses it can log in as anybody; make one: openssl rand -hex 32"));
    }
    Ok(secret)
}
