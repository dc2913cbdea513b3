//! servers.toml, with everything kept that somebody wrote into it.

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use crate::doors::client::url::Url;
use crate::error::{Error, Result};

/// What an entry is to say; what is not said here stays as it is.
pub(super) struct Entry<'a> {
    pub(super) url: &'a Url,
    pub(super) login: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) audiences: &'a [String],
    pub(super) scopes: &'a [String],
    pub(super) format: Option<&'a str>,
}

const HEAD: &str = "# Which service logs in where, and for which audience. A token goes to its service and nowhere else.\n\n";

/// With this entry in place of the one for the same URL, or at the end.
pub(super) fn with(text: &str, entry: &Entry<'_>) -> Result<String> {
    let mut document = parse(text)?;
    let services = document.entry("service").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let services = services.as_array_of_tables_mut().ok_or_else(not_tables)?;
    let known = services.iter_mut().find(|table| is_of(table, entry.url));
    match known {
        Some(table) => write(table, entry),
        None => {
            let mut table = Table::new();
            write(&mut table, entry);
            services.push(table);
        }
    }
    let head = if text.is_empty() { HEAD } else { "" };
    Ok(format!("{head}{document}"))
}

/// Without the entry for this URL.
pub(super) fn without(text: &str, url: &Url) -> Result<String> {
    let mut document = parse(text)?;
    if let Some(services) = document.get_mut("service") {
        services.as_array_of_tables_mut().ok_or_else(not_tables)?.retain(|table| !is_of(table, url));
    }
    Ok(document.to_string())
}

fn write(table: &mut Table, entry: &Entry<'_>) {
    let list = |items: &[String]| (!items.is_empty()).then(|| value(Array::from_iter(items)));
    for (key, said) in [
        ("url", Some(value(entry.url.to_string()))),
        ("login", entry.login.map(value)),
        ("user", entry.user.map(value)),
        ("audiences", list(entry.audiences)),
        ("scopes", list(entry.scopes)),
        ("format", entry.format.map(value)),
    ] {
        let Some(said) = said else { continue };
        match table.get_mut(key) {
            // Said alike, it stays as it was written.
            Some(item) if plain(item) == plain(&said) => {}
            Some(item) => *item = said,
            None => {
                table.insert(key, said);
            }
        }
    }
}

/// A value without the white space and comments around it.
fn plain(item: &Item) -> String {
    let text = |item: &toml_edit::Value| item.as_str().map(str::to_owned);
    match item.as_array() {
        Some(array) => format!("{:?}", array.iter().map(text).collect::<Vec<_>>()),
        None => format!("{:?}", item.as_str()),
    }
}

fn is_of(table: &Table, url: &Url) -> bool {
    table
        .get("url")
        .and_then(Item::as_str)
        .and_then(|text| text.parse().ok())
        .is_some_and(|known: Url| known == *url)
}

fn parse(text: &str) -> Result<DocumentMut> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        Error::failed(format!("not valid TOML: {}", error.message()))
            .hint("mend it by hand; nothing was changed")
    })
}

fn not_tables() -> Error {
    Error::failed("`service` is not written as [[service]]").hint("mend it by hand; nothing was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(url: &'a Url, login: &'a str, audiences: &'a [String]) -> Entry<'a> {
        Entry { url, login: Some(login), user: None, audiences, scopes: &[], format: None }
    }

    #[test]
    fn an_entry_comes_is_changed_and_goes_and_the_rest_stays() {
        let git: Url = "https://git.example.com".parse().unwrap();
        let api: Url = "https://api.example.com/v2".parse().unwrap();
        let audiences = ["https://api.example.com".to_owned()];
        let one = with("", &entry(&git, "corp@login.example.com", &[])).unwrap();
        assert_eq!(
            one,
            format!(
                "{HEAD}[[service]]\nurl = \"https://git.example.com\"\nlogin = \"corp@login.example.com\"\n"
            )
        );
        assert_eq!(with(&one, &entry(&git, "corp@login.example.com", &[])).unwrap(), one, "said again");
        let mine = one
            .replace("login =", "# mine\nlogin   =")
            .replace("[[service]]", "timeout = 3 # s\n\n[[service]] # first");
        let two = with(&mine, &entry(&api, "https://login.example.com", &audiences)).unwrap();
        assert!(two.starts_with(mine.trim_end()), "{two}");
        assert!(two.ends_with("audiences = [\"https://api.example.com\"]\n"), "{two}");
        let silent = Entry { url: &api, login: None, user: None, audiences: &[], scopes: &[], format: None };
        assert_eq!(with(&two, &silent).unwrap(), two, "what is not said stays");
        let moved = with(&two, &entry(&git, "acme@login.example.com", &[])).unwrap();
        assert_eq!(moved, two.replace("login   = \"corp@", "login   = \"acme@"));
        assert_eq!(without(&two, &api).unwrap().trim_end(), mine.trim_end());
        assert_eq!(without(&two, &"https://other.example.com".parse().unwrap()).unwrap(), two);
        assert!(with("service = 3\n", &entry(&git, "x@y", &[])).is_err());
        assert!(with("no toml\n", &entry(&git, "x@y", &[])).is_err());
    }
}
