//! Lengths of time as the file writes them: `7d`, `1d12h`, `30s`.

use std::fmt;
use std::time::Duration;

/// Shows a length of time as the file would have it, in days and less; whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length(pub(super) Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest_s = self.0.as_secs();
        for (unit, seconds) in UNITS.into_iter().filter(|(unit, _)| *unit != 'w') {
            if rest_s >= seconds {
                write!(f, "{}{unit}", rest_s / seconds)?;
                rest_s %= seconds;
            }
        }
        Ok(())
    }
}

/// Why a text is no length of time that anybody means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LengthError {
    /// Not numbers with units.
    Malformed,
    /// More seconds than can be counted.
    TooLong,
}

/// Reads `90m`, `12h`, `7d`, `2w` or several of them in a row, such as `1d12h`.
pub(super) fn parse(text: &str) -> Result<Duration, LengthError> {
    let mut total_s: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(LengthError::Malformed)?;
        let count: u64 = rest[..digits].parse().map_err(|_| LengthError::Malformed)?;
        let unit = rest[digits..].chars().next().ok_or(LengthError::Malformed)?;
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(LengthError::Malformed)?;
        total_s =
            count.checked_mul(seconds).and_then(|s| total_s.checked_add(s)).ok_or(LengthError::TooLong)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    if text.is_empty() { Err(LengthError::Malformed) } else { Ok(Duration::from_secs(total_s)) }
}

/// Units and their length in seconds, longest first.
const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
