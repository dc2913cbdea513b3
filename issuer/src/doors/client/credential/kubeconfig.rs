//! A kubeconfig, as kubectl and its kin write it: one user more or less, and not a byte else.
//!
//! No YAML library: those there are write the whole file anew. What is not laid out as kubectl does is refused.

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The user's name. One is enough for all clusters, since kubectl says which it means.
pub(super) const USER: &str = "seamless";

const COMMAND: (&str, &str) = ("command", "kubectl-seamless");

/// How kubectl is to call it.
const EXEC: [(&str, &str); 4] = [
    ("apiVersion", "client.authentication.k8s.io/v1"),
    COMMAND,
    ("interactiveMode", "IfAvailable"),
    ("provideClusterInfo", "true"),
];

/// With the user.
pub(super) fn with(text: &str) -> Result<String> {
    if text.trim_start().starts_with('{') {
        return json(text, true);
    }
    let file = Users::find(text)?;
    let item = item(file.indent);
    match file.ours(text) {
        Some((_, _, known)) if says_all(known) => Ok(text.to_owned()),
        Some((from, to, known)) if says(known, COMMAND) => Ok(splice(text, from, to, &item)),
        Some(_) => {
            Err(Error::failed(format!("it has a user {USER:?} of another kind")).hint("rename that one"))
        }
        None if file.present && file.empty => {
            Ok(splice(text, file.head, file.start, &format!("users:\n{item}")))
        }
        None if file.present => Ok(splice(text, file.start, file.start, &item)),
        None => {
            let head = if text.trim().is_empty() { "apiVersion: v1\nkind: Config\n" } else { "" };
            let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            Ok(format!("{text}{newline}{head}users:\n{item}"))
        }
    }
}

/// Without it.
pub(super) fn without(text: &str) -> Result<String> {
    if text.trim_start().starts_with('{') {
        return json(text, false);
    }
    let file = Users::find(text)?;
    Ok(match file.ours(text) {
        Some((from, to, known)) if says(known, COMMAND) => {
            let rest = splice(text, from, to, "");
            // A list of nobody is not to be written as nothing.
            match Users::find(&rest)? {
                left if left.items(&rest).is_empty() => splice(&rest, left.head, left.start, "users: []\n"),
                _ => rest,
            }
        }
        _ => text.to_owned(),
    })
}

/// Where the list of users is.
struct Users {
    /// Whether there is one.
    present: bool,
    /// It is `[]` or `null`.
    empty: bool,
    /// Where its line begins, where the next begins, and where what is no longer part of it does.
    head: usize,
    start: usize,
    end: usize,
    /// Of its items' hyphens.
    indent: usize,
}

impl Users {
    fn find(text: &str) -> Result<Self> {
        let odd = |why: &str| {
            Err(Error::failed(format!("it is not laid out as kubectl does: {why}")).hint(
            "kubectl config set-credentials seamless --exec-command=kubectl-seamless --exec-provide-cluster-info=true \
             --exec-api-version=client.authentication.k8s.io/v1",
        ))
        };
        let mut found = Self { present: false, empty: false, head: 0, start: 0, end: text.len(), indent: 0 };
        let mut at = 0;
        let mut inside = false;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let (begins, bare) = (at, line.trim_end());
            at += line.len();
            if bare.contains('\t') && bare.trim_start_matches(' ').starts_with('\t') {
                return odd("it is indented by tabs");
            }
            if number > 0 && (bare == "---" || bare == "...") {
                return odd("it is several documents");
            }
            let top = bare.starts_with(|first: char| !matches!(first, ' ' | '-' | '#'));
            if let Some(rest) = bare.strip_prefix("users:") {
                if found.present {
                    return odd("it has two lists of users");
                }
                let rest = rest.split(" #").next().unwrap_or_default().trim();
                found.empty = matches!(rest, "[]" | "null" | "~");
                if !found.empty && !rest.is_empty() {
                    return odd("its users stand in one line");
                }
                (found.present, found.head, found.start, inside) = (true, begins, at, true);
            } else if inside && top {
                (found.end, inside) = (begins, false);
            } else if bare.starts_with("\"users\"") || bare.starts_with("'users'") {
                return odd("`users` stands in quotes");
            }
        }
        let list = text.get(found.start..found.end).unwrap_or_default();
        let first = list.lines().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        if let (true, Some(first)) = (found.present, first) {
            found.indent = first.len() - first.trim_start().len();
            if found.empty || !first.trim_start().starts_with("- ") {
                return odd("its users are no list");
            }
        }
        // `users:` and nothing below is a list of nobody too.
        found.empty |= found.present && first.is_none();
        Ok(found)
    }

    /// Begin and end of each item.
    fn items(&self, text: &str) -> Vec<(usize, usize)> {
        let mut items: Vec<(usize, usize)> = Vec::new();
        let mut at = self.start;
        let hyphen = format!("{}- ", " ".repeat(self.indent));
        for line in text.get(self.start..self.end).unwrap_or_default().split_inclusive('\n') {
            if line.starts_with(&hyphen) {
                items.push((at, at));
            }
            at += line.len();
            if let Some((_, end)) = items.last_mut()
                && !line.trim().is_empty()
            {
                *end = at;
            }
        }
        items
    }

    /// The item of our name, with its text.
    fn ours<'a>(&self, text: &'a str) -> Option<(usize, usize, &'a str)> {
        let is_name = |line: &str| {
            let line = line.trim_start_matches(['-', ' ']);
            line.strip_prefix("name:").is_some_and(|name| name.trim().trim_matches(['"', '\'']) == USER)
        };
        self.items(text)
            .into_iter()
            .filter_map(|(from, to)| Some((from, to, text.get(from..to)?)))
            // The item's own keys, not an environment variable's below it.
            .find(|(_, _, item)| {
                let own = self.indent + 2;
                item.lines().enumerate().any(|(number, line)| {
                    (number == 0 || line.len() - line.trim_start().len() == own) && is_name(line)
                })
            })
    }
}

fn splice(text: &str, from: usize, to: usize, with: &str) -> String {
    let (before, after) = (text.get(..from).unwrap_or_default(), text.get(to..).unwrap_or_default());
    let newline = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{newline}{with}{after}")
}

fn item(indent: usize) -> String {
    let margin = " ".repeat(indent);
    let exec = EXEC.iter().map(|(key, value)| format!("{margin}      {key}: {value}\n"));
    [format!("{margin}- name: {USER}\n{margin}  user:\n{margin}    exec:\n")]
        .into_iter()
        .chain(exec)
        .collect()
}

/// Whether an item says all that ours does, however kubectl has rewritten it.
fn says_all(item: &str) -> bool {
    EXEC.into_iter().all(|line| says(item, line))
}

fn says(item: &str, (key, value): (&str, &str)) -> bool {
    item.lines()
        .filter_map(|line| line.trim().split_once(':'))
        .any(|(known, said)| known == key && said.trim().trim_matches(['"', '\'']) == value)
}

/// A kubeconfig that is JSON.
fn json(text: &str, come: bool) -> Result<String> {
    let bad = |why: &str| Error::failed(format!("it is {why}")).hint("mend it by hand; nothing was changed");
    let mut file: Value =
        serde_json::from_str(text).map_err(|_| bad("neither JSON nor YAML of kubectl's"))?;
    let map = file.as_object_mut().ok_or_else(|| bad("no kubeconfig"))?;
    let users = map.entry("users").or_insert_with(|| json!([]));
    if users.is_null() {
        *users = json!([]);
    }
    let users = users.as_array_mut().ok_or_else(|| bad("no kubeconfig: its users are no list"))?;
    let is_ours = |user: &Value| {
        user["user"]["exec"]["command"].as_str().is_some_and(|c| c.ends_with("kubectl-seamless"))
    };
    if users.iter().any(|user| user["name"] == USER && !is_ours(user)) {
        if !come {
            return Ok(text.to_owned());
        }
        return Err(Error::failed(format!("it has a user {USER:?} of another kind")).hint("rename that one"));
    }
    let before = users.clone();
    users.retain(|user| user["name"] != USER);
    if come {
        let [api, command, mode, _] = EXEC.map(|(_, value)| value);
        users.push(json!({ "name": USER, "user": { "exec": {
            "apiVersion": api,
            "command": command,
            "interactiveMode": mode,
            "provideClusterInfo": true,
        } } }));
    }
    if *users == before {
        return Ok(text.to_owned());
    }
    serde_json::to_string_pretty(&file).map(|text| text + "\n").map_err(|_| bad("too odd to be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "apiVersion: v1
clusters:
- cluster:
    server: https://127.0.0.1:6443
  name: kind
users:
- name: kind-kind
  user:
    exec:
      env:
      - name: seamless
        value: x
# the end
kind: Config
";

    #[test]
    fn a_user_comes_and_goes_and_nothing_else_changes() {
        let ours = item(0);
        for text in [
            KIND.to_owned(),
            KIND.replace("\n- ", "\n  - ").replace("\n  - name: seamless", "\n      - name: seamless"),
            KIND.trim_end().to_owned() + "\n",
            "apiVersion: v1\nkind: Config\nusers: []\n".to_owned(),
            "apiVersion: v1\nkind: Config\nusers: []\npreferences: {}\n".to_owned(),
        ] {
            let with = super::with(&text).unwrap();
            assert_eq!(super::with(&with).unwrap(), with, "said again");
            assert_eq!(without(&with).unwrap(), text, "{with}");
            assert_eq!(without(&text).unwrap(), text);
        }
        assert_eq!(super::with(KIND).unwrap(), KIND.replace("users:\n", &format!("users:\n{ours}")));
        assert_eq!(super::with("").unwrap(), format!("apiVersion: v1\nkind: Config\nusers:\n{ours}"));
        // kubectl sorts, quotes otherwise and adds.
        let rewritten = with(KIND)
            .unwrap()
            .replace("command: k", "args: null\n      command: \"k")
            .replace("seamless\n      i", "seamless\"\n      i");
        assert_eq!(with(&rewritten).unwrap(), rewritten);
        assert_eq!(without(&rewritten).unwrap(), KIND);
        let older = with(KIND)
            .unwrap()
            .replace("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1");
        assert_eq!(with(&older).unwrap(), with(KIND).unwrap());
        assert_eq!(super::with("users: null\nkind: Config").unwrap(), format!("users:\n{ours}kind: Config"));
    }

    #[test]
    fn json_is_kubeconfig_too() {
        let text = "{\"kind\": \"Config\", \"users\": [{\"name\": \"a\"}]}";
        let with = super::with(text).unwrap();
        let value: Value = serde_json::from_str(&with).unwrap();
        assert_eq!(value["users"][1]["user"]["exec"]["provideClusterInfo"], true);
        assert_eq!(super::with(&with).unwrap(), with);
        let back: Value = serde_json::from_str(&without(&with).unwrap()).unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_kubectl_would_not_write_is_left_alone() {
        for text in [
            "users: [{name: a}]\n",
            "users: {}\n",
            "users: &u\n- name: a\n",
            "users:\n- name: a\n---\nusers: []\n",
            "users: []\nusers: []\n",
            "users:\n\t- name: a\n",
            "users:\n  name: a\n",
            "\"users\": []\n",
            "users:\n- name: seamless\n  user:\n    token: x\n",
            "users:\n- user:\n    token: x\n  name: \"seamless\"\n",
            "{ users: [] }",
        ] {
            assert!(super::with(text).is_err(), "{text}");
        }
    }
}
