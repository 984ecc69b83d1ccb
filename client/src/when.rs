//! Times as a person writes them: `now`, `+30m`, `-10m`, `20:15`, `2026-11-22 20:15`, `2026-11-22T20:15:00Z`.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use protocols::time::ClusterTime;
use thiserror::Error;

/// A time, before it is known when now is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// `now`.
    Now,
    /// `+1h30m`: so long after the other end, or after now where there is none.
    After(Duration),
    /// `-10m`: so long ago.
    Ago(Duration),
    /// `20:15`: today; as an end, the first one behind the beginning.
    Clock(Time),
    /// `2026-11-22 20:15`: where this host is.
    Local(DateTime),
    /// With an offset or `Z` (RFC 3339).
    At(Timestamp),
}

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WhenError {
    /// None of the forms.
    #[error(
        "`{0}` is no time; `now`, `+30m`, `-10m`, `20:15`, `2026-11-22 20:15` and `2026-11-22T20:15:00Z` are"
    )]
    Malformed(String),
    /// Before 1970, beyond the calendar, or skipped by a clock change.
    #[error("there is no such time here")]
    Impossible,
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        let malformed = || WhenError::Malformed(text.chars().take(40).collect());
        if text == "now" {
            return Ok(Self::Now);
        }
        if let Some(span) = text.strip_prefix('+') {
            return span_of(span).map(Self::After).ok_or_else(malformed);
        }
        if let Some(span) = text.strip_prefix('-') {
            return span_of(span).map(Self::Ago).ok_or_else(malformed);
        }
        if let Ok(time) = Time::strptime("%H:%M", text).or_else(|_| Time::strptime("%H:%M:%S", text)) {
            return Ok(Self::Clock(time));
        }
        let at = text.parse().map(Self::At);
        at.or_else(|_| text.parse().map(Self::Local)).map_err(|_| malformed())
    }
}

impl When {
    /// As a beginning.
    pub fn begin(&self, now: ClusterTime, zone: &TimeZone) -> Result<ClusterTime, WhenError> {
        match self {
            Self::After(span) => Ok(now + *span),
            Self::Clock(time) => on(date(now, zone)?, *time, zone),
            other => other.fixed(now, zone),
        }
    }

    /// As the end of what begins at `from`.
    pub fn end(
        &self,
        now: ClusterTime,
        from: ClusterTime,
        zone: &TimeZone,
    ) -> Result<ClusterTime, WhenError> {
        match self {
            Self::After(span) => Ok(from + *span),
            Self::Clock(time) => {
                let day = date(from, zone)?;
                let same_day = on(day, *time, zone)?;
                if same_day > from {
                    return Ok(same_day);
                }
                on(day.tomorrow().map_err(|_| WhenError::Impossible)?, *time, zone)
            }
            other => other.fixed(now, zone),
        }
    }

    fn fixed(&self, now: ClusterTime, zone: &TimeZone) -> Result<ClusterTime, WhenError> {
        match self {
            Self::Local(time) => instant(*time, zone),
            Self::At(time) => cluster(*time),
            Self::Ago(span) => {
                let back_ms = u64::try_from(span.as_millis()).map_err(|_| WhenError::Impossible)?;
                now.0.checked_sub(back_ms).map(ClusterTime).ok_or(WhenError::Impossible)
            }
            Self::Now | Self::After(_) | Self::Clock(_) => Ok(now),
        }
    }
}

/// `2026-11-22 20:15:00` where `zone` is.
pub fn local(time: ClusterTime, zone: &TimeZone) -> String {
    match timestamp(time) {
        Some(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => format!("{} ms", time.0),
    }
}

/// By RFC 3339, in UTC.
pub fn rfc3339(time: ClusterTime) -> String {
    timestamp(time).map_or_else(|| format!("{} ms", time.0), |time| time.to_string())
}

/// `20:15`, where this host is.
pub fn clock(time: ClusterTime, zone: &TimeZone) -> String {
    match timestamp(time) {
        Some(time) => time.to_zoned(zone.clone()).strftime("%H:%M").to_string(),
        None => format!("{} ms", time.0),
    }
}

fn timestamp(time: ClusterTime) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(time.0).ok()?).ok()
}

fn cluster(time: Timestamp) -> Result<ClusterTime, WhenError> {
    u64::try_from(time.as_millisecond()).map(ClusterTime).map_err(|_| WhenError::Impossible)
}

fn date(time: ClusterTime, zone: &TimeZone) -> Result<Date, WhenError> {
    Ok(timestamp(time).ok_or(WhenError::Impossible)?.to_zoned(zone.clone()).date())
}

fn on(date: Date, time: Time, zone: &TimeZone) -> Result<ClusterTime, WhenError> {
    instant(date.to_datetime(time), zone)
}

fn instant(time: DateTime, zone: &TimeZone) -> Result<ClusterTime, WhenError> {
    cluster(time.to_zoned(zone.clone()).map_err(|_| WhenError::Impossible)?.timestamp())
}

/// `1h30m`, `45s`, `2d`.
fn span_of(text: &str) -> Option<Duration> {
    let (mut total_s, mut digits) = (0_u64, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let (_, unit_s) = UNITS.into_iter().find(|(unit, _)| *unit == c)?;
        total_s = total_s.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit_s)?)?;
        digits.clear();
    }
    (digits.is_empty() && total_s > 0).then(|| Duration::from_secs(total_s))
}

const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

    /// One hour east of Greenwich.
    fn zone() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(1))
    }

    fn when(text: &str) -> When {
        text.parse().unwrap()
    }

    fn at(text: &str) -> ClusterTime {
        cluster(text.parse().unwrap()).unwrap()
    }

    /// What an order written at 22:30 local time means.
    fn order(from: &str, to: &str) -> (String, String) {
        let now = at("2026-11-22T21:30:00Z");
        let from = when(from).begin(now, &zone()).unwrap();
        let to = when(to).end(now, from, &zone()).unwrap();
        (local(from, &zone()), local(to, &zone()))
    }

    #[test]
    fn times_mean_what_people_mean() {
        let expected = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let today = "2026-11-22";
        assert_eq!(order("now", "+1h30m"), expected("2026-11-22 22:30:00", "2026-11-23 00:00:00"));
        assert_eq!(order("20:15", "22:00"), expected("2026-11-22 20:15:00", "2026-11-22 22:00:00"));
        assert_eq!(order("23:45", "00:30"), expected("2026-11-22 23:45:00", "2026-11-23 00:30:00"));
        assert_eq!(order("+30m", "+15m"), expected("2026-11-22 23:00:00", "2026-11-22 23:15:00"));
        assert_eq!(order("-1h", "-15m"), expected("2026-11-22 21:30:00", "2026-11-22 22:15:00"));
        assert_eq!(order("20:15", "now").1, format!("{today} 22:30:00"));
        assert_eq!(order("2026-12-24 20:15", "21:00").1, "2026-12-24 21:00:00");
        assert_eq!(order("2026-12-24T20:15:00Z", "+1d").0, "2026-12-24 21:15:00");
    }

    #[test]
    fn what_is_no_time_is_refused_and_named() {
        for text in ["", "+", "+0m", "+5", "+5y", "25:00", "tomorrow", "20:15 h", "+99999999999999999999d"] {
            assert!(matches!(text.parse::<When>(), Err(WhenError::Malformed(_))), "{text}");
        }
        let before = when("1969-01-01T00:00:00Z").begin(ClusterTime(0), &zone());
        assert_eq!(before, Err(WhenError::Impossible));
        assert_eq!(rfc3339(ClusterTime(1_800_000_000_000)), "2027-01-15T08:00:00Z");
        assert_eq!(local(ClusterTime(u64::MAX), &zone()), "18446744073709551615 ms");
    }
}
