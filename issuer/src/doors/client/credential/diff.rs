//! What a change does to a file, line by line, as `diff -u` shows it.

/// Lines that are shown around a change.
const AROUND: usize = 2;

/// `-` before what goes, `+` before what comes. One change a file: from the first line that differs to the last.
pub(super) fn lines(before: &str, after: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()).saturating_sub(same);
    let same_end =
        old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(old, new)| old == new).count();
    let part = |lines: &[&str], from: usize, to: usize, sign: char| -> String {
        let part = lines.get(from..to.max(from)).unwrap_or_default();
        part.iter().map(|line| format!("{sign}{line}\n")).collect()
    };
    let (old_end, new_end) = (old.len().saturating_sub(same_end), new.len().saturating_sub(same_end));
    [
        part(&old, same.saturating_sub(AROUND), same, ' '),
        part(&old, same, old_end, '-'),
        part(&new, same, new_end, '+'),
        part(&new, new_end, new.len().min(new_end.saturating_add(AROUND)), ' '),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn what_goes_and_what_comes() {
        assert_eq!(lines("", "a\nb\n"), "+a\n+b\n");
        assert_eq!(lines("a\n", "a\nb\n"), " a\n+b\n");
        assert_eq!(lines("a\nb\nc\nd\ne\n", "a\nb\nc\nx\ne\n"), " b\n c\n-d\n+x\n e\n");
        assert_eq!(lines("a\na\n", "a\na\na\n"), " a\n a\n+a\n");
        assert_eq!(lines("a\nb\n", ""), "-a\n-b\n");
    }
}
