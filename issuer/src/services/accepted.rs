//! A good verdict as JSON, the same on every door.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use token::Identity;

/// The identity as a JSON object; what the token does not say is left out.
#[derive(Debug)]
pub struct Accepted<'a>(pub &'a Identity<'a>);

impl Serialize for Accepted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let identity = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("verdict", "ok")?;
        map.serialize_entry("subject", identity.subject())?;
        map.serialize_entry("format", identity.format().as_str())?;
        let mut optional = |name: &str, value: Option<&str>| match value {
            Some(value) => map.serialize_entry(name, value),
            None => Ok(()),
        };
        optional("issuer", identity.issuer())?;
        optional("client_id", identity.client_id())?;
        optional("jti", identity.jti())?;
        optional("kid", identity.kid())?;
        optional("ssh_fp", identity.ssh_fp())?;
        let mut scopes = identity.scopes();
        if let Some(first) = scopes.next() {
            let scope = scopes.fold(first.to_owned(), |joined, scope| joined + " " + scope);
            map.serialize_entry("scope", &scope)?;
        }
        list(&mut map, "audience", identity.audiences())?;
        list(&mut map, "groups", identity.groups())?;
        list(&mut map, "amr", identity.amr())?;
        map.serialize_entry("issued_at", &identity.issued_at())?;
        map.serialize_entry("expires_at", &identity.expires_at())?;
        map.end()
    }
}

fn list<'a, M, I>(map: &mut M, name: &'static str, items: I) -> Result<(), M::Error>
where
    M: SerializeMap,
    I: Iterator<Item = &'a str> + Clone,
{
    if items.clone().next().is_none() { Ok(()) } else { map.serialize_entry(name, &Items(items)) }
}

/// A JSON array straight from an iterator.
struct Items<I>(I);

impl<'a, I: Iterator<Item = &'a str> + Clone> Serialize for Items<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}
