//! Which request needs what: the file `rules.json`, the same on every edge.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};
use core::fmt;

use crate::json::{Kind, Reader, Syntax};
use crate::{Code, Rejection, path};

/// The longest file, in bytes.
const MAX_LENGTH: usize = 64 * 1024;
/// The most rules.
const MAX_RULES: usize = 256;

/// The rules of an edge. What none of them matches needs a token.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads `rules.json`: `{"rules": [{"path_prefix", "methods", "host", "need", "audience", "scopes", "amr"}, …]}`.
    ///
    /// The schema is `rules.schema.json` in this crate. Unknown members are errors, and so is a rule that could never
    /// mean what it says: a host in capitals, a path that [`decide`](Self::decide) turns away, an open rule with demands.
    pub fn from_json(json: &str) -> Result<Self, RulesError> {
        let mut rules = None;
        RulesError::locate(json, |reader| {
            reader.object(|reader, name| {
                match reader.bytes(name) {
                    b"rules" => rules = Some(read_rules(reader)?),
                    b"$schema" => _ = reader.string()?,
                    _ => return Err("unknown member beside \"rules\"".into()),
                }
                Ok::<_, Wrong>(())
            })?;
            if rules.is_some() { Ok(()) } else { Err("the member \"rules\" is missing".into()) }
        })?;
        Ok(Self(rules.unwrap_or_default()))
    }

    /// What a request needs, or why its path or authority is turned away.
    ///
    /// Of several rules that match, the one with the longest path counts, then one that names the host, then one that
    /// names the method, then the first.
    pub fn decide(
        &self,
        method: &str,
        authority: &str,
        path: Option<&[u8]>,
    ) -> Result<Decision<'_>, Rejection> {
        // A CONNECT has no path, and whoever tunnels reaches past every rule.
        let path = path::normal(path.ok_or(Code::BadPath)?)?;
        let host = host(authority)?;
        let matching = self.0.iter().enumerate().filter(|(_, rule)| rule.matches(method, &host, &path));
        // Of equals `max_by_key` takes the last, and we want the first.
        let best = matching.rev().max_by_key(|(_, rule)| rule.rank());
        Ok(match best {
            Some((index, rule)) => Decision {
                need: rule.need,
                audience: &rule.audience,
                scopes: &rule.scopes,
                amr: &rule.amr,
                index: Some(index),
            },
            None => Decision { need: Need::Required, audience: &[], scopes: &[], amr: &[], index: None },
        })
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the rules say about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'r> {
    /// Whether a token is needed.
    pub need: Need,
    /// The token must name one of these; empty leaves the verifier's own audiences in force.
    pub audience: &'r [String],
    /// The token must have all of these scopes.
    pub scopes: &'r [String],
    /// The user must have authenticated in all of these ways (RFC 8176).
    pub amr: &'r [String],
    /// Which rule it was, from 0; `None` where none matched.
    pub index: Option<usize>,
}

/// Whether a request needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No token is looked at.
    Open,
    /// Without credentials a request passes as anonymous; bad ones are turned away.
    Optional,
    /// A good token, or nothing.
    Required,
}

/// Why a JSON file of ours is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// What is wrong, in plain words.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1: just behind what is wrong.
    pub column: usize,
}

impl RulesError {
    /// Reads a whole file and says where it went wrong.
    pub(crate) fn locate<F>(json: &str, read: F) -> Result<(), Self>
    where
        F: FnOnce(&mut Reader<'_>) -> Result<(), Wrong>,
    {
        let mut text = json.as_bytes().to_vec();
        let mut reader = match Reader::new(&mut text) {
            Ok(reader) => reader,
            Err(syntax) => return Err(Self::at(json, 0, Wrong::from(syntax).0)),
        };
        let done = read(&mut reader).and_then(|()| Ok(reader.end()?));
        done.map_err(|wrong| Self::at(json, reader.position(), wrong.0))
    }

    /// The same error in the file around this one, where it begins at `start`.
    pub(crate) fn below(self, json: &str, start: usize, member: &str) -> Self {
        let begin = Self::at(json, start, "");
        let column = if self.line == 1 { begin.column + self.column - 1 } else { self.column };
        let message = [member, ": ", &self.message].concat();
        Self { message, line: begin.line + self.line - 1, column }
    }

    pub(crate) fn at(json: &str, position: usize, message: &str) -> Self {
        let before = json.get(..position).unwrap_or(json);
        let (line_start, line) =
            before.match_indices('\n').fold((0, 1), |(_, line), (at, _)| (at + 1, line + 1));
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self { message: message.to_owned(), line, column }
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}: {}", self.line, self.column, self.message)
    }
}

impl core::error::Error for RulesError {}

/// What is wrong in a file.
pub(crate) struct Wrong(&'static str);

impl From<&'static str> for Wrong {
    fn from(message: &'static str) -> Self {
        Self(message)
    }
}

impl From<Syntax> for Wrong {
    fn from(syntax: Syntax) -> Self {
        Self(match syntax {
            Syntax::Malformed => "not valid JSON, or a value of another type than belongs here",
            Syntax::Duplicate => "a member of this name is there already",
            Syntax::TooMuch => "nested too deep, or too many members",
        })
    }
}

#[derive(Clone, Debug)]
struct Rule {
    /// Empty for all.
    methods: Vec<String>,
    host: Option<String>,
    /// Without its percent-encoding.
    path_prefix: Vec<u8>,
    need: Need,
    audience: Vec<String>,
    scopes: Vec<String>,
    amr: Vec<String>,
}

impl Rule {
    fn matches(&self, method: &str, host: &str, path: &[u8]) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|m| m == method))
            && self.host.as_deref().is_none_or(|h| h == host)
            && path::is_below(path, &self.path_prefix)
    }

    /// The greater counts.
    const fn rank(&self) -> (usize, bool, bool) {
        (self.path_prefix.len(), self.host.is_some(), !self.methods.is_empty())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Wrong> {
        let mut rule = Self {
            methods: Vec::new(),
            host: None,
            path_prefix: Vec::from(*b"/"),
            need: Need::Required,
            audience: Vec::new(),
            scopes: Vec::new(),
            amr: Vec::new(),
        };
        let mut need = None;
        reader.object(|reader, name| {
            match reader.bytes(name) {
                b"methods" => {
                    rule.methods = strings(reader)?;
                    if rule.methods.is_empty() || !rule.methods.iter().all(|m| is_method(m)) {
                        return Err("methods is a list of HTTP methods in capitals".into());
                    }
                }
                b"host" => {
                    let name = string(reader)?;
                    if name.is_empty() || host(&name).ok().as_deref() != Some(name.as_str()) {
                        return Err("host is a name in lower case, without port and final dot".into());
                    }
                    rule.host = Some(name);
                }
                b"path_prefix" => {
                    let prefix = string(reader)?;
                    let good = !prefix.contains('?');
                    rule.path_prefix = path::normal(prefix.as_bytes()).ok().filter(|_| good).ok_or(
                        "path_prefix begins with / and has no ?, //, ;, dot segments or their encodings",
                    )?;
                }
                b"need" => {
                    let name = reader.string()?;
                    need = Some(match reader.bytes(name) {
                        b"open" => Need::Open,
                        b"optional" => Need::Optional,
                        b"required" => Need::Required,
                        _ => return Err("need is open, optional or required".into()),
                    });
                }
                b"audience" => {
                    rule.audience = match reader.peek()? {
                        Kind::Array => strings(reader)?,
                        _ => Vec::from([string(reader)?]),
                    };
                    if rule.audience.is_empty() || rule.audience.iter().any(String::is_empty) {
                        return Err(
                            "audience is a name, or a list of names of which a token needs one".into()
                        );
                    }
                }
                b"scopes" => rule.scopes = strings(reader)?,
                b"amr" => rule.amr = strings(reader)?,
                _ => return Err("unknown member in a rule".into()),
            }
            Ok::<_, Wrong>(())
        })?;
        rule.need = need.ok_or("a rule needs \"need\": open, optional or required")?;
        let demands = [&rule.audience, &rule.scopes, &rule.amr];
        if rule.need == Need::Open && demands.iter().any(|demand| !demand.is_empty()) {
            return Err("an open rule can't demand anything of a token".into());
        }
        Ok(rule)
    }
}

fn read_rules(reader: &mut Reader<'_>) -> Result<Vec<Rule>, Wrong> {
    if reader.remaining() > MAX_LENGTH {
        return Err("over 64 KiB".into());
    }
    let mut rules = Vec::new();
    reader.array(|reader| {
        if rules.len() == MAX_RULES {
            return Err("over 256 rules".into());
        }
        rules.push(Rule::read(reader)?);
        Ok::<_, Wrong>(())
    })?;
    Ok(rules)
}

pub(crate) fn strings(reader: &mut Reader<'_>) -> Result<Vec<String>, Wrong> {
    let mut list = Vec::new();
    reader.array(|reader| {
        list.push(string(reader)?);
        Ok::<_, Wrong>(())
    })?;
    Ok(list)
}

pub(crate) fn string(reader: &mut Reader<'_>) -> Result<String, Wrong> {
    let span = reader.string()?;
    Ok(reader.str(span)?.to_owned())
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

/// The host of an authority: lower case, without port and without one final dot. Empty where there is none.
fn host(authority: &str) -> Result<String, Code> {
    // User information, white space, lists: no client sends them, and servers read them in different ways.
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if !authority.bytes().all(good) {
        return Err(Code::BadPath);
    }
    let name = match authority.rsplit_once(':') {
        // The last colon of a bare IPv6 address is no port's.
        Some((name, port)) if !port.contains(']') => {
            if !port.bytes().all(|b| b.is_ascii_digit()) || (name.contains(':') && !name.ends_with(']')) {
                return Err(Code::BadPath);
            }
            name
        }
        _ => authority,
    };
    Ok(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString as _};

    fn decide(rules: &str, method: &str, authority: &str, path: &str) -> Option<usize> {
        let rules = Rules::from_json(&format!("{{\"rules\":{rules}}}")).unwrap();
        rules.decide(method, authority, Some(path.as_bytes())).unwrap().index
    }

    #[test]
    fn path_then_host_then_method_then_order() {
        let rules = r#"[
            {"path_prefix": "/", "need": "required"},
            {"path_prefix": "/a", "need": "open"},
            {"host": "x.example", "need": "open"},
            {"host": "x.example", "methods": ["GET"], "need": "open"},
            {"methods": ["GET"], "need": "open"},
            {"path_prefix": "/a", "need": "optional"}
        ]"#;
        assert_eq!(decide(rules, "PUT", "y.example", "/"), Some(0));
        assert_eq!(decide(rules, "GET", "y.example", "/"), Some(4));
        assert_eq!(decide(rules, "PUT", "X.example.:443", "/"), Some(2));
        assert_eq!(decide(rules, "GET", "x.example", "/b"), Some(3));
        assert_eq!(decide(rules, "GET", "x.example", "/a/b?c=/"), Some(1));
        assert_eq!(decide("[]", "GET", "x.example", "/"), None);
    }

    #[test]
    fn hosts_are_compared_without_their_ornaments() {
        for (authority, name) in [
            ("A.Example:8080", "a.example"),
            ("a.example.", "a.example"),
            ("a.example..", "a.example."),
            ("[::1]:443", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host(authority).as_deref(), Ok(name), "{authority}");
        }
        for bad in ["x@admin.example", "a,b", "a b", "a:b", "::1", "a/b", "é"] {
            assert_eq!(host(bad), Err(Code::BadPath), "{bad}");
        }
    }

    #[test]
    fn errors_say_where() {
        for (json, says) in [
            ("", "line 1 column 1: not valid JSON, or a value of another type than belongs here"),
            ("{}", "line 1 column 3: the member \"rules\" is missing"),
            (
                "{\"rules\": [\n {\"need\": \"maybe\"}]}",
                "line 2 column 18: need is open, optional or required",
            ),
            ("{\"rules\": [{\"ned\": 1}]}", "line 1 column 19: unknown member in a rule"),
            (
                "{\"rules\": []} x",
                "line 1 column 15: not valid JSON, or a value of another type than belongs here",
            ),
        ] {
            assert_eq!(Rules::from_json(json).unwrap_err().to_string(), says);
        }
    }
}
