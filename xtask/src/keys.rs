//! `cargo xtask keys`: public keys by the million, to fill a realm with.

use std::io::Write as _;

use crate::outcome::{Doing, Failure, Result};
use crate::test_keys::{Form, write};

/// Writes them to standard output.
pub fn keys(args: &[&str]) -> Result {
    let wrong = |what: &str| Failure::new(format!("keys: {what}"));
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong(&format!("`{text}` is no number")));
    let (mut count, mut users, mut first, mut form) = (None, None, 0, Form::Csv);
    let mut words = args.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| wrong(&format!("{word} what?")));
        match word {
            "--users" => users = Some(number(value()?)?),
            "--first" => first = number(value()?)?,
            "--format" => {
                form = match value()? {
                    "csv" => Form::Csv,
                    "authorized_keys" => Form::AuthorizedKeys,
                    other => return Err(wrong(&format!("don't know the format `{other}`"))),
                }
            }
            _ => count = Some(number(word)?),
        }
    }
    let count = count.ok_or_else(|| wrong("how many?"))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    write(&mut out, form, first, count, users.unwrap_or(count))
        .and_then(|()| out.flush())
        .doing("write the keys")
}
