//! What a client of version 2 wants a token for.

use crate::Malformed;
use crate::msgpack::{Reader, Writer};

/// The most audiences, and the most scopes, that may be asked for at once.
const MOST: u64 = 64;

/// What is asked for; whatever is absent, the realm's settings decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// `jwt`, `seamless`, or nothing.
    pub format: String,
    /// Whom the token is for.
    pub audiences: Vec<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How long it lasts, in seconds; 0: as long as is usual.
    pub ttl: u64,
}

impl Wish {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            format: reader.text()?.to_owned(),
            audiences: reader.texts(MOST)?,
            scopes: reader.texts(MOST)?,
            ttl: reader.uint()?,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.text(&self.format).texts(&self.audiences).texts(&self.scopes).uint(self.ttl);
    }
}
