//! Who a request speaks for, for as long as the request lives.

use std::sync::Arc;

use token::Format;

/// Who a verified token speaks for. Cheap to clone.
///
/// Names are as they stand in the token, not encoded for headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    format: Format,
    subject: String,
    issued_at: u64,
    expires_at: u64,
    issuer: Option<String>,
    client_id: Option<String>,
    jti: Option<String>,
    ssh_fp: Option<String>,
    audiences: Vec<String>,
    scopes: Vec<String>,
    groups: Vec<String>,
    amr: Vec<String>,
}

/// What the layer decided of a request that it let pass. In the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The rules look at no token here.
    Open,
    /// A token would have been welcome, and there was none.
    Anonymous,
    /// A good token.
    Identity(Identity),
}

impl Identity {
    /// The user's name.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The format of the token.
    #[must_use]
    pub fn format(&self) -> Format {
        self.0.format
    }

    /// When the token was issued, in Unix seconds.
    #[must_use]
    pub fn issued_at(&self) -> u64 {
        self.0.issued_at
    }

    /// When the token ends, in Unix seconds. A stream that is open outlives it.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.0.expires_at
    }

    /// `iss`; `seamless` tokens carry none.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// `client_id`: `ssh` for a token that was minted over ssh.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.0.client_id.as_deref()
    }

    /// `jti`: the token's own name.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.0.jti.as_deref()
    }

    /// `ssh_fp`: the fingerprint of the SSH key that was proven at the mint.
    #[must_use]
    pub fn ssh_fp(&self) -> Option<&str> {
        self.0.ssh_fp.as_deref()
    }

    /// Whom the token is for.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.0.audiences
    }

    /// What the token may do.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// Whether the token may do this.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.0.scopes.iter().any(|one| one == scope)
    }

    /// The groups of the user.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.0.groups
    }

    /// How the user authenticated (RFC 8176).
    #[must_use]
    pub fn amr(&self) -> &[String] {
        &self.0.amr
    }
}

impl From<token::Identity<'_>> for Identity {
    fn from(identity: token::Identity<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self(Arc::new(Facts {
            format: identity.format(),
            subject: identity.subject().to_owned(),
            issued_at: identity.issued_at(),
            expires_at: identity.expires_at(),
            issuer: owned(identity.issuer()),
            client_id: owned(identity.client_id()),
            jti: owned(identity.jti()),
            ssh_fp: owned(identity.ssh_fp()),
            audiences: identity.audiences().map(str::to_owned).collect(),
            scopes: identity.scopes().map(str::to_owned).collect(),
            groups: identity.groups().map(str::to_owned).collect(),
            amr: identity.amr().map(str::to_owned).collect(),
        }))
    }
}
