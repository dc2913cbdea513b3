//! CSV (RFC 4180), read by a parser that holds 64 KiB of a record however long it is.
//!
//! A line break inside quotes belongs to its cell, and such a record is refused whole: to read lines one by one
//! would let a comment such as `"x⏎admin,ssh-ed25519 …"` bring a line of its own.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::{Entry, Lines, MOST_LINE_BYTES, Refusal, Whose, unreadable, user_in_comment, when};
use crate::backends::store::Unsaid;
use crate::error::{Error, Result};
use crate::names::{self, UserName, shorten};
use crate::public_key::PublicKey;
use crate::services::keys::Conditions;

/// The columns that there are; `key` must be there, and `user` where nothing else says whose the keys are.
pub const COLUMNS: [&str; 8] =
    ["user", "key", "expires", "from", "groups", "scopes", "require_touch", "require_verify"];

/// More cells than that are skipped, not counted.
const MOST_CELLS: usize = 64;

/// The lines of a CSV.
pub(super) struct Csv<'a, R> {
    records: Records<R>,
    /// Which column each cell is.
    header: Vec<&'static str>,
    /// The cells of a line; spreadsheets add empty ones at the end of each.
    width: usize,
    whose: &'a Whose,
}

impl<'a, R: BufRead> Csv<'a, R> {
    /// Reads the header.
    pub(super) fn open(input: R, whose: &'a Whose) -> Result<Self> {
        let mut records = Records::new(input);
        let Some(record) = records.next()? else { return Err(Error::usage("the file is empty")) };
        let cells = record.map_err(|r| Error::usage(format!("the header in line {}: {}", r.line, r.why)))?.1;
        let named = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |at| at + 1);
        let header = header(cells.get(..named).unwrap_or_default())?;
        let has_user = header.contains(&"user");
        if has_user != (*whose == Whose::Column) {
            return Err(if has_user {
                Error::usage("the file has a column user, and the call says whose the keys are too")
                    .hint("leave one of them out")
            } else {
                Error::usage("the file has no column user")
                    .hint("add one, or say --user NAME for all lines, or --user-from")
            });
        }
        Ok(Self { records, header, width: cells.len(), whose })
    }

    fn entry(&self, line: u64, cells: &[String]) -> Result<Entry, Refusal> {
        let mut refusal = Refusal::line(line, "");
        let because = |refusal: &Refusal, why: String| Refusal { why, ..refusal.clone() };
        let text = |e: Error| e.message().to_owned();
        // Not one more, even an empty one: a comment with a comma that somebody left unquoted would move all after
        // it by a column, such as into `groups`.
        if cells.len() != self.width {
            let why = format!(
                "the line has not as many cells as the header: {} and {}; one with a comma stands in quotes",
                cells.len(),
                self.width
            );
            return Err(because(&refusal, why));
        }
        let cell = |name: &str| {
            let at = self.header.iter().position(|column| *column == name);
            at.and_then(|at| cells.get(at)).map(String::as_str).filter(|cell| !cell.is_empty())
        };
        if self.header.contains(&"user") {
            let user = cell("user").ok_or_else(|| because(&refusal, "the cell user is empty".to_owned()))?;
            refusal.user = Some(user.parse::<UserName>().map_err(|e| because(&refusal, text(e)))?);
        }
        let key = cell("key").ok_or_else(|| because(&refusal, "the cell key is empty".to_owned()))?;
        let key = PublicKey::parse_line(key, "the key").map_err(|e| because(&refusal, text(e)))?;
        refusal.fingerprint = Some(key.fingerprint.to_string());
        let user = match (&refusal.user, self.whose) {
            (Some(user), _) | (None, Whose::All(user)) => user.clone(),
            (None, whose) => user_in_comment(&key.comment, whose).map_err(|why| because(&refusal, why))?,
        };
        refusal.user = Some(user.clone());
        let because = |why: String| because(&refusal, why);
        let list = |name| cell(name).map(list).unwrap_or_default();
        let (groups, scopes) = (list("groups"), list("scopes"));
        groups.iter().try_for_each(|g| names::check_group(g)).map_err(|e| because(text(e)))?;
        scopes.iter().try_for_each(|s| names::check_scope(s)).map_err(|e| because(text(e)))?;
        let yes = |name| cell(name).map_or(Ok(false), |text| is_yes(name, text)).map_err(because);
        let conditions = Conditions {
            expires_at: cell("expires").map(when::of_csv).transpose().map_err(because)?,
            from: list("from"),
            require_touch: yes("require_touch")?,
            require_verify: yes("require_verify")?,
        };
        let absent = |name| !self.header.contains(&name);
        let unsaid = Unsaid {
            expires_at: absent("expires"),
            from: absent("from"),
            require_touch: absent("require_touch"),
            require_verify: absent("require_verify"),
        };
        Ok(Entry { line, user, key, conditions, unsaid, groups, scopes, left_out: false })
    }
}

impl<R: BufRead> Lines for Csv<'_, R> {
    fn next(&mut self) -> Result<Option<Result<Entry, Refusal>>> {
        let Some(record) = self.records.next()? else { return Ok(None) };
        Ok(Some(record.and_then(|(line, cells)| self.entry(line, &cells))))
    }
}

fn header(cells: &[String]) -> Result<Vec<&'static str>> {
    let mut header = Vec::new();
    for cell in cells {
        let name = cell.to_ascii_lowercase();
        let Some(column) = COLUMNS.into_iter().find(|c| *c == name) else {
            let error = Error::usage(format!("{:?} is not a column of an import", shorten(cell)));
            return Err(if cell.contains([';', '\t']) {
                error.hint("the cells are to be separated by commas")
            } else {
                error.hint(format!("the columns are {}; take the others out", COLUMNS.join(", ")))
            });
        };
        if header.contains(&column) {
            return Err(Error::usage(format!("the column {column} is there twice")));
        }
        header.push(column);
    }
    if !header.contains(&"key") {
        return Err(
            Error::usage("the file has no column key").hint("its first line names the columns: user,key")
        );
    }
    Ok(header)
}

fn list(text: &str) -> Vec<String> {
    let mut list: Vec<_> = text.split([' ', ',']).filter(|t| !t.is_empty()).map(str::to_owned).collect();
    list.dedup();
    list
}

fn is_yes(column: &str, text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        _ => Err(format!("{column} is yes or no, not {:?}", shorten(text))),
    }
}

/// A line number and the cells.
type Record = (u64, Vec<String>);

/// The records of a CSV, each with the line that it begins in.
struct Records<R> {
    input: R,
    parser: Reader,
    text: Vec<u8>,
    ends: [usize; MOST_CELLS],
}

impl<R: BufRead> Records<R> {
    fn new(input: R) -> Self {
        let parser = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        Self { input, parser, text: vec![0; MOST_LINE_BYTES], ends: [0; MOST_CELLS] }
    }

    /// The next record that is not blank.
    fn next(&mut self) -> Result<Option<Result<Record, Refusal>>> {
        loop {
            match self.read()? {
                Some(Ok((_, cells))) if cells.iter().all(String::is_empty) => {}
                other => return Ok(other),
            }
        }
    }

    fn read(&mut self) -> Result<Option<Result<Record, Refusal>>> {
        let (mut used, mut cells, mut breaks, mut too_long) = (0, 0, 0, false);
        loop {
            let input = self.input.fill_buf().map_err(|e| unreadable(&e))?;
            let at_end = input.is_empty();
            let (text, ends) = (self.text.get_mut(used..), self.ends.get_mut(cells..));
            let (state, read, written, ended) =
                self.parser.read_record(input, text.unwrap_or_default(), ends.unwrap_or_default());
            self.input.consume(read);
            let new = self.text.get(used..used + written).unwrap_or_default();
            breaks += new.iter().map(|b| u64::from(*b == b'\n')).sum::<u64>();
            (used, cells) = (used + written, cells + ended);
            match state {
                ReadRecordResult::InputEmpty => {}
                // What is skipped still goes through the parser, or a quote in it would be misread.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (used, cells, too_long) = (0, 0, true);
                }
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::Record => {
                    // The parser has counted the newline that ended it as well.
                    let last = if at_end { self.parser.line() } else { self.parser.line().saturating_sub(1) };
                    let line = last.saturating_sub(breaks);
                    return Ok(Some(self.record(line, cells, breaks, too_long)));
                }
            }
        }
    }

    fn record(&self, line: u64, cells: usize, breaks: u64, too_long: bool) -> Result<Record, Refusal> {
        if too_long {
            return Err(Refusal::line(
                line,
                "the line is over 64 KiB, or a quote that opens in it does not close",
            ));
        }
        if breaks > 0 {
            return Err(Refusal::line(line, "a cell holds a line break"));
        }
        let (mut from, mut list) = (0, Vec::with_capacity(cells));
        for &to in self.ends.iter().take(cells) {
            let cell = self.text.get(from..to).unwrap_or_default().trim_ascii();
            if cell.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
                return Err(Refusal::line(line, "a cell holds a control character"));
            }
            list.push(String::from_utf8_lossy(cell).into_owned());
            from = to;
        }
        Ok((line, list))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    fn records(text: &[u8], buffer: usize) -> Vec<Result<Record, (u64, String)>> {
        let mut records = Records::new(BufReader::with_capacity(buffer, text));
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            all.push(record.map_err(|r| (r.line, r.why)));
        }
        all
    }

    #[test]
    fn records_know_the_line_that_they_begin_in() {
        let long = format!("{},x", "a".repeat(70_000));
        let cells = ",".repeat(70);
        let text = format!("a,b\r\n\n \nc, \"d,\"\"e\" \n\"f\n\ng\",h\n{long}\n{cells}\n\ni\tj,k\0\nl,m");
        let expected = |all: &[Result<Record, (u64, String)>]| {
            let lines: Vec<_> = all.iter().map(|r| r.as_ref().map_or_else(|e| e.0, |r| r.0)).collect();
            assert_eq!(lines, [1, 4, 5, 8, 9, 11, 12], "{all:?}");
            assert_eq!(all[0].as_ref().unwrap().1, ["a", "b"]);
            for (at, why) in [(2, "line break"), (3, "64 KiB"), (4, "64 KiB"), (5, "control character")] {
                assert!(all[at].as_ref().unwrap_err().1.contains(why), "{at}: {all:?}");
            }
            assert_eq!(all[6].as_ref().unwrap().1, ["l", "m"]);
        };
        for buffer in [1, 7, 100_000] {
            expected(&records(text.as_bytes(), buffer));
        }
    }

    #[test]
    fn a_quote_that_never_closes_takes_the_rest_and_no_memory() {
        let endless =
            b"user,key\na,b\nc,\"d\n".chain(std::io::repeat(b'x').take(3_000_000)).chain(&b"\ne,f\n"[..]);
        let mut records = Records::new(BufReader::new(endless));
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            all.push(record.map_err(|r| (r.line, r.why)));
        }
        assert_eq!(all.len(), 3);
        assert_eq!(all[2].as_ref().unwrap_err().0, 3);
        assert_eq!(records.text.len(), MOST_LINE_BYTES);
    }

    #[test]
    fn a_cell_can_not_bring_a_line_of_its_own() {
        let text = "user,key\neve,\"k x\nadmin,k\ny\"\nbob,k\n";
        let all = records(text.as_bytes(), 64);
        assert_eq!(all.len(), 3);
        assert_eq!(all[1], Err((2, "a cell holds a line break".to_owned())));
        assert_eq!(all[2], Ok((5, vec!["bob".to_owned(), "k".to_owned()])));
    }

    #[test]
    fn headers_that_are_not_ours_are_named() {
        let why = |text: &str, whose: &Whose| {
            let error = Csv::open(text.as_bytes(), whose).err().unwrap_or_else(|| panic!("{text:?}"));
            format!("{} ({})", error.message(), error.hint_text().unwrap_or_default())
        };
        let column = Whose::Column;
        for (text, expected) in [
            ("user,key,email\n", "\"email\" is not a column"),
            ("user;key\n", "separated by commas"),
            ("user,key,user\n", "twice"),
            ("user\n", "no column key"),
            ("key\n", "--user NAME"),
            ("\"user\nkey\"\n", "line break"),
        ] {
            assert!(why(text, &column).contains(expected), "{}", why(text, &column));
        }
        assert!(why("user,key", &Whose::CommentBeforeAt).contains("leave one of them out"));
        assert!(Csv::open(&b" Key , EXPIRES\r\n"[..], &Whose::CommentBeforeAt).is_ok());
    }
}
