//! The realm's signing keys: their life from next to retired, and the files that hold their private halves.
//!
//! A private half is a file under `signing/`, never in the database, never printed. A key is published before it
//! signs, and stays published until the last token that it signed has lapsed, so no verifier ever meets a token
//! whose key it couldn't have fetched.

use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _};
use pkcs8::der::pem::LineEnding;
use pkcs8::{DecodePrivateKey, EncodePrivateKey, SecretDocument};
use serde_json::json;
use zeroize::Zeroizing;

use crate::backends::files;
use crate::backends::store::{Change, KeyState, Revoked, SigningAlgorithm, SigningKey};
use crate::clock::random;
use crate::error::{Error, Result};
use crate::realm::{Realm, SIGNING};
use crate::services::change::{Deed, commit, revocation};

/// JWKS are cached this long at most; a key signs no earlier than twice that after it was published.
pub const JWKS_MAX_AGE: u64 = 300;

/// The fewest bytes of a shared secret.
pub const SECRET_BYTES: usize = 16;

/// What `rotate` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// A key was made and published; it may sign from then on.
    Published {
        /// The new key.
        kid: String,
        /// Unix seconds.
        usable_from: u64,
    },
    /// A key began to sign, and the one before it, if any, retired.
    Activated {
        /// The new key.
        kid: String,
        /// The one before.
        retired: Option<String>,
    },
}

/// All signing keys with their states.
pub fn list(realm: &Realm) -> Result<Vec<SigningKey>> {
    realm.store.signing_keys()
}

/// Moves one algorithm's keys on: publishes a next key, or makes the published one sign.
///
/// `at_once` skips the wait, for a first key or an emergency: verifiers with a cached set will see an unknown
/// key and fetch again.
pub fn rotate(
    realm: &Realm,
    algorithm: SigningAlgorithm,
    at_once: bool,
    expires_at: Option<u64>,
) -> Result<Rotation> {
    let now = realm.now();
    let keys = realm.store.signing_keys()?;
    let of = |state| keys.iter().find(|k| k.algorithm == algorithm && k.state == state);
    let active = of(KeyState::Active);
    if let Some(next) = of(KeyState::Next) {
        let usable_from = next.created_at + 2 * JWKS_MAX_AGE;
        if now < usable_from && !at_once {
            return Err(Error::policy(format!(
                "key {} was published {} s ago; verifiers may not know it yet",
                next.kid,
                now.saturating_sub(next.created_at)
            ))
            .hint(format!(
                "repeat it in {} s, or with --now if every verifier may fetch again",
                usable_from - now
            )));
        }
        return activate(realm, next.clone(), active, expires_at, now);
    }
    let state = if active.is_none() || at_once { KeyState::Active } else { KeyState::Next };
    let mut key = generate(&realm.dir, algorithm, now)?;
    if state == KeyState::Active {
        return activate(realm, key, active, expires_at, now);
    }
    key.expires_at = expires_at;
    let kid = key.kid.clone();
    let deed = Deed {
        action: "signing-key.publish",
        user: None,
        fingerprint: None,
        given: json!({"kid": kid, "algorithm": algorithm.as_str()}),
    };
    commit_new(realm, deed, &[Change::PutSigningKey(key)], &kid)?;
    Ok(Rotation::Published { kid, usable_from: now + 2 * JWKS_MAX_AGE })
}

/// Takes a key out of use. `compromised` withdraws it at once, revokes all that it signed and, where it was the
/// active one, puts a new key in its place.
pub fn retire(realm: &Realm, kid: &str, compromised: bool) -> Result<Option<String>> {
    let now = realm.now();
    let keys = realm.store.signing_keys()?;
    let Some(key) = keys.iter().find(|k| k.kid == kid) else {
        return Err(Error::failed(format!(
            "there is no signing key {:?} in this realm",
            crate::names::shorten(kid)
        ))
        .hint("list them: seamless signing-key list"));
    };
    let mut gone = key.clone();
    gone.retired_at = gone.retired_at.or(Some(now));
    if !compromised {
        match key.state {
            KeyState::Active => {
                return Err(Error::policy(format!(
                    "key {kid} is the one that signs {}",
                    key.algorithm.as_str()
                ))
                .hint("put another in its place first: seamless signing-key rotate; or say --compromised"));
            }
            KeyState::Retired | KeyState::Compromised => {
                return Err(Error::failed(format!("key {kid} is {} already", key.state.as_str())));
            }
            KeyState::Next => gone.state = KeyState::Retired,
        }
        let deed =
            Deed { action: "signing-key.retire", user: None, fingerprint: None, given: json!({"kid": kid}) };
        commit(realm, deed, &[Change::PutSigningKey(gone)])?;
        return Ok(None);
    }
    if key.state == KeyState::Compromised {
        return Err(Error::failed(format!("key {kid} is compromised already")));
    }
    gone.state = KeyState::Compromised;
    let withdrawn = revocation(Revoked::Kid(kid.to_owned()), now);
    let mut changes = vec![Change::PutSigningKey(gone), Change::Revoke(withdrawn)];
    let mut heir = None;
    if key.state == KeyState::Active {
        let mut new = generate(&realm.dir, key.algorithm, now)?;
        new.state = KeyState::Active;
        new.activated_at = Some(now);
        heir = Some(new.kid.clone());
        changes.push(Change::PutSigningKey(new));
    }
    let deed = Deed {
        action: "signing-key.compromised",
        user: None,
        fingerprint: None,
        given: json!({"kid": kid, "replaced_by": heir}),
    };
    match &heir {
        Some(new) => commit_new(realm, deed, &changes, new)?,
        None => commit(realm, deed, &changes)?,
    }
    // The private half is of no more use to us, and of much to a thief.
    let _ = std::fs::remove_file(path(&realm.dir, key));
    Ok(heir)
}

/// Makes a key of this algorithm and writes its private half; the caller puts the rest into the store.
pub fn generate(dir: &Path, algorithm: SigningAlgorithm, now: u64) -> Result<SigningKey> {
    let draw = match algorithm {
        SigningAlgorithm::Hmac => {
            let bytes = Zeroizing::new(random::<32>()?);
            // Text, as the original made it, so that it can be pasted into a config file.
            let text = Zeroizing::new(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
            return import_secret(dir, text.as_bytes(), now);
        }
        SigningAlgorithm::EdDsa => draw_eddsa,
        SigningAlgorithm::Es256 => draw_es256,
        SigningAlgorithm::Rs256 => draw_rs256,
    };
    loop {
        let (public, pem) = draw()?;
        // The id is a word of commands and a file's name; one in 64 would begin as an option does.
        if !public.kid().starts_with('-') {
            return write_private(dir, algorithm, &public, pem.as_bytes(), now);
        }
    }
}

/// A new key: its public half, and the private one as PKCS #8 in PEM.
type Drawn = (token::PublicKey, Zeroizing<String>);

fn draw_eddsa() -> Result<Drawn> {
    let seed = Zeroizing::new(random::<32>()?);
    let key = ed25519_dalek::SigningKey::from_bytes(&seed);
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|e| unusable("made", &e))?;
    Ok((token::Ed25519Signer::from_seed(&seed).public_key(), pem))
}

fn draw_es256() -> Result<Drawn> {
    let key = loop {
        // A random scalar is out of range once in 2^32.
        if let Ok(key) = p256::SecretKey::from_slice(&*Zeroizing::new(random::<32>()?)) {
            break key;
        }
    };
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|e| unusable("made", &e))?;
    Ok((es256(&key)?.public_key(), pem))
}

fn draw_rs256() -> Result<Drawn> {
    let key = RsaKeyPair::generate(KeySize::Rsa3072).map_err(|e| unusable("made", &e))?;
    let der: Pkcs8V1Der<'_> = key.as_der().map_err(|e| unusable("made", &e))?;
    let document = SecretDocument::try_from(der.as_ref()).map_err(|e| unusable("made", &e))?;
    let pem = document.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|e| unusable("made", &e))?;
    Ok((rsa_public(&key)?, pem))
}

/// Takes over a shared secret that exists already, such as the original's. One final newline does not count.
pub fn import_secret(dir: &Path, bytes: &[u8], now: u64) -> Result<SigningKey> {
    let secret = without_newline(bytes);
    if secret.len() < SECRET_BYTES {
        return Err(Error::usage(format!(
            "the secret has {} bytes, {SECRET_BYTES} are the least",
            secret.len()
        ))
        .hint("make one: openssl rand -hex 32"));
    }
    // A random name: one made from the secret would tell something of it.
    let kid = format!("hmac-{}", random::<8>()?.iter().map(|b| format!("{b:02x}")).collect::<String>());
    let key = SigningKey {
        kid,
        algorithm: SigningAlgorithm::Hmac,
        state: KeyState::Next,
        jwk: None,
        created_at: now,
        activated_at: None,
        retired_at: None,
        expires_at: None,
    };
    files::create_private(&path(dir, &key), secret)?;
    Ok(key)
}

/// What signs JWTs with this key.
pub fn signer(dir: &Path, key: &SigningKey) -> Result<Box<dyn token::Sign>> {
    let path = path(dir, key);
    let bytes = files::read_private(&path)?;
    let broken = || {
        Error::internal(format!("{} is not the private key it should be", path.display()))
            .hint("restore it from a backup, or replace the key: seamless signing-key retire --compromised")
    };
    let pem = std::str::from_utf8(&bytes).map_err(|_| broken())?;
    let signer: Box<dyn token::Sign> = match key.algorithm {
        SigningAlgorithm::Hmac => return Err(broken()),
        SigningAlgorithm::EdDsa => {
            let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| broken())?;
            Box::new(token::Ed25519Signer::from_seed(&Zeroizing::new(key.to_bytes())))
        }
        SigningAlgorithm::Es256 => {
            Box::new(es256(&p256::SecretKey::from_pkcs8_pem(pem).map_err(|_| broken())?)?)
        }
        SigningAlgorithm::Rs256 => {
            let (_, document) = SecretDocument::from_pem(pem).map_err(|_| broken())?;
            let key = RsaKeyPair::from_pkcs8(document.as_bytes()).map_err(|_| broken())?;
            let kid = rsa_public(&key)?.kid().to_owned();
            Box::new(Rs256Signer { key, kid })
        }
    };
    // The public half is what verifiers hold: a file that was swapped must not sign under its name.
    if signer.kid() != key.kid { Err(broken()) } else { Ok(signer) }
}

/// The shared secret of this key, bound to what the operator bound it to.
pub fn secret(realm: &Realm, key: &SigningKey) -> Result<token::Secret> {
    let path = path(&realm.dir, key);
    let bytes = files::read_private(&path)?;
    let seamless = &realm.config.seamless;
    let secret = token::Secret::new(without_newline(&bytes), seamless.digest.token())
        .map_err(|e| Error::internal(format!("{}: {e}", path.display())))?;
    Ok(secret.with_audiences(seamless.audiences.iter().cloned()).with_scopes(seamless.scopes.iter().cloned()))
}

/// The key that signs with this algorithm now; an error with its mend where there is none.
pub fn active(realm: &Realm, algorithm: SigningAlgorithm) -> Result<SigningKey> {
    let keys = realm.store.signing_keys()?;
    let Some(key) = keys.into_iter().find(|k| k.algorithm == algorithm && k.state == KeyState::Active) else {
        return Err(Error::internal(format!(
            "the realm {} has no active signing key for {}",
            realm.name,
            algorithm.as_str()
        ))
        .hint(format!(
            "make one: seamless signing-key rotate {} --algorithm {}",
            realm.name,
            algorithm.as_str()
        )));
    };
    if key.expires_at.is_some_and(|at| realm.now() >= at) {
        return Err(Error::internal(format!(
            "the signing key {} for {} has expired",
            key.kid,
            algorithm.as_str()
        ))
        .hint(format!(
            "put another in its place: seamless signing-key rotate {} --algorithm {} --now",
            realm.name,
            algorithm.as_str()
        )));
    }
    Ok(key)
}

/// Whether verifiers should still know this key.
#[must_use]
pub fn is_published(key: &SigningKey, now: u64, longest_life: u64) -> bool {
    match key.state {
        KeyState::Next | KeyState::Active => true,
        // A next key that was retired before it ever signed has nothing to wait for.
        KeyState::Retired => {
            key.activated_at.is_some() && key.retired_at.is_some_and(|at| now < at + longest_life)
        }
        KeyState::Compromised => false,
    }
}

/// The file of a key's private half.
#[must_use]
pub fn path(dir: &Path, key: &SigningKey) -> PathBuf {
    let ending = if key.algorithm == SigningAlgorithm::Hmac { "secret" } else { "pem" };
    dir.join(SIGNING).join(format!("{}.{ending}", key.kid))
}

/// Removes the one final newline that an editor leaves, nothing else.
fn without_newline(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

fn activate(
    realm: &Realm,
    mut key: SigningKey,
    before: Option<&SigningKey>,
    expires_at: Option<u64>,
    now: u64,
) -> Result<Rotation> {
    key.state = KeyState::Active;
    key.activated_at = Some(now);
    key.expires_at = expires_at.or(key.expires_at);
    let mut changes = Vec::new();
    if let Some(before) = before {
        let mut retired = before.clone();
        retired.state = KeyState::Retired;
        retired.retired_at = Some(now);
        changes.push(Change::PutSigningKey(retired));
    }
    let kid = key.kid.clone();
    changes.push(Change::PutSigningKey(key.clone()));
    let retired = before.map(|k| k.kid.clone());
    let deed = Deed {
        action: "signing-key.activate",
        user: None,
        fingerprint: None,
        given: json!({"kid": kid, "algorithm": key.algorithm.as_str(), "retired": retired}),
    };
    if realm.store.signing_keys()?.iter().any(|k| k.kid == kid) {
        commit(realm, deed, &changes)?;
    } else {
        commit_new(realm, deed, &changes, &kid)?;
    }
    Ok(Rotation::Activated { kid, retired })
}

/// As `commit`; a private half whose key did not get into the store is removed again.
fn commit_new(realm: &Realm, deed: Deed<'_>, changes: &[Change], kid: &str) -> Result<()> {
    commit(realm, deed, changes).inspect_err(|_| {
        for ending in ["pem", "secret"] {
            let _ = std::fs::remove_file(realm.dir.join(SIGNING).join(format!("{kid}.{ending}")));
        }
    })
}

fn write_private(
    dir: &Path,
    algorithm: SigningAlgorithm,
    public: &token::PublicKey,
    pem: &[u8],
    now: u64,
) -> Result<SigningKey> {
    let key = SigningKey {
        kid: public.kid().to_owned(),
        algorithm,
        state: KeyState::Next,
        jwk: Some(public.to_jwk()),
        created_at: now,
        activated_at: None,
        retired_at: None,
        expires_at: None,
    };
    files::create_private(&path(dir, &key), pem)?;
    Ok(key)
}

fn es256(key: &p256::SecretKey) -> Result<token::Es256Signer> {
    let scalar: Zeroizing<[u8; 32]> = Zeroizing::new(key.to_bytes().into());
    token::Es256Signer::from_scalar(&scalar).map_err(|e| unusable("read", &e))
}

fn rsa_public(key: &RsaKeyPair) -> Result<token::PublicKey> {
    let public = key.public_key();
    let n = public.modulus();
    let e = public.exponent();
    token::PublicKey::from_rsa(n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero())
        .map_err(|e| unusable("read", &e))
}

fn unusable(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("the signing key can't be {what}: {why}"))
}

/// RS256 by aws-lc-rs: the `rsa` crate's private-key operations leak by timing (RUSTSEC-2023-0071).
struct Rs256Signer {
    key: RsaKeyPair,
    kid: String,
}

impl token::Sign for Rs256Signer {
    fn algorithm(&self) -> token::Algorithm {
        token::Algorithm::Rs256
    }

    fn kid(&self) -> &str {
        &self.kid
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, token::MintError> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.key
            .sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature)
            .map_err(|_| token::MintError::SigningFailed)?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeysBy;
    use crate::services::fixture::{NOW, realm};
    use crate::services::trust;

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_token_lapsed() {
        let (_parent, clock, realm) = realm(KeysBy::File);
        let first = active(&realm, SigningAlgorithm::EdDsa).unwrap().kid;
        let Rotation::Published { kid: second, usable_from } =
            rotate(&realm, SigningAlgorithm::EdDsa, false, None).unwrap()
        else {
            panic!("it signs at once")
        };
        assert_eq!(usable_from, NOW + 600);
        assert!(trust::jwks(&realm).unwrap().contains(&second));
        clock.set(NOW + 599);
        let error = rotate(&realm, SigningAlgorithm::EdDsa, false, None).unwrap_err();
        assert_eq!((error.kind().exit_code(), error.hint_text().unwrap().contains("in 1 s")), (3, true));
        clock.set(NOW + 600);
        let activated = Rotation::Activated { kid: second.clone(), retired: Some(first.clone()) };
        assert_eq!(rotate(&realm, SigningAlgorithm::EdDsa, false, None).unwrap(), activated);
        assert_eq!(active(&realm, SigningAlgorithm::EdDsa).unwrap().kid, second);
        let longest = realm.config.longest_life();
        clock.set(NOW + 600 + longest - 1);
        assert!(trust::jwks(&realm).unwrap().contains(&first));
        clock.set(NOW + 600 + longest);
        assert!(!trust::jwks(&realm).unwrap().contains(&first));
    }

    #[test]
    fn a_compromised_key_leaves_at_once_and_has_an_heir() {
        let (_parent, _clock, realm) = realm(KeysBy::File);
        let key = active(&realm, SigningAlgorithm::EdDsa).unwrap();
        assert_eq!(retire(&realm, &key.kid, false).unwrap_err().kind().exit_code(), 3, "it signs");
        let heir = retire(&realm, &key.kid, true).unwrap().unwrap();
        assert_eq!(active(&realm, SigningAlgorithm::EdDsa).unwrap().kid, heir);
        assert!(!trust::jwks(&realm).unwrap().contains(&key.kid));
        assert!(!path(&realm.dir, &key).exists());
        let revoked = realm.store.revocations(NOW).unwrap();
        assert!(revoked.iter().any(|r| r.what == Revoked::Kid(key.kid.clone())));
        assert!(retire(&realm, &key.kid, true).is_err(), "once");
    }

    #[test]
    fn every_algorithm_signs_what_its_public_half_verifies() {
        let (_parent, clock, realm) = realm(KeysBy::File);
        for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
            let _ = rotate(&realm, algorithm, true, Some(NOW + 10)).unwrap();
            let key = active(&realm, algorithm).unwrap();
            let public = token::PublicKey::from_jwk(key.jwk.as_deref().unwrap()).unwrap();
            let signature = signer(&realm.dir, &key).unwrap().sign(b"message").unwrap();
            assert!(public.verify(b"message", &signature).is_ok());
            assert!(public.verify(b"other", &signature).is_err());
            clock.set(NOW + 10);
            assert!(active(&realm, algorithm).unwrap_err().message().contains("has expired"));
            clock.set(NOW);
        }
    }

    /// `signing-key retire -0abc` reads as an option, and so does a file of that name.
    #[test]
    fn no_kid_begins_as_an_option_does() {
        let (_parent, _clock, realm) = realm(KeysBy::File);
        for _ in 0..500 {
            let key = generate(&realm.dir, SigningAlgorithm::EdDsa, NOW).unwrap();
            assert!(!key.kid.starts_with('-'), "{}", key.kid);
        }
    }

    /// The fault of others: a name that is the hash of the whole private JWK, and so a test for guesses at it.
    #[test]
    fn a_kid_is_made_from_the_public_half_alone() {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        use sha2::{Digest as _, Sha256};

        let (_parent, _clock, realm) = realm(KeysBy::File);
        for (algorithm, members) in [
            (SigningAlgorithm::EdDsa, &["crv", "kty", "x"][..]),
            (SigningAlgorithm::Es256, &["crv", "kty", "x", "y"]),
            (SigningAlgorithm::Rs256, &["e", "kty", "n"]),
        ] {
            let key = generate(&realm.dir, algorithm, NOW).unwrap();
            let jwk: serde_json::Value = serde_json::from_str(key.jwk.as_deref().unwrap()).unwrap();
            for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                assert!(jwk.get(private).is_none(), "{private} in what is published");
            }
            // RFC 7638 section 3.2: these members, in this order, and nothing between them.
            let text: Vec<_> = members.iter().map(|name| format!("\"{name}\":{}", jwk[*name])).collect();
            let hash = Sha256::digest(format!("{{{}}}", text.join(",")));
            assert_eq!(key.kid, URL_SAFE_NO_PAD.encode(hash), "{algorithm:?}");
            assert_eq!(signer(&realm.dir, &key).unwrap().kid(), key.kid);
        }
        // A shared secret has no public half: its name is random.
        let (one, two) = (
            import_secret(&realm.dir, b"the very same secret", NOW).unwrap(),
            import_secret(&realm.dir, b"the very same secret", NOW).unwrap(),
        );
        assert_ne!(one.kid, two.kid);
    }

    #[test]
    fn a_private_half_that_was_swapped_does_not_sign() {
        let (_parent, _clock, realm) = realm(KeysBy::File);
        let key = active(&realm, SigningAlgorithm::EdDsa).unwrap();
        let other = generate(&realm.dir, SigningAlgorithm::EdDsa, NOW).unwrap();
        std::fs::rename(path(&realm.dir, &other), path(&realm.dir, &key)).unwrap();
        assert!(
            signer(&realm.dir, &key).err().unwrap().message().contains("is not the private key it should be")
        );
        assert!(import_secret(&realm.dir, b"fifteen bytes..\n", NOW).is_err());
    }
}
