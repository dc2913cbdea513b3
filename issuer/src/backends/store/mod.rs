//! What a realm remembers, behind one trait. SQLite today, PostgreSQL later: both run `contract`.

use std::fmt;
use std::path::Path;

use crate::error::Result;
use crate::names::UserName;

#[cfg(test)]
mod contract;
mod sqlite;

pub use sqlite::{Mode, SCHEMA, SqliteStore};

/// A user of the realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The subject of its tokens.
    pub name: UserName,
    /// Whether it may mint.
    pub locked: bool,
    /// Sorted, without duplicates. Go into the token's `groups`.
    pub groups: Vec<String>,
    /// Sorted, without duplicates. What the user may ask for.
    pub scopes: Vec<String>,
    /// Unix seconds.
    pub created_at: u64,
}

/// The SHA-256 of an SSH public key's wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// An SSH public key that may mint for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserKey {
    /// Unique in the realm: one key, one user.
    pub fingerprint: Fingerprint,
    /// Whose it is.
    pub user: UserName,
    /// The key type's name on the wire, such as `ssh-ed25519`.
    pub algorithm: String,
    /// The public key's wire form (RFC 4253 section 6.6).
    pub blob: Vec<u8>,
    /// The comment of the key file, printable ASCII; never written to an authorized_keys line.
    pub comment: String,
    /// Unix seconds after which it mints no more.
    pub expires_at: Option<u64>,
    /// Addresses and CIDRs it may come from; empty: any.
    pub from: Vec<String>,
    /// `sk-*` only: sshd asks for a touch.
    pub require_touch: bool,
    /// `sk-*` only: sshd asks for a PIN or biometric.
    pub require_verify: bool,
    /// Unix seconds.
    pub added_at: u64,
    /// Where it came from: `file`, `agent`, `adopted`, `import`, `github:NAME`, or a URL; none: before this was kept.
    pub source: Option<String>,
}

/// Where a signing key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// Published, not signing yet.
    Next,
    /// Signs. One for each algorithm.
    Active,
    /// Signs no more; published until the last token it signed has lapsed.
    Retired,
    /// Left at once; its tokens are revoked.
    Compromised,
}

/// What a signing key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SigningAlgorithm {
    /// A shared secret of the `seamless` format; the digest is the realm's.
    Hmac,
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
}

/// The public half and the state of a key; the private half is a file under `signing/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// RFC 7638 thumbprint; for a secret a random name.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Where it stands.
    pub state: KeyState,
    /// The public JWK; none for a secret.
    pub jwk: Option<String>,
    /// Unix seconds.
    pub created_at: u64,
    /// Unix seconds it began to sign.
    pub activated_at: Option<u64>,
    /// Unix seconds it stopped to sign.
    pub retired_at: Option<u64>,
    /// Unix seconds after which it signs no more.
    pub expires_at: Option<u64>,
}

/// A revocation and how long it must be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRevocation {
    /// Which tokens.
    pub what: Revoked,
    /// Unix seconds.
    pub created_at: u64,
    /// Unix seconds after which no token it names can still be alive.
    pub keep_until: u64,
}

/// Which tokens are revoked. The shapes of the design, security.md "Tokens and policy".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// One token.
    Jti(String),
    /// All of a subject issued up to then.
    Subject {
        /// The subject.
        sub: String,
        /// Unix seconds, inclusive.
        issued_before: u64,
    },
    /// All that this SSH key fetched.
    SshKey {
        /// `SHA256:…`
        fingerprint: String,
        /// Whose it was; not part of what verifiers see.
        user: String,
    },
    /// All that this signing key signed.
    Kid(String),
}

/// One change. A list of them is applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes the user if there is none of that name; leaves one that is there alone.
    EnsureUser(User),
    /// Removes the user and all its keys. Fails where there is none.
    RemoveUser(UserName),
    /// Fails where there is no such user.
    SetLocked(UserName, bool),
    /// Adds and removes; fails where there is no such user.
    EditGroups {
        /// Whose.
        user: UserName,
        /// Joined.
        add: Vec<String>,
        /// Left.
        remove: Vec<String>,
    },
    /// Adds and removes; fails where there is no such user.
    EditScopes {
        /// Whose.
        user: UserName,
        /// Granted.
        add: Vec<String>,
        /// Taken away.
        remove: Vec<String>,
    },
    /// Fails where the fingerprint is there already, under whatever user, and where the user is missing.
    AddKey(UserKey),
    /// Fails where there is no such key.
    RemoveKey(Fingerprint),
    /// Adds a signing key or replaces the one of that kid. A second active key of one algorithm fails.
    PutSigningKey(SigningKey),
    /// Adds a revocation.
    Revoke(StoredRevocation),
    /// Takes back every revocation of exactly these tokens.
    Lift(Revoked),
    /// Forgets the revocations that are past their `keep_until`.
    ForgetRevocations {
        /// Unix seconds.
        now: u64,
    },
}

/// A key to enrol, and what its user is to have besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The key. Its user is made if there is none of that name.
    pub key: UserKey,
    /// Conditions that nothing was said of: a key that is there keeps its own.
    pub unsaid: Unsaid,
    /// Groups that the user joins.
    pub groups: Vec<String>,
    /// Scopes that the user is granted.
    pub scopes: Vec<String>,
}

/// Which conditions of a key nothing was said of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsaid {
    /// `expires_at`.
    pub expires_at: bool,
    /// `from`.
    pub from: bool,
    /// `require_touch`.
    pub require_touch: bool,
    /// `require_verify`.
    pub require_verify: bool,
}

/// What became of an [`Enrolment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// What became of the key.
    pub key: KeyFate,
    /// The key as it is now, where that is not as it was asked for.
    pub kept: Option<Box<UserKey>>,
    /// The groups that the user was not in before.
    pub groups: Vec<String>,
    /// The scopes that it did not have before.
    pub scopes: Vec<String>,
}

/// What became of a key to enrol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFate {
    /// It is new here.
    Added,
    /// It was the user's, under other conditions.
    Changed,
    /// It was the user's, under the same conditions; comment and source stay as they were.
    Unchanged,
    /// It is this other user's, and stays so. Nothing of the enrolment was done.
    Taken(UserName),
}

/// What to do with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Keep it.
    Commit,
    /// Leave everything as it was.
    RollBack,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Users.
    pub users: u64,
    /// User keys.
    pub keys: u64,
}

/// Everything that the services ask of a database.
///
/// Reads see a committed state. `apply` and `enrol` are one transaction each and durable when they return. What is
/// handed to a function given here must not ask the same store: it may be locked.
pub trait Store: Send + Sync {
    /// The user of that name.
    fn user(&self, name: &UserName) -> Result<Option<User>>;
    /// Every user by name, one after the other, however many there are.
    fn each_user(&self, each: &mut dyn FnMut(User) -> Result<()>) -> Result<()>;
    /// The key with that fingerprint.
    fn key(&self, fingerprint: &Fingerprint) -> Result<Option<UserKey>>;
    /// Every key, or one user's, by user and time added, one after the other, however many there are.
    fn each_key(&self, user: Option<&UserName>, each: &mut dyn FnMut(UserKey) -> Result<()>) -> Result<()>;
    /// The first `most` keys that end before `at`, by their end, and how many end before it in all.
    fn keys_ending(&self, at: u64, most: u32) -> Result<(Vec<UserKey>, u64)>;
    /// How many users and keys there are.
    fn totals(&self) -> Result<Totals>;
    /// All signing keys by algorithm and age.
    fn signing_keys(&self) -> Result<Vec<SigningKey>>;
    /// All revocations that still count at `now`.
    fn revocations(&self, now: u64) -> Result<Vec<StoredRevocation>>;
    /// Reads all there is, and fails where it does not hold together.
    fn check(&self) -> Result<()>;
    /// A number that differs whenever another process or this one has committed a change since.
    fn version(&self) -> Result<u64>;
    /// Applies all changes or none. `before_commit` runs inside the transaction, after every change was
    /// accepted: where it fails (no audit record), nothing has happened.
    fn apply(&self, changes: &[Change], before_commit: &mut dyn FnMut() -> Result<()>) -> Result<()>;
    /// Enrols keys, each judged by itself, in one transaction. `before_commit` learns what became of each, in
    /// order, and decides; where it fails (no audit record), nothing has happened.
    ///
    /// A key that was removed and comes back must be able to fetch tokens that verify: its revocation, which knows
    /// no time, gives way to one of its former user's tokens from before `now`.
    fn enrol(
        &self,
        batch: &[Enrolment],
        now: u64,
        before_commit: &mut dyn FnMut(&[Enrolled]) -> Result<Then>,
    ) -> Result<()>;

    /// Spends a challenge that lapses after `until`: whether nobody had, through this store or another one on the same
    /// realm. Bounded, and it fails where there is no room. Survives a restart of the program, not one of the machine.
    fn spend(&self, nonce: &[u8], until: u64, now: u64) -> Result<bool>;

    /// Writes a whole copy to `to`, a file that is not there yet, as a store of the same kind opens it. `frozen` runs
    /// at the moment that the copy shows, while nothing can be committed. It may take long; changes don't wait for it.
    fn copy_to(&self, to: &Path, frozen: &mut dyn FnMut() -> Result<()>) -> Result<()>;

    /// All users by name; for the few of a test or a small realm.
    fn users(&self) -> Result<Vec<User>> {
        let mut all = Vec::new();
        self.each_user(&mut |user| {
            all.push(user);
            Ok(())
        })?;
        Ok(all)
    }

    /// All keys, or one user's, as [`Store::each_key`]; for the few of a user or a small realm.
    fn keys(&self, user: Option<&UserName>) -> Result<Vec<UserKey>> {
        let mut all = Vec::new();
        self.each_key(user, &mut |key| {
            all.push(key);
            Ok(())
        })?;
        Ok(all)
    }
}

impl SigningAlgorithm {
    /// All, in the order they are listed.
    pub const ALL: [Self; 4] = [Self::Hmac, Self::EdDsa, Self::Es256, Self::Rs256];

    /// The name in files, on the command line and, but for the first, in a JWS header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hmac => "hmac",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Reads such a name, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str().eq_ignore_ascii_case(text))
    }
}

impl KeyState {
    /// The name in the database and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Compromised => "compromised",
        }
    }

    /// Reads such a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Next, Self::Active, Self::Retired, Self::Compromised].into_iter().find(|s| s.as_str() == text)
    }
}

impl Fingerprint {
    /// Of a public key's wire form.
    #[must_use]
    pub fn of(blob: &[u8]) -> Self {
        use sha2::{Digest, Sha256};
        Self(Sha256::digest(blob).into())
    }

    /// Reads `SHA256:…` as ssh-keygen prints it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        use base64::Engine as _;
        let bytes =
            base64::engine::general_purpose::STANDARD_NO_PAD.decode(text.strip_prefix("SHA256:")?).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Fingerprint {
    /// `SHA256:…` as ssh-keygen prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::Engine as _;
        write!(f, "SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(self.0))
    }
}
