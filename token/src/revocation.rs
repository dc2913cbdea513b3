//! Tokens that were taken back before their end.

use alloc::{string::String, vec::Vec};
use core::fmt::Write as _;

use crate::json::{self, Reader};
use crate::rules::{RulesError, Wrong};
use crate::{Format, Identity};

/// One thing that is taken back.
///
/// Each is kept until the longest life of a token has passed. `seamless` tokens carry neither name nor key: only
/// [`Revocation::Subject`] reaches them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revocation {
    /// One token, by its `jti`.
    Jti(String),
    /// All tokens of a subject that were issued at this second or earlier.
    Subject {
        /// The subject.
        sub: String,
        /// The last second of issue that is revoked, in Unix seconds.
        issued_before: u64,
    },
    /// All tokens that an SSH key minted, by its fingerprint `SHA256:…`.
    SshKey(String),
    /// All tokens that a signing key signed, by its `kid`.
    Kid(String),
}

/// What is taken back, ready to be asked: a look-up costs the logarithm of their number and allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    jtis: Vec<Name>,
    subjects: Vec<Name>,
    ssh_keys: Vec<Name>,
    kids: Vec<Name>,
}

/// The name, and up to when it is revoked: one type for all, since a sort for each is 2 KB of a wasm module.
type Name = (String, u64);

impl Revocations {
    /// Reads a JSON list of `{"jti"}`, `{"sub","issued_before"}`, `{"ssh_fp"}` and `{"kid"}`. Whatever else it says is an
    /// error: a revocation that isn't understood must not be passed over.
    pub fn from_json(json: &str) -> Result<Self, RulesError> {
        let mut list = Vec::new();
        RulesError::locate(json, |reader| {
            reader.array(|reader| {
                list.push(read(reader)?);
                Ok::<_, Wrong>(())
            })
        })?;
        Ok(list.into_iter().collect())
    }

    /// The list as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::from("[");
        let mut entry = |name: &str, value: &str, issued_before: Option<u64>| {
            out.push_str(if out.len() == 1 { "{\"" } else { ",{\"" });
            out.push_str(name);
            out.push_str("\":");
            json::write_string(value, &mut out);
            if let Some(time) = issued_before {
                // Writing to a string can't fail.
                _ = write!(out, ",\"issued_before\":{time}");
            }
            out.push('}');
        };
        self.jtis.iter().for_each(|(jti, _)| entry("jti", jti, None));
        self.subjects.iter().for_each(|(sub, time)| entry("sub", sub, Some(*time)));
        self.ssh_keys.iter().for_each(|(fingerprint, _)| entry("ssh_fp", fingerprint, None));
        self.kids.iter().for_each(|(kid, _)| entry("kid", kid, None));
        out.push(']');
        out
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jtis.len() + self.subjects.len() + self.ssh_keys.len() + self.kids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the token of this identity is taken back.
    #[must_use]
    pub fn revokes(&self, identity: &Identity<'_>) -> bool {
        if until(&self.subjects, identity.subject()).is_some_and(|time| identity.issued_at() <= time) {
            return true;
        }
        identity.format() == Format::Jwt
            && (has(&self.jtis, identity.jti())
                || has(&self.ssh_keys, identity.ssh_fp())
                || has(&self.kids, identity.kid()))
    }
}

impl FromIterator<Revocation> for Revocations {
    fn from_iter<I: IntoIterator<Item = Revocation>>(revocations: I) -> Self {
        let mut all = Self::default();
        for revocation in revocations {
            match revocation {
                Revocation::Jti(jti) => all.jtis.push((jti, u64::MAX)),
                Revocation::Subject { sub, issued_before } => all.subjects.push((sub, issued_before)),
                Revocation::SshKey(fingerprint) => all.ssh_keys.push((fingerprint, u64::MAX)),
                Revocation::Kid(kid) => all.kids.push((kid, u64::MAX)),
            }
        }
        for names in [&mut all.jtis, &mut all.subjects, &mut all.ssh_keys, &mut all.kids] {
            // The latest time of a name comes first and stays.
            names.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
            names.dedup_by(|later, first| later.0 == first.0);
        }
        all
    }
}

fn has(names: &[Name], name: Option<&str>) -> bool {
    name.is_some_and(|name| until(names, name).is_some())
}

fn until(names: &[Name], name: &str) -> Option<u64> {
    let at = names.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
    names.get(at).map(|(_, time)| *time)
}

fn read(reader: &mut Reader<'_>) -> Result<Revocation, Wrong> {
    let (mut jti, mut sub, mut ssh_fp, mut kid, mut issued_before) = (None, None, None, None, None);
    reader.object(|reader, name| {
        let member = match reader.bytes(name) {
            b"jti" => &mut jti,
            b"sub" => &mut sub,
            b"ssh_fp" => &mut ssh_fp,
            b"kid" => &mut kid,
            b"issued_before" => {
                issued_before = Some(reader.number()?.ok_or("issued_before is not a Unix time in seconds")?);
                return Ok(());
            }
            _ => return Err("unknown member in a revocation".into()),
        };
        let value = reader.string()?;
        *member = Some(reader.str(value)?.into());
        Ok::<_, Wrong>(())
    })?;
    match (jti, sub, ssh_fp, kid, issued_before) {
        (Some(jti), None, None, None, None) => Ok(Revocation::Jti(jti)),
        (None, Some(sub), None, None, Some(issued_before)) => Ok(Revocation::Subject { sub, issued_before }),
        (None, None, Some(fingerprint), None, None) => Ok(Revocation::SshKey(fingerprint)),
        (None, None, None, Some(kid), None) => Ok(Revocation::Kid(kid)),
        _ => Err("a revocation is one of {jti}, {sub, issued_before}, {ssh_fp}, {kid}".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn lists_come_back_as_they_went() {
        let json = r#"[{"jti":"a"},{"sub":"späße","issued_before":7},{"ssh_fp":"SHA256:x"},{"kid":"\"k"}]"#;
        let list = Revocations::from_json(json).unwrap();
        assert_eq!(list.len(), 4);
        assert_eq!(list.to_json(), json);
        assert_eq!(Revocations::from_json("[]").unwrap().to_json(), "[]");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for bad in [
            "{}",
            "[{}]",
            r#"[{"jti":"a","kid":"b"}]"#,
            r#"[{"sub":"a"}]"#,
            r#"[{"jti":"a","issued_before":1}]"#,
            r#"[{"jti":1}]"#,
            r#"[{"sub":"a","issued_before":-1}]"#,
            r#"[{"email":"a"}]"#,
            r#"[{"jti":"a","jti":"a"}]"#,
            r#"[{"jti":"a"}] x"#,
        ] {
            assert!(Revocations::from_json(bad).is_err(), "{bad}");
        }
        let error = Revocations::from_json("[\n  {\"jit\": \"a\"}]").unwrap_err();
        assert_eq!(error.to_string(), "line 2 column 10: unknown member in a revocation");
    }

    #[test]
    fn the_latest_time_of_a_subject_counts() {
        let subject = |issued_before| Revocation::Subject { sub: "ada".into(), issued_before };
        let list: Revocations = [subject(5), subject(9), subject(7)].into_iter().collect();
        assert_eq!(list.to_json(), r#"[{"sub":"ada","issued_before":9}]"#);
    }
}
