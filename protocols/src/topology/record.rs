//! Whether a push host records, and for how long it keeps what it recorded.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::length::{self, Length};

/// `record = { keep = "7d" }`: the host records every channel that it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Age at which a recording may be deleted; [`MIN_KEEP`] to [`MAX_KEEP`], in whole seconds.
    #[serde(rename = "keep_s", serialize_with = "whole_seconds")]
    pub keep: Duration,
}

/// As the file would have it: `7d`, `1d12h`.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Length(self.keep).fmt(f)
    }
}

/// Reads a time to keep recordings: `7d`, `1d12h`.
pub(super) fn parse_keep(text: &str) -> Result<Duration, KeepError> {
    match length::parse(text) {
        Ok(keep) if (MIN_KEEP..=MAX_KEEP).contains(&keep) => Ok(keep),
        Ok(_) | Err(length::LengthError::TooLong) => Err(KeepError::OutOfRange),
        Err(length::LengthError::Malformed) => Err(KeepError::Malformed(text.chars().take(32).collect())),
    }
}

fn whole_seconds<S: Serializer>(keep: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(keep.as_secs())
}

/// Why a text is no time to keep recordings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeepError {
    /// Not numbers with units.
    #[error("`{0}` is no length of time; write a number and a unit (s, m, h, d or w), such as \"7d\"")]
    Malformed(String),
    /// Too short to hold anything, or longer than anybody means.
    #[error("recordings are kept for one minute to ten years; write for example \"7d\"")]
    OutOfRange,
}

/// Shortest time that recordings can be kept.
pub const MIN_KEEP: Duration = Duration::from_mins(1);
/// Longest time that recordings can be kept: ten years.
pub const MAX_KEEP: Duration = Duration::from_hours(3653 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_shown() {
        assert_eq!(parse_keep("7d"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(parse_keep("1d12h"), Ok(Duration::from_hours(36)));
        assert_eq!(Record { keep: parse_keep("1w90m").unwrap() }.to_string(), "7d1h30m");
        for malformed in ["", "7", "d", "7 d", "7y", "-1d", "7d3", "7ü", "99999999999999999999s"] {
            assert!(matches!(parse_keep(malformed), Err(KeepError::Malformed(_))), "{malformed}");
        }
        for outside in ["0s", "59s", "600w", "18446744073709551615w"] {
            assert_eq!(parse_keep(outside), Err(KeepError::OutOfRange), "{outside}");
        }
    }
}
