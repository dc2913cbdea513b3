//! Lengths of time as people write them: `90s`, `5m`, `1h`, `90d`, or plain seconds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// Whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u64);

const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl FromStr for Seconds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::usage(format!("{:?} is not a length of time", crate::names::shorten(text)))
                .hint("a number and a unit: 90s, 5m, 1h, 90d")
        };
        let (digits, factor) = match text.chars().last() {
            Some(c) if c.is_ascii_digit() => (text, 1),
            Some(c) => {
                let (_, factor) = UNITS.into_iter().find(|(unit, _)| *unit == c).ok_or_else(bad)?;
                (text.strip_suffix(c).unwrap_or(text), factor)
            }
            None => return Err(bad()),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)?;
        // A century: sums with the clock can't overflow, and nothing here lives longer.
        if seconds > 100 * 366 * 86_400 {
            return Err(bad());
        }
        Ok(Self(seconds))
    }
}

impl fmt::Display for Seconds {
    /// The largest unit that divides it: `5m`, `90s`, `1d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .into_iter()
            .skip(1) // nobody says weeks for a token
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Number(n)) => n.to_string().parse().map_err(serde::de::Error::custom),
            Ok(Form::Text(text)) => text.parse().map_err(serde::de::Error::custom),
            Err(_) => Err(serde::de::Error::custom("expected a length of time such as \"5m\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_people_write() {
        for (text, seconds, back) in [
            ("90s", 90, "90s"),
            ("5m", 300, "5m"),
            ("300", 300, "5m"),
            ("1h", 3600, "1h"),
            ("90d", 7_776_000, "90d"),
            ("2w", 1_209_600, "14d"),
            ("0", 0, "0s"),
        ] {
            let parsed: Seconds = text.parse().unwrap();
            assert_eq!(parsed.0, seconds, "{text}");
            assert_eq!(parsed.to_string(), back, "{text}");
        }
        for bad in ["", "m", "5 m", "-5m", "5y", "5mm", "1e3", "99999999999999999999d", "36601d"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }
}
