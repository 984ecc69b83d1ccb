//! From where else a channel is taken when its input fails, and how soon.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::length::{self, Length};
use crate::ids::InputId;

/// `[[channel.backup]]`: another source of the channel, at the same acquisition server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Backup {
    /// From which of the server's inputs.
    pub input: InputId,
    /// Service id within that input's transport stream, 1 to 65535; `None` where it carries one programme.
    pub service: Option<u16>,
}

/// When a channel changes between its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Failover {
    /// So long a source may be bad before another is taken; within [`HOLD_OFFS`], in whole seconds.
    #[serde(rename = "hold_off_s", serialize_with = "whole_seconds")]
    pub hold_off: Duration,
    /// So long a better source has to be good before it is taken again; within [`RETURNS`], in whole seconds.
    #[serde(rename = "return_after_s", serialize_with = "whole_seconds")]
    pub return_after: Duration,
}

impl Default for Failover {
    fn default() -> Self {
        Self { hold_off: DEFAULT_HOLD_OFF, return_after: DEFAULT_RETURN_AFTER }
    }
}

/// Why a text is no time of a [`Failover`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FailoverTimeError {
    /// Not numbers with units.
    #[error("`{0}` is no length of time; write a number and a unit (s, m, h or d), such as \"2s\"")]
    Malformed(String),
    /// Too short or too long.
    #[error("it is {} to {}, such as \"{}\"", Length(*.low), Length(*.high), Length(*.usual))]
    OutOfRange {
        /// Shortest.
        low: Duration,
        /// Longest.
        high: Duration,
        /// What holds where the key is left out.
        usual: Duration,
    },
}

/// Reads a time within `range`; `usual` is named to who writes another.
pub(super) fn parse_time(
    text: &str,
    range: &RangeInclusive<Duration>,
    usual: Duration,
) -> Result<Duration, FailoverTimeError> {
    let out_of_range = || FailoverTimeError::OutOfRange { low: *range.start(), high: *range.end(), usual };
    match length::parse(text) {
        Ok(time) if range.contains(&time) => Ok(time),
        Ok(_) | Err(length::LengthError::TooLong) => Err(out_of_range()),
        Err(length::LengthError::Malformed) => {
            Err(FailoverTimeError::Malformed(text.chars().take(32).collect()))
        }
    }
}

fn whole_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

/// Most backups of one channel.
pub const MAX_BACKUPS: usize = 7;
/// What `hold_off` may be: shorter ones would take a hiccup for a failure.
pub const HOLD_OFFS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);
/// `hold_off` where it is left out.
pub const DEFAULT_HOLD_OFF: Duration = Duration::from_secs(2);
/// What `return_after` may be.
pub const RETURNS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// `return_after` where it is left out.
pub const DEFAULT_RETURN_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_within_their_range() {
        let read = |text| parse_time(text, &HOLD_OFFS, DEFAULT_HOLD_OFF);
        assert_eq!(read("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(read("1m30s"), Ok(Duration::from_secs(90)));
        for outside in ["0s", "6m", "99999999999999999w"] {
            assert_eq!(read(outside).unwrap_err().to_string(), "it is 1s to 5m, such as \"2s\"");
        }
        assert!(matches!(read("500ms"), Err(FailoverTimeError::Malformed(_))));
    }
}
