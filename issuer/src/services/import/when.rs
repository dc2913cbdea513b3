//! Ends of keys as files have them. Only fixed ones: `90d` would move with every run.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// `2027-01-31`, the beginning of that day in UTC, or a time of RFC 3339; as Unix seconds.
pub(super) fn of_csv(text: &str) -> Result<u64, String> {
    let time = match text.parse::<Date>() {
        Ok(date) if text.len() == 10 => seconds(date.to_datetime(jiff::civil::Time::midnight())),
        _ => text.parse::<Timestamp>().ok().and_then(|at| u64::try_from(at.as_second()).ok()),
    };
    time.ok_or_else(|| {
        format!("{:?} is not a date such as 2027-01-31 or 2027-01-31T12:00:00Z", crate::names::shorten(text))
    })
}

/// `YYYYMMDD[HHMM[SS]][Z]` of sshd(8), which reads it in its host's zone unless there is a `Z`; here it is UTC.
pub(super) fn of_sshd(text: &str) -> Result<u64, String> {
    let wrong = || format!("{:?} is not an expiry-time of sshd", crate::names::shorten(text));
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number = |from: usize, to: usize| digits.get(from..to).map_or(Ok(0), str::parse::<i8>);
    let year = digits.get(..4).map_or(Ok(0), str::parse::<i16>);
    let parts = (year, number(4, 6), number(6, 8), number(8, 10), number(10, 12), number(12, 14));
    let (Ok(year), Ok(month), Ok(day), Ok(hour), Ok(minute), Ok(second)) = parts else { return Err(wrong()) };
    DateTime::new(year, month, day, hour, minute, second, 0).ok().and_then(seconds).ok_or_else(wrong)
}

fn seconds(time: DateTime) -> Option<u64> {
    let at = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    u64::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_beginning_of_their_day() {
        for text in ["2027-01-15", "2027-01-15T00:00:00Z", "2027-01-15T02:00:00+02:00"] {
            assert_eq!(of_csv(text), Ok(1_799_971_200), "{text}");
        }
        for text in ["20270115", "202701150000", "20270115000000Z"] {
            assert_eq!(of_sshd(text), Ok(1_799_971_200), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_time() {
        for text in ["", "90d", "2027-02-30", "15.01.2027", "2027-01-15 12:00", "1969-01-01", "tomorrow"] {
            assert!(of_csv(text).is_err(), "{text}");
        }
        for text in
            ["", "2027", "20270230", "2027011524", "202701152400", "2027-01-15", "20270115ZZ", "१२३४५६७८"]
        {
            assert!(of_sshd(text).is_err(), "{text}");
        }
    }
}
