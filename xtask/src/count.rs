//! Counts tests by the closing lines of the test runners.

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ran and held.
    pub passed: usize,
    /// Ran and did not hold.
    pub failed: usize,
    /// Did not run.
    pub skipped: usize,
}

impl Counts {
    /// Adds what this line of a runner's output says, if it is a closing line.
    pub fn read(&mut self, line: &str) {
        let line = plain(line);
        let line = line.trim();
        let figures = if let Some(rest) = line.strip_prefix("test result: ") {
            // cargo test: `test result: ok. 3 passed; 0 failed; 1 ignored; …; 5 filtered out; …`
            rest.split_once(". ").map(|(_, figures)| figures)
        } else if line.starts_with("Summary [") {
            // nextest: `Summary [ 0.1s] 4 tests run: 3 passed (1 slow), 1 failed, 2 skipped`
            line.split_once(" run: ").map(|(_, figures)| figures)
        } else if let Some((figures, time)) = line.trim_matches(['=', ' ']).rsplit_once(" in ")
            && time.starts_with(|c: char| c.is_ascii_digit())
        {
            // pytest: `3 passed, 1 skipped in 0.42s`, or `in 61.20s (0:01:01)`
            Some(figures)
        } else {
            self.read_node(line);
            None
        };
        for figure in figures.unwrap_or_default().split([';', ',']) {
            let mut words = figure.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" | "timed" | "errors" | "error" => self.failed += number,
                "ignored" | "skipped" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Node's runner ends with a line for each: `# pass 3`, or `ℹ pass 3`.
    fn read_node(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some("#" | "ℹ"), Some(what), Some(number), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return;
        };
        let Ok(number) = number.parse::<usize>() else { return };
        match what {
            "pass" => self.passed += number,
            "fail" | "cancelled" => self.failed += number,
            "skipped" | "todo" => self.skipped += number,
            _ => {}
        }
    }

    /// Moves tests that ended at once because something is missing from "passed" to "skipped".
    pub fn skip(&mut self, number: usize) {
        let number = number.min(self.passed);
        self.passed -= number;
        self.skipped += number;
    }

    /// Sums up.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The line without colour.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(line: &str) -> (usize, usize, usize) {
        let mut counts = Counts::default();
        counts.read(line);
        (counts.passed, counts.failed, counts.skipped)
    }

    #[test]
    fn the_runners_are_read() {
        let libtest =
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.00s";
        assert_eq!(counted(libtest), (3, 0, 1));
        assert_eq!(
            counted("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out"),
            (3, 2, 0)
        );
        let nextest =
            "\u{1b}[1m     Summary\u{1b}[0m [   0.1s] 4 tests run: 3 passed (1 slow), 1 failed, 2 skipped";
        assert_eq!(counted(nextest), (3, 1, 2));
        assert_eq!(counted("running 3 tests"), (0, 0, 0));
        assert_eq!(counted("# pass 3"), (3, 0, 0));
        assert_eq!(counted("ℹ fail 2"), (0, 2, 0));
        assert_eq!(counted("# Subtest: pass 3"), (0, 0, 0));
        assert_eq!(counted("=== 2 failed, 3 passed, 1 skipped in 61.20s (0:01:01) ==="), (3, 2, 1));
        assert_eq!(counted("3 passed in 0.42s"), (3, 0, 0));
        assert_eq!(counted("1 error in 0.42s"), (0, 1, 0));
        assert_eq!(counted("3 passed in the end"), (0, 0, 0));
    }
}
